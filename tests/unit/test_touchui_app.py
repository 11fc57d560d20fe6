"""The loop: the true input path, time-outs with a fake clock, frozen frames, drawing only what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from threading import Event, Thread
from uuid import UUID

import numpy as np
import pygame
import pytest

from kiosk import events as e
from kiosk.errors import Problem
from kiosk.flow import SECONDS, Flow, Question, State
from kiosk.model import Purpose, QueueStatus, Signer
from kiosk.touchui.app import App, Exit, UiSettings
from kiosk.touchui.art import Pixels
from kiosk.touchui.display import Offscreen
from kiosk.touchui.geometry import Box
from kiosk.touchui.input import DOWN, MOVE, UP, post_finger, post_keys, post_scan
from kiosk.touchui.scenes import STATION, WORDING, Scene, scenes
from kiosk.touchui.screens import SCREENS

FLOWS = {s.name: s.flow for s in scenes()}
START = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Frame:
    sequence: int
    timestamp: float
    pixels: Pixels


def frame(n: int) -> Frame:
    return Frame(n, float(n), np.full((364, 497, 3), n % 200 + 20, np.uint8))


class Bench:
    """An app with everything around it made up."""

    def __init__(self, flow: Flow, size: tuple[int, int] = (800, 480), **changes: object) -> None:
        self.time = 1000.0
        self.frame: Frame | None = None
        self.effects: list[e.Effect] = []
        self.steps: list[tuple[Flow, e.Event, Flow]] = []
        self.inbox: SimpleQueue[e.Event | QueueStatus] = SimpleQueue()
        self.display = Offscreen(size)
        pygame.event.clear()
        self.minted = 100
        self.app = App(
            display=self.display,
            station=STATION,
            settings=UiSettings(SECONDS),
            perform=self.effects.append,
            inbox=self.inbox,
            preview=lambda: self.frame,
            review_image=lambda: None,
            thumbnails=lambda id: None,
            consent_text=WORDING,
            clock=lambda: self.time,
            now=lambda: START + timedelta(seconds=self.time - 1000),
            mint=self._mint,
            observe=lambda before, event, after: self.steps.append((before, event, after)),
            flow=flow,
            **changes,  # type: ignore[arg-type]
        )
        self.app.tick()

    def _mint(self) -> UUID:
        self.minted += 1
        return UUID(int=self.minted)

    @property
    def events(self) -> list[e.Event]:
        return [event for _, event, _ in self.steps]

    @property
    def state(self) -> State:
        return self.app.flow.state

    def tick(self, later: float = 0.05) -> Exit | None:
        self.time += later
        return self.app.tick()

    def target(self, name: str) -> dict[str, object]:
        return next(r for r in self.app.describe() if r["kind"] == "tap" and name in (r["name"], r["label"]))

    def at(self, name: str) -> tuple[float, float]:
        row = self.target(name)
        x, y = row["x"], row["y"]
        assert isinstance(x, float)
        assert isinstance(y, float)
        return x, y

    def tap(self, name: str, finger: int = 0) -> None:
        x, y = self.at(name)
        post_finger(DOWN, x, y, finger)
        self.tick()
        post_finger(UP, x, y, finger)
        self.tick()

    def texts(self) -> list[object]:
        return [r["text"] for r in self.app.describe() if r["kind"] == "text"]


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(flow: Flow | str, **changes: object) -> Bench:
        made.append(Bench(FLOWS[flow] if isinstance(flow, str) else flow, **changes))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.display.close()


# --- input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(800, 480), (720, 1280)])
def test_taps_become_events(bench: Callable[..., Bench], size: tuple[int, int]) -> None:
    b = bench("consent", size=size)
    b.tap("Teaching: Yes")
    b.tap("Research or publication: No")
    b.tap("Carer")
    assert b.app.flow.choices == ((Purpose.TEACHING, True), (Purpose.RESEARCH, False))
    assert b.app.flow.signer is Signer.CARER
    b.tap("Agree, take photos")
    assert b.app.flow.problem is Problem.CONSENT_SIGNATURE_MISSING
    assert Problem.CONSENT_SIGNATURE_MISSING.sentence in b.texts()
    b.tap("Patient declines")
    assert b.app.flow.question is Question.DECLINE
    assert b.state is State.CONSENT


def test_the_mouse_is_a_finger_and_synthetic_mice_are_not(bench: Callable[..., Bench]) -> None:
    b = bench("consent")
    x, y = b.at("Parent")
    spot = (round(x * 800), round(y * 480))
    for touch in (True, False):
        pygame.event.post(pygame.Event(pygame.MOUSEBUTTONDOWN, pos=spot, button=1, touch=touch))
        b.tick()
        pygame.event.post(pygame.Event(pygame.MOUSEBUTTONUP, pos=spot, button=1, touch=touch))
        b.tick()
        assert (b.app.flow.signer is Signer.PARENT) == (not touch)


def test_disabled_targets_do_nothing(bench: Callable[..., Bench]) -> None:
    b = bench(replace(FLOWS["preview"], photos=()))
    b.frame = frame(5)
    b.tick()
    b.tap("Finish")
    assert b.state is State.PREVIEW
    assert b.events == []


def test_a_signature_is_drawn_and_reported(bench: Callable[..., Bench]) -> None:
    b = bench("consent")
    row = b.target("Signature")
    x, y, w, h = (float(str(row[k])) for k in "xywh")
    left, top = x - w / 2, y - h / 2
    post_finger(DOWN, left + 0.2 * w, top + 0.5 * h)
    for i in range(20):
        post_finger(MOVE, left + (0.2 + 0.025 * i) * w, top + (0.5 + 0.2 * (i % 2)) * h)
        b.tick(0.016)
    x2, y2 = b.at("Agree, take photos")
    post_finger(DOWN, x2, y2, 7)
    post_finger(UP, x2, y2, 7)
    b.tick()
    assert b.events == [], "buttons wait while a stroke is open"
    post_finger(UP, left + 0.7 * w, top + 0.5 * h)
    b.tick()
    (stroke,) = b.app.flow.strokes
    assert stroke[0] == pytest.approx((0.2, 0.5), abs=0.01)
    assert len(stroke) > 15
    assert all(0 <= px <= 1 and 0 <= py <= 1 for px, py in stroke)
    b.tap("Clear")
    assert b.app.flow.strokes == ()


def test_clear_corner_takes_no_ink(bench: Callable[..., Bench]) -> None:
    b = bench("consent-signed")
    x, y = b.at("Clear")
    post_finger(DOWN, x, y)
    post_finger(MOVE, x - 0.1, y - 0.1)
    post_finger(UP, x - 0.1, y - 0.1)
    b.tick()
    assert b.app.flow.strokes == FLOWS["consent-signed"].strokes


def test_input_waits_until_every_finger_of_the_last_screen_left(bench: Callable[..., Bench]) -> None:
    b = bench("locked")
    x, y = b.at("Sign in")
    post_finger(DOWN, 0.1, 0.9, 3)  # a palm on the edge, which stays
    b.tick(0.3)
    post_finger(DOWN, x, y, 0)
    b.tick(0.3)
    post_finger(UP, x, y, 0)
    b.tick(0.3)
    assert b.events == [e.SignInTouched()]
    b.tap("Back")
    assert b.events == [e.SignInTouched()], "finger 3 is still down"
    post_finger(UP, 0.1, 0.9, 3)
    b.tick()
    b.tap("Back")
    assert b.events == [e.SignInTouched(), e.BackTouched()]
    assert b.state is State.LOCKED


def test_scan_reaches_the_workflow(bench: Callable[..., Bench]) -> None:
    b = bench("locked")
    post_scan("STAFF-1001")
    b.tick()
    assert b.events == [e.Scanned("STAFF-1001")]
    assert b.effects == [e.CheckBadge("STAFF-1001")]


def test_garbage_and_a_huge_scan_end_in_one_sentence(bench: Callable[..., Bench]) -> None:
    b = bench("locked")
    post_scan("x" * 10_000)
    for _ in range(5):
        b.tick()
    (event,) = b.events
    assert isinstance(event, e.Scanned)
    assert len(event.text) == 4096
    assert b.app.flow.problem is Problem.BADGE_UNREADABLE
    assert Problem.BADGE_UNREADABLE.sentence in b.texts()
    post_scan("\x00\x1b\u202e\u0007\u2603\u2603\u2603\u2603\u2603")
    b.tick()
    assert b.app.flow.problem is Problem.BADGE_UNREADABLE


def test_typed_staff_number_and_pin_by_keyboard(bench: Callable[..., Bench]) -> None:
    b = bench("sign-in")
    for character in "1001":
        post_keys(character)
        b.tick(0.12)
        b.tick(0.12)
    assert "1001" in b.texts()
    post_keys("", enter=True)
    b.tick()
    assert b.events == [e.Typed("1001")]
    b.inbox.put(e.BadgeAccepted("1001", "A. Patel RN"))
    b.tick()
    for digit in "2468":
        b.tap(digit)
    assert not any("2468" in str(t) for t in b.texts())
    b.tap("OK")
    assert b.events[-1] == e.PinEntered("2468")
    assert b.effects[-1] == e.CheckPin("1001", "2468")


def test_key_hook_takes_the_space_bar_but_not_inside_a_scan(bench: Callable[..., Bench]) -> None:
    heard: list[str] = []

    def hook(name: str) -> bool:
        heard.append(name)
        return name == "space"

    b = bench("sign-in", key_hook=hook)
    post_keys(" ")
    b.tick()
    b.tick(0.5)
    assert "space" in heard
    assert "Staff number" in b.texts(), "nothing was typed"
    heard.clear()
    post_scan("STAFF 1001")
    b.tick()
    assert "space" not in heard
    assert b.events == [e.Scanned("STAFF 1001")]


def test_closing_the_window_quits(bench: Callable[..., Bench]) -> None:
    b = bench("locked")
    pygame.event.post(pygame.Event(pygame.QUIT))
    assert b.tick() is Exit.QUIT


# --- time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [s for s in SCREENS if s is not State.LOCKED])
def test_every_state_times_out_into_locked_and_wipes(bench: Callable[..., Bench], state: State) -> None:
    flow = next(s.flow for s in scenes() if s.flow.state is state)
    b = bench(flow)
    b.tick(SECONDS[state] - 1)
    assert b.state is state
    b.tick(1.5)
    assert b.state is State.LOCKED
    assert isinstance(b.effects[-1], e.Wipe)


def test_touching_renews_but_workers_do_not(bench: Callable[..., Bench]) -> None:
    b = bench("consent")
    b.tick(200)
    post_finger(DOWN, 0.01, 0.5)
    post_finger(UP, 0.01, 0.5)
    b.tick(50)
    b.tick(240)
    assert e.TimedOut() not in b.events
    b.inbox.put(QueueStatus(waiting=3))
    b.inbox.put(e.Failed(Problem.CLOCK_NOT_SET))
    b.tick(50)
    b.tick(12)
    assert b.state is State.LOCKED


def test_the_countdown_shows_and_a_touch_ends_it(bench: Callable[..., Bench]) -> None:
    b = bench("preview")
    b.tick(SECONDS[State.PREVIEW] - 11.5)
    assert "Locking in 12 s \u2013 photographs not sent will be destroyed" in b.texts()
    b.tick(1)
    assert "Locking in 11 s \u2013 photographs not sent will be destroyed" in b.texts()
    b.tap("Stay")
    assert not any("Locking" in str(t) for t in b.texts())
    assert b.state is State.PREVIEW


def test_the_lock_screen_dims_and_wakes(bench: Callable[..., Bench]) -> None:
    b = bench("locked-calm")
    bright = b.display.surface.get_at((400, 240))[:3]
    b.tick(121)
    assert sum(b.display.surface.get_at((400, 240))[:3]) < sum(bright)
    assert b.events == [e.TimedOut()]
    b.tick(500)
    assert b.events == [e.TimedOut()], "told once"
    post_finger(MOVE, 0.5, 0.5)
    b.tick()
    assert b.display.surface.get_at((400, 240))[:3] == bright


def test_after_a_session_the_process_is_replaced(bench: Callable[..., Bench]) -> None:
    b = bench("consent")
    b.tick(301)
    assert b.state is State.LOCKED
    assert b.tick() is None, "waits for the wipe"
    b.inbox.put(e.Wiped())
    assert b.tick() is Exit.REPLACE


def test_without_a_session_it_goes_on(bench: Callable[..., Bench]) -> None:
    b = bench("sign-in")
    b.tap("Lock")
    assert b.effects == [e.Wipe("locked")]
    b.inbox.put(e.Wiped())
    assert b.tick() is None
    assert not b.app.flow.busy


# --- frames --------------------------------------------------------------------------------


def shown(b: Bench) -> int:
    return b.display.surface.get_at((30, 350))[0]


def test_the_frame_at_the_press_is_the_one_that_is_taken_and_frozen(bench: Callable[..., Bench]) -> None:
    b = bench("preview")
    for n in (41, 42, 43):
        b.frame = frame(n)
        b.tick(0.1)
    pressed = b.time - 0.05  # frame 43 was not on the screen yet
    b.frame = frame(44)
    b.app.press(pressed)
    b.tick(0.02)
    (event,) = b.events
    assert isinstance(event, e.ShutterPressed)
    assert event.frame == 42
    assert event.at == START + timedelta(seconds=pressed - 1000)
    (effect,) = b.effects
    assert isinstance(effect, e.TakePhoto)
    assert effect.frame == 42
    assert shown(b) == frame(42).pixels[0, 0, 0]
    b.frame = frame(50)
    b.tick()
    assert shown(b) == frame(42).pixels[0, 0, 0], "frozen while busy"
    b.inbox.put(e.Failed(Problem.CAMERA_HUNG))
    b.tick()
    assert shown(b) == frame(50).pixels[0, 0, 0], "live again"


def test_the_shutter_on_the_screen_answers_when_the_finger_lands(bench: Callable[..., Bench]) -> None:
    b = bench("preview")
    b.frame = frame(7)
    b.tick()
    x, y = b.at("Shutter")
    post_finger(DOWN, x, y)
    b.frame = frame(8)
    b.tick()
    assert isinstance(b.events[0], e.ShutterPressed)
    assert b.events[0].frame == 7
    post_finger(UP, x, y)
    b.tick()
    assert len(b.events) == 1


@pytest.mark.parametrize("scene", [s for s in scenes() if s.flow.state in SCREENS], ids=lambda s: s.name)
def test_the_button_in_any_state_never_takes_a_photo_outside_preview(
    bench: Callable[..., Bench], scene: Scene
) -> None:
    flow = scene.flow
    b = bench(flow)
    b.app.press(b.time)
    b.tick()
    taken = [x for x in b.effects if isinstance(x, e.TakePhoto)]
    assert taken == [], "no frame was on the screen"
    assert b.state is flow.state


# --- drawing -------------------------------------------------------------------------------


def test_nothing_is_drawn_when_nothing_changed(bench: Callable[..., Bench]) -> None:
    b = bench("locked")
    before = b.display.presented
    for _ in range(50):
        b.tick()
    assert b.display.presented == before
    b.inbox.put(QueueStatus(waiting=5, online=True))
    b.tick()
    assert b.display.presented == before + 1
    assert "5 to send" in b.texts()
    b.inbox.put(QueueStatus(waiting=5, online=True))
    b.tick()
    assert b.display.presented == before + 1


def test_only_what_changed_is_drawn_and_it_looks_as_if_all_was(bench: Callable[..., Bench]) -> None:
    b = bench("consent")
    boxes: list[Box] = []
    present = b.display.present

    def recorded(dirty: Iterable[Box]) -> None:
        boxes.extend(dirty)
        present(boxes)

    b.display.present = recorded  # type: ignore[method-assign]
    b.tap("Teaching: Yes")
    area = sum(box.w * box.h for box in boxes)
    assert 0 < area < 800 * 480 / 5
    again = bench(b.app.flow)
    one, two = (pygame.image.tobytes(x.display.surface, "RGB") for x in (b, again))
    assert one == two


def test_a_played_session_draws_the_same_as_from_scratch(bench: Callable[..., Bench]) -> None:
    """Dirty rectangles leave nothing behind, through several states."""
    b = bench("consent-signed")
    for news in (
        e.ChoiceMade(Purpose.TEACHING, False),
        e.Declined(UUID(int=1), START),
        e.QuestionDismissed(),
        e.SignerChosen(Signer.PARENT),
        QueueStatus(waiting=1, parked=2, online=False),
    ):
        b.inbox.put(news)
        b.tick()
        fresh = bench(b.app.flow, status=b.app.status)
        one, two = (pygame.image.tobytes(x.display.surface, "RGB") for x in (b, fresh))
        assert one == two, news


def test_described_labels_are_what_is_drawn(bench: Callable[..., Bench]) -> None:
    b = bench("consent", size=(720, 1280))
    labels = {r["name"]: r["label"] for r in b.app.describe() if r["kind"] == "tap"}
    assert labels["Agree, take photos"] == "Agree"
    assert labels["Back"] == "Back"
    for row in b.app.describe():
        if row["kind"] == "tap":
            assert 0 <= float(str(row["x"])) <= 1
            assert 0 <= float(str(row["y"])) <= 1


def test_below_a_question_nothing_can_be_touched(bench: Callable[..., Bench]) -> None:
    b = bench("consent-decline")
    keys = [r["key"] for r in b.app.describe() if r["kind"] == "tap"]
    assert keys == ["question:no", "question:yes"]
    assert "OKONKWO-SMITH, Adaeze (Ms)" in b.texts()
    assert "Who is signing?" not in b.texts()
    b.tap("Go back")
    assert b.app.flow.question is None


def test_an_uncovered_window_is_shown_again_and_nobody_has_touched_it(bench: Callable[..., Bench]) -> None:
    b = bench("consent")
    before = b.display.presented
    b.tick(SECONDS[State.CONSENT] - 1)
    pygame.event.post(pygame.Event(pygame.WINDOWEXPOSED))
    b.tick(0.1)
    assert b.display.presented > before
    b.tick(1)
    assert b.events == [e.TimedOut()]


def test_other_threads_may_look_and_press_while_the_screen_is_drawn(bench: Callable[..., Bench]) -> None:
    b = bench("preview")
    b.frame = frame(7)
    b.tick()
    stop = Event()
    seen: list[int] = []

    def look() -> None:
        while not stop.is_set():
            seen.append(len(b.app.describe()))

    def press() -> None:
        for _ in range(50):
            b.app.press(b.time)

    looking, pressing = Thread(target=look), Thread(target=press)
    looking.start()
    pressing.start()
    try:
        for n in range(8, 60):
            b.frame = frame(n)
            b.tick()
    finally:
        stop.set()
        looking.join(5)
        pressing.join(5)
    b.tick()
    assert not looking.is_alive()
    assert min(seen) > 0
    assert sum(isinstance(event, e.ShutterPressed) for event in b.events) == 50
