"""Choices: a card that can be chosen, and two of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE, Painter
from kiosk.touchui.theme import MEDIUM, SEMIBOLD, Type
from kiosk.touchui.widgets.base import Tappable, Widget


@dataclass(frozen=True, kw_only=True)
class Option(Tappable):
    """A card with one word; a chosen one is filled. `corners`: which sides are round."""

    text: str
    chosen: bool = False
    size: float = 16
    corners: str = "lr"
    icon: str = ""

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        if not self.enabled:
            face, ink, border = t.disabled, t.on_disabled, t.divider
        elif self.chosen:
            face, ink, border = t.action, t.on_action, t.action
        else:
            face, ink, border = (t.segment if self.pressed else t.surface), t.text, t.border
        p.panel(self.box, 8, face, border, 1.5, corners=self.corners)
        kind = Type(SEMIBOLD if self.chosen else MEDIUM, self.size)
        inner = self.box.inset(p.dp(4), 0)
        if self.chosen and self.icon:
            p.pair(self.icon, self.text, kind, ink, inner, size=18, gap=6, stroke=2.5, shrink=12)
        else:
            p.text(self.text, kind, ink, inner, CENTRE, shrink=12)


def pair(
    box: Box, key: str, options: Sequence[tuple[str, str]], chosen: str, *, enabled: bool = True
) -> list[Widget]:
    """Return two joined cards, nothing preset. `options`: (value, text); keys are `key:value`."""
    left, right = box.columns(2)
    places = (Box(left.x, left.y, left.w + 1, left.h), right)
    cards: list[Widget] = [
        Option(
            box=place,
            key=f"{key}:{value}",
            name=text,
            text=text,
            chosen=value == chosen,
            size=17,
            corners=corners,
            icon="check",
            enabled=enabled,
        )
        for place, (value, text), corners in zip(places, options, "lr", strict=True)
    ]
    return cards[::-1] if chosen == options[0][0] else cards
