"""CORRECTION: where a withdrawal or a wrong-patient correction is on its way, never more than is proven."""

from __future__ import annotations

from typing import ClassVar

from kiosk.flow import Flow
from kiosk.model import Act, Stage
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.screens.base import Screen, footer
from kiosk.touchui.screens.declined import ending
from kiosk.touchui.view import View
from kiosk.touchui.widgets import ACTION, Button, Hint, Widget
from kiosk.touchui.widgets.outcome import Note, Outcome, Tone


class CorrectionScreen(Screen):
    """What was decided, whether the record says so yet, and what remains to be done."""

    title: ClassVar[str] = "Correction"

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return how it stands, and Done."""
        widgets, low, content = footer(v, content, self.theme)
        flow, portrait = v.flow, v.layout.portrait
        head, place = ending(v, content)
        icon, title, text, tone = headline(flow)
        widgets.append(
            Outcome(
                box=head,
                icon=icon,
                title=title,
                text=text,
                tone=tone,
                centred=True,
                size=84 if portrait else 72,
            )
        )
        if flow.problem is not None:
            widgets.append(Hint(box=place, text=flow.problem.sentence, bad=flow.stage is Stage.PARKED))
        else:
            widgets.append(self._note(flow, place))
        return [
            *widgets,
            Button(
                box=low if portrait else low.right_part(v.dp(250))[0],
                key="done",
                name="Done",
                text="Done",
                icon="check",
                style=ACTION,
                kind=theme.BUTTON_BIG,
                enabled=not flow.busy,
            ),
        ]

    def _note(self, flow: Flow, place: Box) -> Widget:
        if flow.stage is not Stage.DELIVERED:
            text = "You can leave: sending goes on by itself."
            return Note(box=place, icon="info", text=text, tone=Tone.MOVING)
        reference = f" Reference {flow.receipt.id}." if flow.receipt is not None else ""
        text = f"The record gave back the new state.{reference}"
        return Note(box=place, icon="circle-check", text=text, tone=Tone.GOOD)


def headline(flow: Flow) -> tuple[str, str, str, Tone]:
    """Icon, title, sentence and tone of a committed correction."""
    wrong = flow.act is Act.WRONG_PATIENT
    noun = "correction" if wrong else "withdrawal"
    match flow.stage:
        case Stage.WAITING:
            text = f"The {noun} is sealed and waits to be sent. Keep the power on."
            return "clock", "Not in the record yet", text, Tone.PENDING
        case Stage.SENDING:
            return "cloud-upload", f"Sending the {noun}", "Not in the record yet.", Tone.MOVING
        case Stage.PROVING:
            return "file-check", "Checking that it arrived", "Reading back. Not proven yet.", Tone.MOVING
        case Stage.DELIVERED:
            if wrong:
                text = "Take the photographs again for the right patient, or ask IT to re-file them."
                return "file-x", "Marked as the wrong patient", text, Tone.GOOD
            return "hand", "Consent withdrawn", "It counts from now on.", Tone.GOOD
    text = f"The {noun} is kept here, sealed. A part of it may be in the record."
    return "triangle-alert", f"The {noun} stopped", text, Tone.BAD
