"""The question that is open over a screen. The safe answer stands first and is the easy one."""

from __future__ import annotations

from kiosk import events as e
from kiosk.flow import Question
from kiosk.model import Act, Purpose
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.screens.base import Tools
from kiosk.touchui.theme import Theme, Type
from kiosk.touchui.view import View
from kiosk.touchui.widgets import DANGER, SECONDARY, Button, Label, Paragraph, Scrim, Widget, banner, bar
from kiosk.touchui.widgets.badge import Emblem, Sheet
from kiosk.touchui.written import count_of


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
        case Question.CORRECT:
            return _correcting(v)
        case Question.CORRECT_SURE:
            if v.flow.act is Act.WRONG_PATIENT:
                text = "Is the patient above the wrong one?"
                return (
                    "Are you sure?",
                    f"{text} {_UNDER_YOUR_NAME}",
                    "Yes, wrong patient",
                    "Go back",
                    "user-x",
                )
            text = "Consent stays as it is until you say yes."
            return "Are you sure?", f"{text} {_UNDER_YOUR_NAME}", "Yes, withdraw", "Keep consent", "hand"
    lost = (
        f"{photos} not sent will be destroyed." if count else "This session ends. Nothing was photographed."
    )
    return "Lock now?", lost, "Lock and destroy" if count else "Lock", "Stay", "lock"


_UNDER_YOUR_NAME = "It goes into the record under your name and cannot be taken back on this kiosk."


def _correcting(v: View) -> tuple[str, str, str, str, str]:
    """What is to be done about a found receipt, in plain words."""
    count = len(v.flow.filed.photos) if v.flow.filed is not None else 0
    photos, are = count_of(count), "is" if count == 1 else "are"
    if v.flow.act is Act.WRONG_PATIENT:
        things = f"{photos}, the form" if count else "The form"
        text = (
            f"{things} and the consent are marked as entered in error. This kiosk keeps no "
            "photograph: take them again for the right patient, or ask IT to re-file them."
        )
        return "Wrong patient?", text, "Mark as wrong", "Go back", "user-x"
    if Purpose.RECORD not in v.flow.withdrawing:
        what = " and ".join(p.value for p in v.flow.withdrawing)
        text = f"From now on they may not be used for {what}. {photos} {are} kept in the record for care."
        return f"Withdraw {what}?", text, f"Withdraw {what}", "Keep consent", "hand"
    if v.flow.station.retracts:
        then = f"{photos} {are} marked as entered in error, so that nobody uses them."
    else:
        then = f"{photos} {'stays' if count == 1 else 'stay'} in the record, as this hospital has decided."
    return (
        "Withdraw all consent?",
        f"From now on nothing is allowed. {then}",
        "Withdraw all",
        "Keep consent",
        "hand",
    )


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
