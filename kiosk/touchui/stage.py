"""The stage: puts a list of widgets on a surface, and draws only what differs from the last list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pygame

from kiosk.touchui.art import Art, Pixels
from kiosk.touchui.geometry import Box, merged
from kiosk.touchui.ink import Ink
from kiosk.touchui.paint import Painter, TextRecord
from kiosk.touchui.text import Fonts
from kiosk.touchui.theme import Layout, Theme
from kiosk.touchui.widgets import Scrim, Widget
from kiosk.touchui.widgets.base import reachable


@dataclass(frozen=True, slots=True)
class Shown:
    """What is on the screen: the widgets, lowest first, and the texts that each of them drew."""

    widgets: tuple[Widget, ...] = ()
    texts: tuple[tuple[TextRecord, ...], ...] = ()


class Stage:
    """One surface, its caches, and what was drawn on it last."""

    def __init__(self, surface: pygame.Surface, layout: Layout, fonts: Fonts, art: Art | None = None) -> None:
        self._surface = surface
        self._layout = layout
        self._fonts = fonts
        self._art = art or Art()
        self._ink = Ink()
        self._theme: Theme | None = None
        self.shown = Shown()

    def forget(self) -> None:
        """Drop stills and ink; what is on the surface stays until it is drawn over."""
        self._art.forget_pictures()
        self._ink.forget()

    def painter(self, theme: Theme, picture: Callable[[str], Pixels | None]) -> Painter:
        """Return a painter on the surface."""
        return Painter(self._surface, self._layout, theme, self._fonts, self._art, self._ink, picture)

    def show(
        self,
        widgets: Sequence[Widget],
        theme: Theme,
        picture: Callable[[str], Pixels | None],
        *,
        whole: bool = False,
    ) -> tuple[Box, ...]:
        """Draw what changed (or the `whole` of it) and return the boxes that were drawn."""
        panel = self._layout.box
        known = dict(zip(self.shown.widgets, self.shown.texts, strict=True))
        if theme is self._theme and not whole:
            dirty = merged(box.clip(panel) for box in _changed(self.shown.widgets, widgets))
        else:
            dirty, known = (panel,), {}
        self._theme = theme
        painter = self.painter(theme, picture)
        for region in dirty:
            self._surface.set_clip(region)
            for widget in widgets[_lowest(widgets, region) :]:
                if widget.box.meets(region):
                    painter.texts = []
                    widget.draw(painter)
                    known[widget] = tuple(painter.texts)
        self._surface.set_clip(None)
        self.shown = Shown(tuple(widgets), tuple(known.get(w, ()) for w in widgets))
        return dirty


def _lowest(widgets: Sequence[Widget], region: Box) -> int:
    """Index of the last widget that hides all below it in this region."""
    for i in range(len(widgets) - 1, -1, -1):
        if widgets[i].opaque and widgets[i].box.covers(region):
            return i
    return 0


def _changed(before: Sequence[Widget], after: Sequence[Widget]) -> list[Box]:
    old, new = set(before), set(after)
    gone = [w for w in before if w not in new]
    boxes: list[Box] = []
    for widget in after:
        if widget in old:
            continue
        same = next((w for w in gone if type(w) is type(widget) and w.box == widget.box), None)
        if same is None:
            boxes.append(widget.box)
        else:
            gone.remove(same)
            boxes.append(widget.damage(same))
    return boxes + [w.box for w in gone]


def described(shown: Shown, layout: Layout) -> list[dict[str, object]]:
    """Return the texts that can be read and the boxes that can be touched, topmost last.

    Texts: {"kind": "text", "text": ...}.  Boxes: {"kind": "tap", "label": the text drawn in it (or its
    name where it shows only an icon), "name", "key", "x", "y" (centre), "w", "h" (0..1), "enabled"}.
    """
    veil = max((i for i, w in enumerate(shown.widgets) if isinstance(w, Scrim) and w.blocks), default=-1)
    rows: list[dict[str, object]] = []
    for i, (widget, texts) in enumerate(zip(shown.widgets, shown.texts, strict=True)):
        if i < veil and shown.widgets[veil].box.covers(widget.box):
            continue
        rows += [{"kind": "text", "text": t.text} for t in texts]
    drawn = dict(zip(shown.widgets, shown.texts, strict=True))
    for target in reachable(shown.widgets):
        area = target.area
        rows.append(
            {
                "kind": "tap",
                "label": " ".join(t.text for t in drawn[target]) or target.name,
                "name": target.name,
                "key": target.key,
                "x": area.cx / layout.width,
                "y": area.cy / layout.height,
                "w": area.w / layout.width,
                "h": area.h / layout.height,
                "enabled": target.enabled,
            }
        )
    return rows
