"""IDENTIFY: whose photographs these will be. Scanning is the rule, typing the exception."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

from kiosk import events as e
from kiosk.errors import Problem
from kiosk.flow import Flow
from kiosk.touchui import theme
from kiosk.touchui.draft import TextDraft
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE
from kiosk.touchui.screens.base import Screen, Tools, back_button, footer, hint, prompt
from kiosk.touchui.theme import Type
from kiosk.touchui.view import View
from kiosk.touchui.widgets import (
    PRIMARY,
    SECONDARY,
    Button,
    Fill,
    IconText,
    Label,
    TextField,
    Widget,
    keyboard,
)
from kiosk.touchui.widgets.badge import Emblem
from kiosk.touchui.widgets.numpad import number_pad
from kiosk.touchui.widgets.outcome import Outcome, Tone
from kiosk.touchui.widgets.wristband import WristbandArt

NUMBER_MOST = 32


class Identify(Screen):
    """A picture of what to do, a field, and a number pad; letters are one key away."""

    title: ClassVar[str] = "Patient"
    step: ClassVar[int] = 1
    banner: ClassVar[bool] = False

    def __init__(self) -> None:
        self._number = TextDraft(NUMBER_MOST)
        self._letters = False
        self._asked = ""

    def page(self, flow: Flow) -> Hashable:
        """Letters and digits are two pages: no key may fire on the other's place."""
        return (flow.state, flow.question, self._letters)

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return the page with the number pad, or the one with the keyboard."""
        if self._letters:
            return self._keyboard_page(v, content)
        return self._tall(v, content) if v.layout.portrait else self._wide(v, content)

    # --- number pad ------------------------------------------------------------------------

    def _wide(self, v: View, content: Box) -> list[Widget]:
        left, right = content.left_part(round(content.w * 0.5))
        area = left.inset(v.dp(14), v.dp(12))
        low, area = area.bottom_part(v.dp(62), v.dp(10))
        back, beside = back_button(v, low, enabled=not v.flow.busy)
        right = right.inset(v.dp(16), v.dp(12))
        field, rest = right.top_part(v.dp(62), v.dp(9))
        find, pad = rest.bottom_part(v.dp(66), v.dp(9))
        return [
            Fill(box=left, colour=self.theme.surface, rule=self.theme.divider, edge="right"),
            *self._scan(v, area),
            back,
            self._receipt(v, beside.left_part(min(beside.w, v.dp(172)))[0]),
            self._field(v, field),
            *number_pad(v.layout, pad, enabled=not v.flow.busy),
            self._find(v, find),
        ]

    def _tall(self, v: View, content: Box) -> list[Widget]:
        widgets, buttons, content = footer(v, content, self.theme)
        back, rest = back_button(v, buttons, enabled=not v.flow.busy)
        receipt, rest = rest.left_part(v.dp(128), v.dp(10))
        low, upper = content.bottom_part(v.dp(62 + 10 + 4 * 68 + 3 * 7 + 28))
        inner = low.inset(v.dp(14), v.dp(14))
        field, pad = inner.top_part(v.dp(62), v.dp(10))
        area = upper.inset(v.dp(16), v.dp(12))
        return [
            *widgets,
            back,
            self._receipt(v, receipt),
            self._find(v, rest),
            Fill(box=upper, colour=self.theme.surface, rule=self.theme.divider, edge="bottom"),
            *self._scan(v, area),
            self._field(v, field),
            *number_pad(v.layout, pad, enabled=not v.flow.busy),
        ]

    def _scan(self, v: View, area: Box) -> list[Widget]:
        """The picture, and below it what to do or what went wrong."""
        t = self.theme
        offered: list[Widget] = []
        if v.flow.station.has_list and v.flow.problem is not Problem.PATIENT_AMBIGUOUS:
            low, area = area.bottom_part(v.dp(62), v.dp(10))
            offered = [self._list(v, low)]
        problem = hint(v, area.bottom_part(min(area.h, v.dp(88)))[0])
        # The list's button takes the place of the line that says what else can be done.
        words, art = area.bottom_part(v.dp(88 if problem is not None or not offered else 44), v.dp(10))
        picture: Widget = WristbandArt(box=art, active=not v.flow.busy)
        if v.flow.problem is Problem.PATIENT_AMBIGUOUS:
            picture = Outcome(
                box=art.centred(art.w, min(art.h, v.dp(150))),
                icon="circle-x",
                title="Stop",
                text="",
                tone=Tone.BAD,
                centred=True,
                size=min(84, art.h / v.layout.scale - 60),
            )
        if problem is not None:
            return [picture, problem, *offered]
        upper, lower = (words, None) if offered else words.rows(2)
        if v.flow.busy:
            return [
                picture,
                IconText(
                    box=upper,
                    icon="hourglass",
                    text="Looking up…",
                    colour=t.text,
                    icon_colour=t.action,
                    kind=Type(theme.BOLD, 24),
                    align=CENTRE,
                    size=26,
                ),
                *self._below(v, lower, "Asking the patient list"),
                *offered,
            ]
        return [
            picture,
            Label(
                box=upper, text="Scan the wristband", kind=Type(theme.BOLD, 26), colour=t.text, align=CENTRE
            ),
            *self._below(v, lower, "or type the number"),
            *offered,
        ]

    def _below(self, v: View, box: Box | None, text: str) -> list[Widget]:
        if box is None:
            return []
        kind = Type(theme.REGULAR, 17)
        line = box.top_part(v.dp(30))[0]
        return [Label(box=line, text=text, kind=kind, colour=self.theme.secondary, align=CENTRE)]

    def _list(self, v: View, box: Box) -> Widget:
        return Button(
            box=box,
            key="list",
            name="Today's list",
            text="Today's list",
            icon="calendar-days",
            style=SECONDARY,
            enabled=not v.flow.busy,
        )

    def _field(self, v: View, box: Box) -> Widget:
        return TextField(
            box=box,
            key="field",
            name="Patient number",
            text=grouped(self._number.text),
            placeholder="Type the number",
            icon="keyboard",
            enabled=not v.flow.busy,
        )

    def _find(self, v: View, box: Box) -> Widget:
        idle = not v.flow.busy
        words = "Try again" if self._can_retry(v) else "Find patient"
        return Button(
            box=box,
            key="find",
            name=words,
            text=words if idle else "Looking up…",
            icon="hourglass" if not idle else "refresh-cw" if self._can_retry(v) else "arrow-right",
            icon_after=idle and not self._can_retry(v),
            style=PRIMARY,
            kind=theme.BUTTON_BIG,
            enabled=idle and self._askable(v),
        )

    def _receipt(self, v: View, box: Box) -> Widget:
        """The quiet way to what is in the record already."""
        return Button(
            box=box,
            key="find-receipt",
            name="Find receipt",
            text="Receipt" if v.layout.portrait else "Find receipt",
            icon="file-check",
            style=SECONDARY,
            kind=theme.BUTTON,
            enabled=not v.flow.busy,
        )

    def _askable(self, v: View) -> bool:
        """Something is typed, and it is not the number that has just been found to be two patients'."""
        text = self._number.text.strip()
        return bool(text) and not (v.flow.problem is Problem.PATIENT_AMBIGUOUS and text == self._asked)

    def _can_retry(self, v: View) -> bool:
        """The list did not answer: the same way on is now called 'Try again'."""
        return v.flow.problem is Problem.LOOKUP_UNREACHABLE and bool(self._number.text.strip())

    # --- keyboard --------------------------------------------------------------------------

    def _keyboard_page(self, v: View, content: Box) -> list[Widget]:
        t, idle, portrait = self.theme, not v.flow.busy, v.layout.portrait
        widgets: list[Widget] = []
        if portrait:
            widgets, buttons, content = footer(v, content, t)
            widgets.append(back_button(v, buttons, enabled=idle)[0])
        area = content.inset(v.dp(14), v.dp(10))
        keys_h = v.dp(400) if portrait else min(v.dp(330), area.h - v.dp(124))
        keys, area = area.bottom_part(keys_h, v.dp(10))
        row, area = area.bottom_part(v.dp(62), v.dp(8))
        if not portrait:
            back, row = back_button(v, row, enabled=idle)
            widgets.append(back)
        digits, field = row.right_part(v.dp(84), v.dp(10))
        above, spare = area.bottom_part(min(area.h, v.dp(56 if portrait else 48)))
        if portrait:
            side = min(spare.h - v.dp(16), v.dp(130))
            widgets.append(
                Emblem(box=spare.centred(side, side), icon="keyboard", face=t.action_soft, ink=t.action)
            )
        text = "Looking up…" if v.flow.busy else "Type the patient's number"
        widgets.append(hint(v, above) or prompt(v, above, text))
        widgets.append(self._field(v, field))
        widgets.append(
            Button(box=digits, key="digits", name="123", text="123", style=SECONDARY, enabled=idle)
        )
        ready = self._askable(v)
        return [
            *widgets,
            *keyboard(v.layout, keys, abc=self._number.abc, enabled=idle, ok=ready, ok_text="Find patient"),
        ]

    # --- what is typed ---------------------------------------------------------------------

    def tap(self, key: str, v: View, tools: Tools) -> e.Event | None:
        """Keys go into the number."""
        match key.split(":", 1):
            case ["find"] | ["type", "ok"]:
                return self.enter(v, tools)
            case ["letters"]:
                self._letters = True
            case ["digits"]:
                self._letters = False
            case ["back"] if self._letters:
                self._letters = False
            case ["type", name]:
                self._number.key(name)
            case _:
                return super().tap(key, v, tools)
        return None

    def typed(self, text: str, v: View) -> None:
        """A keyboard does what the keys on the screen do."""
        if not v.flow.busy:
            self._number.add(text)

    def erase(self, v: View) -> None:
        """Backspace."""
        if not v.flow.busy:
            self._number.erase()

    def enter(self, v: View, tools: Tools) -> e.Event | None:
        """Hand the number over. It stays in the field, to be corrected or asked again."""
        if v.flow.busy or not self._askable(v):
            return None
        self._asked = self._number.text.strip()
        return e.Typed(self._asked)


def grouped(text: str) -> str:
    """Group up to ten digits 3-3-4 as they are typed; anything else stays as it is."""
    if not text.isdigit() or len(text) > 10:
        return text
    return " ".join(part for part in (text[:3], text[3:6], text[6:]) if part)
