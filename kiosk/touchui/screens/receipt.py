"""RECEIPT: where the photographs are on their way, never more than is proven."""

from __future__ import annotations

from typing import ClassVar

from kiosk.errors import Problem
from kiosk.flow import Flow
from kiosk.model import Stage
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.screens.base import Screen, footer
from kiosk.touchui.theme import Type
from kiosk.touchui.view import View
from kiosk.touchui.widgets import ACTION, Button, Hint, IconText, Widget
from kiosk.touchui.widgets.badge import Sheet
from kiosk.touchui.widgets.outcome import Fact, Outcome, Step, Stepper, Tone
from kiosk.touchui.written import count_of, date_and_time_of

CHECKED_BAD = frozenset({Problem.NOT_PROVEN, Problem.CONFLICT})
"""Troubles that came after the server had taken the photographs."""


class ReceiptScreen(Screen):
    """Head line, stepper, and the proof or the trouble."""

    title: ClassVar[str] = "Receipt"
    step: ClassVar[int] = 5

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return what is known of the delivery, and Done."""
        widgets, low, content = footer(v, content, self.theme)
        area = content.inset(v.dp(20), v.dp(28 if v.layout.portrait else 14))
        portrait = v.layout.portrait
        icon, title, text, tone = headline(v.flow)
        head, area = area.top_part(v.dp(170 if portrait else 76), v.dp(12))
        sheet, area = area.top_part(v.dp(100 if portrait else 88), v.dp(14))
        widgets += [
            Outcome(box=head, icon=icon, title=title, text=text, tone=tone, centred=portrait),
            Sheet(box=sheet),
            Stepper(box=sheet.inset(v.dp(8), v.dp(14)), steps=steps(v.flow)),
            *self._below(v, area),
        ]
        done = low if portrait else low.right_part(v.dp(250))[0]
        widgets.append(
            Button(
                box=done,
                key="done",
                name="Done",
                text="Done",
                icon="check",
                style=ACTION,
                kind=theme.BUTTON_BIG,
                enabled=not v.flow.busy,
            )
        )
        return widgets

    def _below(self, v: View, area: Box) -> list[Widget]:
        flow, portrait = v.flow, v.layout.portrait
        if flow.stage is Stage.DELIVERED and flow.receipt is not None:
            receipt = flow.receipt
            facts = [
                ("Receipt", receipt.id, Type(theme.ATKINSON_BOLD, 26)),
                ("In the record", count_of(receipt.photos), theme.ROW),
                ("Proven at", date_and_time_of(receipt.delivered_at), theme.ROW),
            ]
            sheet = area.top_part(v.dp(208 if portrait else 78))[0]
            inner = sheet.inset(v.dp(20), v.dp(12))
            cells = inner.rows(3, v.dp(8)) if portrait else inner.columns(3, v.dp(16))
            return [
                Sheet(box=sheet),
                *(
                    Fact(box=cell, label=label, value=value, kind=kind)
                    for cell, (label, value, kind) in zip(cells, facts, strict=True)
                ),
            ]
        place, area = area.top_part(v.dp(72 if portrait else 50), v.dp(8))
        if flow.problem is not None:
            parked = flow.stage is Stage.PARKED
            trouble: list[Widget] = [Hint(box=place, text=flow.problem.sentence, bad=parked)]
        else:
            trouble, area = [], place
        if flow.stage in (Stage.PARKED, Stage.DELIVERED):
            return trouble
        return [
            *trouble,
            IconText(
                box=area.top_part(v.dp(28))[0],
                icon="info",
                text="You can leave: sending goes on by itself.",
                colour=self.theme.text,
                icon_colour=self.theme.action,
                kind=Type(theme.MEDIUM, 16),
            ),
        ]


def headline(flow: Flow) -> tuple[str, str, str, Tone]:
    """Icon, title, sentence and tone of a committed set of photographs."""
    photos = count_of(len(flow.photos))
    match flow.stage:
        case Stage.WAITING:
            text = f"{photos} waiting to be sent. Keep the power on."
            return "cloud-upload", "Not in the record yet", text, Tone.PENDING
        case Stage.SENDING:
            return "cloud-upload", "Sending", f"{photos}, not in the record yet.", Tone.MOVING
        case Stage.PROVING:
            text = "Reading back what the record holds. Not proven yet."
            return "file-check", "Checking that it arrived", text, Tone.MOVING
        case Stage.DELIVERED:
            return "badge-check", "In the record", "The record gave back exactly what was sent.", Tone.GOOD
    text = (
        f"{photos} lost. Take them again."
        if flow.problem is Problem.KEY_LOST
        else f"{photos} kept here, sealed."
    )
    return "triangle-alert", "Not in the record", text, Tone.BAD


def steps(flow: Flow) -> tuple[Step, ...]:
    """Sealed, Sent, Checked, In the record: green only when all of it is proven."""
    words = (
        ("Sealed", "lock"),
        ("Sent", "send"),
        ("Checked", "file-check"),
        ("In the record", "badge-check"),
    )
    # The stop that is not passed yet says so: nobody shall read "Sent" of what is waiting.
    done, tone, icon, doing = {
        Stage.WAITING: (1, Tone.PENDING, "clock", "Waiting to send"),
        Stage.SENDING: (1, Tone.MOVING, "cloud-upload", "Sending"),
        Stage.PROVING: (2, Tone.MOVING, "file-check", "Checking"),
        Stage.DELIVERED: (4, Tone.GOOD, "check", ""),
        Stage.PARKED: (1, Tone.BAD, "triangle-alert", "Stopped"),
    }[flow.stage]
    if flow.stage is Stage.PARKED and flow.problem in CHECKED_BAD:
        done, doing = 2, "Check failed"
    passed = Tone.GOOD if flow.stage is Stage.DELIVERED else Tone.CALM
    line: list[Step] = []
    for i, (word, own) in enumerate(words):
        if i < done:
            line.append(Step(word=word, icon="check", tone=passed))
        elif i == done:
            line.append(Step(word=doing, icon=icon, tone=tone))
        else:
            line.append(Step(word=word, icon=own))
    return tuple(line)
