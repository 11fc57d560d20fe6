"""The question that is open over a screen. The safe answer stands first and is the easy one."""

from __future__ import annotations

from kiosk import events as e
from kiosk.flow import Question
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.screens.base import Tools
from kiosk.touchui.theme import Theme, Type
from kiosk.touchui.view import View
from kiosk.touchui.widgets import DANGER, SECONDARY, Button, Label, Paragraph, Scrim, Widget, banner, bar
from kiosk.touchui.widgets.badge import Emblem, Sheet


def words(v: View) -> tuple[str, str, str, str, str]:
    """Return title, text, the destructive answer, the harmless answer, and the icon."""
    count = len(v.flow.photos)
    photos = "1 photograph" if count == 1 else f"{count} photographs"
    match v.flow.question:
        case Question.DECLINE:
            return (
                "No photographs?",
                "The refusal goes into the record. No photograph is taken, and care is not affected.",
                "Record the refusal",
                "Go back",
                "ban",
            )
        case Question.WITHDRAW:
            lost = f"{photos} of this session will be destroyed now" if count else "The camera is closed now"
            return (
                "Withdraw consent?",
                f"{lost}. The withdrawal goes into the record.",
                "Withdraw and destroy" if count else "Withdraw",
                "Keep consent",
                "hand",
            )
    lost = (
        f"{photos} not sent will be destroyed." if count else "This session ends. Nothing was photographed."
    )
    return "Lock now?", lost, "Lock and destroy" if count else "Lock", "Stay", "lock"


def question(v: View, t: Theme) -> list[Widget]:
    """Return the veil and the dialog. The patient banner stays in sight."""
    portrait = v.layout.portrait
    top = v.dp(bar.PORTRAIT_BAR if portrait else bar.BAR)
    if portrait and bar.has_second_row(v.demo, v.in_ram, v.status):
        top += v.dp(bar.SECOND_ROW)
    if v.flow.patient is not None:
        top += v.dp(banner.PORTRAIT_HEIGHT if portrait else banner.HEIGHT)
    below = Box(0, top, v.layout.width, v.layout.height - top)
    sheet = below.centred(
        min(below.w - v.dp(32), v.dp(580)), min(below.h - v.dp(24), v.dp(330 if portrait else 270))
    )
    title, text, yes, no, icon = words(v)
    inner = sheet.inset(v.dp(24), v.dp(20))
    low, rest = inner.bottom_part(v.dp(132 if portrait else 64), v.dp(14))
    head, body = rest.top_part(v.dp(52), v.dp(10))
    emblem, heading = head.left_part(head.h, v.dp(14))
    if portrait:
        safe, destroy = low.rows(2, v.dp(10))
    else:
        safe, destroy = low.columns(2, v.dp(14))
    return [
        Scrim(box=below, colour=theme.rgb("#060d18", 178)),
        Sheet(box=sheet),
        Emblem(box=emblem, icon=icon, face=t.danger_soft, ink=t.danger),
        Label(box=heading, text=title, kind=Type(theme.BOLD, 22), colour=t.text, shrink=16),
        Paragraph(box=body, text=text, colour=t.text, kind=Type(theme.REGULAR, 17)),
        Button(box=safe, key="question:no", name=no, text=no, style=SECONDARY),
        Button(box=destroy, key="question:yes", name=yes, text=yes, icon=icon, style=DANGER),
    ]


def answer(key: str, tools: Tools) -> e.Event | None:
    """Return the event of a touched answer."""
    if key == "question:yes":
        return e.QuestionConfirmed(tools.mint(), tools.now())
    return e.QuestionDismissed() if key == "question:no" else None
