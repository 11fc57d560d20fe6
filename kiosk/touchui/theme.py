"""Design tokens: colours, type, sizes in dp, and how dp become pixels on a panel.

1 dp is 1/5.19 mm, one pixel of the 7-inch 800x480 panel. Colours are NHS.UK's (light) and a dark
set for capture; every text pair has a contrast of at least 4.65.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kiosk.touchui.geometry import Box

Colour = tuple[int, int, int, int]
"""Red, green, blue, alpha."""

PX_PER_MM_OF_DP = 5.19


def rgb(text: str, alpha: int = 255) -> Colour:
    """Parse #rrggbb."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16), alpha


class Type(NamedTuple):
    """A kind of text: face and weight ("Inter-Bold", "AtkinsonHyperlegible-Bold") and size in dp."""

    face: str
    size: float


REGULAR, MEDIUM, SEMIBOLD, BOLD = "Inter-Regular", "Inter-Medium", "Inter-SemiBold", "Inter-Bold"
ATKINSON = "AtkinsonHyperlegible-Regular"
ATKINSON_BOLD = "AtkinsonHyperlegible-Bold"

TITLE = Type(SEMIBOLD, 15)
HEADING = Type(BOLD, 20)
DISPLAY = Type(BOLD, 28)
NAME = Type(BOLD, 22)
BODY = Type(REGULAR, 16)
BODY_STRONG = Type(SEMIBOLD, 16)
ROW = Type(SEMIBOLD, 17)
LABEL = Type(REGULAR, 14)
LABEL_STRONG = Type(SEMIBOLD, 14)
STATUS = Type(MEDIUM, 14)
SMALL = Type(REGULAR, 13)
FIELD_LABEL = Type(SEMIBOLD, 15)
BUTTON = Type(SEMIBOLD, 18)
BUTTON_BIG = Type(SEMIBOLD, 20)
CHIP = Type(SEMIBOLD, 14)
IDENTIFIER = Type(ATKINSON_BOLD, 17)
KEY = Type(MEDIUM, 22)
DIGIT = Type(SEMIBOLD, 30)


@dataclass(frozen=True, slots=True)
class Theme:
    """One set of colours."""

    name: str
    page: Colour
    surface: Colour
    text: Colour
    secondary: Colour
    border: Colour
    divider: Colour
    bar: Colour
    bar_text: Colour
    bar_secondary: Colour
    action: Colour
    on_action: Colour
    action_soft: Colour
    accent: Colour
    primary: Colour
    primary_edge: Colour
    on_primary: Colour
    danger: Colour
    danger_soft: Colour
    on_danger: Colour
    ok: Colour
    ok_soft: Colour
    warn: Colour
    warn_soft: Colour
    on_warn: Colour
    segment: Colour
    segment_thumb: Colour
    disabled: Colour
    on_disabled: Colour
    ink: Colour


_BAR = {
    "bar_text": rgb("#ffffff"),
    "bar_secondary": rgb("#c5d3e4"),
}

LIGHT = Theme(
    name="light",
    page=rgb("#f0f4f5"),
    surface=rgb("#ffffff"),
    text=rgb("#212b32"),
    secondary=rgb("#4c6272"),
    border=rgb("#4c6272"),
    divider=rgb("#d8dde0"),
    bar=rgb("#0b2545"),
    action=rgb("#005eb8"),
    on_action=rgb("#ffffff"),
    action_soft=rgb("#e5eff8"),
    accent=rgb("#005eb8"),
    primary=rgb("#007f3b"),
    primary_edge=rgb("#00401e"),
    on_primary=rgb("#ffffff"),
    danger=rgb("#d5281b"),
    danger_soft=rgb("#fbe9e7"),
    on_danger=rgb("#ffffff"),
    ok=rgb("#006630"),
    ok_soft=rgb("#e3f2e9"),
    warn=rgb("#8a5300"),
    warn_soft=rgb("#fff3d6"),
    on_warn=rgb("#3d2600"),
    segment=rgb("#dfe5e8"),
    segment_thumb=rgb("#ffffff"),
    disabled=rgb("#dfe5e8"),
    on_disabled=rgb("#56656f"),
    ink=rgb("#0b1748"),
    **_BAR,
)

DARK = Theme(
    name="dark",
    page=rgb("#0e1419"),
    surface=rgb("#1b242c"),
    text=rgb("#f5f8fa"),
    secondary=rgb("#b3c0cb"),
    border=rgb("#8797a5"),
    divider=rgb("#34414c"),
    bar=rgb("#0e1419"),
    action=rgb("#7cc4ff"),
    on_action=rgb("#0e1a26"),
    action_soft=rgb("#12304a"),
    accent=rgb("#7cc4ff"),
    primary=rgb("#5fd38d"),
    primary_edge=rgb("#2f8a57"),
    on_primary=rgb("#06210f"),
    danger=rgb("#ff8a80"),
    danger_soft=rgb("#3a1f1f"),
    on_danger=rgb("#2a0906"),
    ok=rgb("#5fd38d"),
    ok_soft=rgb("#15301f"),
    warn=rgb("#ffc857"),
    warn_soft=rgb("#3a2e12"),
    on_warn=rgb("#ffe3a3"),
    segment=rgb("#26323c"),
    segment_thumb=rgb("#3a4a57"),
    disabled=rgb("#26323c"),
    on_disabled=rgb("#a3b1bd"),
    ink=rgb("#f5f8fa"),
    **_BAR,
)

# The top bar is dark in both themes, so its status colours are the dark theme's.
BAR_WARN, BAR_OK, BAR_BAD, BAR_INFO = DARK.warn, DARK.ok, DARK.danger, DARK.accent

KNOWN_PANELS: Mapping[tuple[int, int], float] = {
    (800, 480): 1.0,
    (720, 1280): 1.6,
    (1280, 720): 1.6,
    (1280, 800): 1.14,
    (800, 1280): 1.14,
}
"""Pixels per dp of panels whose millimetres are known."""

TARGET_MM, FLOOR_MM, BIG_MM = 12.0, 9.0, 20.0
TARGET, FLOOR, BIG = 62, 47, 104
"""Hit areas in dp: 12 mm standard, 9 mm floor, 20 mm for the shutter and PIN keys."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A panel in pixels, and its scale in pixels per dp."""

    width: int
    height: int
    scale: float

    @classmethod
    def of(cls, width: int, height: int, px_per_mm: float | None = None) -> Layout:
        """Scale by the panel's density where given, else a known panel's, else so that the design fits."""
        fits = min(width / 800, height / 480) if width >= height else min(width / 450, height / 800)
        if px_per_mm is not None:
            return cls(width, height, min(px_per_mm / PX_PER_MM_OF_DP, fits))
        return cls(width, height, KNOWN_PANELS.get((width, height), fits))

    @property
    def portrait(self) -> bool:
        """Higher than wide."""
        return self.height > self.width

    @property
    def box(self) -> Box:
        """The whole panel."""
        return Box(0, 0, self.width, self.height)

    def dp(self, n: float) -> int:
        """Pixels of n dp, at least 1 for anything above 0."""
        return max(1, round(n * self.scale)) if n > 0 else round(n * self.scale)
