"""Signature ink: strokes become smooth lines of varying width.

The idea is signature_pad's: cubic Bezier curves through the points, thinner where the finger is fast,
with the width filtered so that it never jumps. No times are kept, because the rhythm of a signature
is biometric: a touch panel reports at a steady rate, so the distance between two points is the speed.
A stroke looks the same while it is drawn and when it is drawn again from the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, hypot

import pygame

from kiosk.model import Point, Stroke
from kiosk.touchui.geometry import Box
from kiosk.touchui.theme import Colour

MIN_WIDTH, MAX_WIDTH = 0.5, 2.5
"""Half-widths in dp, as signature_pad's defaults."""
WEIGHT = 0.7
"""How much a new speed counts against the filtered one."""
MIN_DISTANCE = 4.0
"""dp between two points that are kept."""
REPORT_MS = 16.0
"""A touch panel's time between two reports."""

Stamp = tuple[float, float, float]
"""x, y and radius in dp."""


class Pen:
    """Turns the points of one stroke (dp) into round stamps along a smooth line."""

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._speed = 0.0
        self._width = (MIN_WIDTH + MAX_WIDTH) / 2

    def add(self, point: Point) -> Iterator[Stamp]:
        """Take the next point; yields the stamps of the part that is now certain."""
        if self._points:
            x, y = self._points[-1]
            if hypot(point[0] - x, point[1] - y) < MIN_DISTANCE:
                return
        self._points.append(point)
        if len(self._points) == 1:
            yield (*point, self._width)
        elif len(self._points) > 2:
            before = self._points[-4] if len(self._points) > 3 else self._points[-3]
            yield from self._curve(before, *self._points[-3:])

    def finish(self) -> Iterator[Stamp]:
        """The finger was lifted: yields the last part, which had waited for its next point."""
        if len(self._points) > 1:
            before = self._points[-3] if len(self._points) > 2 else self._points[-2]
            yield from self._curve(before, self._points[-2], self._points[-1], self._points[-1])
        elif self._points:
            yield (*self._points[0], MAX_WIDTH * 0.75)

    def _curve(self, before: Point, start: Point, end: Point, after: Point) -> Iterator[Stamp]:
        length = hypot(end[0] - start[0], end[1] - start[1])
        self._speed = WEIGHT * length / REPORT_MS + (1 - WEIGHT) * self._speed
        width = max(MAX_WIDTH / (self._speed + 1), MIN_WIDTH)
        one, two = _control(before, start, end), _control(after, end, start)
        steps = max(2, ceil(length * 2))
        for i in range(1, steps + 1):
            t = i / steps
            u = 1 - t
            a, b, c, d = u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t
            x = a * start[0] + b * one[0] + c * two[0] + d * end[0]
            y = a * start[1] + b * one[1] + c * two[1] + d * end[1]
            yield x, y, self._width + (width - self._width) * t
        self._width = width


def _control(before: Point, at: Point, towards: Point) -> Point:
    """Control point at `at` for a curve to `towards`: a third of the way along the smoothed tangent."""
    tx, ty = towards[0] - before[0], towards[1] - before[1]
    length = hypot(tx, ty)
    if length == 0:
        return at
    reach = hypot(towards[0] - at[0], towards[1] - at[1]) / 3
    return at[0] + tx / length * reach, at[1] + ty / length * reach


class Ink:
    """The signature as a picture: drawn at several times the size, shrunk only where it changed."""

    def __init__(self) -> None:
        self._size = (0, 0)
        self._scale = 1.0
        self._over = 4
        self._colour: Colour = (0, 0, 0, 255)
        self._done: tuple[Stroke, ...] = ()
        self._live: Stroke = ()
        self._pen = Pen()
        self._big: pygame.Surface | None = None
        self._small: pygame.Surface | None = None

    def forget(self) -> None:
        """Drop the picture and the points."""
        self._big = self._small = None
        self._done, self._live, self._pen = (), (), Pen()
        self._size = (0, 0)

    def picture(
        self, size: tuple[int, int], scale: float, colour: Colour, done: tuple[Stroke, ...], live: Stroke
    ) -> pygame.Surface:
        """Return the strokes (0..1) drawn in `size` pixels. Only what is new since last time is drawn."""
        same = (size, scale, colour) == (self._size, self._scale, self._colour)
        if not same or self._big is None or not self._continues(done, live):
            self._start(size, scale, colour)
        dirty: list[Box] = []
        for stroke in done[len(self._done) :]:
            self._extend(stroke, dirty)
            self._stamp(self._pen.finish(), dirty)
            self._pen, self._live = Pen(), ()
        self._done = done
        self._extend(live, dirty)
        return self._shrink(dirty)

    def _start(self, size: tuple[int, int], scale: float, colour: Colour) -> None:
        self._size, self._scale, self._colour = size, scale, colour
        self._over = 4 if scale <= 1.3 else 3
        clear = (*colour[:3], 0)
        self._big = pygame.Surface((size[0] * self._over, size[1] * self._over), pygame.SRCALPHA)
        self._small = pygame.Surface(size, pygame.SRCALPHA)
        self._big.fill(clear)
        self._small.fill(clear)
        self._done, self._live, self._pen = (), (), Pen()

    def _continues(self, done: tuple[Stroke, ...], live: Stroke) -> bool:
        known = len(self._done)
        if done[:known] != self._done:
            return False
        follows = done[known] if len(done) > known else live
        return follows[: len(self._live)] == self._live

    def _extend(self, stroke: Stroke, dirty: list[Box]) -> None:
        w, h = self._size
        for x, y in stroke[len(self._live) :]:
            self._stamp(self._pen.add((x * w / self._scale, y * h / self._scale)), dirty)
        self._live = stroke

    def _stamp(self, stamps: Iterator[Stamp], dirty: list[Box]) -> None:
        assert self._big is not None  # noqa: S101 - _start made it
        k = self._over * self._scale
        for x, y, r in stamps:
            radius = max(1.0, r * k)
            pygame.draw.circle(self._big, self._colour, (x * k, y * k), radius)
            reach = ceil(radius) + self._over
            dirty.append(Box(int(x * k) - reach, int(y * k) - reach, 2 * reach, 2 * reach))

    def _shrink(self, dirty: list[Box]) -> pygame.Surface:
        assert self._big is not None  # noqa: S101 - _start made both
        assert self._small is not None  # noqa: S101
        if not dirty:
            return self._small
        whole = dirty[0]
        for box in dirty[1:]:
            whole = whole.union(box)
        k = self._over
        left, top = max(0, whole.x // k), max(0, whole.y // k)
        right, bottom = min(self._size[0], -(-whole.right // k)), min(self._size[1], -(-whole.bottom // k))
        if right <= left or bottom <= top:
            return self._small
        w, h = right - left, bottom - top
        part = self._big.subsurface((left * k, top * k, w * k, h * k))
        target = self._small.subsurface((left, top, w, h))
        pygame.transform.smoothscale(part, (w, h), target)
        return self._small
