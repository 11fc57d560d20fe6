"""FOUND_RECEIPT: what the record holds under a receipt, and the two things that can be done about it."""

from __future__ import annotations

from typing import ClassVar

from kiosk import events as e
from kiosk.errors import Problem
from kiosk.model import Filed, Purpose
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.screens.base import Screen, Tools, back_button, footer, hint
from kiosk.touchui.theme import Type
from kiosk.touchui.view import View
from kiosk.touchui.widgets import DANGER_OUTLINE, Button, IconText, Label, LinkButton, Rule, Widget
from kiosk.touchui.widgets.badge import Sheet
from kiosk.touchui.widgets.outcome import Fact, Note, Tone
from kiosk.touchui.written import count_of, date_and_time_of

PURPOSES = {
    Purpose.RECORD: "Care and health record",
    Purpose.TEACHING: "Teaching",
    Purpose.RESEARCH: "Research",
}
_SINGLY = (Purpose.TEACHING, Purpose.RESEARCH)
_FACT = Type(theme.SEMIBOLD, 16)


class FoundReceipt(Screen):
    """Facts on one side, the consent on the other. The photographs themselves are not shown."""

    title: ClassVar[str] = "Receipt found"

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return what was found, and the ways on."""
        filed = v.flow.filed
        if filed is None:
            return []
        widgets, buttons, content = footer(v, content, self.theme)
        widgets += self._buttons(v, buttons, filed)
        area = content.inset(v.dp(16), v.dp(12))
        note = self._note(v, area.top_part(v.dp(50))[0], filed)
        if note is not None:
            widgets.append(note)
            area = area.top_part(v.dp(50), v.dp(10))[1]
        if v.layout.portrait:
            facts, rest = area.top_part(v.dp(190), v.dp(14))
            choices = rest.top_part(min(rest.h, v.dp(236)))[0]
        else:
            facts, choices = area.left_part(round(area.w * 0.42), v.dp(14))
        return [*widgets, *self._facts(v, facts, filed), *self._choices(v, choices, filed)]

    def _note(self, v: View, box: Box, filed: Filed) -> Widget | None:
        if v.flow.problem is Problem.COMMIT_FAILED or not filed.retracted:
            return hint(v, box)
        return hint(v, box) or Note(
            box=box, icon="file-x", text="Marked as entered in error in the record.", tone=Tone.BAD
        )

    def _facts(self, v: View, box: Box, filed: Filed) -> list[Widget]:
        at = "Not known" if filed.at is None else date_and_time_of(filed.at)
        facts = [
            ("Receipt", filed.receipt, Type(theme.ATKINSON_BOLD, 20)),
            ("Taken", at, _FACT),
            ("Operator", filed.operator or "Not known", _FACT),
            ("In the record", _photos(filed), _FACT),
        ]
        cells = box.inset(v.dp(16), v.dp(8)).rows(4, v.dp(2))
        return [
            Sheet(box=box),
            *(
                Fact(box=cell, label=label, value=value, kind=kind)
                for cell, (label, value, kind) in zip(cells, facts, strict=True)
            ),
        ]

    def _choices(self, v: View, box: Box, filed: Filed) -> list[Widget]:
        t = self.theme
        inner = box.inset(v.dp(16), v.dp(6))
        head, rows = inner.top_part(v.dp(26))
        widgets: list[Widget] = [
            Sheet(box=box),
            Label(box=head, text="May be used for", kind=theme.LABEL, colour=t.secondary),
        ]
        for row, purpose in zip(rows.rows(3), Purpose, strict=True):
            widgets += self._row(v, row, purpose, filed)
        return widgets

    def _row(self, v: View, row: Box, purpose: Purpose, filed: Filed) -> list[Widget]:
        t, choice = self.theme, filed.choice(purpose)
        icon, word, ink = {
            True: ("circle-check", "Yes", t.ok),
            False: ("ban", "No", t.danger),
            None: ("info", "Not recorded", t.secondary),
        }[choice]
        words, act = row.left_part(row.w - v.dp(126), v.dp(6))
        upper, lower = words.inset(0, v.dp(7)).rows(2)
        widgets: list[Widget] = [
            Rule(box=Box(row.x, row.y, row.w, v.dp(1))),
            Label(box=upper, text=PURPOSES[purpose], kind=theme.ROW, colour=t.text, shrink=14),
            IconText(box=lower, icon=icon, text=word, colour=ink, kind=theme.LABEL_STRONG, size=17),
        ]
        if choice and purpose in _SINGLY:
            widgets.append(
                LinkButton(
                    box=act.centred(act.w, v.dp(44)),
                    key=f"withdraw-one:{purpose.value}",
                    name=f"Withdraw {PURPOSES[purpose].lower()}",
                    text="Withdraw",
                    icon="hand",
                    colour=t.text,
                    outline=True,
                    enabled=not v.flow.busy,
                )
            )
        return widgets

    def _buttons(self, v: View, box: Box, filed: Filed) -> list[Widget]:
        portrait, idle = v.layout.portrait, not v.flow.busy
        back, rest = back_button(v, box, enabled=idle)
        if portrait:
            wrong, whole = rest.columns(2, v.dp(10))
        else:
            wrong, right = rest.left_part(v.dp(230), v.dp(12))
            whole = right.right_part(v.dp(300))[0]
        sealing = "Sealing…"
        return [
            back,
            Button(
                box=wrong,
                key="wrong-patient",
                name="Wrong patient",
                text="Wrong patient",
                icon="" if portrait else "user-x",
                style=DANGER_OUTLINE,
                kind=Type(theme.SEMIBOLD, 17),
                enabled=idle and not filed.retracted,
            ),
            Button(
                box=whole,
                key="withdraw-all",
                name="Withdraw all consent",
                text=("Withdraw all" if portrait else "Withdraw all consent") if idle else sealing,
                icon="hourglass" if not idle else "" if portrait else "hand",
                style=DANGER_OUTLINE,
                kind=Type(theme.SEMIBOLD, 17),
                enabled=idle and bool(filed.permitted()),
            ),
        ]

    def tap(self, key: str, v: View, tools: Tools) -> e.Event | None:
        """Turn a touch into an event."""
        filed = v.flow.filed
        match key.split(":"):
            case ["withdraw-one", purpose]:
                return e.WithdrawalAsked((Purpose(purpose),))
            case ["withdraw-all"] if filed is not None:
                return e.WithdrawalAsked(filed.permitted())
            case ["wrong-patient"]:
                return e.WrongPatientAsked()
        return super().tap(key, v, tools)


def _photos(filed: Filed) -> str:
    """How many there are, and how many of them count no more."""
    text = count_of(len(filed.photos))
    if not filed.in_error:
        return text
    return f"{text}, {'all' if filed.in_error == len(filed.photos) else filed.in_error} in error"
