"""CONSENT: what the patient is asked, one answer for each purpose, and a signature."""

from __future__ import annotations

from typing import ClassVar

from kiosk import events as e
from kiosk.errors import Problem
from kiosk.model import HumanName, Purpose, Signer
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE
from kiosk.touchui.screens.base import Screen, Tools, back_button, footer
from kiosk.touchui.theme import Type
from kiosk.touchui.view import View
from kiosk.touchui.widgets import (
    DANGER_OUTLINE,
    PRIMARY,
    Button,
    Fill,
    IconText,
    Label,
    LinkButton,
    Paragraph,
    Rule,
    SignaturePad,
    Widget,
    segmented,
    yes_no,
)
from kiosk.touchui.widgets.pad import CLEAR_H, CLEAR_W

OPTIONAL = (Purpose.TEACHING, Purpose.RESEARCH)
_SIGNERS = ((Signer.PATIENT, "Patient"), (Signer.PARENT, "Parent"), (Signer.CARER, "Carer"))


class Consent(Screen):
    """Nothing is preset, and declining is as easy to reach as agreeing."""

    title: ClassVar[str] = "Consent"
    step: ClassVar[int] = 2

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return the question, the answers, the signature and the three ways on."""
        widgets, buttons, content = footer(v, content, self.theme)
        widgets += self._buttons(v, buttons)
        if v.layout.portrait:
            asked = v.dp(330)
            upper, lower = content.top_part(min(asked, content.h - v.dp(200)))
            edge = "bottom"
        else:
            upper, lower = content.left_part(round(content.w * 0.5955))
            edge = "right"
        widgets.append(Fill(box=upper, colour=self.theme.surface, rule=self.theme.divider, edge=edge))
        return [*widgets, *self._question(v, upper), *self._signature(v, lower)]

    def _buttons(self, v: View, box: Box) -> list[Widget]:
        portrait, idle = v.layout.portrait, not v.flow.busy
        back, rest = back_button(v, box, enabled=idle)
        decline, rest = rest.left_part(v.dp(120 if portrait else 196), v.dp(10))
        agree = rest if portrait else rest.right_part(min(rest.w, v.dp(366)))[0]
        short, full = ("Agree", "Agree, take photos")
        return [
            back,
            Button(
                box=decline,
                key="decline",
                name="Patient declines",
                text="Decline" if portrait else "Patient declines",
                icon="ban",
                style=DANGER_OUTLINE,
                kind=Type(theme.SEMIBOLD, 17),
                enabled=idle,
            ),
            Button(
                box=agree,
                key="agree",
                name=full,
                text=(short if portrait else full) if idle else "Sealing…",
                icon="camera" if idle else "hourglass",
                icon_after=True,
                style=PRIMARY,
                kind=theme.BUTTON_BIG,
                enabled=idle,
            ),
        ]

    def _question(self, v: View, box: Box) -> list[Widget]:
        t, margin = self.theme, v.dp(16)
        row_h = v.dp(66 if v.layout.portrait else 62)
        rows = [(Purpose.RECORD, None), *((p, v.flow.choice(p)) for p in OPTIONAL)]
        low, top = box.bottom_part(len(rows) * row_h)
        if not v.layout.portrait:
            low = Box(low.x, low.y, low.w - v.dp(1), low.h)
        inner = Box(top.x + margin, top.y, top.w - 2 * margin, top.h)
        head, text = inner.top_part(
            v.dp(52 if v.layout.portrait else 48), v.dp(2 if v.layout.portrait else 0)
        )
        head = Box(head.x, head.y + v.dp(6), head.w, head.h - v.dp(8))
        text = Box(text.x, text.y, text.w, text.h - v.dp(2))
        if v.flow.problem is not None:
            # Two lines and a gap below them; the paragraph gives way.
            head = Box(head.x, inner.y + v.dp(5), head.w, v.dp(46))
            top_of_text = head.bottom + v.dp(4)
            text = Box(text.x, top_of_text, text.w, text.bottom - top_of_text)
        widgets: list[Widget] = [
            self.heading(v, head, v.consent_text.title),
            Paragraph(box=text, text=v.consent_text.body, colour=t.text, kind=Type(theme.REGULAR, 17)),
        ]
        for row, (purpose, answer) in zip(low.rows(len(rows)), rows, strict=True):
            widgets += self._row(v, row, purpose, answer)
        return widgets

    def _row(self, v: View, row: Box, purpose: Purpose, answer: bool | None) -> list[Widget]:
        t, margin = self.theme, v.dp(16)
        label, explanation = v.consent_text.purposes[purpose]
        inner = Box(row.x + margin, row.y, row.w - 2 * margin, row.h)
        answers, words = inner.right_part(v.dp(128), v.dp(8))
        upper, lower = words.inset(0, v.dp(9)).rows(2)
        missing = v.flow.problem is Problem.CONSENT_CHOICE_MISSING and answer is None
        widgets: list[Widget] = [
            Rule(box=Box(row.x, row.y, row.w, v.dp(1))),
            Label(box=upper.move(0, v.dp(1)), text=label, kind=theme.ROW, colour=t.text, shrink=14),
        ]
        if purpose is Purpose.RECORD:
            widgets.append(
                Label(box=lower, text=explanation, kind=theme.LABEL, colour=t.secondary, shrink=12)
            )
            widgets.append(
                IconText(
                    box=answers,
                    icon="circle-check",
                    text="Required",
                    colour=t.ok,
                    icon_colour=t.primary,
                    kind=Type(theme.SEMIBOLD, 15.5),
                    align=CENTRE,
                )
            )
            return widgets
        if missing:
            widgets.append(
                IconText(
                    box=lower,
                    icon="triangle-alert",
                    text="Choose Yes or No",
                    colour=t.warn,
                    kind=theme.LABEL_STRONG,
                    size=16,
                )
            )
        else:
            widgets.append(
                Label(box=lower, text=explanation, kind=theme.LABEL, colour=t.secondary, shrink=12)
            )
        pair = answers.centred(answers.w, v.dp(46))
        idle = not v.flow.busy
        return [
            *widgets,
            *yes_no(pair, f"choice:{purpose.value}", label, answer, enabled=idle, overlap=v.dp(1.5)),
        ]

    def _signature(self, v: View, box: Box) -> list[Widget]:
        t, idle = self.theme, not v.flow.busy
        strong = theme.FIELD_LABEL
        inner = box.inset(v.dp(16 if v.layout.portrait else 14), 0)
        if not v.layout.portrait:
            inner = Box(inner.x, inner.y + v.dp(8), inner.w, inner.h - v.dp(8 + 14))
            who, inner = inner.top_part(v.dp(22), v.dp(2))
            switch, inner = inner.top_part(v.dp(56), v.dp(10))
        else:
            inner = Box(inner.x, inner.y + v.dp(10), inner.w, inner.h - v.dp(10 + 14))
            line, inner = inner.top_part(v.dp(57), v.dp(6))
            who, switch = line.left_part(v.dp(130), v.dp(12))
        asked, pad = inner.top_part(v.dp(22), v.dp(2))
        wrong = v.flow.problem is Problem.CONSENT_SIGNATURE_MISSING
        signed = bool(v.flow.strokes)
        clear = Box(pad.right - v.dp(CLEAR_W), pad.bottom - v.dp(CLEAR_H), v.dp(CLEAR_W), v.dp(CLEAR_H))
        link = Box(clear.x + v.dp(10), clear.bottom - v.dp(33), clear.w - v.dp(16), v.dp(30))
        return [
            Label(box=who, text="Who is signing?", kind=strong, colour=t.text),
            *segmented(
                switch, "signer", [(s.value, w) for s, w in _SIGNERS], v.flow.signer.value, enabled=idle
            ),
            Label(box=asked, text="Sign with a finger", kind=strong, colour=t.danger if wrong else t.text),
            SignaturePad(
                box=pad,
                key="pad",
                name="Signature",
                strokes=v.flow.strokes,
                live=v.live,
                signer=self._signer(v),
                wrong=wrong,
                enabled=idle,
            ),
            LinkButton(
                box=link,
                hit=clear,
                key="clear",
                name="Clear",
                text="Clear",
                icon="eraser",
                colour=t.action if signed else t.on_disabled,
                kind=Type(theme.SEMIBOLD, 15),
                enabled=idle and signed,
            ),
        ]

    def _signer(self, v: View) -> str:
        patient = v.flow.patient
        if patient is None:
            return ""
        name = printed_name(patient.name)
        signer = v.flow.signer
        return name if signer is Signer.PATIENT else f"{signer.value.capitalize()} of {name}"

    def tap(self, key: str, v: View, tools: Tools) -> e.Event | None:
        """Turn a touch into an event."""
        match key.split(":"):
            case ["choice", purpose, answer]:
                return e.ChoiceMade(Purpose(purpose), answer == "yes")
            case ["signer", signer]:
                return e.SignerChosen(Signer(signer))
            case ["clear"]:
                return e.SignatureCleared()
            case ["agree"]:
                return e.Agreed(tools.mint(), tools.now())
            case ["decline"]:
                return e.Declined(tools.mint(), tools.now())
        return super().tap(key, v, tools)


def printed_name(name: HumanName) -> str:
    """'Ms A. Okonkwo-Smith', as it stands below a signature."""
    initial = f"{name.given[0]}." if name.given else ""
    family = name.family.title() if name.family.isupper() else name.family
    return " ".join(part for part in (name.prefix, initial, family) if part)
