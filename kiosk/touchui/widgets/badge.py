"""Two small parts of quiet screens: an emblem, and an area that answers to a touch anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from kiosk.touchui.paint import Painter
from kiosk.touchui.theme import Colour
from kiosk.touchui.widgets.base import Tappable, Widget


@dataclass(frozen=True, kw_only=True)
class Emblem(Widget):
    """An icon in a soft disc."""

    icon: str
    face: Colour | None = None
    ink: Colour | None = None

    def draw(self, p: Painter) -> None:
        """Draw it."""
        radius = self.box.h / p.layout.scale / 2
        p.panel(self.box, radius, self.face or p.theme.surface, None if self.face else p.theme.divider, 1.5)
        p.icon(self.icon, radius * 0.9, self.ink or p.theme.action, self.box, 1.75)


@dataclass(frozen=True, kw_only=True)
class TapArea(Tappable):
    """Invisible: the whole area answers."""


@dataclass(frozen=True, kw_only=True)
class Sheet(Widget):
    """The plate of a dialog, or of a group of widgets."""

    def draw(self, p: Painter) -> None:
        """Draw it."""
        dark = p.theme.name != "light"
        p.panel(self.box, 14, p.theme.surface, p.theme.border if dark else None, 1 if dark else 0)
