"""FAULT: what went wrong, what is safe, and what can be done."""

from __future__ import annotations

from typing import ClassVar

from kiosk.errors import Problem
from kiosk.flow import Flow, State
from kiosk.touchui.geometry import Box
from kiosk.touchui.screens.base import Screen, footer
from kiosk.touchui.screens.declined import ending
from kiosk.touchui.view import View
from kiosk.touchui.widgets import ACTION, PRIMARY, SECONDARY, Button, Widget
from kiosk.touchui.widgets.outcome import Note, Outcome, Tone
from kiosk.touchui.written import count_of

CLOSING = (State.RECEIPT, State.DECLINED, State.WITHDRAWN)
"""Where the session was over when the trouble came."""
END = ("done", "End session", "power")
FINISH = ("finish", "Send what was kept", "send")
AGAIN = ("retry", "Try again", "refresh-cw")
"""Key, name and icon of the ways on."""


class Fault(Screen):
    """One sentence, one fact about the photographs, and up to three ways on."""

    title: ClassVar[str] = "Stopped"

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return the sentence, what became of the photographs, and the ways on."""
        widgets, low, content = footer(v, content, self.theme)
        flow, portrait = v.flow, v.layout.portrait
        area = content
        if portrait and kept(flow):
            lower, area = content.bottom_part(v.dp(90))
            widgets.append(self._button(v, lower.inset(v.dp(12)), FINISH, SECONDARY))
        note = safe_note(flow)
        head, place = ending(v, area, noted=note is not None)
        title, _, text = (flow.problem or Problem.INTERNAL).sentence.partition(". ")
        widgets.append(
            Outcome(
                box=head,
                icon="triangle-alert",
                title=f"{title}." if text else title,
                text=text,
                tone=Tone.BAD if over(flow) else Tone.PENDING,
                centred=True,
                size=84 if portrait else 72,
            )
        )
        if note is not None:
            widgets.append(Note(box=place, icon=note[0], text=note[1], tone=note[2]))
        return [*widgets, *self._ways(v, low)]

    def _ways(self, v: View, low: Box) -> list[Widget]:
        again = not over(v.flow)
        ways = [(END, SECONDARY if again else ACTION)]
        if kept(v.flow) and not v.layout.portrait:
            ways.append((FINISH, SECONDARY))
        if again:
            ways.append((AGAIN, PRIMARY))
        alone = len(ways) == 1 and not v.layout.portrait
        cells = [low.right_part(v.dp(250))[0]] if alone else low.columns(len(ways), v.dp(12))
        return [self._button(v, cell, way, style) for cell, (way, style) in zip(cells, ways, strict=True)]

    def _button(self, v: View, box: Box, way: tuple[str, str, str], style: str) -> Widget:
        key, name, icon = way
        return Button(box=box, key=key, name=name, text=name, icon=icon, style=style, enabled=not v.flow.busy)


def over(flow: Flow) -> bool:
    """Whether there is no session to go back to."""
    gone = flow.problem is Problem.SESSION_GONE or flow.resume in CLOSING
    return gone or flow.consent is None or flow.site is None


def kept(flow: Flow) -> int:
    """How many photographs are sealed and could still be sent."""
    return 0 if flow.problem is Problem.SESSION_GONE or flow.resume in CLOSING else len(flow.photos)


def safe_note(flow: Flow) -> tuple[str, str, Tone] | None:
    """Icon, sentence and tone: what became of the photographs, or None where there were none."""
    if kept(flow):
        verb = "is" if kept(flow) == 1 else "are"
        return "shield-check", f"{count_of(kept(flow))} {verb} kept, sealed and safe.", Tone.MOVING
    if flow.resume is State.RECEIPT:
        return "cloud-upload", "The photographs are sealed. Sending goes on by itself.", Tone.PENDING
    if flow.resume in (State.DECLINED, State.WITHDRAWN):
        return "file-x", "The patient's answer was not recorded. Write it in the notes.", Tone.PENDING
    return None
