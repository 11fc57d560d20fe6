"""Scanners that type: telling a burst of keys that ends with Enter from a person at a keyboard."""

from __future__ import annotations

from dataclasses import dataclass

LEAST, MEAN_GAP, PAUSE, MOST = 6, 0.035, 0.25, 4096
"""Characters of a burst at least; seconds between them on average; seconds of silence that end it;
characters that are kept at most."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A scanner's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Keys:
    """Characters typed by a person."""

    text: str


@dataclass(frozen=True, slots=True)
class Enter:
    """Enter, pressed by a person."""


class Wedge:
    """Decides which keys come from a scanner. It holds at most `MOST` characters.

    Characters wait here until Enter or a pause decides, so typed keys appear up to `PAUSE` late only
    when they come as fast as a scanner's.
    """

    def __init__(self) -> None:
        self._kept: list[str] = []
        self._count = 0
        self._first = self._last = 0.0

    @property
    def busy(self) -> bool:
        """Whether characters are waiting for a decision."""
        return self._count > 0

    def characters(self, text: str, at: float) -> list[Scan | Keys | Enter]:
        """Take what a key event brought, at `at` seconds; returns what is decided by now."""
        decided = self.poll(at)
        for character in text:
            if not self._count:
                self._first = at
            self._count += 1
            if self._count <= MOST:
                self._kept.append(character)
            self._last = at
        return decided

    def enter(self, at: float) -> list[Scan | Keys | Enter]:
        """Enter (or Tab) came: the burst is complete, or a person has finished typing."""
        decided = self.poll(at)
        if self._count >= LEAST and self._mean() < MEAN_GAP:
            return [*decided, Scan(self._take())]
        if self._count:
            decided.append(Keys(self._take()))
        return [*decided, Enter()]

    def poll(self, at: float) -> list[Scan | Keys | Enter]:
        """Let characters go that turned out to be typed."""
        silent = at - self._last
        burst = self._count >= 2 and self._mean() < MEAN_GAP
        if self._count and (silent > PAUSE or (silent > 2 * MEAN_GAP and not burst)):
            return [Keys(self._take())]
        return []

    def _mean(self) -> float:
        return (self._last - self._first) / max(1, self._count - 1)

    def _take(self) -> str:
        text = "".join(self._kept)
        self._kept, self._count = [], 0
        return text
