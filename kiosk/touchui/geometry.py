"""Boxes in whole pixels: hashable, so that a widget can be compared with the one drawn before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle: left, top, width, height. Pixels."""

    x: int
    y: int
    w: int
    h: int

    @property
    def right(self) -> int:
        """First column to the right of the box."""
        return self.x + self.w

    @property
    def bottom(self) -> int:
        """First row below the box."""
        return self.y + self.h

    @property
    def cx(self) -> int:
        """Centre column."""
        return self.x + self.w // 2

    @property
    def cy(self) -> int:
        """Centre row."""
        return self.y + self.h // 2

    def inset(self, dx: int, dy: int | None = None) -> Box:
        """Return the box made smaller by dx on both sides and dy above and below."""
        d = dx if dy is None else dy
        return Box(self.x + dx, self.y + d, max(0, self.w - 2 * dx), max(0, self.h - 2 * d))

    def move(self, dx: int, dy: int) -> Box:
        """Return the box moved."""
        return Box(self.x + dx, self.y + dy, self.w, self.h)

    def top_part(self, h: int, gap: int = 0) -> tuple[Box, Box]:
        """Cut h rows off the top: (cut, rest below the gap)."""
        h = min(h, self.h)
        rest = max(0, self.h - h - gap)
        return Box(self.x, self.y, self.w, h), Box(self.x, self.bottom - rest, self.w, rest)

    def bottom_part(self, h: int, gap: int = 0) -> tuple[Box, Box]:
        """Cut h rows off the bottom: (cut, rest above the gap)."""
        h = min(h, self.h)
        return Box(self.x, self.bottom - h, self.w, h), Box(self.x, self.y, self.w, max(0, self.h - h - gap))

    def left_part(self, w: int, gap: int = 0) -> tuple[Box, Box]:
        """Cut w columns off the left: (cut, rest right of the gap)."""
        w = min(w, self.w)
        rest = max(0, self.w - w - gap)
        return Box(self.x, self.y, w, self.h), Box(self.right - rest, self.y, rest, self.h)

    def right_part(self, w: int, gap: int = 0) -> tuple[Box, Box]:
        """Cut w columns off the right: (cut, rest left of the gap)."""
        w = min(w, self.w)
        return Box(self.right - w, self.y, w, self.h), Box(self.x, self.y, max(0, self.w - w - gap), self.h)

    def centred(self, w: int, h: int) -> Box:
        """Return a box of w by h in the middle of this one."""
        return Box(self.x + (self.w - w) // 2, self.y + (self.h - h) // 2, w, h)

    def columns(self, n: int, gap: int = 0) -> list[Box]:
        """Split into n columns whose edges are whole pixels."""
        edges = [self.x + round(i * (self.w + gap) / n) for i in range(n + 1)]
        return [Box(edges[i], self.y, edges[i + 1] - gap - edges[i], self.h) for i in range(n)]

    def rows(self, n: int, gap: int = 0) -> list[Box]:
        """Split into n rows whose edges are whole pixels."""
        edges = [self.y + round(i * (self.h + gap) / n) for i in range(n + 1)]
        return [Box(self.x, edges[i], self.w, edges[i + 1] - gap - edges[i]) for i in range(n)]

    def contains(self, x: float, y: float) -> bool:
        """Whether the point lies inside."""
        return self.x <= x < self.right and self.y <= y < self.bottom

    def covers(self, other: Box) -> bool:
        """Whether the other box lies wholly inside."""
        return (
            self.x <= other.x
            and self.y <= other.y
            and self.right >= other.right
            and self.bottom >= other.bottom
        )

    def meets(self, other: Box) -> bool:
        """Whether the boxes share a pixel."""
        return (
            self.x < other.right and other.x < self.right and self.y < other.bottom and other.y < self.bottom
        )

    def union(self, other: Box) -> Box:
        """Return the smallest box around both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        return Box(x, y, max(self.right, other.right) - x, max(self.bottom, other.bottom) - y)

    def clip(self, other: Box) -> Box:
        """Return the part that lies in the other box (empty: width or height 0)."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        return Box(x, y, max(0, min(self.right, other.right) - x), max(0, min(self.bottom, other.bottom) - y))

    def distance(self, x: float, y: float) -> float:
        """Squared distance from the point to the box; 0 inside."""
        dx = max(self.x - x, 0, x - (self.right - 1))
        dy = max(self.y - y, 0, y - (self.bottom - 1))
        return float(dx * dx + dy * dy)

    def grown_to(self, w: int, h: int) -> Box:
        """Return the box grown about its centre to at least w by h."""
        return self.centred(max(self.w, w), max(self.h, h))


def merged(boxes: Iterable[Box], most: int = 6) -> tuple[Box, ...]:
    """Join boxes that meet; more than `most` become one around all."""
    out: list[Box] = []
    for box in boxes:
        if box.w <= 0 or box.h <= 0:
            continue
        grown = box
        again = True
        while again:
            again = False
            for other in out:
                if grown.meets(other):
                    grown = grown.union(other)
                    out.remove(other)
                    again = True
                    break
        out.append(grown)
    if len(out) > most:
        whole = out[0]
        for box in out[1:]:
            whole = whole.union(box)
        return (whole,)
    return tuple(out)
