"""SIGN_IN: the badge (scanned, or its number typed), then the PIN."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

from kiosk import events as e
from kiosk.flow import Flow
from kiosk.touchui import theme
from kiosk.touchui.draft import TextDraft
from kiosk.touchui.geometry import Box
from kiosk.touchui.screens.base import Screen, Tools, back_button, footer, hint, prompt
from kiosk.touchui.theme import Type
from kiosk.touchui.view import View
from kiosk.touchui.widgets import Dots, Label, TextField, Widget, keyboard, pin_pad
from kiosk.touchui.widgets.badge import Emblem

PIN_LEAST, PIN_MOST, NUMBER_MOST = 4, 12, 24


class SignIn(Screen):
    """Two pages: who are you, and prove it."""

    title: ClassVar[str] = "Sign in"
    banner: ClassVar[bool] = False

    def __init__(self) -> None:
        self._pin = ""
        self._number = TextDraft(NUMBER_MOST)

    def page(self, flow: Flow) -> Hashable:
        """The PIN is a page of its own."""
        return (flow.state, flow.question, bool(flow.badge))

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return the badge page or the PIN page."""
        return self._pin_page(v, content) if v.flow.badge else self._badge_page(v, content)

    # --- badge -----------------------------------------------------------------------------

    def _badge_page(self, v: View, content: Box) -> list[Widget]:
        t, idle, portrait = self.theme, not v.flow.busy, v.layout.portrait
        widgets: list[Widget] = []
        if portrait:
            widgets, buttons, content = footer(v, content, t)
            widgets.append(back_button(v, buttons, enabled=idle)[0])
        area = content.inset(v.dp(14), v.dp(10))
        keys_h = v.dp(400) if portrait else min(v.dp(330), area.h - v.dp(124))
        keys, area = area.bottom_part(keys_h, v.dp(10))
        row, area = area.bottom_part(v.dp(62), v.dp(8))
        if portrait:
            field = row
        else:
            back, field = back_button(v, row, enabled=idle)
            widgets.append(back)
        words, spare = area.bottom_part(min(area.h, v.dp(56 if portrait else 48)))
        if portrait:
            side = min(spare.h - v.dp(16), v.dp(130))
            widgets.append(
                Emblem(box=spare.centred(side, side), icon="id-card", face=t.action_soft, ink=t.action)
            )
        problem = hint(v, words)
        if problem is not None:
            widgets.append(problem)
        else:
            text = "Checking the badge…" if v.flow.busy else "Scan your staff badge, or type its number"
            widgets.append(prompt(v, words, text))
        widgets.append(
            TextField(
                box=field,
                key="field",
                name="Staff number",
                text=self._number.text,
                placeholder="Staff number",
                icon="id-card",
                enabled=idle,
            )
        )
        ready = bool(self._number.text.strip())
        return [
            *widgets,
            *keyboard(v.layout, keys, abc=self._number.abc, enabled=idle, ok=ready, ok_text="Next"),
        ]

    # --- PIN -------------------------------------------------------------------------------

    def _pin_page(self, v: View, content: Box) -> list[Widget]:
        idle, portrait = not v.flow.busy, v.layout.portrait
        if portrait:
            widgets, buttons, content = footer(v, content, self.theme)
            widgets.append(back_button(v, buttons, enabled=idle)[0])
            keys, left = content.inset(v.dp(16), v.dp(14)).bottom_part(v.dp(448), v.dp(6))
        else:
            # Lock keeps its 9 mm: the keys start half a gap below it.
            area = content.inset(v.dp(16), v.dp(4))
            area = Box(area.x, area.y + v.dp(8), area.w, area.h - v.dp(8))
            keys, left = area.right_part(v.dp(336), v.dp(28))
            left = left.inset(0, v.dp(6))
            low, left = left.bottom_part(v.dp(62), v.dp(8))
            widgets = [back_button(v, low, enabled=idle)[0]]
        widgets += pin_pad(v.layout, keys, enabled=idle, ok=len(self._pin) >= PIN_LEAST)
        return [*widgets, *self._who(v, left)]

    def _who(self, v: View, box: Box) -> list[Widget]:
        t, portrait = self.theme, v.layout.portrait
        emblem, rest = box.top_part(v.dp(0 if portrait else 72), v.dp(0 if portrait else 10))
        hello, rest = rest.top_part(v.dp(38), v.dp(2))
        widgets: list[Widget] = []
        if not portrait:
            square = Box(emblem.x, emblem.y, emblem.h, emblem.h)
            widgets.append(Emblem(box=square, icon="user-check", face=t.action_soft, ink=t.action))
        name = v.flow.badge_name
        widgets.append(
            Label(
                box=hello,
                text=f"Hello {name}" if name else "Hello",
                kind=Type(theme.BOLD, 26),
                colour=t.text,
                shrink=18,
                ellipsis=True,
            )
        )
        line, rest = rest.top_part(v.dp(28), v.dp(8))
        words = "Checking…" if v.flow.busy else "Enter your PIN"
        widgets.append(Label(box=line, text=words, kind=Type(theme.REGULAR, 18), colour=t.secondary))
        dots, rest = rest.top_part(v.dp(34), v.dp(14))
        widgets.append(Dots(box=dots, count=len(self._pin)))
        problem = hint(v, rest.top_part(min(rest.h, v.dp(64)))[0])
        return [*widgets, problem] if problem else widgets

    # --- what is typed ---------------------------------------------------------------------

    def tap(self, key: str, v: View, tools: Tools) -> e.Event | None:
        """Digits go into the PIN, letters into the staff number."""
        match key.split(":", 1):
            case ["digit", "ok"] | ["type", "ok"]:
                return self.enter(v, tools)
            case ["digit", "delete"]:
                self._pin = self._pin[:-1]
            case ["digit", digit]:
                self._pin = (self._pin + digit)[:PIN_MOST]
            case ["type", name]:
                self._number.key(name)
            case _:
                return super().tap(key, v, tools)
        return None

    def typed(self, text: str, v: View) -> None:
        """A keyboard does what the keys on the screen do."""
        if v.flow.busy:
            return
        if v.flow.badge:
            self._pin = (self._pin + "".join(c for c in text if c in "0123456789"))[:PIN_MOST]
        else:
            self._number.add(text)

    def erase(self, v: View) -> None:
        """Backspace."""
        self._pin = self._pin[:-1]
        self._number.erase()

    def enter(self, v: View, tools: Tools) -> e.Event | None:
        """OK: the PIN is handed over and forgotten here."""
        if v.flow.busy:
            return None
        if v.flow.badge:
            pin, self._pin = self._pin, ""
            return e.PinEntered(pin) if len(pin) >= PIN_LEAST else None
        text = self._number.take()
        return e.Typed(text) if text else None
