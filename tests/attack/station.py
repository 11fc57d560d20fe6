"""Runs the whole kiosk as a user without rights, holds it where all four kinds of process live, and obeys.

A program of its own, started as root: a test that runs as root cannot show what a user may not do. It is also
the thief of the same user. It started every process of the kiosk, so Yama's ptrace_scope=1 (which lets one
debug one's own descendants) would let it in: what keeps it out is that the processes are not dumpable.

stdout: one JSON line that says what runs; then one answer to each line of stdin, an order for the thief.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_CLONE_NEWNS = 0x20000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000

HOLDER = """
import ctypes, os, sys, time
from kiosk import custody
from kiosk.process import die_with_parent, harden
die_with_parent(int(sys.argv[3]))
def none(): raise OSError(38, "none")
if sys.argv[1] == "memfd": custody._memfd_secret = none
keys = custody.KeyFile.create()
# Whoever Yama would keep out is let in (PR_SET_PTRACER_ANY): only the missing hardening shall count.
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
if sys.argv[2] == "hard": harden()
print(keys.kind, flush=True)
time.sleep(600)
"""
"""Holds a key file of the given kind; not a process of the kiosk, but made of its parts."""


DUMPABLE = "import ctypes, sys; ctypes.CDLL(None)"
WAIT = "open(sys.argv[1]).read()"


def open_the_way(paths: list[Path]) -> None:
    """Make paths below a directory that is closed to others reachable, for this process and those below it.

    A mount namespace of our own: a copy of that directory with nothing in it but these paths.
    """
    closed = {top for path in paths for top in [first_closed(path)] if top is not None}
    if not closed:
        return
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
        arguments = (source.encode(), target.encode(), kind and kind.encode(), flags, data and data.encode())
        if libc.mount(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "mount")

    if libc.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare: root with CAP_SYS_ADMIN is needed")
    mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    for top in closed:
        with tempfile.TemporaryDirectory() as aside:
            inside = sorted({path for path in paths if path.is_relative_to(top)})
            for number, path in enumerate(inside):
                Path(aside, str(number)).mkdir()
                mount(str(path), f"{aside}/{number}", None, _MS_BIND | _MS_REC)
            mount("none", str(top), "tmpfs", 0, "mode=755")
            for number, path in enumerate(inside):
                path.mkdir(parents=True, exist_ok=True)
                mount(f"{aside}/{number}", str(path), None, _MS_BIND | _MS_REC)
                libc.umount2(f"{aside}/{number}".encode(), 2)


def first_closed(path: Path) -> Path | None:
    """The topmost directory on the way that others may not enter."""
    return next((p for p in [*reversed(path.parents), path] if not p.stat().st_mode & 0o001), None)


def run(uid: int) -> None:
    from tests.attack import thief

    # Who is started in the background ignores it, and so would everybody below.
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    # As high as it goes: a low limit shall not be what keeps a core file away.
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    open_the_way([ROOT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()])
    thief.become(uid)
    os.environ.update(HOME="/", PYTHONDONTWRITEBYTECODE="1")
    os.chdir(ROOT)

    from tests.attack.memory import kind_of
    from tests.attack.patient import Marked
    from tests.flow.story import PHOTO, SEND, kiosk, play

    first, second = Marked(), Marked()
    with kiosk(read_s=300.0, timeouts={"identify": 900, "consent": 900}) as demo, holders() as held:
        # Where a core file could be written.
        os.chdir(demo.directory)
        for patient in (first, second):
            patient.admit(demo)
        first.find(demo)
        first.agree(demo)
        play(demo, PHOTO, "server delay 200 on=POST:/fhir$", SEND, "wait delivery:sending 30")
        play(demo, 'tap "Done"', "wait LOCKED")
        second.find(demo)
        say(
            {
                "processes": {kind_of(pid): pid for pid in below(os.getpid()) if kind_of(pid) != "other"},
                "holders": {name: process.pid for name, process in held.items()},
                "directory": str(demo.directory),
                "hardened": [line for line in demo.events if line["event"] == "hardened"],
            }
        )
        for line in sys.stdin:
            order = json.loads(line)
            if "start" in order:
                say(victims(demo.directory, order["start"]))
            elif "reap" in order:
                say([os.WCOREDUMP(os.waitpid(pid, 0)[1]) for pid in order["reap"]])
            else:
                say(thief.everything(order))
        demo.set_fault("none")


def victims(directory: Path, count: int) -> list[int]:
    """One more of each kind of process, stopped where it reads its configuration: it never comes."""
    fifo = directory / "never.toml"
    if not fifo.exists():
        os.mkfifo(fifo)
        # Held open: who reads it gets it open, and then waits.
        os.open(fifo, os.O_RDWR)
    me = [sys.executable, "-m", "kiosk"]
    common = ["--config", str(fifo), "--parent", str(os.getpid())]
    session = "00000000-0000-4000-8000-000000000000"
    commands = [
        [*me, "ui", *common, "--offscreen"],
        [*me, "uploader", *common],
        [*me, "uploader", *common, "--deliver", session, "--key-fd", "0"],
        [*me, "uploader", *common, "--directory", "0"],
        # Not dumpable, and nothing else: whatever the limit on core files is.
        [sys.executable, "-c", f"{DUMPABLE}.prctl(4, 0, 0, 0, 0); {WAIT}", str(fifo)],
        # The control: the same interpreter, not hardened.
        [sys.executable, "-c", f"{DUMPABLE}; {WAIT}", str(fifo)],
    ]
    return [os.posix_spawn(command[0], command, os.environ) for command in commands[:count]]


class holders:
    """Two processes that hold plain memory files: one hardened as the kiosk's are, one not."""

    def __enter__(self) -> dict[str, subprocess.Popen[bytes]]:
        self.held = {}
        for name in ("hard", "soft"):
            command = [sys.executable, "-c", HOLDER, "memfd", name, str(os.getpid())]
            process = subprocess.Popen(command, stdout=subprocess.PIPE)
            assert process.stdout is not None
            assert process.stdout.readline() == b"memfd\n"
            self.held[name] = process
        return self.held

    def __exit__(self, *_: object) -> None:
        for process in self.held.values():
            process.kill()
            process.communicate()


def below(root: int) -> list[int]:
    from tests.attack.memory import descendants

    return descendants(root)


def say(words: Any) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    run(int(sys.argv[1]))
