"""Input: pygame's events become touches, scans and keys; and the same events posted by a script."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pygame

from kiosk.touchui.wedge import Enter, Keys, Scan, Wedge

MOUSE = -1
DOWN, MOVE, UP = "down", "move", "up"
_FINGER = {DOWN: pygame.FINGERDOWN, MOVE: pygame.FINGERMOTION, UP: pygame.FINGERUP}


@dataclass(frozen=True, slots=True)
class Touch:
    """A finger (or the mouse as finger -1): kind is "down", "move" or "up"; x and y 0..1."""

    kind: str
    finger: int
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Erase:
    """Backspace."""


@dataclass(frozen=True, slots=True)
class Quit:
    """The window was closed."""


@dataclass(frozen=True, slots=True)
class Exposed:
    """The window was uncovered, and has lost what it showed."""


Input = Touch | Scan | Keys | Enter | Erase | Quit | Exposed


def set_hints() -> None:
    """Keep SDL from turning touches into mouse events and back. Call before the display is opened."""
    os.environ["SDL_TOUCH_MOUSE_EVENTS"] = "0"
    os.environ["SDL_MOUSE_TOUCH_EVENTS"] = "0"


class Reader:
    """Reads pygame's event queue.

    key_hook: is told the name of every key pressed outside a burst ("space"); True means that it was
    taken and is not typed.
    """

    def __init__(self, key_hook: Callable[[str], bool] | None = None) -> None:
        self._wedge = Wedge()
        self._hook = key_hook
        self._swallow = ""

    def read(self, size: tuple[int, int], at: float) -> Iterator[Input]:
        """Yield what came since the last call. `size` of the panel in pixels, `at` monotonic seconds."""
        yield from self._wedge.poll(at)
        for event in pygame.event.get():
            yield from self._one(event, size, at)

    @property
    def undecided(self) -> bool:
        """Whether keys wait to be told apart; the caller should poll soon."""
        return self._wedge.busy

    def _one(self, event: pygame.Event, size: tuple[int, int], at: float) -> Iterator[Input]:
        kind = event.type
        if kind in (pygame.FINGERDOWN, pygame.FINGERMOTION, pygame.FINGERUP):
            name = DOWN if kind == pygame.FINGERDOWN else MOVE if kind == pygame.FINGERMOTION else UP
            yield Touch(name, event.finger_id, event.x, event.y)
        elif kind in (pygame.MOUSEBUTTONDOWN, pygame.MOUSEBUTTONUP):
            if event.button == 1 and not getattr(event, "touch", False):
                x, y = event.pos[0] / size[0], event.pos[1] / size[1]
                yield Touch(DOWN if kind == pygame.MOUSEBUTTONDOWN else UP, MOUSE, x, y)
        elif kind == pygame.MOUSEMOTION:
            if event.buttons[0] and not getattr(event, "touch", False):
                yield Touch(MOVE, MOUSE, event.pos[0] / size[0], event.pos[1] / size[1])
        elif kind == pygame.KEYDOWN:
            yield from self._key(event, at)
        elif kind == pygame.TEXTINPUT:
            text, swallow = event.text, self._swallow
            self._swallow = ""
            if text != swallow:
                yield from self._wedge.characters(text, at)
        elif kind == pygame.WINDOWEXPOSED:
            yield Exposed()
        elif kind == pygame.QUIT:
            yield Quit()

    def _key(self, event: pygame.Event, at: float) -> Iterator[Input]:
        self._swallow = ""
        if event.key in (pygame.K_RETURN, pygame.K_KP_ENTER, pygame.K_TAB):
            yield from self._wedge.enter(at)
        elif event.key == pygame.K_BACKSPACE:
            yield Erase()
        elif self._hook is not None and not self._wedge.busy and self._hook(pygame.key.name(event.key)):
            self._swallow = getattr(event, "unicode", "") or " "


def post_finger(kind: str, x: float, y: float, finger_id: int = 0) -> None:
    """Post a real finger event: kind "down", "move" or "up"; x and y 0..1 of the panel."""
    pygame.event.post(
        pygame.Event(_FINGER[kind], touch_id=1, finger_id=finger_id, x=x, y=y, dx=0.0, dy=0.0, pressure=1.0)
    )


def post_keys(text: str, *, enter: bool = False) -> None:
    """Post the key events of a text, as a keyboard sends them."""
    for character in text:
        _post_key(pygame.key.key_code("space") if character == " " else 0, character)
    if enter:
        _post_key(pygame.K_RETURN, "\r")


def post_scan(text: str) -> None:
    """Post the key events of a scanner that is set to end with Enter."""
    post_keys(text, enter=True)


def _post_key(key: int, character: str) -> None:
    pygame.event.post(pygame.Event(pygame.KEYDOWN, key=key, mod=0, unicode=character, scancode=0))
    if character.isprintable():
        pygame.event.post(pygame.Event(pygame.TEXTINPUT, text=character))
    pygame.event.post(pygame.Event(pygame.KEYUP, key=key, mod=0, unicode=character, scancode=0))
