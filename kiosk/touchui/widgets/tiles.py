"""Tiles of the photographs that are ready to be sent."""

from __future__ import annotations

from dataclasses import dataclass

from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE, Painter
from kiosk.touchui.theme import FLOOR, Layout, Type
from kiosk.touchui.widgets.base import Widget

RADIUS = 8


@dataclass(frozen=True, kw_only=True)
class PhotoTile(Widget):
    """A still with its number, its site and its time; a control lies on it where `control` says.

    High tiles have the still above the words, low ones beside them.  asking: about to be destroyed.
    """

    source: str
    version: str | None
    number: int
    site: str
    time: str
    asking: bool = False

    def control(self, layout: Layout) -> Box:
        """Where the button goes: the lower right corner."""
        side = layout.dp(FLOOR + 3)
        inner = self.box.inset(layout.dp(8))
        return Box(inner.right - side, inner.bottom - side, side, side)

    def answers(self, layout: Layout) -> Box:
        """Where two buttons go while it asks."""
        words = self._parts(layout)[1]
        return words.bottom_part(layout.dp(FLOOR + 3))[0]

    def _parts(self, layout: Layout) -> tuple[Box, Box]:
        """The still, and the words with the control."""
        inner = self.box.inset(layout.dp(8))
        if self.box.h * 2 > self.box.w:
            words, still = inner.bottom_part(layout.dp(84 if self.asking else 52), layout.dp(7))
            return still, words
        return inner.left_part(min(inner.h, inner.w // 2), layout.dp(10))

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        p.panel(self.box, 10, t.surface, t.danger if self.asking else t.divider, 2 if self.asking else 1.25)
        still, words = self._parts(p.layout)
        self._still(p, still)
        badge = Box(still.x + p.dp(6), still.y + p.dp(6), p.dp(26), p.dp(26))
        p.panel(badge, 13, theme.rgb("#0b2545"), t.surface, 1.5)
        p.text(str(self.number), Type(theme.BOLD, 14), theme.rgb("#ffffff"), badge, CENTRE, shrink=11)
        if self.asking:
            head = Box(words.x, words.y, words.w, words.h - p.dp(FLOOR + 3) - p.dp(4))
            p.text(f"Destroy photo {self.number}?", theme.FIELD_LABEL, t.danger, head, shrink=12)
            return
        control = self.control(p.layout)
        text = Box(words.x, words.y, control.x - words.x - p.dp(8), words.h)
        lower, upper = text.bottom_part(p.dp(20), p.dp(2))
        kind = theme.FIELD_LABEL
        lines = max(1, upper.h // p.fonts.line(kind))
        p.text(self.site, kind, t.text, upper, lines=lines, shrink=12, top=lines > 1)
        p.text(self.time, Type(theme.ATKINSON, 15), t.secondary, lower)

    def _still(self, p: Painter, box: Box) -> None:
        pixels = None if self.version is None else p.picture(self.source)
        if pixels is None:
            p.panel(box, RADIUS, p.theme.segment)
            p.icon("image", 28, p.theme.secondary, box)
            return
        p.surface.blit(p.art.picture((self.source, self.version), pixels, box.w, box.h), box[:2])
        r = p.dp(RADIUS)
        right, low = box.right - r, box.bottom - r
        places = (box[:2], (right, box.y), (box.x, low), (right, low))
        p.surface.blits(list(zip(p.art.frame(box.w, box.h, r, p.theme.surface), places, strict=True)))
