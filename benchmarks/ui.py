"""Drawing and idling: the preview's frame time, a full redraw, and the lock screen's share of a core.

rows() gives (name, value, reference, ratio). Times are milliseconds of one thread, off-screen; the
reference of each is the bare pygame call for the same pixels on the same machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from queue import SimpleQueue
from statistics import median
from threading import Timer
from time import monotonic, perf_counter
from typing import NamedTuple
from uuid import uuid4

import numpy as np
import pygame

from kiosk.flow import SECONDS, Flow
from kiosk.touchui.app import App, UiSettings
from kiosk.touchui.art import Pixels
from kiosk.touchui.display import Offscreen
from kiosk.touchui.gallery import Studio
from kiosk.touchui.scenes import STATION, WORDING, scenes
from kiosk.touchui.screens.preview import viewport_box
from kiosk.touchui.theme import Layout
from kiosk.touchui.widgets.pictures import fitted

IDLE_SECONDS = 10.0
IDLE_AIM = 3.0
STILL = (4056, 3040)
"""Width and height of the photographs: the preview has their shape."""
Row = tuple[str, float, float, float]


class Frame(NamedTuple):
    """A preview frame."""

    sequence: int
    timestamp: float
    pixels: Pixels


def _app(display: Offscreen, flow: Flow, preview: Callable[[], Frame | None]) -> App:
    return App(
        display=display,
        station=STATION,
        settings=UiSettings(SECONDS),
        perform=lambda effect: None,
        inbox=SimpleQueue(),
        preview=preview,
        review_image=lambda: None,
        thumbnails=lambda id: None,
        consent_text=WORDING,
        clock=monotonic,
        now=lambda: datetime.now(UTC),
        mint=uuid4,
        flow=flow,
    )


def _ms(call: Callable[[], object], times: int = 120) -> float:
    samples = []
    for _ in range(times):
        began = perf_counter()
        call()
        samples.append((perf_counter() - began) * 1000)
    return median(samples)


class Camera:
    """Two noisy pictures, each time with the next number."""

    def __init__(self, rows: int, columns: int) -> None:
        rng = np.random.default_rng(1)
        self.stills = [rng.integers(0, 255, (rows, columns, 3), np.uint8) for _ in range(2)]
        self._count = 0

    def __call__(self) -> Frame:
        self._count += 1
        return Frame(self._count, 0.0, self.stills[self._count % 2])


def preview_row(size: tuple[int, int]) -> Row:
    """One round of the loop with a new frame, against a bare blit of a frame of the same size.

    The camera is asked for exactly what is shown: a whole 4:3 picture, fitted into its place.
    """
    display = Offscreen(size)
    flow = next(s.flow for s in scenes() if s.name == "preview")
    box = fitted(viewport_box(Layout.of(*size)), *STILL)
    camera = Camera(box.h, box.w)

    def blit() -> None:
        still = camera().pixels
        picture = pygame.image.frombuffer(still.data, (box.w, box.h), "RGB")
        display.surface.blit(picture, box[:2])

    app = _app(display, flow, camera)
    for _ in range(5):
        app.tick()
    value, reference = _ms(app.tick), _ms(blit)
    display.close()
    return (f"preview frame {size[0]}x{size[1]} ({box.w}x{box.h} shown)", value, reference, value / reference)


def redraw_row(size: tuple[int, int]) -> Row:
    """The consent screen laid out and drawn whole, as at a change of state, against one blit of it all."""
    display = Offscreen(size)
    studio = Studio(size)
    drawn = studio.draw(next(s for s in scenes() if s.name == "consent-signed"))
    stage = studio.stage(drawn.surface)

    def redraw() -> None:
        stage.show(drawn.screen.layout(drawn.view), drawn.screen.theme, lambda name: None, whole=True)

    redraw()
    value = _ms(redraw)
    reference = _ms(lambda: display.surface.blit(drawn.surface, (0, 0)))
    display.close()
    return (f"full redraw of consent {size[0]}x{size[1]}", value, reference, value / reference)


def idle_percent(seconds: float = IDLE_SECONDS) -> float:
    """Share of one core, in percent, of a process that shows the lock screen for some seconds."""
    command = [sys.executable, "-m", "benchmarks.ui", "idle", str(seconds)]
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _idle(seconds: float) -> float:
    display = Offscreen((800, 480))
    app = _app(display, Flow(STATION), lambda: None)
    app.tick()
    closing = Timer(seconds, lambda: pygame.event.post(pygame.Event(pygame.QUIT)))
    closing.start()
    before = os.times()
    app.run()
    after = os.times()
    closing.join()
    display.close()
    used = after.user + after.system - before.user - before.system
    return 100 * used / (after.elapsed - before.elapsed)


def rows() -> list[Row]:
    """All rows."""
    idle = idle_percent()
    return [
        preview_row((800, 480)),
        preview_row((1280, 800)),
        redraw_row((800, 480)),
        redraw_row((1280, 800)),
        ("lock screen, percent of a core (aim 3)", idle, IDLE_AIM, idle / IDLE_AIM),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["idle"]:
        print(_idle(float(sys.argv[2])))
    else:
        for name, value, reference, ratio in rows():
            print(f"{name:55} {value:9.3f} {reference:9.3f} {ratio:8.2f}")
