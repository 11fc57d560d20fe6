"""One A4 page with our fonts, to draw forms and reports on. Lengths are millimetres, type sizes points."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from importlib import resources

from fpdf import FPDF
from fpdf.enums import Align, XPos, YPos
from fpdf.fonts import TTFFont

LEFT, RIGHT = 18.0, 192.0
"""The margins."""

Colour = tuple[int, int, int]
NAVY: Colour = (12, 35, 68)
BLUE: Colour = (0, 94, 184)
GREEN: Colour = (0, 112, 60)
RED: Colour = (170, 28, 22)
TEXT: Colour = (33, 43, 50)
QUIET: Colour = (84, 98, 108)
LINE: Colour = (200, 208, 214)
PALE: Colour = (241, 244, 247)
WHITE: Colour = (255, 255, 255)

MISSING = "\N{WHITE SQUARE}"
"""Stands for a character that the font lacks."""


class Page(FPDF):
    """A page that is the same bytes every time, and whose text never loses a character silently.

    at: the date that the file says it was made.  language: BCP 47.
    """

    def __init__(self, at: datetime, language: str) -> None:
        super().__init__(format="A4")
        self.set_auto_page_break(False)
        self.set_margins(LEFT, 15, 210 - RIGHT)
        self.c_margin = 0
        self.set_creation_date(at)
        self.set_producer("lethe-kiosk")
        self.set_lang(language)
        fonts = resources.files("kiosk.touchui") / "fonts"
        for style, weight in (("", "Regular"), ("B", "Bold")):
            with resources.as_file(fonts / f"InterForm-{weight}.ttf") as path:
                self.add_font("Form", style, path)
        fonts_used = (self.fonts["form"], self.fonts["formB"])
        self._glyphs = frozenset.intersection(
            *(frozenset(f.cmap) for f in fonts_used if isinstance(f, TTFFont))
        )
        self.add_page()

    def printable(self, text: str) -> str:
        """The text with a visible mark for every character that the font lacks.

        Done here because the library would write the missing characters, which may be a name, to the log.
        """
        return "".join(c if ord(c) in self._glyphs else MISSING for c in _composed(text))

    def missing(self, text: str) -> tuple[str, ...]:
        """The code points that `printable` replaces, as U+XXXX."""
        return tuple(f"U+{ord(c):04X}" for c in _composed(text) if ord(c) not in self._glyphs)

    def words(
        self, text: str, size: float, *, bold: bool = False, colour: Colour = TEXT, width: float = 0.0
    ) -> None:
        """A paragraph from the current position down, `size` in points."""
        self.set_font("Form", "B" if bold else "", size)
        self.set_text_color(*colour)
        self.multi_cell(
            width or RIGHT - self.x,
            size * 0.48,
            self.printable(text),
            align=Align.L,
            new_x=XPos.LEFT,
            new_y=YPos.NEXT,
        )

    def put(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        *,
        bold: bool = False,
        colour: Colour = TEXT,
        right: bool = False,
    ) -> float:
        """One line of text at a baseline; its width. `right`: it ends at x."""
        self.set_font("Form", "B" if bold else "", size)
        self.set_text_color(*colour)
        text = self.printable(text)
        width = float(self.get_string_width(text))
        self.text(x - width if right else x, y, text)
        return width

    def rule(self, y: float) -> None:
        """A hair line across the page."""
        self.set_draw_color(*LINE)
        self.set_line_width(0.25)
        self.line(LEFT, y, RIGHT, y)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split()))
