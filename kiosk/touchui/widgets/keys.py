"""Keys: the PIN pad and the on-screen keyboard (QWERTY and ABC; ABC alone in portrait)."""

from __future__ import annotations

from dataclasses import dataclass

from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE, Painter
from kiosk.touchui.theme import BIG, Layout, Type
from kiosk.touchui.widgets.base import Tappable, Widget

PLAIN, QUIET, GO = "plain", "quiet", "go"

QWERTY = ("1234567890", "QWERTYUIOP", "ASDFGHJKL", "ZXCVBNM-")
ABC = ("1234567890", "ABCDEFGHIJ", "KLMNOPQRST", "UVWXYZ-./")
NARROW_ABC = ("1234567", "890ABCD", "EFGHIJK", "LMNOPQR", "STUVWXY", "Z-./")


@dataclass(frozen=True, kw_only=True)
class Key(Tappable):
    """One key."""

    text: str = ""
    icon: str = ""
    style: str = PLAIN
    kind: Type = theme.KEY

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        if not self.enabled:
            face, ink, edge = t.disabled, t.on_disabled, t.disabled
        elif self.style == GO:
            face, ink, edge = t.primary, t.on_primary, t.primary_edge
        elif self.style == QUIET:
            face, ink, edge = t.segment, t.text, t.border
        else:
            face, ink, edge = t.surface, t.text, t.border
        if self.pressed:
            face = t.action_soft if self.style != GO else t.primary_edge
        p.panel(self.box, 8, face, edge, 1.25)
        if self.icon and self.text:
            inner = self.box.inset(p.dp(4), 0)
            p.pair(self.icon, self.text, self.kind, ink, inner, size=22, gap=8, shrink=12)
        elif self.icon:
            p.icon(self.icon, 26, ink, self.box)
        else:
            p.text(self.text, self.kind, ink, self.box.inset(p.dp(4), 0), CENTRE, shrink=12)


def pin_pad(layout: Layout, box: Box, *, enabled: bool = True, ok: bool = False) -> list[Widget]:
    """Return a PIN pad of keys as near to 20 mm as the box allows, never below 12 mm.

    Keys are `digit:0` to `digit:9`, `digit:delete` and `digit:ok`.
    """
    gap = layout.dp(8)
    side_w = min(layout.dp(BIG * 1.3), (box.w - 2 * gap) // 3)
    side_h = min(layout.dp(BIG), (box.h - 3 * gap) // 4)
    grid = box.centred(3 * side_w + 2 * gap, 4 * side_h + 3 * gap)
    keys: list[Widget] = []
    for row, names in zip(grid.rows(4, gap), ("123", "456", "789", "<0>"), strict=True):
        for cell, name in zip(row.columns(3, gap), names, strict=True):
            if name == "<":
                key = Key(
                    box=cell, key="digit:delete", name="Delete", icon="delete", style=QUIET, enabled=enabled
                )
            elif name == ">":
                key = Key(
                    box=cell,
                    key="digit:ok",
                    name="OK",
                    text="OK",
                    style=GO,
                    kind=Type(theme.SEMIBOLD, 24),
                    enabled=enabled and ok,
                )
            else:
                key = Key(
                    box=cell, key=f"digit:{name}", name=name, text=name, kind=theme.DIGIT, enabled=enabled
                )
            keys.append(key)
    return keys


def keyboard(
    layout: Layout, box: Box, *, abc: bool, enabled: bool = True, ok: bool = False, ok_text: str = "OK"
) -> list[Widget]:
    """Return an on-screen keyboard with a row of digits; `abc`: alphabetical instead of QWERTY.

    Keys are `type:X` for a character, `type:space`, `type:delete`, `type:layout` and `type:ok`.
    In portrait there are seven alphabetical columns and no other layout: ten would be below 9 mm.
    """
    gap = layout.dp(5)
    tall = layout.portrait
    names = NARROW_ABC if tall else ABC if abc else QWERTY
    rows = box.rows(len(names) + 1, gap)
    keys: list[Widget] = []
    pitch = (box.w + gap) / len(names[0])
    for row, letters in zip(rows, names, strict=False):
        left = box.x if tall else box.x + (box.w + gap - pitch * len(letters)) / 2
        for i, letter in enumerate(letters):
            x = round(left + i * pitch)
            cell = Box(x, row.y, round(left + (i + 1) * pitch) - gap - x, row.h)
            keys.append(Key(box=cell, key=f"type:{letter}", name=letter, text=letter, enabled=enabled))
    last = rows[-1]
    if tall:
        # Delete ends the last row of letters.
        short = rows[-2]
        used = round(pitch * len(names[-1]))
        delete = Box(short.x + used, short.y, short.w - used, short.h)
        go, space = last.right_part(round(last.w * 0.5), gap)
    else:
        wide, rest = last.left_part(round(last.w * 0.2), gap)
        other = "QWERTY" if abc else "ABC"
        keys.append(
            Key(
                box=wide,
                key="type:layout",
                name=other,
                text=other,
                style=QUIET,
                kind=theme.BODY_STRONG,
                enabled=enabled,
            )
        )
        go, rest = rest.right_part(round(last.w * 0.27), gap)
        delete, space = rest.right_part(round(last.w * 0.18), gap)
    keys.append(Key(box=space, key="type:space", name="Space", icon="space", enabled=enabled))
    keys.append(
        Key(box=delete, key="type:delete", name="Delete", icon="delete", style=QUIET, enabled=enabled)
    )
    keys.append(
        Key(
            box=go,
            key="type:ok",
            name=ok_text,
            text=ok_text,
            style=GO,
            kind=theme.BUTTON,
            enabled=enabled and ok,
        )
    )
    return keys
