"""The panel: the big shutter button, the ring light and the status lamp, through gpiozero.

gpiozero calls handlers on the pin library's only callback thread, and an exception there silently kills every
button until the process restarts. So a handler here does one thing that cannot fail: it puts a number into a
queue. A thread of ours takes it out and calls the kiosk.

lgpio makes a FIFO in its working directory when it is imported: set LG_WD to a writable directory in RAM
(systemd: RuntimeDirectory= and Environment=LG_WD=/run/...) before anything imports it. Its lines stay busy in
a forked child: start processes by spawn or exec, not by fork.

The ring light is on or off and never dimmed: software PWM at 100 Hz draws bands under a rolling shutter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum
from queue import Empty, SimpleQueue

from gpiozero import LED, Button, Device
from gpiozero.pins import Factory
from gpiozero.pins.mock import MockFactory, MockPWMPin


class Lamp(Enum):
    """Patterns of the status lamp: seconds on and off, None for steady."""

    OFF = (0.0, None)
    READY = (1.0, None)
    BUSY = (0.15, 0.15)
    WAITING = (1.0, 1.0)
    FAULT = (0.1, 0.9)


class Panel:
    """Owns three pins. `on_press` gets time.monotonic() of the moment the button went down.

    Callbacks run on the panel's own thread, one at a time. One that raises is reported through `on_error` and
    the panel goes on; `on_error` itself must not raise.
    """

    def __init__(
        self,
        *,
        shutter_pin: int,
        light_pin: int,
        lamp_pin: int,
        on_press: Callable[[float], None],
        on_stuck: Callable[[], None],
        on_error: Callable[[Exception], None],
        stuck_after: float = 10.0,
        bounce: float | None = 0.02,
        pin_factory: Factory | None = None,
    ) -> None:
        """Pins are BCM numbers; `stuck_after` and `bounce` are in seconds.

        pin_factory: None lets gpiozero find the board's. Raises gpiozero.GPIOZeroError when there is none or
        when a pin is in use.
        """
        self._on_press, self._on_stuck, self._on_error = on_press, on_stuck, on_error
        self._stuck_after = stuck_after
        self._edges: SimpleQueue[tuple[_Edge, float]] = SimpleQueue()
        opened: list[Device] = []
        try:
            self._shutter = Button(shutter_pin, pull_up=True, bounce_time=bounce, pin_factory=pin_factory)
            opened.append(self._shutter)
            self._light = LED(light_pin, pin_factory=pin_factory)
            opened.append(self._light)
            self._lamp = LED(lamp_pin, pin_factory=pin_factory)
            opened.append(self._lamp)
        finally:
            if len(opened) < _PINS:
                for device in opened:
                    device.close()
        self._shutter.when_pressed = self._pressed
        self._shutter.when_released = self._released
        if self._shutter.is_pressed:
            # Already down at start: no edge will come, but it may be stuck.
            self._edges.put((_Edge.HELD_AT_START, time.monotonic()))
        self._thread = threading.Thread(target=self._run, name="panel", daemon=True)
        self._thread.start()

    @property
    def is_pressed(self) -> bool:
        """Whether the button is down now."""
        return bool(self._shutter.is_pressed)

    def set_light(self, on: bool) -> None:
        """Ring light on or off."""
        self._light.value = on

    def set_lamp(self, lamp: Lamp) -> None:
        """Show a pattern on the status lamp."""
        on, off = lamp.value
        if off is not None:
            self._lamp.blink(on_time=on, off_time=off)
        elif on:
            self._lamp.on()
        else:
            self._lamp.off()

    def close(self) -> None:
        """Turn both lights off and release the pins. Idempotent; returns within a second."""
        if self._shutter.closed:
            return
        self._shutter.when_pressed = self._shutter.when_released = None
        self._light.off()
        self._lamp.off()
        for device in (self._shutter, self._light, self._lamp):
            device.close()
        self._edges.put((_Edge.END, 0.0))
        if threading.current_thread() is not self._thread:
            self._thread.join(1.0)

    def _pressed(self) -> None:
        self._edges.put((_Edge.PRESSED, time.monotonic()))

    def _released(self) -> None:
        self._edges.put((_Edge.RELEASED, time.monotonic()))

    def _run(self) -> None:
        """Take edges out of the queue; a button that stays down too long is told once."""
        down_since: float | None = None
        while True:
            wait = None if down_since is None else max(0.0, down_since + self._stuck_after - time.monotonic())
            try:
                edge, at = self._edges.get(timeout=wait)
            except Empty:
                down_since = None
                with _Guarded(self._on_error):
                    self._on_stuck()
                continue
            if edge is _Edge.END:
                return
            if edge is _Edge.RELEASED:
                down_since = None
                continue
            down_since = at
            if edge is _Edge.PRESSED:
                with _Guarded(self._on_error):
                    self._on_press(at)


class _Guarded:
    """Hands whatever is raised inside to `on_error` and goes on: a button outlives a mistake elsewhere."""

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """Swallow what was reported; what ends a process (SystemExit and the like) goes through."""
        if not isinstance(error, Exception):
            return False
        self._on_error(error)
        return True


class _Edge(Enum):
    PRESSED = "pressed"
    RELEASED = "released"
    HELD_AT_START = "held at start"
    END = "end"


_PINS = 3


def mock_factory() -> MockFactory:
    """Return pins that exist in this process only."""
    return MockFactory(pin_class=MockPWMPin)


def press_mock(factory: MockFactory, pin: int) -> None:
    """Push the button on a mock pin down (pulled up, so low is pressed)."""
    factory.pin(pin).drive_low()


def release_mock(factory: MockFactory, pin: int) -> None:
    """Let the button on a mock pin go."""
    factory.pin(pin).drive_high()
