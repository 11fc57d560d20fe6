"""Both processes on a laptop, under the rules that systemd gives them on the kiosk.

Each process is started again when it ends; the uploader's key file is kept here meanwhile (the service
manager's descriptor store); everything lives in a directory in memory and is gone at the end.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kiosk.custody import NotifySocket
from kiosk.demo import station
from kiosk.demo.fhir_server import DemoFhirServer
from kiosk.demo.remote import RemoteHand
from kiosk.demo.visits import CLINIC
from kiosk.errors import KioskError, LinkError
from kiosk.process import ENVIRONMENT

READY_S = 30.0
RESTARTS = 8
"""A process that ends this often within RESTART_WINDOW_S is not started again."""
RESTART_WINDOW_S = 20.0


class Demo:
    """A running kiosk with its surroundings. Use it as a context manager.

    say: is called with every journal line (a dict), on a supervisor thread.
    """

    def __init__(
        self,
        *,
        headless: bool = True,
        options: station.Options | None = None,
        fhir: str | None = None,
        say: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        self._options = options or station.Options()
        self._headless = headless
        self._fhir = fhir
        self._say = say
        self._changed = threading.Condition()
        self._state = "LOCKING"
        self._seen: Counter[str] = Counter()
        self._waited: Counter[str] = Counter()
        self.events: list[dict[str, Any]] = []
        self.failed: str | None = None
        self._stopping = threading.Event()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._hand: RemoteHand | None = None
        self._threads: list[threading.Thread] = []

    # --- life ---------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private directory in it
        base = memory if os.access(memory, os.W_OK) else None
        with ExitStack() as undo:
            self.directory = Path(tempfile.mkdtemp(prefix="lethe-demo-", dir=base))
            undo.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.server = undo.enter_context(DemoFhirServer())
            url = self._fhir or self.server.base_url
            options = self._options
            if self._fhir is not None and options.location == CLINIC:
                # Nobody's server but ours has this place.
                options = replace(options, location=None)
            self.config = station.write(self.directory, url, options)
            self._notify = undo.enter_context(NotifySocket(self.directory / "notify.sock"))
            self._start_thread(self._keep_uploader)
            self._start_thread(self._keep_ui)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for process in list(self._processes.values()):
            _end(process)
        for thread in self._threads:
            thread.join(10)
        if self._hand is not None:
            self._hand.close()
        self._undo.close()

    def _start_thread(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    # --- the two processes ----------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LISTEN_", "NOTIFY_"))}
        return {**kept, **ENVIRONMENT, "PYTHONUNBUFFERED": "1", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}

    def _command(self, name: str, *more: str) -> list[str]:
        me = ["--config", str(self.config), "--parent", str(os.getpid())]
        return [sys.executable, "-m", "kiosk", name, *me, *more]

    def _keep_uploader(self) -> None:
        def start() -> subprocess.Popen[bytes]:
            # What the last one still had to say, and to store, before it ended.
            while self._notify.receive(0) is not None:
                continue
            command, fds = self._notify.child(self._command("uploader"))
            environment = {**self._environment(), "NOTIFY_SOCKET": str(self._notify.path)}
            process = subprocess.Popen(command, pass_fds=fds, env=environment, stdout=subprocess.PIPE)
            self._listen_until_ready(process)
            return process

        self._keep("uploader", start)

    def _listen_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_S
        while process.poll() is None and time.monotonic() < deadline and not self._stopping.is_set():
            message = self._notify.receive(0.2)
            if message is not None and message.get("READY") == "1":
                return

    def _keep_ui(self) -> None:
        notice: list[str] = []

        def start() -> subprocess.Popen[bytes]:
            ours, theirs = socket.socketpair()
            with theirs:
                more = ["--control-fd", str(theirs.fileno()), *notice]
                if self._headless:
                    more.append("--offscreen")
                process = subprocess.Popen(
                    self._command("ui", *more),
                    pass_fds=(theirs.fileno(),),
                    env=self._environment(),
                    stdout=subprocess.PIPE,
                )
            old, self._hand = self._hand, RemoteHand(ours)
            if old is not None:
                old.close()
            notice[:] = ["--notice", "ui-restarted"]
            return process

        self._keep("ui", start)

    def _keep(self, name: str, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        starts: list[float] = []
        while not self._stopping.is_set():
            starts = [t for t in starts if time.monotonic() - t < RESTART_WINDOW_S] + [time.monotonic()]
            if len(starts) > RESTARTS:
                self._give_up(f"{name} ends again and again")
                return
            process = start()
            self._processes[name] = process
            if self._stopping.is_set():
                # The end came while it started: nobody else knows it yet.
                _end(process)
            self._read(name, process)
            code = process.wait()
            if self._stopping.is_set():
                return
            self._hear({"event": "process-ended", "process": name, "code": code})
            if name == "ui" and code == 0:
                self._give_up("the window was closed")
                return
            self._stopping.wait(0.2 * len(starts))

    def _give_up(self, why: str) -> None:
        with self._changed:
            self.failed = why
            self._changed.notify_all()

    def _read(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Read journal lines until the process ends. Its own children may hold the pipe open longer."""
        assert process.stdout is not None  # noqa: S101 - we asked for a pipe
        with process.stdout as pipe:
            os.set_blocking(pipe.fileno(), False)
            rest = b""
            while True:
                ready, _, _ = select.select([pipe], [], [], 0.2)
                data = pipe.read(65536) if ready else None
                if data:
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self._hear_line(name, line)
                elif data == b"" or process.poll() is not None:
                    return

    def _hear_line(self, name: str, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if isinstance(message, dict):
            self._hear(message)
        elif line.strip():
            self._hear({"event": "not-a-journal-line", "process": name})

    def _hear(self, message: dict[str, Any]) -> None:
        event = str(message.get("event"))
        with self._changed:
            self.events.append(message)
            self._seen[event] += 1
            if "stage" in message:
                self._seen[f"{event}:{message['stage']}"] += 1
            if event == "state":
                self._state = str(message["state"]).upper().replace("-", "_")
            self._changed.notify_all()
        self._say(message)

    # --- the player's stage ---------------------------------------------------------------------

    def hand(self) -> RemoteHand:
        """The hand at the ui that runs now. Raises LinkError before the first one is there."""
        with self._changed:
            self._changed.wait_for(lambda: self._hand is not None or self.failed is not None, READY_S)
        if self._hand is None:
            raise LinkError(self.failed or "no screen yet")
        return self._hand

    def state(self) -> str:
        """The state the screen shows, in capitals."""
        return self._state

    def pids(self) -> list[int]:
        """Process ids of the ui and the uploader that run now."""
        return [process.pid for process in self._processes.values()]

    def hint(self) -> str:
        """The last problem that the screen showed, in brackets, or nothing."""
        hints = [line["problem"] for line in self.events if line["event"] == "hint"]
        return f" ({hints[-1]})" if hints else ""

    def wait_for(self, name: str, seconds: float) -> bool:
        """Wait for a state (in capitals), or for one more event of this name than was waited for before."""
        with self._changed:
            if name.isupper():
                return self._until(lambda: self._state == name, seconds)
            if not self._until(lambda: self._seen[name] > self._waited[name], seconds):
                return False
            self._waited[name] += 1
            return True

    def _until(self, true: Callable[[], bool], seconds: float) -> bool:
        self._changed.wait_for(lambda: true() or self.failed is not None, seconds)
        return true()

    def kill(self, name: str) -> None:
        """Kill -9, and wait until it is gone."""
        process = self._processes[name]
        with self._changed:
            before = self._seen["process-ended"]
            if name == "ui":
                self._state = "LOCKING"
        process.send_signal(signal.SIGKILL)
        with self._changed:
            self._until(lambda: self._seen["process-ended"] > before, READY_S)

    def set_network(self, up: bool) -> None:
        """Of the built-in server."""
        if self._fhir is not None:
            raise KioskError("network steps work with the built-in server only")
        self.server.set_network(up)

    def set_fault(self, fault: str) -> None:
        """Of the built-in server."""
        if self._fhir is not None:
            raise KioskError("server steps work with the built-in server only")
        self.server.faults.set(fault)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
