"""The loop: reads input, steps the workflow, draws what changed. It never waits for anything else.

60 Hz while a finger is down, 30 Hz with the camera's picture, 20 Hz otherwise and 10 Hz when locked;
between two rounds the thread sleeps. Nothing is drawn when nothing changed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event as Wake
from uuid import UUID

from kiosk import events as e
from kiosk import workflow
from kiosk.errors import Problem
from kiosk.flow import SECONDS, Flow, State, Station
from kiosk.model import QueueStatus, Verdict
from kiosk.touchui.art import Pixels
from kiosk.touchui.compose import arrange
from kiosk.touchui.display import Display
from kiosk.touchui.frames import FrameLog
from kiosk.touchui.ink import MIN_DISTANCE
from kiosk.touchui.input import DOWN, MOVE, Erase, Exposed, Input, Quit, Reader, Touch
from kiosk.touchui.patience import Patience
from kiosk.touchui.pointers import Pointers
from kiosk.touchui.screens import SCREENS
from kiosk.touchui.screens.base import Screen, Tools
from kiosk.touchui.screens.question import answer
from kiosk.touchui.stage import Stage, described
from kiosk.touchui.text import Fonts
from kiosk.touchui.theme import Layout
from kiosk.touchui.view import ConsentTextLike, PreviewLike, View
from kiosk.touchui.wedge import Enter, Keys, Scan
from kiosk.touchui.widgets import SignaturePad
from kiosk.touchui.widgets.base import touched

TOUCHED, PREVIEW, AWAKE, LOCKED = 1 / 60, 1 / 30, 1 / 20, 1 / 10
"""Seconds from one round to the next."""


class Exit(Enum):
    """Why the loop ended: a session is over and the process shall be replaced, or the window was closed."""

    REPLACE = "replace"
    QUIT = "quit"


@dataclass(frozen=True, slots=True)
class UiSettings:
    """What the configuration says about the screen. px_per_mm: the panel's density where known."""

    seconds: Mapping[State, int]
    demo: bool = False
    in_ram: bool = True
    px_per_mm: float | None = None

    @classmethod
    def default(cls) -> UiSettings:
        """The workflow's own time-outs."""
        return cls(SECONDS)


class App:
    """One kiosk screen.

    perform carries an effect out elsewhere and returns at once; answers come through inbox.
    preview, review_image, thumbnails and live_verdicts hand out what is there, or None, without waiting.
    observe sees every step of the workflow, once its screen is drawn. key_hook: see input.Reader.
    """

    def __init__(
        self,
        *,
        display: Display,
        station: Station,
        settings: UiSettings,
        perform: Callable[[e.Effect], None],
        inbox: SimpleQueue[e.Event | QueueStatus],
        preview: Callable[[], PreviewLike | None],
        review_image: Callable[[], Pixels | None],
        thumbnails: Callable[[UUID], Pixels | None],
        consent_text: ConsentTextLike,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        mint: Callable[[], UUID],
        live_verdicts: Callable[[], tuple[Verdict, ...]] = tuple,
        observe: Callable[[Flow, e.Event, Flow], None] | None = None,
        key_hook: Callable[[str], bool] | None = None,
        notice: Problem | None = None,
        flow: Flow | None = None,
        status: QueueStatus | None = None,
    ) -> None:
        surface = display.surface
        self._display = display
        self._settings = settings
        self._perform = perform
        self._inbox = inbox
        self._preview = preview
        self._review_image = review_image
        self._thumbnails = thumbnails
        self._consent_text = consent_text
        self._clock = clock
        self._tools = Tools(mint, now)
        self._live_verdicts = live_verdicts
        self._observe = observe
        self._notice = notice
        self._layout = Layout.of(*surface.get_size(), settings.px_per_mm)
        self._fonts = Fonts(self._layout.scale)
        self._stage = Stage(surface, self._layout, self._fonts)
        self._reader = Reader(key_hook)
        self._pointers = Pointers()
        self._patience = Patience(settings.seconds, clock())
        self._frames = FrameLog()
        self._frame: PreviewLike | None = None
        self._presses: SimpleQueue[float] = SimpleQueue()
        self._shots: SimpleQueue[tuple[Path, Wake]] = SimpleQueue()
        self._wake = Wake()
        self._dimmed = self._replacing = False
        self._exit: Exit | None = None
        self._drawn: Hashable = None
        self._steps: list[tuple[Flow, e.Event, Flow]] = []
        self.flow = flow or Flow(station)
        self.status = status or QueueStatus()
        self._screen: Screen = SCREENS[self.flow.state]()
        self._page = self._screen.page(self.flow)

    # --- for others ------------------------------------------------------------------------

    def run(self) -> Exit:
        """Loop until the session's process shall be replaced or the window is closed."""
        while True:
            began = self._clock()
            ended = self.tick()
            if ended is not None:
                return ended
            self._wake.wait(max(0.001, self._period() - (self._clock() - began)))
            self._wake.clear()

    def tick(self) -> Exit | None:
        """One round: input, workers' news, time-out, drawing."""
        at = self._clock()
        for item in self._reader.read(self._display.surface.get_size(), at):
            self._input(item, at)
        self._drain_presses()
        self._drain_inbox()
        if self._patience.spent(self.flow.state, at):
            self._dimmed = self.flow.state is State.LOCKED
            self._step(e.TimedOut())
        self._pick_frame()
        self._draw(at)
        self._take_shots()
        self._tell_observer()
        return self._exit

    def press(self, at: float) -> None:
        """The hardware button went down at `at` (monotonic seconds). May be called from any thread."""
        self._presses.put(at)
        self._wake.set()

    @property
    def replacing(self) -> bool:
        """Whether the process shall be replaced as soon as the wipe is done."""
        return self._replacing

    def shot(self, path: Path, timeout: float = 2.0) -> bool:
        """Write the screen to a PNG file, between two drawings. Any thread but the drawing one."""
        done = Wake()
        self._shots.put((path, done))
        self._wake.set()
        return done.wait(timeout)

    def describe(self) -> list[dict[str, object]]:
        """Return what can be read and touched on the screen now; see stage.described. Any thread."""
        return described(self._stage.shown, self._layout)

    # --- input -----------------------------------------------------------------------------

    def _input(self, item: Input, at: float) -> None:
        if isinstance(item, Quit):
            self._exit = Exit.QUIT
            return
        if isinstance(item, Exposed):
            self._display.present([self._layout.box])
            return
        self._patience.renew(at)
        self._dimmed = False
        self._drawn = None
        if isinstance(item, Touch):
            self._touch(item, at)
        elif isinstance(item, Scan):
            self._step(e.Scanned(item.text))
        elif self.flow.question is None:
            if isinstance(item, Keys):
                self._screen.typed(item.text, self._view(at))
            elif isinstance(item, Erase):
                self._screen.erase(self._view(at))
            else:
                assert isinstance(item, Enter)  # noqa: S101 - nothing else is left
                self._send(self._screen.enter(self._view(at), self._tools))

    def _touch(self, touch: Touch, at: float) -> None:
        x, y = touch.x * self._layout.width, touch.y * self._layout.height
        if touch.kind == DOWN:
            self._finger_down(touch.finger, x, y, at)
        elif touch.kind == MOVE:
            self._pointers.move(touch.finger, x, y, self._key_at)
        else:
            self._pointers.move(touch.finger, x, y, self._key_at)
            key, stroke = self._pointers.up(touch.finger)
            if stroke:
                self._step(e.StrokeDrawn(stroke))
            elif key is not None:
                self._tap(key, at)

    def _finger_down(self, finger: int, x: float, y: float, at: float) -> None:
        target = touched(self._stage.shown.widgets, x, y, self._layout)
        counts = self._pointers.down(finger, x, y, target.key if target else None, at)
        if not counts or target is None:
            return
        if isinstance(target, SignaturePad):
            self._pointers.fingers[finger].key = None
            if target.box.contains(x, y):
                self._pointers.draw(finger, target.box, self._layout.scale * MIN_DISTANCE, x, y)
        elif target.on_down:
            self._tap(target.key, at)

    def _key_at(self, x: float, y: float) -> str | None:
        target = touched(self._stage.shown.widgets, x, y, self._layout)
        return target.key if target else None

    def _tap(self, key: str, at: float) -> None:
        view = self._view(at)
        if self.flow.question is not None:
            self._send(answer(key, self._tools))
        else:
            self._send(self._screen.tap(key, view, self._tools))

    # --- workflow --------------------------------------------------------------------------

    def _send(self, event: e.Event | None) -> None:
        if event is not None:
            self._step(event)

    def _step(self, event: e.Event) -> None:
        before = self.flow
        after, effects = workflow.step(before, event)
        self.flow = after
        self._steps.append((before, event, after))
        if after.state is not before.state:
            self._patience.renew(self._clock())
            self._dimmed = False
            self._screen = SCREENS[after.state]()
            if before.state is State.LOCKED:
                self._notice = None
            self._stage.forget()
            if after.state is not State.PREVIEW:
                self._frames.clear()
                self._frame = None
        if before.visits is not None and after.visits is None:
            # The names of those who are not the patient stay nowhere.
            self._fonts.forget()
        page = self._screen.page(after)
        if page != self._page:
            self._page = page
            self._pointers.gate()
        for effect in effects:
            if isinstance(effect, e.Wipe):
                self._replacing = before.session is not None
            self._perform(effect)
        if isinstance(event, e.Wiped) and self._replacing:
            self._exit = Exit.REPLACE

    def _drain_inbox(self) -> None:
        while self._exit is None:
            try:
                news = self._inbox.get_nowait()
            except Empty:
                return
            if isinstance(news, QueueStatus):
                self.status = news
            else:
                self._step(news)

    def _drain_presses(self) -> None:
        while True:
            try:
                pressed = self._presses.get_nowait()
            except Empty:
                return
            at = self._clock()
            self._patience.renew(at)
            self._dimmed = False
            ago = timedelta(seconds=max(0.0, at - pressed))
            photo, taken = self._tools.mint(), self._tools.now() - ago
            self._step(e.ShutterPressed(self._frames.at(pressed), photo, taken))

    # --- drawing ---------------------------------------------------------------------------

    def _pick_frame(self) -> None:
        flow = self.flow
        if flow.state is not State.PREVIEW or not flow.camera_ready:
            self._frame = None
        elif flow.frozen is not None:
            self._frame = self._frames.find(flow.frozen) or self._frame
        else:
            self._frame = self._preview() or self._frame

    def _view(self, at: float) -> View:
        flow, drawing = self.flow, self._pointers.drawing
        return View(
            flow=flow,
            status=self.status,
            layout=self._layout,
            fonts=self._fonts,
            today=self._tools.now().date(),
            consent_text=self._consent_text,
            demo=self._settings.demo,
            in_ram=self._settings.in_ram,
            notice=self._notice,
            verdicts=self._live_verdicts() if flow.state is State.PREVIEW else (),
            frame=self._frame.sequence if self._frame is not None else None,
            ready=self._ready(),
            live=drawing.stroke if drawing is not None else (),
            seconds_left=self._patience.left(flow.state, at),
        )

    def _ready(self) -> frozenset[str]:
        flow = self.flow
        if flow.state is State.REVIEW:
            return frozenset({"review"} if self._review_image() is not None else ())
        if flow.state in (State.PREVIEW, State.SUMMARY):
            wanted = flow.photos[-1:] if flow.state is State.PREVIEW else flow.photos
            return frozenset(str(p.id) for p in wanted if self._thumbnails(p.id) is not None)
        return frozenset()

    def _picture(self, name: str) -> Pixels | None:
        if name == "preview":
            return self._frame.pixels if self._frame is not None else None
        return self._review_image() if name == "review" else self._thumbnails(UUID(name))

    def _draw(self, at: float) -> None:
        view = self._view(at)
        pressed = self._pointers.pressed
        wanted = (view, pressed, self._dimmed)
        if wanted == self._drawn:
            return
        widgets = arrange(self._screen, view, pressed, dimmed=self._dimmed, patience=self._patience)
        dirty = self._stage.show(widgets, self._screen.theme, self._picture)
        if dirty:
            self._display.present(dirty)
        if self._frame is not None:
            self._frames.presented(self._frame, self._clock())
        self._drawn = wanted

    def _tell_observer(self) -> None:
        """Who is told of a state may count on its screen being drawn."""
        steps, self._steps = self._steps, []
        if self._observe is not None:
            for step in steps:
                self._observe(*step)

    def _take_shots(self) -> None:
        while not self._shots.empty():
            path, done = self._shots.get()
            self._display.save(path)
            done.set()

    def _period(self) -> float:
        if self._pointers.fingers:
            return TOUCHED
        if self.flow.state is State.PREVIEW or self.flow.busy or self._reader.undecided:
            return PREVIEW
        return LOCKED if self.flow.state is State.LOCKED else AWAKE
