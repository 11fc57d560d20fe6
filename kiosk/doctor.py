"""`kiosk doctor`: what of the promises can be checked on the machine it runs on.

Each check looks at one thing and says what it found and what to do. It changes nothing, sends nothing, and
says nothing about patients. `Machine` names the places it looks at, so that tests can build a sick one.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from kiosk.config import Settings
from kiosk.custody import KeyFile
from kiosk.errors import ConfigError, KioskError, LinkError
from kiosk.link import Caller
from kiosk.seal import choose_suite
from kiosk.spool.files import on_ram
from kiosk.staff import StaffList


class Status(Enum):
    """How a finding is to be taken."""

    GOOD = "good"
    WARN = "warn"
    """Works, with less protection than it could have, or not checkable now."""
    BAD = "bad"
    """A promise does not hold."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `advice` is empty where there is nothing to do."""

    what: str
    status: Status
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to look."""

    proc: Path = Path("/proc")
    clock_set: Callable[[], bool] = field(default=lambda: True)


def examine(settings: Settings, machine: Machine) -> list[Finding]:
    """Every finding, in the order in which a person wants to read them."""
    return [
        *_spool(settings, machine),
        _swap(machine),
        _keys(),
        _cipher(settings, machine),
        _tracing(machine),
        _freed_memory(machine),
        _clock(machine),
        _staff(settings),
        *_link(settings, machine),
    ]


def report(findings: list[Finding]) -> str:
    """The findings as a table for a console, with the advice below each line that has one."""
    width = max(len(f.what) for f in findings)
    lines = []
    for f in findings:
        lines.append(f"{f.status.value:<4}  {f.what:<{width}}  {f.found}")
        if f.advice:
            lines.append(f"{'':<4}  {'':<{width}}  -> {f.advice}")
    return "\n".join(lines) + "\n"


# --- memory ---------------------------------------------------------------------------------


def _spool(settings: Settings, machine: Machine) -> Iterator[Finding]:
    path = Path(settings.spool.path)
    # Before its first start it is not there yet: what it will be made in counts.
    place = next(p for p in (path, *path.parents) if p.exists())
    if not on_ram(place, machine.proc / "self" / "mountinfo"):
        advice = f"[spool] path: allowed: below /run or /dev/shm; {path} is on a disk"
        yield Finding("spool", Status.BAD, "not in memory", advice)
        return
    options = _mount_options(place, machine)
    if "noswap" in options:
        yield Finding("spool", Status.GOOD, "in memory, never swapped")
    else:
        yield Finding("spool", Status.WARN, "in memory", "mount it with noswap (Linux 6.4) and keep swap off")
    facts = os.statvfs(place)
    free = facts.f_bavail * facts.f_frsize // 1_000_000
    needed = settings.spool.capacity_mb
    if free >= needed:
        yield Finding("spool size", Status.GOOD, f"{free} MB free, capacity_mb = {needed}")
    else:
        advice = "give its file system more room, or set [spool] capacity_mb to less"
        yield Finding("spool size", Status.WARN, f"{free} MB free, capacity_mb = {needed}", advice)


def _mount_options(path: Path, machine: Machine) -> set[str]:
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    options: set[str] = set()
    for line in _text(machine.proc / "self" / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2:3] == [wanted]:
            options |= set(after.split()[2].split(",")) if len(after.split()) > 2 else set()
    return options


def _swap(machine: Machine) -> Finding:
    areas = _text(machine.proc / "swaps").splitlines()[1:]
    if not areas:
        return Finding("swap", Status.GOOD, "off")
    return Finding("swap", Status.BAD, f"{len(areas)} on", "switch it off: memory could reach a disk")


def _keys() -> Finding:
    try:
        with KeyFile.create() as keys:
            kind = keys.kind
    except KioskError:
        return Finding("private keys", Status.BAD, "no memory file", "this kernel is too old")
    if kind == "memfd_secret":
        return Finding("private keys", Status.GOOD, "in secret memory (memfd_secret)")
    advice = "boot with secretmem.enable=1 (before Linux 6.5), or raise LimitMEMLOCK"
    return Finding("private keys", Status.WARN, "in a sealed memfd: root can read it", advice)


def _cipher(settings: Settings, machine: Machine) -> Finding:
    cipher = choose_suite(settings.seal.cipher, cpuinfo=machine.proc / "cpuinfo")
    fast = choose_suite("auto", cpuinfo=machine.proc / "cpuinfo")
    if cipher is fast:
        return Finding("cipher", Status.GOOD, cipher.label)
    advice = f'[seal] cipher = "auto" would take {fast.label} here'
    return Finding("cipher", Status.WARN, f"{cipher.label}, as forced", advice)


def _tracing(machine: Machine) -> Finding:
    scope = _text(machine.proc / "sys" / "kernel" / "yama" / "ptrace_scope").strip()
    if scope.isdigit() and int(scope) >= 2:
        return Finding("debuggers", Status.GOOD, f"kernel.yama.ptrace_scope = {scope}")
    found = f"kernel.yama.ptrace_scope = {scope}" if scope else "no Yama"
    advice = "set kernel.yama.ptrace_scope = 3, so that root needs a reboot to read memory"
    return Finding("debuggers", Status.WARN, found, advice)


def _freed_memory(machine: Machine) -> Finding:
    if "init_on_free=1" in _text(machine.proc / "cmdline").split():
        return Finding("freed memory", Status.GOOD, "wiped by the kernel (init_on_free=1)")
    return Finding("freed memory", Status.WARN, "as the kernel was built", "boot with init_on_free=1")


# --- the station ----------------------------------------------------------------------------


def _clock(machine: Machine) -> Finding:
    if machine.clock_set():
        return Finding("clock", Status.GOOD, "set")
    return Finding(
        "clock", Status.BAD, "not set", "check the network and the time server: nobody can sign in"
    )


def _staff(settings: Settings) -> Finding:
    try:
        count = len(StaffList.load(Path(settings.staff.file)))
    except ConfigError as e:
        return Finding("staff", Status.BAD, "nobody may sign in", "; ".join(e.complaints[:5]))
    return Finding("staff", Status.GOOD, f"{count} may sign in")


def _link(settings: Settings, machine: Machine) -> Iterator[Finding]:
    path = Path(settings.link.socket)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        yield Finding("uploader", Status.WARN, "not running", "start it, then look again")
        return
    allowed = 0o600 if settings.station.group is None else 0o660
    if mode & ~allowed:
        yield Finding("link", Status.BAD, f"mode {mode:04o}", f"allowed: {allowed:04o}; restart the uploader")
    else:
        yield Finding("link", Status.GOOD, f"mode {mode:04o}")
    try:
        caller = Caller.connect(path, on_news=lambda _: None, on_lost=lambda: None)
    except LinkError:
        yield Finding("uploader", Status.WARN, "does not answer", "restart it, or run this as its user")
        return
    try:
        status = caller.ask("hello")
    except KioskError:
        yield Finding("uploader", Status.WARN, "does not answer", "restart it")
        return
    finally:
        caller.close()
    yield _queue(status)
    yield _process(_peer_pid(path), machine)


def _peer_pid(path: Path) -> int:
    """Who listens there (SO_PEERCRED, unix(7)); 0 where nobody does any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return 0
    return int(struct.unpack("3i", credentials)[0])


def _process(pid: int, machine: Machine) -> Finding:
    """Whether the running uploader leaves core files or swapped pages (proc_pid_limits(5), ..._status(5))."""
    limits = _text(machine.proc / str(pid) / "limits")
    facts = dict(
        line.split(":", 1) for line in _text(machine.proc / str(pid) / "status").splitlines() if ":" in line
    )
    core = next((line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file")), None)
    if core is None or "VmSwap" not in facts:
        return Finding("uploader's memory", Status.WARN, "cannot be looked at", "run this as root")
    if core != ["0", "0"] or facts["VmSwap"].split()[0] != "0":
        return Finding(
            "uploader's memory", Status.BAD, "core files or swap are possible", "restart it; tell us"
        )
    locked, whole = (int(facts.get(name, "0").split()[0]) for name in ("VmLck", "VmSize"))
    # More than the key file, whose secret memory always counts as locked.
    if locked > whole // 2:
        return Finding("uploader's memory", Status.GOOD, "no core files, nothing swapped, locked")
    advice = "raise LimitMEMLOCK, so that it can lock its memory"
    return Finding("uploader's memory", Status.WARN, "no core files, nothing swapped, not locked", advice)


def _queue(status: dict[str, object]) -> Finding:
    waiting, parked = status.get("waiting"), status.get("parked")
    found = f"running; {waiting} waiting, {parked} parked, record server " + (
        "reachable" if status.get("online") else "not reached"
    )
    if parked:
        return Finding("uploader", Status.WARN, found, "the journal says why a session was parked")
    if not status.get("online"):
        return Finding("uploader", Status.WARN, found, "check the network and [fhir] url")
    return Finding("uploader", Status.GOOD, found)


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""
