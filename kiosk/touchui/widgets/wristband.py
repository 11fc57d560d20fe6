"""The picture on the identify screen: a wristband in front of a scanner's beam."""

from __future__ import annotations

from dataclasses import dataclass

from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import Painter
from kiosk.touchui.widgets.base import Widget

BARS = (2, 1, 1, 3, 1, 2, 1, 1, 2, 3, 1, 1, 2, 1, 3, 1, 1, 2, 1, 2)
"""Widths of bars and gaps in turn, in modules. A picture, not a code."""


@dataclass(frozen=True, kw_only=True)
class WristbandArt(Widget):
    """A wristband with a barcode; `active`: the beam is on."""

    active: bool = True

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        side = min(self.box.h, p.dp(170))
        disc = self.box.centred(side, side)
        p.panel(disc, side / p.layout.scale / 2, t.action_soft)
        band = disc.centred(min(self.box.w, round(side * 1.45)), round(side * 0.42))
        p.shadow(band, 10, 5, (11, 37, 69, 50))
        p.panel(band, 10, t.surface, t.border, 1.75)
        for i in range(3):
            hole = p.dp(6)
            x = band.right - p.dp(14) - i * p.dp(13)
            p.panel(Box(x - hole // 2, band.cy - hole // 2, hole, hole), 3, t.divider)
        label = Box(band.x + p.dp(14), band.y + p.dp(9), band.w - p.dp(70), band.h - p.dp(18))
        self._bars(p, label)
        if self.active:
            beam = p.dp(3)
            reach = Box(label.x - p.dp(9), band.cy - beam // 2, label.w + p.dp(18), beam)
            p.panel(reach, 2, t.danger)

    def _bars(self, p: Painter, box: Box) -> None:
        module = max(1, box.w // sum(BARS))
        x = box.x + (box.w - module * sum(BARS)) // 2
        for i, width in enumerate(BARS):
            if i % 2 == 0:
                p.fill(Box(x, box.y, module * width, box.h), p.theme.text)
            x += module * width
