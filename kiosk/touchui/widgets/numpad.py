"""A number pad with a way to letters, for identifiers that are mostly digits."""

from __future__ import annotations

from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.theme import Layout, Type
from kiosk.touchui.widgets.base import Widget
from kiosk.touchui.widgets.keys import QUIET, Key


def number_pad(layout: Layout, box: Box, *, enabled: bool = True, letters: str = "ABC") -> list[Widget]:
    """Return a pad that fills its box. Keys are `type:0` to `type:9`, `type:delete` and `letters`."""
    gap = layout.dp(7)
    keys: list[Widget] = []
    for row, names in zip(box.rows(4, gap), ("123", "456", "789", "A0<"), strict=True):
        for cell, name in zip(row.columns(3, gap), names, strict=True):
            if name == "A":
                key = Key(
                    box=cell,
                    key="letters",
                    name=letters,
                    text=letters,
                    style=QUIET,
                    kind=theme.BUTTON,
                    enabled=enabled,
                )
            elif name == "<":
                key = Key(
                    box=cell, key="type:delete", name="Delete", icon="delete", style=QUIET, enabled=enabled
                )
            else:
                key = Key(
                    box=cell,
                    key=f"type:{name}",
                    name=name,
                    text=name,
                    kind=Type(theme.SEMIBOLD, 26),
                    enabled=enabled,
                )
            keys.append(key)
    return keys
