"""Text: a font cache that is handed around, measuring, wrapping and cutting with an ellipsis."""

from __future__ import annotations

from collections import OrderedDict
from importlib.resources import as_file, files

import pygame

from kiosk.touchui.geometry import Box
from kiosk.touchui.theme import Colour, Type

CACHED_TEXTS, CACHED_WIDTHS = 600, 4000
ELLIPSIS = "\u2026"
Rendered = tuple[pygame.Surface, Box]
"""A line of text with per-pixel alpha, and the box of its glyphs."""


class Fonts:
    """Opened fonts and rendered texts of one panel scale."""

    def __init__(self, scale: float) -> None:
        if not pygame.font.get_init():
            pygame.font.init()
        self._scale = scale
        self._fonts: dict[tuple[str, int], pygame.font.Font] = {}
        self._widths: dict[tuple[str, Type], int] = {}
        self._texts: OrderedDict[tuple[str, Type, Colour], Rendered] = OrderedDict()

    def font(self, kind: Type) -> pygame.font.Font:
        """Return the opened font of this kind of text."""
        px = max(6, round(kind.size * self._scale))
        key = (kind.face, px)
        font = self._fonts.get(key)
        if font is None:
            suffix = "ttf" if kind.face.startswith("Atkinson") else "otf"
            with as_file(files("kiosk.touchui") / "fonts" / f"{kind.face}.{suffix}") as path:
                font = pygame.font.Font(path, px)
            self._fonts[key] = font
        return font

    def width(self, text: str, kind: Type) -> int:
        """Width in pixels on one line."""
        key = (text, kind)
        width = self._widths.get(key)
        if width is None:
            if len(self._widths) >= CACHED_WIDTHS:
                self._widths.clear()
            width = self._widths[key] = self.font(kind).size(text)[0]
        return width

    def line(self, kind: Type) -> int:
        """Distance in pixels from one baseline to the next."""
        return round(kind.size * self._scale * 1.36)

    def cap(self, kind: Type) -> int:
        """Height of a capital in pixels."""
        metrics = self.font(kind).metrics("H")[0]
        return int(metrics[3]) if metrics else round(kind.size * self._scale * 0.72)

    def render(self, text: str, kind: Type, colour: Colour) -> Rendered:
        """Return the text on one line and where its glyphs are in it; the last few hundred are kept."""
        key = (text, kind, colour)
        rendered = self._texts.get(key)
        if rendered is None:
            surface = self.font(kind).render(text, True, colour)
            tight = surface.get_bounding_rect()
            rendered = (surface, Box(tight.x, tight.y, tight.w, tight.h))
            self._texts[key] = rendered
            if len(self._texts) > CACHED_TEXTS:
                self._texts.popitem(last=False)
        else:
            self._texts.move_to_end(key)
        return rendered

    def forget(self) -> None:
        """Overwrite and drop every rendered text and every width."""
        for surface, _ in self._texts.values():
            surface.fill((0, 0, 0, 0))
        self._texts.clear()
        self._widths.clear()

    def cut(self, text: str, kind: Type, width: int) -> str:
        """Return the text, shortened with an ellipsis where it is wider than `width` pixels."""
        if self.width(text, kind) <= width:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self.width(text[:middle].rstrip() + ELLIPSIS, kind) <= width:
                low = middle
            else:
                high = middle - 1
        return text[:low].rstrip() + ELLIPSIS

    def wrap(self, text: str, kind: Type, width: int) -> list[str]:
        """Break at blanks so that no line is wider than `width` pixels; a longer word is broken inside."""
        lines: list[str] = []
        for paragraph in text.split("\n"):
            line = ""
            for word in paragraph.split():
                trial = f"{line} {word}" if line else word
                if self.width(trial, kind) <= width:
                    line = trial
                    continue
                if line:
                    lines.append(line)
                while self.width(word, kind) > width and len(word) > 1:
                    fits = next(
                        (n for n in range(len(word) - 1, 0, -1) if self.width(word[:n], kind) <= width), 1
                    )
                    lines.append(word[:fits])
                    word = word[fits:]
                line = word
            lines.append(line)
        return lines

    def height(self, text: str, kind: Type, width: int) -> int:
        """Height in pixels when wrapped to `width`."""
        return len(self.wrap(text, kind, width)) * self.line(kind)
