"""FIND_RECEIPT: the receipt of photographs that are in the record already, typed or scanned."""

from __future__ import annotations

from typing import ClassVar

from kiosk import events as e
from kiosk.touchui.draft import TextDraft
from kiosk.touchui.geometry import Box
from kiosk.touchui.screens.base import Screen, Tools, back_button, footer, hint, prompt
from kiosk.touchui.view import View
from kiosk.touchui.widgets import TextField, Widget, keyboard
from kiosk.touchui.widgets.badge import Emblem

RECEIPT_MOST = 24


class FindReceipt(Screen):
    """A field and a keyboard. The R and the hyphens need not be typed."""

    title: ClassVar[str] = "Find receipt"
    banner: ClassVar[bool] = False

    def __init__(self) -> None:
        self._receipt = TextDraft(RECEIPT_MOST)

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return the prompt, the field and the keys."""
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
        above, spare = area.bottom_part(min(area.h, v.dp(56 if portrait else 48)))
        if portrait:
            side = min(spare.h - v.dp(16), v.dp(130))
            widgets.append(
                Emblem(box=spare.centred(side, side), icon="file-check", face=t.action_soft, ink=t.action)
            )
        text = "Asking the record…" if v.flow.busy else "Type or scan the receipt"
        return [
            *widgets,
            hint(v, above) or prompt(v, above, text),
            TextField(
                box=row,
                key="field",
                name="Receipt",
                text=self._receipt.text,
                placeholder="R-0000-0000",
                icon="keyboard",
                enabled=idle,
            ),
            *keyboard(
                v.layout,
                keys,
                abc=self._receipt.abc,
                enabled=idle,
                ok=bool(self._receipt.text.strip()),
                ok_text="Find receipt",
            ),
        ]

    def tap(self, key: str, v: View, tools: Tools) -> e.Event | None:
        """Keys go into the receipt."""
        match key.split(":", 1):
            case ["type", "ok"]:
                return self.enter(v, tools)
            case ["type", name]:
                self._receipt.key(name)
                return None
        return super().tap(key, v, tools)

    def typed(self, text: str, v: View) -> None:
        """A keyboard does what the keys on the screen do."""
        if not v.flow.busy:
            self._receipt.add(text)

    def erase(self, v: View) -> None:
        """Backspace."""
        if not v.flow.busy:
            self._receipt.erase()

    def enter(self, v: View, tools: Tools) -> e.Event | None:
        """Hand the receipt over. It stays in the field, to be corrected or asked again."""
        text = self._receipt.text.strip()
        return e.Typed(text) if text and not v.flow.busy else None
