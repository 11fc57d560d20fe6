"""Shapes and icons with smooth edges, rendered once and kept.

Rounded boxes are computed from their signed distance, so that edges are anti-aliased at any size.
Icons are Lucide SVG files, rasterised at the size they are shown in.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pygame
from numpy.typing import NDArray

from kiosk.touchui.theme import Colour

CACHED_BYTES = 24_000_000
Pixels = NDArray[np.uint8]


class Art:
    """A cache of shapes and icons, bounded in bytes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], pygame.Surface] = OrderedDict()
        self._bytes = 0
        self._svg: dict[str, str] = {}

    def _keep(self, key: tuple[object, ...], surface: pygame.Surface) -> pygame.Surface:
        self._kept[key] = surface
        self._bytes += surface.get_width() * surface.get_height() * 4
        while self._bytes > CACHED_BYTES and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._bytes -= old.get_width() * old.get_height() * 4
        return surface

    def _find(self, key: tuple[object, ...]) -> pygame.Surface | None:
        surface = self._kept.get(key)
        if surface is not None:
            self._kept.move_to_end(key)
        return surface

    def panel(
        self,
        w: int,
        h: int,
        radius: int,
        fill: Colour | None,
        border: Colour | None = None,
        line: float = 0,
        corners: str = "lr",
    ) -> pygame.Surface:
        """Return a rounded box. `corners`: "l" rounds the left ones, "r" the right ones."""
        key = ("panel", w, h, radius, fill, border, line, corners)
        found = self._find(key)
        if found is not None:
            return found
        distance = _distance(w, h, radius, corners)
        outer = np.clip(0.5 - distance, 0, 1)
        inner = np.clip(0.5 - distance - line, 0, 1) if border is not None else outer
        rgba = np.zeros((h, w, 4), np.float32)
        fill_alpha = (fill[3] / 255 if fill else 0.0) * inner
        line_alpha = (border[3] / 255 if border else 0.0) * (outer - inner)
        alpha = fill_alpha + line_alpha
        for c in range(3):
            mixed = (fill[c] if fill else 0) * fill_alpha + (border[c] if border else 0) * line_alpha
            rgba[..., c] = mixed / np.maximum(alpha, 1e-6)
        rgba[..., 3] = alpha * 255
        return self._keep(key, surface_of(np.rint(rgba).astype(np.uint8)))

    def shadow(self, w: int, h: int, radius: int, blur: int, colour: Colour) -> pygame.Surface:
        """Return a soft shadow of a rounded box, `blur` pixels larger on every side."""
        key = ("shadow", w, h, radius, blur, colour)
        found = self._find(key)
        if found is not None:
            return found
        distance = _distance(w + 2 * blur, h + 2 * blur, radius + blur, "lr") + blur
        fade = np.clip(1 - (distance + blur / 2) / (1.5 * blur), 0, 1) ** 2
        rgba = np.empty((h + 2 * blur, w + 2 * blur, 4), np.uint8)
        rgba[..., :3] = colour[:3]
        rgba[..., 3] = np.rint(fade * colour[3])
        return self._keep(key, surface_of(rgba))

    def frame(self, w: int, h: int, radius: int, colour: Colour) -> tuple[pygame.Surface, ...]:
        """Return four corner pieces in `colour` that make what lies below look round: tl, tr, bl, br."""
        key = ("frame", radius, colour)
        found = self._find(key)
        if found is None:
            distance = _distance(2 * radius, 2 * radius, radius, "lr")
            rgba = np.empty((2 * radius, 2 * radius, 4), np.uint8)
            rgba[..., :3] = colour[:3]
            rgba[..., 3] = np.rint(np.clip(0.5 + distance, 0, 1) * colour[3])
            found = self._keep(key, surface_of(rgba))
        r = radius
        return tuple(found.subsurface((x, y, r, r)) for y in (0, r) for x in (0, r))

    def icon(self, name: str, size: int, colour: Colour, stroke: float = 2) -> pygame.Surface:
        """Return a Lucide icon, `size` pixels square. `stroke`: line width in the icon's 24 units."""
        key = ("icon", name, size, colour, stroke)
        found = self._find(key)
        if found is not None:
            return found
        text = self._svg.get(name)
        if text is None:
            text = (files("kiosk.touchui") / "icons" / f"{name}.svg").read_text("utf-8")
            self._svg[name] = text
        red, green, blue, _ = colour
        text = text.replace("currentColor", f"#{red:02x}{green:02x}{blue:02x}")
        text = text.replace('stroke-width="2"', f'stroke-width="{stroke}"')
        surface = pygame.image.load_sized_svg(io.BytesIO(text.encode()), (size, size))
        like = pygame.Surface((1, 1), pygame.SRCALPHA, 32)
        return self._keep(key, surface.convert(like))

    def bracket(self, size: int, radius: int, line: float, colour: Colour) -> tuple[pygame.Surface, ...]:
        """Return four corner brackets with a dark rim: tl, tr, bl, br."""
        key = ("bracket", size, radius, line, colour)
        found = self._find(key)
        if found is None:
            k, half = 4, line / 2
            grid = pygame.Surface((size * k, size * k), pygame.SRCALPHA)
            for width, ink in ((line + 2, (0, 0, 0, 110)), (line, colour)):
                _bracket_path(grid, size * k, radius * k, half * k + k, width * k, ink)
            found = self._keep(key, pygame.transform.smoothscale(grid, (size, size)))
        flip = pygame.transform.flip
        return found, flip(found, True, False), flip(found, False, True), flip(found, True, True)

    def picture(self, key: tuple[object, ...], pixels: Pixels, w: int, h: int) -> pygame.Surface:
        """Return a still scaled to fill w by h, cropped in the middle; kept under `key`."""
        key = ("picture", *key, w, h)
        found = self._find(key)
        if found is None:
            # A copy: the pixels belong to others, who overwrite them.
            found = self._keep(key, fill_picture(pixels, w, h).copy())
        return found

    def forget_pictures(self) -> None:
        """Overwrite and drop every still."""
        for key in [k for k in self._kept if k[0] == "picture"]:
            old = self._kept.pop(key)
            old.fill((0, 0, 0))
            self._bytes -= old.get_width() * old.get_height() * 4


def fill_picture(pixels: Pixels, w: int, h: int) -> pygame.Surface:
    """Scale an RGB picture (rows, columns, 3) so that it fills w by h pixels, cropped in the middle."""
    rows, columns = pixels.shape[:2]
    scale = max(w / columns, h / rows)
    cut_w, cut_h = min(columns, round(w / scale)), min(rows, round(h / scale))
    x, y = (columns - cut_w) // 2, (rows - cut_h) // 2
    part = pixels[y : y + cut_h, x : x + cut_w]
    # A 12-megapixel still is thinned first: smoothscale's cost follows the source.
    step = max(1, int(min(cut_w / w, cut_h / h) / 2))
    part = np.ascontiguousarray(part[::step, ::step])
    source = pygame.image.frombuffer(part.data, (part.shape[1], part.shape[0]), "RGB")
    if source.get_size() == (w, h):
        return source
    return pygame.transform.smoothscale(source, (w, h))


def _distance(w: int, h: int, radius: int, corners: str) -> NDArray[np.float32]:
    """Signed distance in pixels from each pixel's centre to the edge of a rounded box; negative inside."""
    x = np.arange(w, dtype=np.float32)[None, :] + 0.5
    y = np.arange(h, dtype=np.float32)[:, None] + 0.5
    cx, cy = np.float32(w / 2), np.float32(h / 2)
    limit = min(w, h) / 2
    left = min(radius, limit) if "l" in corners else 0.0
    right = min(radius, limit) if "r" in corners else 0.0
    r = np.where(x < cx, np.float32(left), np.float32(right))
    qx, qy = np.abs(x - cx) - cx + r, np.abs(y - cy) - cy + r
    outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
    return np.asarray(outside + np.minimum(np.maximum(qx, qy), 0) - r, np.float32)


def surface_of(rgba: Pixels) -> pygame.Surface:
    """Return RGBA (rows, columns, 4) as a surface laid out as the screen is: blending is 40 times faster."""
    h, w = rgba.shape[:2]
    return pygame.image.frombytes(rgba[..., (2, 1, 0, 3)].tobytes(), (w, h), "BGRA")


def _bracket_path(
    grid: pygame.Surface, size: float, radius: float, margin: float, width: float, ink: Colour
) -> None:
    angles = np.linspace(np.pi, 1.5 * np.pi, 24)
    centre = margin + radius
    points = [(margin, size - margin)]
    points += [(centre + radius * np.cos(a), centre + radius * np.sin(a)) for a in angles]
    points.append((size - margin, margin))
    for (x0, y0), (x1, y1) in pairwise(points):
        steps = max(1, int(np.hypot(x1 - x0, y1 - y0)))
        for i in range(steps + 1):
            at = (x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps)
            pygame.draw.circle(grid, ink, at, width / 2)
