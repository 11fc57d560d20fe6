"""The base of all widgets, and finding the one that a finger meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import Painter
from kiosk.touchui.theme import TARGET, Colour, Layout


@dataclass(frozen=True, kw_only=True)
class Widget:
    """Something drawn inside `box`, and nowhere else."""

    box: Box

    @property
    def opaque(self) -> bool:
        """Whether nothing below it can be seen."""
        return False

    def draw(self, p: Painter) -> None:
        """Draw it."""

    def damage(self, before: Widget) -> Box:
        """Return what must be drawn again when this replaces `before` in the same box."""
        return self.box.union(before.box)


@dataclass(frozen=True, kw_only=True)
class Tappable(Widget):
    """A widget that answers to a finger.

    key: what the screen's `tap` is told.  name: what it is called where no text is drawn, and always in
    scripts.  hit: the area that is its own, where `box` is not it.  on_down: answers when the finger
    lands, not when it leaves.
    """

    key: str
    name: str = ""
    enabled: bool = True
    pressed: bool = False
    hit: Box | None = None
    on_down: bool = False

    @property
    def area(self) -> Box:
        """Where a finger surely means this widget."""
        return self.hit or self.box


@dataclass(frozen=True, kw_only=True)
class Fill(Widget):
    """A plain area, with a rule along an edge where asked ("top", "bottom", "left", "right")."""

    colour: Colour
    rule: Colour | None = None
    edge: str = ""

    @property
    def opaque(self) -> bool:
        """Nothing shines through a full colour."""
        return self.colour[3] == 255

    def draw(self, p: Painter) -> None:
        """Draw it."""
        p.fill(self.box, self.colour)
        if self.rule is not None:
            b, one = self.box, p.dp(1)
            part = {
                "top": Box(b.x, b.y, b.w, one),
                "bottom": Box(b.x, b.bottom - one, b.w, one),
                "left": Box(b.x, b.y, one, b.h),
                "right": Box(b.right - one, b.y, one, b.h),
            }[self.edge]
            p.fill(part, self.rule)


@dataclass(frozen=True, kw_only=True)
class Scrim(Widget):
    """A veil: what is below it can be seen but not touched."""

    colour: Colour
    blocks: bool = True

    def draw(self, p: Painter) -> None:
        """Draw it."""
        p.fill(self.box, self.colour)


def reachable(widgets: Sequence[Widget]) -> list[Tappable]:
    """Return the widgets that a finger can reach: those above the last veil."""
    found: list[Tappable] = []
    for widget in widgets:
        if isinstance(widget, Scrim) and widget.blocks:
            found = []
        elif isinstance(widget, Tappable):
            found.append(widget)
    return found


def touched(widgets: Sequence[Widget], x: float, y: float, layout: Layout) -> Tappable | None:
    """Return the widget that a finger at (x, y) pixels meant, or None.

    Inside a widget it is that one (the topmost). Beside one, it is the nearest whose area, grown to the
    standard target size, holds the point: hit areas reach out to 12 mm where the neighbour is no control.
    """
    targets = reachable(widgets)
    for widget in reversed(targets):
        if widget.area.contains(x, y):
            return widget if widget.enabled else None
    least = layout.dp(TARGET)
    near = [w for w in targets if w.area.grown_to(least, least).contains(x, y)]
    if not near:
        return None
    nearest = min(near, key=lambda w: w.area.distance(x, y))
    return nearest if nearest.enabled else None
