"""CONFIRM_PATIENT: the found patient, large enough to compare with a wristband and a face."""

from __future__ import annotations

from typing import ClassVar

from kiosk.model import Match, Patient
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.screens.base import Screen, footer
from kiosk.touchui.view import View
from kiosk.touchui.widgets import PRIMARY, SECONDARY, Button, Widget
from kiosk.touchui.widgets.identity import PatientCard
from kiosk.touchui.widgets.outcome import Note, Tone


class ConfirmPatient(Screen):
    """Who was found, and two answers."""

    title: ClassVar[str] = "Patient"
    step: ClassVar[int] = 1
    banner: ClassVar[bool] = False

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return the question, the patient, what to ask, and the answers."""
        t, portrait = self.theme, v.layout.portrait
        widgets, buttons, content = footer(v, content, t)
        area = content.inset(v.dp(16), v.dp(12))
        head, area = area.top_part(v.dp(44), v.dp(8))
        widgets.append(self.heading(v, head, "Is this the patient?"))
        if v.flow.patient is not None:
            notes = notes_on(v.flow.patient)
            low = v.dp(64) if portrait or len(notes) > 1 else v.dp(52)
            gap = v.dp(10)
            if portrait:
                places, area = area.bottom_part(len(notes) * (low + gap) - gap, gap)
                boxes = places.rows(len(notes), gap)
            else:
                places, area = area.bottom_part(low, gap)
                boxes = places.columns(len(notes), gap)
            widgets.append(PatientCard(box=area, patient=v.flow.patient, today=v.today))
            widgets += [
                Note(box=box, icon=icon, text=text, tone=tone)
                for box, (icon, text, tone) in zip(boxes, notes, strict=True)
            ]
        if portrait:
            reject, confirm = buttons.left_part(round(buttons.w * 0.46), v.dp(10))
        else:
            reject, rest = buttons.left_part(v.dp(236), v.dp(12))
            confirm = rest.right_part(min(rest.w, v.dp(366)))[0]
        idle = not v.flow.busy
        return [
            *widgets,
            Button(
                box=reject,
                key="reject",
                name="No, someone else",
                text="No, someone else",
                icon="" if portrait else "user-x",
                style=SECONDARY,
                enabled=idle,
            ),
            Button(
                box=confirm,
                key="confirm",
                name="Yes, this patient",
                text="Yes, this patient",
                icon="user-check",
                style=PRIMARY,
                kind=theme.BUTTON_BIG,
                enabled=idle,
            ),
        ]


def notes_on(patient: Patient) -> list[tuple[str, str, Tone]]:
    """What has to be seen or done before the answer: icon, sentence, tone."""
    notes = []
    if patient.merged_from is not None:
        where = " on the wristband" if patient.match is Match.WRISTBAND else ""
        merged = f"Number {patient.merged_from.display()}{where} was merged into this record."
        notes.append(("merge", merged, Tone.PENDING))
    if patient.deceased:
        dead = "The record says that this patient has died. Compare every line with the wristband."
        return [*notes, ("triangle-alert", dead, Tone.BAD)]
    ask = "Ask the patient to say their full name and date of birth."
    return [*notes, ("user-check", ask, Tone.MOVING)]
