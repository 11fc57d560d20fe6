"""The signature pad."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from kiosk.model import Stroke
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.ink import MAX_WIDTH
from kiosk.touchui.paint import Painter
from kiosk.touchui.theme import Type
from kiosk.touchui.widgets.base import Tappable, Widget

CLEAR_W, CLEAR_H = 110, 48
"""dp; the corner for Clear, where nobody can sign."""


@dataclass(frozen=True, kw_only=True)
class SignaturePad(Tappable):
    """Where the patient signs. `live`: the stroke being drawn; all points 0..1 of the box."""

    strokes: tuple[Stroke, ...]
    live: Stroke
    signer: str
    wrong: bool = False

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        edge = t.danger if self.wrong else t.action if self.enabled else t.border
        p.panel(self.box, 9, t.surface, edge, 2)
        line = self.box.bottom - p.dp(34)
        left, right = self.box.x + p.dp(20), self.box.right - p.dp(24)
        x = left
        while x < right:
            p.fill(Box(x, line, min(p.dp(4), right - x), p.dp(1)), t.secondary)
            x += p.dp(7)
        p.icon("x", 15, t.secondary, Box(left, line - p.dp(20), p.dp(15), p.dp(17)), 1.75)
        words = Box(left, line + p.dp(3), right - left - p.dp(CLEAR_W - 16), p.dp(28))
        p.text(self.signer, Type(theme.REGULAR, 14), t.secondary, words, shrink=12, ellipsis=True)
        size = (self.box.w, self.box.h)
        if self.strokes or self.live:
            p.surface.blit(p.ink.picture(size, p.layout.scale, t.ink, self.strokes, self.live), self.box[:2])
        else:
            p.ink.forget()

    def damage(self, before: Widget) -> Box:
        """Only the end of the stroke changes while a finger draws."""
        if not isinstance(before, SignaturePad) or before.box != self.box:
            return super().damage(before)
        looks = (self.signer, self.wrong, self.enabled, self.pressed)
        if looks != (before.signer, before.wrong, before.enabled, before.pressed):
            return self.box
        grown = [*self.strokes, self.live]
        old = [*before.strokes, before.live]
        if self.strokes[: len(before.strokes)] != before.strokes:
            return self.box
        fresh: list[tuple[float, float]] = []
        finished = len(before.strokes)
        for now, then in zip(grown[finished:], chain(old[finished:], ((),)), strict=False):
            if now[: len(then)] != then:
                return self.box
            # The curve's last part changes when the next point comes, so four points are drawn again.
            fresh += now[max(0, len(then) - 4) :] if len(now) != len(then) else now[-4:]
        if not fresh:
            return Box(self.box.x, self.box.y, 0, 0)
        xs, ys = [q[0] for q in fresh], [q[1] for q in fresh]
        rim = round(MAX_WIDTH * 8)
        left, top = int(min(xs) * self.box.w) - rim, int(min(ys) * self.box.h) - rim
        right, bottom = int(max(xs) * self.box.w) + rim, int(max(ys) * self.box.h) + rim
        return Box(self.box.x + left, self.box.y + top, right - left, bottom - top).clip(self.box)
