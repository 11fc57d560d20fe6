"""DECLINED: nothing was photographed, and where the record of the refusal is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kiosk.flow import Flow
from kiosk.model import Stage
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.screens.base import Screen, footer
from kiosk.touchui.view import View
from kiosk.touchui.widgets import ACTION, PRIMARY, SECONDARY, Button, Hint, Widget
from kiosk.touchui.widgets.outcome import Note, Outcome, Tone


@dataclass(frozen=True, slots=True)
class Wording:
    """What is said of a refusal. `noun` stands in sentences; `unfinished` is `text` until it is sealed."""

    icon: str
    title: str
    text: str
    unfinished: str
    noun: str


class Refused(Screen):
    """Shared by DECLINED and WITHDRAWN: what happened, and an honest line about the record."""

    step: ClassVar[int] = 5
    words: ClassVar[Wording]

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return what happened, where its record is, and the ways on."""
        widgets, low, content = footer(v, content, self.theme)
        words, flow, portrait = self.words, v.flow, v.layout.portrait
        head, place = ending(v, content)
        failed = flow.refusal is not None and not flow.busy
        widgets.append(
            Outcome(
                box=head,
                icon=words.icon,
                title=words.title,
                text=words.unfinished if flow.refusal is not None else words.text,
                tone=Tone.CALM,
                centred=True,
                size=84 if portrait else 72,
            )
        )
        if flow.problem is not None:
            bad = flow.stage is Stage.PARKED
            widgets.append(Hint(box=place, text=flow.problem.sentence, bad=bad))
        else:
            icon, text, tone = record_state(flow, words.noun)
            widgets.append(Note(box=place, icon=icon, text=text, tone=tone))
        return [*widgets, *self._buttons(v, low, failed=failed)]

    def _buttons(self, v: View, low: Box, *, failed: bool) -> list[Widget]:
        portrait, idle = v.layout.portrait, not v.flow.busy
        done = low if portrait else low.right_part(v.dp(250))[0]
        widgets: list[Widget] = []
        if failed:
            if portrait:
                done, retry = low.columns(2, v.dp(10))
            else:
                done, rest = low.left_part(v.dp(180))
                retry = rest.right_part(v.dp(250))[0]
            widgets.append(
                Button(
                    box=retry,
                    key="retry",
                    name="Try again",
                    text="Try again",
                    icon="refresh-cw",
                    style=PRIMARY,
                    kind=theme.BUTTON_BIG,
                    enabled=idle,
                )
            )
        widgets.append(
            Button(
                box=done,
                key="done",
                name="Done",
                text="Done",
                icon="check",
                style=SECONDARY if failed else ACTION,
                kind=theme.BUTTON_BIG,
                enabled=idle,
            )
        )
        return widgets


class Declined(Refused):
    """The patient said no."""

    title: ClassVar[str] = "No photographs"
    words: ClassVar[Wording] = Wording(
        icon="ban",
        title="No photographs",
        text="Nothing was photographed. Care is not affected.",
        unfinished="Nothing was photographed. Care is not affected.",
        noun="refusal",
    )


def ending(v: View, area: Box, *, noted: bool = True) -> tuple[Box, Box]:
    """Return the places of an outcome and of the note below it, together in the middle of the area."""
    portrait = v.layout.portrait
    head, gap, note = (v.dp(n) for n in ((250, 16, 76) if portrait else (184, 12, 58)))
    inner = area.inset(v.dp(20), v.dp(12))
    group = inner.centred(inner.w, min(inner.h, head + (gap + note if noted else 0)))
    # A little above the middle looks like the middle.
    group = group.move(0, -(group.y - inner.y) // 4)
    above, rest = group.top_part(min(head, group.h - (gap + note if noted else 0)), gap)
    low = rest.top_part(note)[0]
    return above, low.centred(min(low.w, v.dp(640)), low.h)


def record_state(flow: Flow, noun: str) -> tuple[str, str, Tone]:
    """Icon, sentence and tone: where the record of the refusal is."""
    if flow.busy:
        return "hourglass", f"Sealing the {noun}…", Tone.MOVING
    if flow.refusal is not None:
        return "triangle-alert", f"The {noun} is not recorded yet. Try again.", Tone.PENDING
    match flow.stage:
        case Stage.WAITING:
            text = f"The {noun} waits to be recorded. Keep the power on."
            return "clock", text, Tone.PENDING
        case Stage.SENDING:
            return "cloud-upload", f"Sending the {noun} to the record…", Tone.MOVING
        case Stage.PROVING:
            return "file-check", f"Checking that the {noun} arrived…", Tone.MOVING
        case Stage.DELIVERED:
            return "circle-check", f"The {noun} is recorded.", Tone.GOOD
    return "triangle-alert", f"The {noun} is not in the record. Call IT; keep the power on.", Tone.BAD
