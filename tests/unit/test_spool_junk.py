"""Whatever lies in a spool that should not: ignored, reported, left alone."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
import threading
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from kiosk.errors import SessionGone, SpoolError
from kiosk.spool import Spool, files
from tests.spool_tools import everything, make

MEGABYTE = 2**20


def test_junk_is_ignored_reported_and_left(spool: Spool, session: UUID, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_bytes(b"secret")
    item = uuid4()
    spool.add(session, 1, "photo", item, b"good")
    spool.commit(session)
    here = spool.root / "ready" / str(session)
    name = "0002-photo-{}.sealed".format
    (here / name(uuid4())).symlink_to(secret / "file")
    os.link(secret / "file", here / name(uuid4()))
    os.mkfifo(here / name(uuid4()))
    (here / name(uuid4())).mkdir()
    (here / name(uuid4())).touch()
    with socket.socket(socket.AF_UNIX) as listener:
        short = Path(tempfile.mkdtemp())
        listener.bind(str(short / "s"))
        os.rename(short / "s", here / name(uuid4()))
        short.rmdir()
    with open(here / name(uuid4()), "wb") as huge:
        huge.truncate(files.ITEM_MAX + 1)
    (here / ("x" * 255)).write_bytes(b"x")
    (here / f"0003-photo-{str(uuid4()).upper()}.sealed").write_bytes(b"x")
    (here / ".part-link").symlink_to(secret / "file")
    (spool.root / "ready" / str(uuid4())).symlink_to(secret)
    (spool.root / "ready" / str(uuid4())).write_bytes(b"x")
    (spool.root / "ready" / f"{session}.x").mkdir()
    (spool.root / "parked" / str(uuid4())).mkdir()
    (spool.root / "open" / "OKONKWO").mkdir()
    (spool.root / "open" / ".gone-x").symlink_to(secret)
    (spool.root / "stray").write_bytes(b"x")
    before = everything(spool.root)

    assert spool.ready() == [session]
    assert spool.open_sessions() == []
    assert spool.parked() == {}
    assert [i.item for i in spool.items(session)] == [item]
    report = spool.sweep()
    assert sorted(report) == sorted(
        [
            *(
                f"ready session: {kind}"
                for kind in (
                    "symlink",
                    "symlink",
                    "hard link",
                    "pipe",
                    "directory",
                    "empty file",
                    "socket",
                    "too large",
                    "huge name",
                    "odd name",
                )
            ),
            "ready: symlink",
            "ready: odd name",
            "ready: directory",
            "parked: directory",
            "open: directory",
            "open: symlink",
            "spool: odd name",
        ]
    )
    assert everything(spool.root) == before
    assert (secret / "file").read_bytes() == b"secret"
    assert spool.forget(session)
    assert (secret / "file").read_bytes() == b"secret"


def test_a_session_that_is_a_symlink_is_not_touched(spool: Spool, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / f"0001-photo-{uuid4()}.sealed").write_bytes(b"x")
    for state in ("open", "ready"):
        session = uuid4()
        (spool.root / state / str(session)).symlink_to(target)
        assert spool.destroy(session) is False
        assert spool.forget(session) is False
        for call in (
            lambda s: spool.add(s, 1, "photo", uuid4(), b"x"),
            spool.commit,
            spool.clear,
            spool.items,
            lambda s: spool.park(s, "x"),
        ):
            with pytest.raises(SessionGone):
                call(session)
    assert len(everything(target)) == 1


def test_an_item_that_changes_after_the_listing(spool: Spool, session: UUID, tmp_path: Path) -> None:
    path = spool.add(session, 1, "photo", uuid4(), b"good")
    spool.commit(session)
    item = spool.items(session)[0]
    path = item.path
    for change in (
        lambda: path.write_bytes(b"longer"),
        lambda: path.write_bytes(b"x"),
        lambda: (path.unlink(), os.mkfifo(path)),
        lambda: (path.unlink(), path.symlink_to(tmp_path)),
    ):
        change()
        with pytest.raises(SpoolError):
            spool.read(item)
    path.unlink()
    with pytest.raises(SessionGone):
        spool.read(item)


def test_much_junk_is_reported_in_short(spool: Spool) -> None:
    for number in range(150):
        (spool.root / "open" / f"junk{number}").touch()
    report = spool.sweep()
    assert len(report) == 101
    assert report[-1] == "and 50 more"


def test_sweep_removes_what_the_dead_left_and_spares_the_living(spool: Spool, session: UUID) -> None:
    here = spool.root / "open" / str(session)
    (here / ".part-dead").write_bytes(b"half")
    (spool.root / "ready" / ".gone-1").mkdir()
    (spool.root / "ready" / ".gone-1" / "0001-photo-x").write_bytes(b"x")
    with open(here / ".part-alive", "wb") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        assert spool.sweep() == []
        assert everything(spool.root) == [
            "open",
            f"open/{session}",
            f"open/{session}/.part-alive",
            "parked",
            "ready",
            "sending",
        ]
    assert spool.sweep() == []
    assert everything(here) == []


def test_sweep_beside_a_busy_writer_harms_nothing(spool: Spool, session: UUID) -> None:
    """Uploader and ui at the same time: every add succeeds while the other one sweeps."""
    stop = threading.Event()
    reports: list[str] = []

    def sweeps() -> None:
        other = make(spool.root)
        while not stop.is_set():
            reports.extend(other.sweep())

    thread = threading.Thread(target=sweeps)
    thread.start()
    try:
        for number in range(200):
            spool.add(session, number, "photo", uuid4(), bytes(2000))
    finally:
        stop.set()
        thread.join()
    spool.commit(session)
    assert len(spool.items(session)) == 200
    assert reports == []


def test_two_processes_may_destroy_the_same_session(spool: Spool) -> None:
    for _ in range(20):
        session = uuid4()
        spool.begin(session)
        for number in range(20):
            spool.add(session, number, "photo", uuid4(), b"x")
        answers: list[bool] = []

        def destroys(session: UUID = session, answers: list[bool] = answers) -> None:
            answers.append(spool.destroy(session))
            spool.sweep()

        threads = [threading.Thread(target=destroys) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [False, False, True]
        assert everything(spool.root) == ["open", "parked", "ready", "sending"]
