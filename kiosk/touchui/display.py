"""Where the picture goes: an SDL window, or a plain surface without any window."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import pygame

from kiosk.touchui.geometry import Box
from kiosk.touchui.input import set_hints


class Display(Protocol):
    """Owns the surface that the app draws on."""

    @property
    def surface(self) -> pygame.Surface:
        """What is drawn on; its size is the panel's."""

    def present(self, dirty: Iterable[Box]) -> None:
        """Show what was drawn in these boxes."""

    def save(self, path: Path) -> None:
        """Write the picture to a PNG file."""

    def close(self) -> None:
        """Give the display back."""


class Window:
    """A window on a desktop, or the whole screen under a compositor."""

    def __init__(self, size: tuple[int, int], title: str, *, full_screen: bool = False) -> None:
        set_hints()
        pygame.display.init()
        pygame.display.set_caption(title)
        self._surface = pygame.display.set_mode(size, pygame.FULLSCREEN if full_screen else 0)
        pygame.key.start_text_input()

    @property
    def surface(self) -> pygame.Surface:
        """What is drawn on."""
        return self._surface

    def present(self, dirty: Iterable[Box]) -> None:
        """Show what was drawn in these boxes."""
        pygame.display.update(list(dirty))

    def save(self, path: Path) -> None:
        """Write the picture to a PNG file."""
        pygame.image.save(self._surface, path)

    def close(self) -> None:
        """Close the window."""
        pygame.display.quit()


class Offscreen:
    """No window: SDL's dummy driver for the event queue, and a surface in memory."""

    def __init__(self, size: tuple[int, int]) -> None:
        set_hints()
        os.environ["SDL_VIDEODRIVER"] = "dummy"
        pygame.display.init()
        self._surface = pygame.Surface(size, 0, 32)
        self.presented = 0

    @property
    def surface(self) -> pygame.Surface:
        """What is drawn on."""
        return self._surface

    def present(self, dirty: Iterable[Box]) -> None:
        """Count; the surface is the screen."""
        self.presented += 1

    def save(self, path: Path) -> None:
        """Write the picture to a PNG file."""
        pygame.image.save(self._surface, path)

    def close(self) -> None:
        """Give SDL back."""
        pygame.display.quit()
