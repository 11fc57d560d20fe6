"""Widgets that show pixels: the camera's picture, stills, and what lies over them."""

from __future__ import annotations

from dataclasses import dataclass

from kiosk.touchui import theme
from kiosk.touchui.art import fill_picture
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE, Painter
from kiosk.touchui.theme import Type
from kiosk.touchui.widgets.base import Tappable, Widget

RADIUS = 8


@dataclass(frozen=True, kw_only=True)
class Viewport(Widget):
    """A whole picture in the middle of its box, with round corners: what is seen is what is saved.

    source: "preview", "review" or a photo's id.  version: a number or id that changes with the picture;
    None shows `waiting` instead.  grid: lines of thirds.
    """

    source: str
    version: int | str | None
    waiting: str = ""
    grid: bool = False

    @property
    def opaque(self) -> bool:
        """It fills its box, corners included."""
        return True

    def draw(self, p: Painter) -> None:
        """Draw it."""
        pixels = None if self.version is None else p.picture(self.source)
        if pixels is None:
            p.fill(self.box, p.theme.page)
            p.panel(self.box, RADIUS, p.theme.surface)
            middle = self.box.centred(min(self.box.w, p.dp(260)), p.dp(80))
            icon, word = middle.rows(2)
            p.icon("camera", 34, p.theme.secondary, icon)
            p.text(self.waiting, theme.BODY_STRONG, p.theme.secondary, word, CENTRE)
            return
        rows, columns = pixels.shape[:2]
        whole = fitted(self.box, columns, rows)
        if self.source == "preview":
            picture = fill_picture(pixels, whole.w, whole.h)
        else:
            picture = p.art.picture((self.source, self.version), pixels, whole.w, whole.h)
        for bar in bars(self.box, whole):
            p.fill(bar, p.theme.page)
        p.surface.blit(picture, whole[:2])
        if self.grid:
            self._thirds(p, whole)
        self._corners(p, whole)

    def _thirds(self, p: Painter, box: Box) -> None:
        veil = theme.rgb("#ffffff", 46)
        for i in (1, 2):
            p.fill(Box(box.x + box.w * i // 3, box.y, 1, box.h), veil)
            p.fill(Box(box.x, box.y + box.h * i // 3, box.w, 1), veil)

    def _corners(self, p: Painter, box: Box) -> None:
        r = p.dp(RADIUS)
        tl, tr, bl, br = p.art.frame(box.w, box.h, r, p.theme.page)
        right, low = box.right - r, box.bottom - r
        p.surface.blits([(tl, box[:2]), (tr, (right, box.y)), (bl, (box.x, low)), (br, (right, low))])


def fitted(box: Box, columns: int, rows: int) -> Box:
    """Return the largest box in the middle of `box` that has the picture's shape."""
    scale = min(box.w / columns, box.h / rows)
    return box.centred(min(box.w, round(columns * scale)), min(box.h, round(rows * scale)))


def bars(box: Box, inner: Box) -> list[Box]:
    """Return what of the box lies beside, above and below the inner one."""
    above, below = inner.y - box.y, box.bottom - inner.bottom
    left, right = inner.x - box.x, box.right - inner.right
    around = (
        Box(box.x, box.y, box.w, above),
        Box(box.x, inner.bottom, box.w, below),
        Box(box.x, inner.y, left, inner.h),
        Box(inner.right, inner.y, right, inner.h),
    )
    return [bar for bar in around if bar.w > 0 and bar.h > 0]


@dataclass(frozen=True, kw_only=True)
class Brackets(Widget):
    """Corner brackets and a small cross: where the wound should be."""

    def draw(self, p: Painter) -> None:
        """Draw it."""
        size = p.dp(36)
        white = theme.rgb("#ffffff")
        tl, tr, bl, br = p.art.bracket(size, p.dp(9), max(2.0, 3 * p.layout.scale), white)
        right, low = self.box.right - size, self.box.bottom - size
        p.surface.blits(
            [(tl, self.box[:2]), (tr, (right, self.box.y)), (bl, (self.box.x, low)), (br, (right, low))]
        )
        arm, thin = p.dp(9), max(1, p.dp(1.25))
        p.fill(Box(self.box.cx - arm, self.box.cy - thin // 2, 2 * arm, thin), white)
        p.fill(Box(self.box.cx - thin // 2, self.box.cy - arm, thin, 2 * arm), white)


@dataclass(frozen=True, kw_only=True)
class Chip(Widget):
    """A few words on a dark veil over a picture."""

    text: str
    icon: str = ""
    icon_colour: theme.Colour = theme.DARK.warn
    lines: int = 1

    def draw(self, p: Painter) -> None:
        """Draw it."""
        p.panel(self.box, min(18, self.box.h / p.layout.scale / 2), theme.rgb("#0e1419", 205))
        kind = Type(theme.SEMIBOLD, 15)
        inner = self.box.inset(p.dp(12), p.dp(2))
        if not self.icon:
            p.text(self.text, kind, theme.DARK.text, inner, CENTRE, lines=self.lines, shrink=12)
            return
        p.pair(
            self.icon,
            self.text,
            kind,
            theme.DARK.text,
            inner,
            gap=8,
            icon_ink=self.icon_colour,
            shrink=12,
            lines=self.lines,
        )


@dataclass(frozen=True, kw_only=True)
class Thumbnail(Tappable):
    """A small still with an outline, a caption below and a count in its corner."""

    source: str
    version: int | str | None
    text: str = ""
    count: int = 0
    side: float = 60
    chosen: bool = False

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        side, lift = p.dp(self.side), p.dp(8)
        box = Box(self.box.cx - side // 2, self.box.y + lift, side, side)
        pixels = None if self.version is None else p.picture(self.source)
        inner = box.inset(p.dp(2))
        if pixels is None:
            p.panel(box, 8, t.surface, t.border, 1.5)
            p.icon("images", 24, t.secondary if self.enabled else t.on_disabled, box)
        else:
            p.surface.blit(p.art.picture((self.source, self.version), pixels, inner.w, inner.h), inner[:2])
            p.panel(box, 8, None, t.action if self.chosen else t.text, 2.5)
            p.surface.blits(
                [
                    (piece, (box.x + dx, box.y + dy))
                    for piece, (dx, dy) in zip(
                        p.art.frame(box.w, box.h, p.dp(8), t.page),
                        ((0, 0), (side - p.dp(8), 0), (0, side - p.dp(8)), (side - p.dp(8), side - p.dp(8))),
                        strict=True,
                    )
                ]
            )
        if self.text:
            caption = Box(
                self.box.x, box.bottom + p.dp(3), self.box.w, self.box.bottom - box.bottom - p.dp(3)
            )
            ink = t.text if self.enabled else t.on_disabled
            p.text(self.text, Type(theme.MEDIUM, 13), ink, caption, CENTRE, shrink=11)
        if self.count:
            d = p.dp(22)
            badge = Box(min(box.right - d + p.dp(9), self.box.right - d), self.box.y, d, d)
            p.panel(badge, 11, t.action, t.page, 2)
            p.text(str(self.count), Type(theme.BOLD, 14), t.on_action, badge, CENTRE)
