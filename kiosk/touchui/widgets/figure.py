"""A body from the front and from the back, with the chosen site in colour.

Everything is drawn from signed distances in a unit where the body is 1 high: rounded cones melt into a
silhouette, and a site is a cut of it. +x is the patient's left as seen from the front.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pygame
from numpy.typing import NDArray

from kiosk.model import Aspect, BodySite, Laterality, Region
from kiosk.touchui import theme
from kiosk.touchui.art import surface_of
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE, Painter
from kiosk.touchui.theme import Colour, Type
from kiosk.touchui.widgets.base import Widget

Field = NDArray[np.float32]
"""(rows, columns): distance to an edge, negative inside."""
Shape = Callable[[Field, Field], Field]

RATIO = 0.47
"""Width of the figure for a height of 1."""


def _cone(ax: float, ay: float, ar: float, bx: float, by: float, br: float) -> Shape:
    """A limb: thick `ar` at a, `br` at b, round at both ends."""

    def distance(x: Field, y: Field) -> Field:
        dx, dy = bx - ax, by - ay
        t = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
        return np.asarray(np.hypot(x - ax - t * dx, y - ay - t * dy) - (ar + t * (br - ar)), np.float32)

    return distance


def _oval(cx: float, cy: float, rx: float, ry: float) -> Shape:
    """An ellipse; the distance is close enough for an edge."""

    def distance(x: Field, y: Field) -> Field:
        k = np.hypot((x - cx) / rx, (y - cy) / ry)
        return np.asarray((k - 1) * min(rx, ry), np.float32)

    return distance


def _slab(ax: float, ay: float, bx: float, by: float, half: float) -> Shape:
    """A bar from a to b with straight ends."""

    def distance(x: Field, y: Field) -> Field:
        length = float(np.hypot(bx - ax, by - ay))
        ux, uy = (bx - ax) / length, (by - ay) / length
        along = (x - ax) * ux + (y - ay) * uy
        across = np.abs((y - ay) * ux - (x - ax) * uy)
        return np.asarray(np.maximum(across - half, np.abs(along - length / 2) - length / 2), np.float32)

    return distance


# One half of the body; the other is its mirror image.
_TRUNK = (
    _oval(0, 0.066, 0.046, 0.062),
    _cone(0, 0.115, 0.030, 0, 0.185, 0.034),
    _cone(0.0, 0.190, 0.026, 0.088, 0.208, 0.030),
    _cone(0.048, 0.235, 0.060, 0.034, 0.395, 0.047),
    _cone(0.034, 0.395, 0.047, 0.042, 0.500, 0.056),
)
_ARM = (
    _cone(0.106, 0.214, 0.034, 0.141, 0.350, 0.0250),
    _cone(0.141, 0.350, 0.0250, 0.172, 0.480, 0.0165),
    _cone(0.174, 0.492, 0.0165, 0.182, 0.515, 0.0195),
    _cone(0.182, 0.515, 0.0195, 0.188, 0.550, 0.0130),
    _cone(0.172, 0.500, 0.0090, 0.157, 0.530, 0.0070),
)
_LEG = (
    _cone(0.047, 0.515, 0.053, 0.052, 0.715, 0.0345),
    _cone(0.052, 0.715, 0.0340, 0.055, 0.790, 0.0345),
    _cone(0.055, 0.790, 0.0345, 0.052, 0.930, 0.0190),
    _cone(0.052, 0.930, 0.0190, 0.056, 0.965, 0.0210),
    _cone(0.056, 0.968, 0.0200, 0.078, 0.978, 0.0150),
)
_MELT_TRUNK, _MELT_LIMB = 0.022, 0.006

_MIDDLE: dict[Region, Shape] = {
    Region.HEAD: _oval(0, 0.066, 0.060, 0.068),
    Region.FACE: _oval(0, 0.080, 0.034, 0.040),
    Region.NECK: _slab(0, 0.128, 0, 0.176, 0.060),
    Region.CHEST: _slab(0, 0.180, 0, 0.335, 0.104),
    Region.ABDOMEN: _slab(0, 0.335, 0, 0.500, 0.120),
    Region.BACK: _slab(0, 0.180, 0, 0.430, 0.104),
    Region.SACRUM: _oval(0, 0.462, 0.028, 0.030),
}
_SIDED: dict[Region, Shape] = {
    Region.SHOULDER: _oval(0.104, 0.212, 0.046, 0.046),
    Region.UPPER_ARM: _slab(0.114, 0.244, 0.134, 0.322, 0.045),
    Region.ELBOW: _slab(0.1345, 0.324, 0.1475, 0.377, 0.045),
    Region.FOREARM: _slab(0.148, 0.380, 0.171, 0.474, 0.040),
    Region.HAND: _slab(0.171, 0.478, 0.191, 0.575, 0.045),
    Region.BUTTOCK: _oval(0.046, 0.522, 0.042, 0.046),
    Region.HIP: _oval(0.082, 0.495, 0.036, 0.046),
    Region.THIGH: _slab(0.050, 0.565, 0.052, 0.680, 0.060),
    Region.KNEE: _slab(0.052, 0.684, 0.053, 0.752, 0.055),
    Region.LOWER_LEG: _slab(0.054, 0.756, 0.053, 0.900, 0.055),
    Region.ANKLE: _slab(0.053, 0.904, 0.053, 0.944, 0.050),
    Region.HEEL: _slab(0.058, 0.962, 0.058, 1.000, 0.050),
    Region.FOOT: _slab(0.060, 0.948, 0.060, 1.000, 0.055),
}
_FRONT_LINES = (
    _cone(0, 0.440, 0.0035, 0, 0.446, 0.0035),
    _cone(0.016, 0.204, 0.0016, 0.062, 0.194, 0.0016),
    _cone(0.018, 0.305, 0.0016, 0.062, 0.300, 0.0016),
    _cone(0.040, 0.722, 0.0016, 0.064, 0.722, 0.0016),
)
"""Navel, collar bones, chest, knees: what tells the front from the back."""
_BACK_LINES = (
    _cone(0, 0.200, 0.0016, 0, 0.430, 0.0016),
    _cone(0.040, 0.240, 0.0016, 0.056, 0.300, 0.0016),
    _cone(0, 0.490, 0.0018, 0, 0.540, 0.0018),
    _cone(0.016, 0.556, 0.0016, 0.070, 0.548, 0.0016),
    _cone(0.042, 0.728, 0.0016, 0.064, 0.728, 0.0016),
)
"""Spine, shoulder blades, buttocks, hollows of the knees."""
_ON_ARM = frozenset({Region.UPPER_ARM, Region.ELBOW, Region.FOREARM, Region.HAND})
_ON_LEG = frozenset({Region.THIGH, Region.KNEE, Region.LOWER_LEG, Region.ANKLE, Region.HEEL, Region.FOOT})
_FRONT_ONLY = frozenset({Region.FACE, Region.CHEST, Region.ABDOMEN})
_BACK_ONLY = frozenset({Region.BACK, Region.SACRUM, Region.BUTTOCK, Region.HEEL})


def _melt(a: Field, b: Field, k: float) -> Field:
    """Smooth union: the corner between two shapes is filled over a width of k."""
    h = np.clip(0.5 + 0.5 * (b - a) / k, 0, 1)
    return np.asarray(b + (a - b) * h - k * h * (1 - h), np.float32)


def _union(shapes: tuple[Shape, ...], x: Field, y: Field, k: float) -> Field:
    whole = shapes[0](x, y)
    for shape in shapes[1:]:
        whole = _melt(whole, shape(x, y), k)
    return whole


def _grid(w: int, h: int) -> tuple[Field, Field]:
    """Unit coordinates of each pixel's centre."""
    y = (np.arange(h, dtype=np.float32)[:, None] + 0.5) / h
    x = (np.arange(w, dtype=np.float32)[None, :] + 0.5 - w / 2) / h
    return np.broadcast_to(x, (h, w)), np.broadcast_to(y, (h, w))


@lru_cache(maxsize=4)
def _silhouette(w: int, h: int) -> Field:
    """The body's distance field in pixels; front and back share it."""
    x, y = _grid(w, h)
    x = np.abs(x)
    trunk = _union(_TRUNK, x, y, _MELT_TRUNK)
    leg = _union(_LEG, x, y, _MELT_LIMB)
    arm = _union(_ARM, x, y, _MELT_LIMB)
    body = _melt(_melt(trunk, leg, 0.016), arm, 0.014)
    return np.asarray(body * h, np.float32)


@lru_cache(maxsize=4)
def _lines(w: int, h: int, *, back: bool) -> Field:
    """The distance field, in pixels, of the few lines drawn on the body."""
    x, y = _grid(w, h)
    fields = [line(np.abs(x), y) for line in (_BACK_LINES if back else _FRONT_LINES)]
    return np.asarray(np.minimum.reduce(fields) * h, np.float32)


def site_field(site: BodySite, w: int, h: int, *, back: bool) -> Field | None:
    """The site's distance field in pixels, or None where this view does not show it."""
    region = site.region
    if (region in _FRONT_ONLY and back) or (region in _BACK_ONLY and not back):
        return None
    if site.aspect is not None and (site.aspect is Aspect.BACK) is not back:
        return None
    x, y = _grid(w, h)
    if back:
        x = -x
    if site.laterality is Laterality.RIGHT:
        x = -x
    elif site.laterality is None:
        x = np.abs(x)
    cut = (_MIDDLE.get(region) or _SIDED[region])(x, y)
    if region in _SIDED:
        cut = np.maximum(cut, -x)
    part = _ARM if region in _ON_ARM else _LEG if region in _ON_LEG else _TRUNK
    if region not in (Region.SHOULDER, Region.HIP, Region.BUTTOCK):
        inside = _union(part, np.abs(x) if part is _TRUNK else x, y, _MELT_LIMB) - np.float32(0.004)
        cut = np.maximum(cut, inside)
    return np.asarray(np.maximum(cut * h, _silhouette(w, h)), np.float32)


def _tinted(distance: Field, colour: Colour) -> pygame.Surface:
    """A surface in one colour where the distance is negative, with smooth edges."""
    rgba = np.empty((*distance.shape, 4), np.uint8)
    rgba[..., :3] = colour[:3]
    rgba[..., 3] = np.rint(np.clip(0.5 - distance, 0, 1) * colour[3])
    return surface_of(rgba)


@dataclass(frozen=True, kw_only=True)
class BodyFigure(Widget):
    """Two views with L and R as the patient's. A site without its side yet is shown paler, on both."""

    site: BodySite | None

    def draw(self, p: Painter) -> None:
        """Draw it."""
        gap, line = p.dp(6), p.dp(22)
        h = min(self.box.h - line, int((self.box.w - gap) / 2 / RATIO))
        # Wide boxes do not pull the two views apart.
        pair = self.box.centred(min(self.box.w, round(2.6 * RATIO * h)), h + line)
        for cell, back in zip(pair.columns(2, gap), (False, True), strict=True):
            caption, view = cell.bottom_part(p.dp(20), line - p.dp(20))
            self._view(p, view, back=back)
            word = "Back view" if back else "Front view"
            p.text(word, theme.SMALL, p.theme.secondary, caption, CENTRE, shrink=11)

    def _view(self, p: Painter, cell: Box, *, back: bool) -> None:
        t = p.theme
        h = min(cell.h, int(cell.w / RATIO))
        w = int(h * RATIO)
        place = cell.centred(w, h)
        body = _silhouette(w, h)
        line = 1.25 * p.layout.scale
        p.surface.blit(_tinted(body, t.border), place[:2])
        p.surface.blit(_tinted(np.asarray(body + line, np.float32), t.segment), place[:2])
        p.surface.blit(_tinted(_lines(w, h, back=back), (*t.border[:3], 120)), place[:2])
        if self.site is not None:
            site = site_field(self.site, w, h, back=back)
            if site is not None:
                whole = self.site.laterality is not None or not self.site.region.has_sides
                p.surface.blit(_tinted(site, t.action if whole else (*t.action[:3], 105)), place[:2])
        self._sides(p, place, back=back)

    def _sides(self, p: Painter, place: Box, *, back: bool) -> None:
        """L and R beside the head: the patient's, so they change places on the back."""
        d, t = p.dp(22), p.theme
        chosen = self.site.laterality if self.site else None
        for x, side in (
            (place.cx - round(place.h * 0.185), Laterality.LEFT if back else Laterality.RIGHT),
            (place.cx + round(place.h * 0.185), Laterality.RIGHT if back else Laterality.LEFT),
        ):
            disc = Box(x - d // 2, place.y + round(place.h * 0.075), d, d)
            lit = chosen is side
            p.panel(disc, 11, t.action if lit else t.action_soft)
            word = "L" if side is Laterality.LEFT else "R"
            p.text(word, Type(theme.BOLD, 13), t.on_action if lit else t.action, disc, CENTRE)
