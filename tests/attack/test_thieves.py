"""Who gets at keys and plaintext: another user, the same user, root. See docs/threat-model.md."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiosk.process import ENVIRONMENT
from tests.attack import thieves
from tests.attack.thief import ON_PROCESS, REFUSED
from tests.attack.thieves import KINDS, KIOSK, Station, station, wait_until_they_read


@pytest.fixture(scope="module")
def at() -> Iterator[Station]:
    with station() as running:
        yield running


def status(pid: int, name: str) -> str:
    rows = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return next(value.strip() for key, _, value in rows if key == name)


def core_limit(pid: int) -> list[str]:
    line = next(
        row for row in Path(f"/proc/{pid}/limits").read_text().splitlines() if row.startswith("Max core")
    )
    return line.split()[4:6]


def mostly_locked(pid: int) -> bool:
    """A user without rights may not lock much: then the journal says so. See test_locked.py."""
    locked, size = (int(status(pid, name).split()[0]) for name in ("VmLck", "VmSize"))
    return locked > size // 2


def is_undumpable(pid: int) -> bool:
    """The kernel gives the files of such a process to root (proc(5)): that is how it keeps its user out."""
    assert status(pid, "Uid").split() == [str(KIOSK)] * 4
    return Path(f"/proc/{pid}/mem").stat().st_uid == 0


def test_reality_is_what_the_document_says(at: Station) -> None:
    written = thieves.parse(thieves.DOCUMENT.read_text("utf-8"))
    measured = thieves.measure(at)
    if not thieves.has_secret_memory():
        # This kernel keeps the keys in a plain memfd; the document tells of both.
        written = {road: words for road, words in written.items() if "memfd_secret" not in road}
    assert measured == written, "write it anew: python -m tests.attack.thieves"
    assert len(measured) > 10


def test_the_roads_are_open_where_nothing_is_hardened(at: Station) -> None:
    """The control: what is refused above is refused because of the hardening."""
    holder = at.key_target(at.facts["holders"]["soft"], "/memfd:lethe-keys")
    order = {"processes": [holder], "keys": {"memfd": holder}}
    same = at.tries("the same user", order)
    yama = Path("/proc/sys/kernel/yama/ptrace_scope")
    scope = int(yama.read_text()) if yama.exists() else 0
    # From 2 on, Yama asks for a capability (Yama.rst) and this machine needs our hardening less.
    by_ptrace = ["open"] if scope < 2 else [REFUSED]
    for road in ON_PROCESS:
        as_reading = road.endswith(("maps", "environ", "fd/N"))
        assert same["processes"][road] == (["open"] if as_reading else by_ptrace), road
    assert same["keys"]["memfd"]["/proc/PID/fd/N"] == "open"
    other = at.tries("another user", order)
    assert {word for words in other["processes"].values() for word in words} == {REFUSED}
    assert set(other["keys"]["memfd"].values()) == {REFUSED}


def test_all_four_kinds_are_hardened(at: Station) -> None:
    assert set(at.pids) == set(KINDS)
    for kind, pid in at.pids.items():
        assert is_undumpable(pid), kind
        assert core_limit(pid) == ["0", "0"], kind
        environment = dict(
            word.split("=", 1)
            for word in os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes()).split("\0")[:-1]
        )
        assert ENVIRONMENT.items() <= environment.items(), kind
        words = [line for line in at.facts["hardened"] if line["process"] == kind]
        assert all(line["scrubbed"] for line in words)
        assert all(line["locked"] == mostly_locked(pid) for line in words)
    # The second session's screen: it has replaced itself, and lost nothing by that.
    assert sum(line["process"] == "ui" for line in at.facts["hardened"]) == 2


def test_hardened_before_the_configuration_is_read(at: Station) -> None:
    *ours, alone, control = pids = at.ask({"start": 6})
    wait_until_they_read(pids)
    try:
        for pid in ours:
            assert is_undumpable(pid)
            assert core_limit(pid) == ["0", "0"]
        assert is_undumpable(alone)
        assert not is_undumpable(control)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        at.ask({"reap": pids})


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGSEGV])
def test_no_core_file(at: Station, number: signal.Signals) -> None:
    """Of ours, nor of a process that is not dumpable and may write as large a core file as it likes."""
    pids = at.ask({"start": 6})
    wait_until_they_read(pids)
    for pid in pids:
        os.kill(pid, number)
    assert at.ask({"reap": pids}) == [False] * 5 + [True], "the last one is the control"


def test_nobody_listens(at: Station) -> None:
    """No process of the kiosk listens on the network, and the screen has nothing to do with it at all."""
    tcp, listening = inet_sockets()
    assert listening, "the control: the hospital's own server listens"
    for kind, pid in at.pids.items():
        held = {os.readlink(entry) for entry in thieves.descriptors(pid)}
        assert not held & listening, kind
        if kind == "ui":
            assert not held & tcp
        if kind == "delivery":
            assert held & tcp, "the control: it is connected to the record"


def inet_sockets() -> tuple[set[str], set[str]]:
    """Network sockets, and those of them that listen (proc_pid_net(5)), as links of /proc/PID/fd."""
    every, listening = set(), set()
    for name in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            link = f"socket:[{words[9]}]"
            every.add(link)
            # TCP_LISTEN; and a datagram socket without a peer takes whatever comes.
            if words[3] == ("0A" if name.startswith("tcp") else "07"):
                listening.add(link)
    return every, listening
