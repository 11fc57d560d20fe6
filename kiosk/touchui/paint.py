"""The painter: what a widget draws with. It writes down every text it puts on the screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pygame

from kiosk.touchui.art import Art, Pixels
from kiosk.touchui.geometry import Box
from kiosk.touchui.ink import Ink
from kiosk.touchui.text import Fonts
from kiosk.touchui.theme import Colour, Layout, Theme, Type

LEFT, CENTRE, RIGHT = "left", "centre", "right"


@dataclass(frozen=True, slots=True)
class TextRecord:
    """A text that was drawn: where its glyphs are, the room it had, and whether it had to be cut."""

    text: str
    glyphs: Box
    room: Box
    cut: bool


@dataclass(slots=True)
class Painter:
    """A surface and everything needed to draw on it."""

    surface: pygame.Surface
    layout: Layout
    theme: Theme
    fonts: Fonts
    art: Art
    ink: Ink
    picture: Callable[[str], Pixels | None]
    texts: list[TextRecord] = field(default_factory=list)

    def dp(self, n: float) -> int:
        """Pixels of n dp."""
        return self.layout.dp(n)

    def fill(self, box: Box, colour: Colour) -> None:
        """Fill a box; a colour with alpha is blended."""
        if colour[3] == 255:
            self.surface.fill(colour, box)
        else:
            veil = pygame.Surface((box.w, box.h), pygame.SRCALPHA)
            veil.fill(colour)
            self.surface.blit(veil, box[:2])

    def panel(
        self,
        box: Box,
        radius: float,
        fill: Colour | None,
        border: Colour | None = None,
        line: float = 0,
        corners: str = "lr",
    ) -> None:
        """Draw a rounded box. `radius` and `line` in dp."""
        if box.w > 0 and box.h > 0:
            shape = self.art.panel(
                box.w,
                box.h,
                self.dp(radius),
                fill,
                border,
                self.layout.scale * line if line else 0,
                corners,
            )
            self.surface.blit(shape, box[:2])

    def shadow(self, box: Box, radius: float, blur: float, colour: Colour) -> None:
        """Draw a soft shadow behind a box."""
        b = self.dp(blur)
        self.surface.blit(
            self.art.shadow(box.w, box.h, self.dp(radius), b, colour), (box.x - b, box.y - b + b // 3)
        )

    def icon(self, name: str, size: float, colour: Colour, box: Box, stroke: float = 2) -> None:
        """Draw an icon of `size` dp in the middle of the box."""
        px = self.dp(size)
        place = box.centred(px, px)
        self.surface.blit(self.art.icon(name, px, colour, stroke), place[:2])

    def text(
        self,
        text: str,
        kind: Type,
        colour: Colour,
        box: Box,
        align: str = LEFT,
        *,
        lines: int = 1,
        shrink: float = 0,
        top: bool = False,
        ellipsis: bool = False,
    ) -> Box:
        """Draw text in a box, capitals centred on its height (or from the top), and return its glyphs' box.

        lines: wrap to at most this many.  shrink: smallest size in dp to try before cutting.
        ellipsis: cutting is allowed here (long names); otherwise a cut is recorded as a fault.
        """
        wrapped = self._wrapped(text, kind, box.w, lines)
        while (
            shrink
            and kind.size > shrink
            and (
                self._too_big(wrapped, kind, box, lines)
                or (lines > 1 and len(wrapped) * self.fonts.line(kind) > box.h + self.dp(2))
            )
        ):
            kind = kind._replace(size=kind.size - 0.5)
            wrapped = self._wrapped(text, kind, box.w, lines)
        cut = self._too_big(wrapped, kind, box, lines)
        wrapped = [self.fonts.cut(line, kind, box.w) for line in wrapped[:lines]]
        line_height, cap = self.fonts.line(kind), self.fonts.cap(kind)
        ascent = self.fonts.font(kind).get_ascent()
        if top:
            baseline = box.y + (line_height + cap) // 2
        else:
            baseline = box.y + (box.h - (len(wrapped) - 1) * line_height + cap) // 2
        around: Box | None = None
        for line in wrapped:
            if line:
                glyphs = self._line(line, kind, colour, box, align, baseline - ascent)
                around = glyphs if around is None else around.union(glyphs)
            baseline += line_height
        around = around or Box(box.x, box.y, 0, 0)
        if text:
            self.texts.append(TextRecord(text, around, box, cut and not ellipsis))
        return around

    def pair(
        self,
        icon: str,
        text: str,
        kind: Type,
        ink: Colour,
        box: Box,
        align: str = CENTRE,
        *,
        size: float = 18,
        gap: float = 6,
        icon_ink: Colour | None = None,
        stroke: float = 2,
        after: bool = False,
        shrink: float = 0,
        lines: int = 1,
    ) -> None:
        """Draw an icon of `size` dp and words beside it, as one group in the box."""
        room = self.dp(size) + self.dp(gap)
        if lines == 1:
            w = min(self.fonts.width(text, kind), box.w - room) + room
            x = {LEFT: box.x, CENTRE: box.x + (box.w - w) // 2, RIGHT: box.right - w}[align]
            box = Box(x, box.y, w, box.h)
        place, words = (box.right_part if after else box.left_part)(self.dp(size), self.dp(gap))
        self.icon(icon, size, icon_ink or ink, place, stroke)
        self.text(text, kind, ink, words, lines=lines, shrink=shrink)

    def _wrapped(self, text: str, kind: Type, width: int, lines: int) -> list[str]:
        return [text] if lines == 1 else self.fonts.wrap(text, kind, width)

    def _too_big(self, wrapped: list[str], kind: Type, box: Box, lines: int) -> bool:
        return len(wrapped) > lines or any(self.fonts.width(line, kind) > box.w for line in wrapped)

    def _line(self, line: str, kind: Type, colour: Colour, box: Box, align: str, y: int) -> Box:
        surface, tight = self.fonts.render(line, kind, colour)
        w = surface.get_width()
        x = {LEFT: box.x, CENTRE: box.x + (box.w - w) // 2, RIGHT: box.right - w}[align]
        self.surface.blit(surface, (x, y))
        return Box(x + tight.x, y + tight.y, tight.w, tight.h)
