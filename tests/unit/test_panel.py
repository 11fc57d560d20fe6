"""The panel on mock pins: real gpiozero devices, real edges."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue

import pytest
from gpiozero import PWMLED, PinPWMUnsupported
from gpiozero.exc import GPIOPinInUse
from gpiozero.pins.mock import MockFactory, MockPWMPin

from kiosk.panel import Lamp, Panel, mock_factory, press_mock, release_mock

SHUTTER, LIGHT, LAMP = 17, 27, 22


class Told:
    """What the panel told."""

    def __init__(self) -> None:
        self.presses: SimpleQueue[float] = SimpleQueue()
        self.stuck: SimpleQueue[bool] = SimpleQueue()
        self.errors: SimpleQueue[Exception] = SimpleQueue()
        self.trouble: Exception | None = None

    def press(self, at: float) -> None:
        self.presses.put(at)
        if self.trouble is not None:
            raise self.trouble


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def factory() -> Iterator[MockFactory]:
    factory = mock_factory()
    yield factory
    factory.close()


@pytest.fixture
def make(factory: MockFactory, told: Told) -> Iterator[Callable[..., Panel]]:
    made: list[Panel] = []

    def make(stuck_after: float = 30.0, light_pin: int = LIGHT) -> Panel:
        panel = Panel(
            shutter_pin=SHUTTER,
            light_pin=light_pin,
            lamp_pin=LAMP,
            on_press=told.press,
            on_stuck=lambda: told.stuck.put(True),
            on_error=told.errors.put,
            stuck_after=stuck_after,
            pin_factory=factory,
        )
        made.append(panel)
        return panel

    yield make
    for panel in made:
        panel.close()


def quiet(queue: SimpleQueue[object] | SimpleQueue[float] | SimpleQueue[bool]) -> bool:
    """Whether nothing comes for a moment."""
    try:
        queue.get(timeout=0.15)
    except Empty:
        return True
    return False


def test_a_press_tells_when(make: Callable[..., Panel], factory: MockFactory, told: Told) -> None:
    panel = make()
    for _ in range(3):
        before = time.monotonic()
        press_mock(factory, SHUTTER)
        after = time.monotonic()
        assert before <= told.presses.get(timeout=2) <= after
        assert panel.is_pressed
        release_mock(factory, SHUTTER)
        assert not panel.is_pressed
    assert quiet(told.presses)


def test_holding_is_one_press(make: Callable[..., Panel], factory: MockFactory, told: Told) -> None:
    make()
    press_mock(factory, SHUTTER)
    press_mock(factory, SHUTTER)
    told.presses.get(timeout=2)
    assert quiet(told.presses)


class OddError(Exception):
    """One that nobody expects."""


@pytest.mark.parametrize("trouble", [ValueError("x"), OddError("x"), KeyError(1)])
def test_the_button_outlives_a_callback_that_raises(
    make: Callable[..., Panel], factory: MockFactory, told: Told, trouble: Exception
) -> None:
    make()
    told.trouble = trouble
    for _ in range(2):
        press_mock(factory, SHUTTER)
        told.presses.get(timeout=2)
        assert told.errors.get(timeout=2) is trouble
        release_mock(factory, SHUTTER)


def test_a_slow_callback_does_not_hold_the_pins_thread(
    make: Callable[..., Panel], factory: MockFactory, told: Told
) -> None:
    """The handler returns at once: pressing (which runs it) takes no longer than without."""
    make()
    told.trouble = OddError("x")
    started = time.monotonic()
    for _ in range(50):
        press_mock(factory, SHUTTER)
        release_mock(factory, SHUTTER)
    assert time.monotonic() - started < 1.0
    assert len([told.errors.get(timeout=2) for _ in range(50)]) == 50


def test_a_stuck_button_is_told_once(make: Callable[..., Panel], factory: MockFactory, told: Told) -> None:
    make(stuck_after=0.1)
    press_mock(factory, SHUTTER)
    pressed = told.presses.get(timeout=2)
    assert told.stuck.get(timeout=2)
    assert time.monotonic() - pressed >= 0.1
    assert quiet(told.stuck)
    release_mock(factory, SHUTTER)
    press_mock(factory, SHUTTER)
    assert told.stuck.get(timeout=2)


def test_a_button_let_go_in_time_is_not_stuck(
    make: Callable[..., Panel], factory: MockFactory, told: Told
) -> None:
    make(stuck_after=0.1)
    press_mock(factory, SHUTTER)
    release_mock(factory, SHUTTER)
    told.presses.get(timeout=2)
    assert quiet(told.stuck)


class HeldPin(MockPWMPin):
    """A pin that something holds low against its pull-up."""

    def _set_pull(self, value: str) -> None:
        super()._set_pull(value)
        self.drive_low()


def test_a_button_stuck_since_before_the_start_is_told(
    make: Callable[..., Panel], factory: MockFactory, told: Told
) -> None:
    factory.pin(SHUTTER, pin_class=HeldPin)
    panel = make(stuck_after=0.05)
    assert panel.is_pressed
    assert told.stuck.get(timeout=2)
    assert quiet(told.presses)


def test_the_ring_light(make: Callable[..., Panel], factory: MockFactory) -> None:
    panel = make()
    assert not factory.pin(LIGHT).state
    panel.set_light(True)
    assert factory.pin(LIGHT).state
    panel.set_light(False)
    assert not factory.pin(LIGHT).state


def test_the_lamp_is_steady_or_blinks(make: Callable[..., Panel], factory: MockFactory) -> None:
    panel = make()
    pin = factory.pin(LAMP)
    panel.set_lamp(Lamp.READY)
    assert pin.state
    panel.set_lamp(Lamp.OFF)
    assert not pin.state
    panel.set_lamp(Lamp.BUSY)
    pin.clear_states()
    give_up = time.monotonic() + 3
    while len(pin.states) < 4 and time.monotonic() < give_up:
        time.sleep(0.01)
    seen = [bool(s.state) for s in pin.states]
    assert {True, False} == set(seen)
    panel.set_lamp(Lamp.READY)
    assert pin.state


def test_close_turns_off_and_releases(make: Callable[..., Panel], factory: MockFactory, told: Told) -> None:
    panel = make()
    panel.set_light(True)
    panel.set_lamp(Lamp.READY)
    panel.close()
    panel.close()
    assert factory.pin(LIGHT).function == "input"
    press_mock(factory, SHUTTER)
    assert quiet(told.presses)
    release_mock(factory, SHUTTER)
    make()
    press_mock(factory, SHUTTER)
    assert told.presses.get(timeout=2)


def test_a_pin_in_use_leaves_the_others_free(make: Callable[..., Panel]) -> None:
    with pytest.raises(GPIOPinInUse):
        make(light_pin=SHUTTER)
    make()


def test_the_mock_pins_can_do_what_the_real_ones_can(factory: MockFactory) -> None:
    try:
        PWMLED(5, pin_factory=factory).close()
    except PinPWMUnsupported:
        pytest.fail("no PWM on the mock pins")
