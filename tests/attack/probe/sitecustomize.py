"""Runs inside every process of a watched kiosk, before any of its code, and names each step with an effect.

PYTHONPATH brings it in; the product knows nothing of it. `LETHE_PROBE` is a directory:

    pids/<role>   process id of the newest process of this role
    steps         one JSON line for each step, by all processes, in their order
    plan.json     {"epoch": n, "step": name or null, "victims": [roles]}: who is to be killed, and where

A step is the moment before a call that changes something outside the process's own heap: the file system,
a socket, a pipe, the key memory, the birth of a process. For what is sent, the moment after it is a step too:
the receiver works on it while the sender may be dead. Between two steps of a process a kill leaves the same
world behind, wherever it comes. A lock (flock) is no step: it dies with its holder.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import os
import shutil  # noqa: F401 - it looks at the real os functions once, when it is imported
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

REAL_OPEN, REAL_WRITE, REAL_KILL = os.open, os.write, os.kill
FILES = ("mkdir", "chmod", "fchmod", "write", "writev", "rename", "unlink", "rmdir", "ftruncate", "execv")
SENDS = ("send", "sendall", "sendmsg", "connect")
HEARS = ("recv", "recv_into", "recvmsg")
KEY_MEMORY = {
    "kiosk.custody": ("KeyFile", ("issue", "forget", "_zero")),
    "kiosk.seal": (None, ("generate_into",)),
}
"""Where key memory changes: through a memoryview, so no system call shows it."""


def always(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return True


class Probe:
    def __init__(self, directory: Path, role: str) -> None:
        self.directory = directory
        self.role = role
        self.counts: Counter[str] = Counter()
        self.epoch = -1
        self.born = -1
        self.lock = threading.RLock()
        self.inside = threading.local()

    def start(self) -> None:
        (self.directory / "pids" / f".{self.role}").write_text(str(os.getpid()))
        os.rename(self.directory / "pids" / f".{self.role}", self.directory / "pids" / self.role)
        self.born = json.loads((self.directory / "plan.json").read_text())["epoch"]
        for name in FILES:
            self.wrap(os, name, only=(lambda a, k: not os.path.lexists(a[0])) if name == "mkdir" else always)
        self.wrap(os, "open", only=lambda a, k: bool(flags_of(a, k) & (os.O_CREAT | os.O_TRUNC)))
        for name in SENDS:
            self.wrap(socket.socket, name, after=name != "connect")
        for name in HEARS:
            self.listen(name)
        self.wrap(subprocess.Popen, "_execute_child")
        if self.role == "delivery":
            sys.stdout = Told(sys.stdout, self)  # type: ignore[assignment]
        sys.meta_path.insert(0, Finder(self))

    def wrap(self, owner: Any, name: str, *, after: bool = False, only: Any = always) -> None:
        real = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if not only(args, kwargs):
                return real(*args, **kwargs)
            local = hidden(args, kwargs)
            self.step(name, local)
            result = real(*args, **kwargs)
            if after:
                self.step(f"after {name}", local)
            return result

        setattr(owner, name, call)
        if owner is os:
            # The standard library asks this set whether a function takes dir_fd.
            for capable in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
                if real in capable:
                    capable.add(call)

    def listen(self, name: str) -> None:
        real = getattr(socket.socket, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            self.inside.heard = True
            return result

        setattr(socket.socket, name, call)

    def step(self, effect: str, local: bool = False) -> None:
        where = caller(sys._getframe(2))
        # The self-test's key is nobody's: it changes nothing that is left.
        if where is None or where.startswith("selftest.") or getattr(self.inside, "step", False):
            return
        self.inside.step = True
        try:
            with self.lock:
                self.note(f"{self.role}: {effect} in {where}", local)
        finally:
            self.inside.step = False

    def note(self, name: str, local: bool) -> None:
        plan = json.loads((self.directory / "plan.json").read_text())
        if plan["epoch"] != self.epoch:
            self.epoch = plan["epoch"]
            self.counts.clear()
        if self.born == self.epoch and self.role != "delivery":
            # The ui replaces itself: the next one counts for itself.
            name = f"new {name}"
        self.counts[name] += 1
        name = f"{name} #{self.counts[name]}"
        alive = [path.name for path in (self.directory / "pids").iterdir() if self.pid_of(path.name)]
        hit = plan["step"] == name and self.first()
        line = {
            "epoch": self.epoch,
            "step": name,
            "local": local,
            "alive": sorted(alive),
            # Whether this thread took something in since its last step.
            "heard": getattr(self.inside, "heard", False),
            "thread": threading.get_ident(),
        }
        self.inside.heard = False
        self.write(line)
        if hit:
            self.kill(plan["victims"])

    def first(self) -> bool:
        """Whether this is the first process to come here since the plan was made: one kill is enough."""
        try:
            os.close(REAL_OPEN(self.directory / f"hit-{self.epoch}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True

    def write(self, line: dict[str, Any]) -> None:
        fd = REAL_OPEN(self.directory / "steps", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            REAL_WRITE(fd, json.dumps(line).encode() + b"\n")
        finally:
            os.close(fd)

    def kill(self, victims: list[str]) -> None:
        others = [pid for v in victims if v != self.role and (pid := self.pid_of(v))]
        for pid in others:
            REAL_KILL(pid, signal.SIGKILL)
        # They are dead, not dying, when this process takes its step.
        deadline = time.monotonic() + 2
        while any(running(pid) for pid in others) and time.monotonic() < deadline:
            time.sleep(0.002)
        if self.role in victims:
            REAL_KILL(os.getpid(), signal.SIGKILL)

    def pid_of(self, role: str) -> int | None:
        """The newest process of this role, where it lives and is really one of ours."""
        try:
            pid = int((self.directory / "pids" / role).read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        ours = os.fsencode(self.directory.parent)
        return pid if ours in words and running(pid) else None


class Told:
    """The delivery process's report lines are what it hands over."""

    def __init__(self, stream: Any, probe: Probe) -> None:
        self.stream = stream
        self.probe = probe

    def write(self, text: str) -> int:
        self.probe.step("report")
        return int(self.stream.write(text))

    def flush(self) -> None:
        self.stream.flush()
        self.probe.step("after report")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Finder(importlib.abc.MetaPathFinder):
    """Wraps what changes key memory, as soon as its module is there."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> Any:
        if name not in KEY_MEMORY:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def then_wrap(module: ModuleType) -> None:
                execute(module)
                owner, names = KEY_MEMORY[name]
                for changing in names:
                    self.probe.wrap(getattr(module, owner) if owner else module, changing, after=True)

            spec.loader.exec_module = then_wrap  # type: ignore[method-assign]
        return spec


def caller(frame: FrameType | None) -> str | None:
    """The innermost function of the product; None where it is the demo's hand, or no code of ours."""
    found = None
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("kiosk.demo"):
            return None
        if found is None and module.startswith("kiosk."):
            found = f"{module.removeprefix('kiosk.')}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return found


def flags_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    return int(kwargs.get("flags", args[1] if len(args) > 1 else 0))


def hidden(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether it happens under a temporary name, where no other process looks."""
    if not args or not isinstance(args[0], int | str | Path):
        return False
    first, fd = args[0], kwargs.get("dir_fd")
    if isinstance(first, int):
        return temporary(os.readlink(f"/proc/self/fd/{first}"))
    moved_to = [args[1]] if len(args) > 1 and isinstance(args[1], str | Path) else []
    inside = fd is not None and temporary(os.readlink(f"/proc/self/fd/{fd}"))
    return inside or all(temporary(str(name)) for name in (first, *moved_to))


def temporary(path: str) -> bool:
    return any(part.startswith((".part-", ".gone-")) for part in path.split("/"))


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def role_of(words: list[str]) -> str | None:
    if words[1:3] != ["-m", "kiosk"] or len(words) < 4:
        return None
    if "--deliver" in words:
        return "delivery"
    return "lookup" if "--directory" in words else words[3]


if "LETHE_PROBE" in os.environ and (ROLE := role_of(sys.orig_argv)):
    Probe(Path(os.environ["LETHE_PROBE"]), ROLE).start()
