"""The ui process, put together: it runs one patient session and then replaces itself."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from kiosk import events as e
from kiosk import selftest
from kiosk.cameras.simulated import SimulatedCamera
from kiosk.capture import CaptureService
from kiosk.conductor import Conductor
from kiosk.config import Settings
from kiosk.consent_text import ENGLISH
from kiosk.errors import CameraError, Problem
from kiosk.flow import SECONDS, Flow, State, Station
from kiosk.journal import Journal
from kiosk.panel import Lamp, Panel, mock_factory, press_mock, release_mock
from kiosk.process import ENVIRONMENT, die_with_parent, hardening, quiet_tracebacks
from kiosk.seal import choose_suite
from kiosk.touchui.app import App, Exit, UiSettings
from kiosk.touchui.display import Display, Offscreen, Window
from kiosk.touchui.screens.preview import viewport_box
from kiosk.touchui.theme import Layout
from kiosk.touchui.widgets.pictures import fitted
from kiosk.uplink import Inbox, Uplink
from kiosk.wiring.spool import open_outbox

CRASH = 70
"""EX_SOFTWARE: the supervisor starts a new screen, locked."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says beyond the configuration."""

    config: Path
    notice: Problem | None = None
    offscreen: bool = False
    control_fd: int | None = None
    parent: int | None = None


def run(settings: Settings, options: Options) -> int:
    """Run one session, then become a new process; return 0 when the window was closed."""
    quiet_tracebacks()
    if options.parent is not None:
        die_with_parent(options.parent)
    selftest.check(choose_suite(settings.seal.cipher))
    _end_with_any_thread()
    if settings.station.group is not None:
        # What this process makes in the spool is for the uploader's user too, from the first moment.
        os.umask(0o007)
    with ExitStack() as stack:
        ui = Ui(settings, options, stack)
        ended = ui.app.run()
        notice = ui.app.flow.problem
    if ended is Exit.REPLACE:
        sys.stdout.flush()
        _close_on_exec(options.control_fd)
        environment = {**os.environ, **ENVIRONMENT}
        os.execve(sys.executable, command(options, notice), environment)  # noqa: S606 - our own command line
    return 0


def _close_on_exec(keep: int | None) -> None:
    """Nothing survives the replacement but the standard streams and `keep`: libraries leave files open."""
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number > 2 and number != keep:
            # The listing's own descriptor is in the list, and closed by now.
            with suppress(OSError):
                os.set_inheritable(number, False)


def command(options: Options, notice: Problem | None) -> list[str]:
    """The command line of the process that replaces this one."""
    words = [sys.executable, "-m", "kiosk", "ui", "--config", str(options.config)]
    if notice is not None:
        words += ["--notice", notice.code]
    if options.offscreen:
        words.append("--offscreen")
    if options.control_fd is not None:
        words += ["--control-fd", str(options.control_fd)]
    if options.parent is not None:
        words += ["--parent", str(options.parent)]
    return words


def _end_with_any_thread() -> None:
    """A worker that dies would leave a screen that waits for ever: end, and be started again, locked."""
    say = threading.excepthook

    def end(arguments: Any) -> None:
        say(arguments)
        os._exit(CRASH)

    threading.excepthook = end


class Ui:
    """The parts of one ui process."""

    def __init__(self, settings: Settings, options: Options, stack: ExitStack) -> None:
        self.journal = Journal("ui", sys.stdout)
        force = hardening()
        self.journal.say("hardened", locked=force.locked, scrubbed=force.scrubbed)
        self.inbox: Inbox = queue.SimpleQueue()
        spool = open_outbox(settings)
        self.camera = SimulatedCamera(still=settings.camera.still_pixels, preview=_preview(settings))
        capture = CaptureService(
            self.camera,
            on_ready=lambda: self.inbox.put(e.CameraReady()),
            on_failure=self._camera_failed,
            deadline=settings.camera.deadline_s,
            jpeg_quality=settings.camera.jpeg_quality,
        )
        self.pins = mock_factory()
        self._shutter_pin = settings.panel.shutter_pin
        self.panel = Panel(
            shutter_pin=settings.panel.shutter_pin,
            light_pin=settings.panel.light_pin,
            lamp_pin=settings.panel.lamp_pin,
            on_press=lambda at: self.app.press(at),
            on_stuck=lambda: self.journal.say("button-stuck"),
            on_error=lambda error: self.journal.say("button-error"),
            pin_factory=self.pins,
        )
        stack.callback(self.panel.close)
        uplink = Uplink(Path(settings.link.socket), self.inbox)
        stack.callback(uplink.close)
        conductor = Conductor(
            inbox=self.inbox,
            uplink=uplink,
            spool=spool,
            capture=capture,
            light=self._light,
            journal=self.journal,
        )
        stack.callback(conductor.stop)
        self.display: Display = _display(settings, options)
        stack.callback(self.display.close)
        self.app = App(
            display=self.display,
            station=Station(
                settings.station.id,
                ENGLISH.id,
                ENGLISH.version,
                ENGLISH.language,
                settings.station.name,
                has_list=settings.fhir.location is not None,
                retracts=settings.fhir.on_withdrawal == "entered-in-error",
            ),
            settings=UiSettings(_seconds(settings), settings.station.demo, spool.in_ram),
            perform=conductor.perform,
            inbox=self.inbox,
            preview=conductor.preview,
            review_image=conductor.review_image,
            thumbnails=conductor.thumbnail,
            live_verdicts=conductor.live_verdicts,
            consent_text=ENGLISH,
            clock=time.monotonic,
            now=lambda: datetime.now(UTC),
            mint=uuid4,
            observe=self._observe,
            key_hook=self._space_bar if settings.station.demo else None,
            notice=options.notice,
        )
        self.panel.set_lamp(Lamp.READY)
        conductor.start()
        uplink.start()
        if settings.station.demo and options.control_fd is not None:
            from kiosk.demo.remote import RemoteServer
            from kiosk.wiring.hands import UiHands

            RemoteServer(options.control_fd, UiHands(self)).start()
        self.app.tick()
        self.camera.warm()
        # Said once the lock screen is drawn: from here on people can use it.
        self.journal.say("state", state=State.LOCKED.value, was="started", pid=os.getpid())

    def button(self, down: bool) -> None:
        """Drive the mock pin of the shutter."""
        drive = press_mock if down else release_mock
        drive(self.pins, self._shutter_pin)

    def _space_bar(self, key: str) -> bool:
        """On a laptop the space bar is the hardware button, except where letters are typed."""
        if key != "space" or self.app.flow.state not in (State.PREVIEW, State.REVIEW):
            return False
        self.button(True)
        self.button(False)
        return True

    def _light(self, on: bool) -> None:
        self.panel.set_light(on)
        self.camera.set_illumination(on)

    def _camera_failed(self, error: CameraError) -> None:
        self.inbox.put(e.Failed(error.problem, lasting=True))

    def _observe(self, before: Flow, event: e.Event, after: Flow) -> None:
        if isinstance(event, e.TimedOut) and before.state is not State.LOCKED:
            self.journal.say("timed-out", state=before.state.value)
        if after.state is not before.state and after.state is not State.LOCKED:
            self.journal.say("state", state=after.state.value, was=before.state.value)
        elif after.state is State.LOCKED and before.state is not State.LOCKED:
            self.journal.say("locking", was=before.state.value)
        if isinstance(event, e.Wiped) and before.operator is None and not self.app.replacing:
            self.journal.say("state", state=State.LOCKED.value, was="locking")
        if after.problem is not None and after.problem is not before.problem:
            self.journal.say("hint", state=after.state.value, problem=after.problem.code)


def _display(settings: Settings, options: Options) -> Display:
    if options.offscreen:
        return Offscreen(settings.screen.pixels)
    return Window(settings.screen.pixels, f"Lethe: {settings.station.name}")


def _seconds(settings: Settings) -> Mapping[State, int]:
    given = settings.timeouts.model_dump(exclude_none=True)
    return {state: given.get(state.name.lower(), SECONDS[state]) for state in State}


def _preview(settings: Settings) -> tuple[int, int]:
    """As large as the whole picture on the screen, in the photographs' shape: nothing has to be scaled."""
    width, height = settings.camera.still_pixels
    box = fitted(viewport_box(Layout.of(*settings.screen.pixels)), width, height)
    return box.w, box.h
