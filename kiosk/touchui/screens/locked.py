"""LOCKED: calm, tells nothing of any patient, and says what still waits to be sent."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from kiosk.model import QueueStatus
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE
from kiosk.touchui.screens.base import Screen
from kiosk.touchui.theme import DARK, Theme, Type, rgb
from kiosk.touchui.view import View
from kiosk.touchui.widgets import ACTION, Button, Hint, Label, Widget
from kiosk.touchui.widgets.badge import Emblem, TapArea

NIGHT = replace(
    DARK,
    name="night",
    page=rgb("#0b2545"),
    surface=rgb("#12335c"),
    bar=rgb("#0b2545"),
    divider=rgb("#284b78"),
    secondary=rgb("#c5d3e4"),
    warn_soft=rgb("#2b3350"),
    danger_soft=rgb("#3a2a4a"),
)


class Locked(Screen):
    """The privacy screen."""

    banner: ClassVar[bool] = False

    @property
    def theme(self) -> Theme:
        """Night blue."""
        return NIGHT

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return an emblem, two lines, one button, and what is worth knowing below."""
        t = self.theme
        notes = self._notes(v)
        note_h = v.dp(62 if v.layout.portrait else 52 if len(notes) < 3 else 46)
        column = content.inset(v.dp(24), v.dp(16))
        widgets: list[Widget] = [
            TapArea(box=content, key="sign-in", name="Touch to sign in", enabled=not v.flow.busy)
        ]
        for text, bad, icon in reversed(notes):
            low, column = column.bottom_part(note_h, v.dp(8))
            place = low.centred(min(low.w, v.dp(620)), low.h)
            widgets.append(Hint(box=place, text=text, bad=bad, icon=icon))
        tall = v.layout.portrait
        emblem, title, line, button = (v.dp(n) for n in ((120, 44, 34, 78) if tall else (76, 40, 28, 62)))
        gaps = v.dp(28 if tall else 10)
        stack = column.centred(min(column.w, v.dp(520)), emblem + title + line + button + 2 * gaps)
        part, stack = stack.top_part(emblem, gaps)
        widgets.append(Emblem(box=part.centred(emblem, emblem), icon="lock"))
        part, stack = stack.top_part(title)
        first = "Closing the session…" if v.flow.busy else "Scan your badge"
        widgets.append(Label(box=part, text=first, kind=theme.DISPLAY, colour=t.text, align=CENTRE))
        part, stack = stack.top_part(line, gaps)
        second = "The screen forgets this patient" if v.flow.busy else "or touch to sign in"
        widgets.append(
            Label(
                box=part,
                text=second,
                kind=Type(theme.REGULAR, 18),
                colour=t.secondary,
                align=CENTRE,
                shrink=13,
            )
        )
        if not v.flow.busy:
            widgets.append(
                Button(
                    box=stack.centred(v.dp(260), button),
                    key="sign-in",
                    name="Sign in",
                    text="Sign in",
                    icon="log-in",
                    style=ACTION,
                    kind=theme.BUTTON_BIG,
                )
            )
        return widgets

    def _notes(self, v: View) -> list[tuple[str, bool, str]]:
        """Sentence, whether it is bad news, icon."""
        notes: list[tuple[str, bool, str]] = []
        problem = v.flow.problem or v.notice
        if problem is not None:
            notes.append((problem.sentence, False, "info"))
        notes += queue_truth(v.status)
        return notes


def queue_truth(status: QueueStatus) -> list[tuple[str, bool, str]]:
    """What is not in the record yet, in words: sentence, whether it is bad news, icon."""
    lines: list[tuple[str, bool, str]] = []
    if status.waiting:
        sets, verb = ("1 set", "is") if status.waiting == 1 else (f"{status.waiting} sets", "are")
        lines.append(
            (f"{sets} of photographs {verb} not in the record yet. Keep the power on.", False, "cloud-upload")
        )
    if status.parked:
        sets, verb = ("1 set", "needs") if status.parked == 1 else (f"{status.parked} sets", "need")
        lines.append(
            (f"{sets} of photographs {verb} help from IT. Keep the power on.", True, "triangle-alert")
        )
    return lines
