from __future__ import annotations

import itertools
import multiprocessing
import os
import resource
import signal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from kiosk.errors import SessionGone, SpoolError, SpoolFull, SpoolNotRam
from kiosk.spool import Item, Outbox, Spool, files
from tests.spool_tools import everything, make

MEGABYTE = 2**20


# --- where it may be -------------------------------------------------------------------------


def mountinfo(tmp_path: Path, at: Path, kind: str) -> Path:
    device = at.stat().st_dev
    text = (
        "21 1 254:77 / / rw,relatime - ext4 /dev/root rw\n"
        f"22 21 {os.major(device)}:{os.minor(device)} / /mnt\\040x rw shared:1 master:2 - {kind} {kind} rw\n"
    )
    (tmp_path / "mountinfo").write_text(text)
    return tmp_path / "mountinfo"


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
def test_works_on_ram(tmp_path: Path, kind: str) -> None:
    found = mountinfo(tmp_path, tmp_path, kind)
    assert make(tmp_path / "spool", allow_disk=False, mountinfo=found).in_ram


@pytest.mark.parametrize("kind", ["ext4", "overlay", "tmpfs.evil", "devtmpfs"])
def test_refuses_disks(tmp_path: Path, kind: str) -> None:
    found = mountinfo(tmp_path, tmp_path, kind)
    with pytest.raises(SpoolNotRam):
        make(tmp_path / "spool", allow_disk=False, mountinfo=found)
    assert everything(tmp_path / "spool") == []
    assert not make(tmp_path / "spool", allow_disk=True, mountinfo=found).in_ram


def test_tells_the_real_file_systems_apart(tmp_path: Path) -> None:
    """/proc/self/mountinfo and statfs of coreutils agree, for the directory of tests and for /dev/shm."""
    import subprocess

    for path in (tmp_path, Path("/dev/shm"), Path("/proc")):
        kind = subprocess.run(
            ["stat", "-f", "-c", "%T", str(path)], check=True, capture_output=True, text=True
        ).stdout.strip()
        assert files.on_ram(path) is (kind in ("tmpfs", "ramfs"))


def test_refuses_a_state_that_is_a_symlink_or_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "else").mkdir()
    (tmp_path / "spool" / "ready").symlink_to(tmp_path / "else")
    with pytest.raises(SpoolNotRam):
        make(tmp_path / "spool")


@pytest.mark.parametrize("umask", [0o000, 0o277])
def test_permissions_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        (tmp_path / "spool").mkdir()
        (tmp_path / "spool").chmod(0o700)
        spool = make(tmp_path / "spool")
        session = uuid4()
        spool.begin(session)
        path = spool.add(session, 1, "photo", uuid4(), b"sealed")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.parent.parent.stat().st_mode & 0o777 == 0o700


# --- the way of a session ----------------------------------------------------------------------


def test_a_session_from_open_to_gone(spool: Spool, session: UUID) -> None:
    consent, photo, manifest = uuid4(), uuid4(), uuid4()
    big = os.urandom(MEGABYTE + 17)
    spool.add(session, 2, "photo", photo, memoryview(big))
    spool.add(session, 0, "consent", consent, (b"head", bytearray(b"body")))
    path = spool.add(session, 9999, "manifest", manifest, b"m")
    assert path == spool.root / "open" / str(session) / f"9999-manifest-{manifest}.sealed"
    assert spool.open_sessions() == [session]
    assert spool.ready() == []
    with pytest.raises(SessionGone):
        spool.items(session)
    spool.commit(session)
    assert spool.open_sessions() == []
    assert spool.ready() == [session]
    items = spool.items(session)
    assert [(i.number, i.kind, i.item) for i in items] == [
        (0, "consent", consent),
        (2, "photo", photo),
        (9999, "manifest", manifest),
    ]
    assert [spool.read(i) for i in items] == [b"headbody", big, b"m"]
    assert [i.size for i in items] == [8, len(big), 1]
    assert spool.used() == 8 + len(big) + 1
    assert spool.forget(session) is True
    assert spool.forget(session) is False
    assert everything(spool.root) == ["open", "parked", "ready", "sending"]
    assert spool.used() == 0


def test_parking_and_back(spool: Spool, session: UUID) -> None:
    spool.add(session, 1, "photo", uuid4(), b"x")
    spool.commit(session)
    spool.take(session)
    items = spool.items(session)
    spool.park(session, "server-said-422")
    assert spool.ready() == []
    assert spool.parked() == {session: "server-said-422"}
    with pytest.raises(SessionGone):
        spool.read(items[0])
    with pytest.raises(SessionGone):
        spool.park(session, "again")
    with pytest.raises(SpoolError):
        spool.begin(session)
    spool.unpark(session)
    assert spool.parked() == {}
    assert spool.items(session) == items
    with pytest.raises(SessionGone):
        spool.unpark(session)


def test_taking_over_changes_the_place_and_nothing_else(spool: Spool, session: UUID) -> None:
    spool.add(session, 1, "photo", uuid4(), b"x")
    with pytest.raises(SessionGone):
        spool.take(session)
    spool.commit(session)
    for _ in range(2):
        spool.take(session)
        assert everything(spool.root / "ready") == []
        assert spool.ready() == [session]
        assert [spool.read(i) for i in spool.items(session)] == [b"x"]
    with spool.lock(session):
        assert make(spool.root).ready() == [session]
    with pytest.raises(SpoolError):
        spool.begin(session)
    assert spool.forget(session) is True
    assert spool.ready() == []


@pytest.mark.parametrize("reason", ["", "Name Of Patient", "a/b", "..", "a" * 41, "ä", "a\n", "-a"])
def test_a_reason_is_a_code(spool: Spool, session: UUID, reason: str) -> None:
    spool.add(session, 1, "photo", uuid4(), b"x")
    spool.commit(session)
    with pytest.raises(SpoolError):
        spool.park(session, reason)
    assert spool.ready() == [session]


@pytest.mark.parametrize(
    ("number", "kind"),
    [(-1, "photo"), (10_000, "photo"), (1, ""), (1, "Photo"), (1, "../x"), (1, "a" * 17), (1, "photo\n")],
)
def test_odd_items_are_refused(spool: Spool, session: UUID, number: int, kind: str) -> None:
    with pytest.raises(SpoolError):
        spool.add(session, number, kind, uuid4(), b"x")
    assert everything(spool.root / "open" / str(session)) == []


def test_empty_and_huge_items_are_refused(spool: Spool, session: UUID) -> None:
    for sealed in (b"", (), (b"", b""), bytes(files.ITEM_MAX + 1)):
        with pytest.raises(SpoolError):
            spool.add(session, 1, "photo", uuid4(), sealed)


def test_adding_the_same_item_again_replaces_it(spool: Spool, session: UUID) -> None:
    item = uuid4()
    spool.add(session, 9999, "manifest", item, b"first")
    spool.add(session, 9999, "manifest", item, b"second")
    spool.commit(session)
    assert [spool.read(i) for i in spool.items(session)] == [b"second"]


def test_remove_and_clear(spool: Spool, session: UUID) -> None:
    items = [uuid4() for _ in range(3)]
    for number, item in enumerate(items):
        spool.add(session, number, "photo", item, b"x")
    spool.remove(session, items[1])
    with pytest.raises(SpoolError):
        spool.remove(session, items[1])
    assert spool.clear(session) == 2
    assert everything(spool.root / "open") == [str(session)]
    spool.add(session, 0, "manifest", items[0], b"refusal")
    spool.commit(session)
    assert [i.kind for i in spool.items(session)] == ["manifest"]


def test_destroy(spool: Spool, session: UUID) -> None:
    spool.add(session, 1, "photo", uuid4(), b"x")
    assert spool.destroy(session) is True
    assert spool.destroy(session) is False
    assert everything(spool.root) == ["open", "parked", "ready", "sending"]
    for late in (
        lambda: spool.add(session, 2, "photo", uuid4(), b"late"),
        lambda: spool.commit(session),
        lambda: spool.remove(session, uuid4()),
        lambda: spool.clear(session),
    ):
        with pytest.raises(SessionGone):
            late()
    assert everything(spool.root) == ["open", "parked", "ready", "sending"]


def test_destroy_leaves_committed_sessions_alone(spool: Spool, session: UUID) -> None:
    spool.add(session, 1, "photo", uuid4(), b"x")
    spool.commit(session)
    assert spool.destroy(session) is False
    assert len(spool.items(session)) == 1


def test_commit_twice_and_begin_twice(spool: Spool, session: UUID) -> None:
    with pytest.raises(SpoolError):
        spool.begin(session)
    spool.add(session, 1, "photo", uuid4(), b"x")
    spool.commit(session)
    with pytest.raises(SessionGone):
        spool.commit(session)
    with pytest.raises(SpoolError):
        spool.begin(session)


def test_ready_is_oldest_first(spool: Spool) -> None:
    sessions = [uuid4() for _ in range(6)]
    for age, session in enumerate(sessions):
        spool.begin(session)
        spool.add(session, 1, "manifest", uuid4(), b"x")
        os.utime(spool.root / "open" / str(session), ns=(0, 10**18 + age))
        spool.commit(session)
    assert spool.ready() == sessions
    for session in sessions:
        spool.park(session, "rejected")
    assert list(spool.parked()) == sessions


@pytest.mark.parametrize("moment", ["os.rename", "os.write"])
def test_destroyed_while_a_photograph_is_written(
    spool: Spool, session: UUID, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The late writer fails and nothing of what it wrote is left."""
    name = moment.removeprefix("os.")
    real = getattr(os, name)
    calls = iter([True])

    def destroyed_first(*args: Any, **kwargs: Any) -> Any:
        if next(calls, False):
            assert spool.destroy(session)
        return real(*args, **kwargs)

    monkeypatch.setattr(os, name, destroyed_first)
    with pytest.raises(SessionGone):
        spool.add(session, 1, "photo", uuid4(), b"late")
    assert everything(spool.root) == ["open", "parked", "ready", "sending"]


def test_committed_while_a_photograph_is_written(
    spool: Spool, session: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def committed_first(fd: int, data: Any) -> int:
        spool.commit(session)
        return real(fd, data)

    monkeypatch.setattr(os, "write", committed_first)
    with pytest.raises(SessionGone):
        spool.add(session, 1, "photo", uuid4(), b"late")
    assert everything(spool.root / "ready") == [str(session)]


# --- writing that goes wrong ---------------------------------------------------------------------


def test_short_writes_are_continued(spool: Spool, session: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:7]))
    sealed = os.urandom(1000)
    path = spool.add(session, 1, "photo", uuid4(), (sealed[:13], sealed[13:]))
    assert path.read_bytes() == sealed


def test_what_reads_back_differently_is_not_kept(
    spool: Spool, session: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def flips_a_bit(fd: int, data: Any) -> int:
        changed = bytearray(data)
        changed[-1] ^= 1
        return real(fd, changed)

    monkeypatch.setattr(os, "write", flips_a_bit)
    with pytest.raises(SpoolError, match="reads back differently"):
        spool.add(session, 1, "photo", uuid4(), os.urandom(700_000))
    assert everything(spool.root / "open") == [str(session)]


def test_a_file_system_that_refuses_is_full_and_nothing_is_left(spool: Spool, session: UUID) -> None:
    """RLIMIT_FSIZE makes the kernel itself cut a write short and then refuse the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(SpoolFull):
            spool.add(session, 1, "photo", uuid4(), bytes(300_000))
        assert everything(spool.root / "open") == [str(session)]
        spool.add(session, 1, "photo", uuid4(), bytes(90_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT"])
def test_no_space_in_the_middle_of_a_write(
    spool: Spool, session: UUID, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    import errno

    real = os.write
    calls = itertools.count()

    def fills_up(fd: int, data: Any) -> int:
        if next(calls):
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
        return real(fd, bytes(data)[:100])

    monkeypatch.setattr(os, "write", fills_up)
    with pytest.raises(SpoolFull):
        spool.add(session, 1, "photo", uuid4(), bytes(300))
    assert everything(spool.root / "open") == [str(session)]


def test_errors_carry_no_file_names(spool: Spool, session: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied", "/a/name")

    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(SpoolError) as caught:
        spool.commit(session)
    assert "name" not in str(caught.value)
    assert caught.value.__cause__ is None


# --- room ------------------------------------------------------------------------------------------


def test_a_session_is_refused_before_it_begins_and_never_in_the_middle(tmp_path: Path) -> None:
    """What fits at the beginning fits to the end: each session has its reserve, and no more."""
    spool = make(tmp_path / "spool", capacity=1000, reserve=400)
    first, second = uuid4(), uuid4()
    spool.begin(first)
    spool.add(first, 1, "photo", uuid4(), bytes(200))
    assert spool.room_for_session()
    spool.begin(second)
    spool.add(second, 1, "photo", uuid4(), bytes(201))
    # 401 bytes are used, but both may grow.
    assert not spool.room_for_session()
    with pytest.raises(SpoolFull):
        spool.check_room()
    with pytest.raises(SpoolFull):
        spool.begin(uuid4())
    spool.add(second, 2, "photo", uuid4(), bytes(159))
    spool.add(first, 2, "photo", uuid4(), bytes(160))
    for session in (first, second):
        # The last tenth is for the papers: a full session can still be sent.
        with pytest.raises(SpoolFull):
            spool.add(session, 3, "photo", uuid4(), bytes(1))
        spool.add(session, 0, "manifest", uuid4(), bytes(40))
        with pytest.raises(SpoolFull):
            spool.add(session, 0, "manifest", uuid4(), bytes(1))
    assert spool.used() == 800 <= spool.capacity
    spool.destroy(second)
    assert spool.room_for_session()


def test_the_ui_has_no_way_to_read(tmp_path: Path) -> None:
    make(tmp_path / "spool")
    outbox = Outbox(tmp_path / "spool", reserve=MEGABYTE, allow_disk=True)
    public = {name for name in dir(outbox) if not name.startswith("_")}
    assert public & {"read", "items", "ready", "parked", "open_sessions", "lock", "forget"} == set()


def test_no_room_where_the_file_system_has_less_than_the_reserve(tmp_path: Path) -> None:
    spool = make(tmp_path / "spool", capacity=2**62, reserve=2**60)
    assert not spool.room_for_session()


# --- locks -----------------------------------------------------------------------------------------


def test_one_child_at_a_time(spool: Spool, session: UUID) -> None:
    spool.add(session, 1, "photo", uuid4(), b"x")
    with pytest.raises(SessionGone), spool.lock(session):
        raise AssertionError
    spool.commit(session)
    with spool.lock(session):
        with pytest.raises(SpoolError), make(spool.root).lock(session):
            raise AssertionError
        assert len(spool.items(session)) == 1
    with spool.lock(session):
        spool.forget(session)


def _hold(root: str, session: UUID, ready: Any) -> None:
    with make(Path(root)).lock(session):
        ready.set()
        signal.pause()


def test_a_kill_lets_go_of_the_lock(spool: Spool, session: UUID) -> None:
    spool.add(session, 1, "photo", uuid4(), b"x")
    spool.commit(session)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    child = context.Process(target=_hold, args=(str(spool.root), session, ready))
    child.start()
    try:
        assert ready.wait(30)
        with pytest.raises(SpoolError), spool.lock(session):
            raise AssertionError
    finally:
        child.kill()
        child.join()
        child.close()
    with spool.lock(session):
        assert spool.ready() == [session]


def test_an_item_is_a_plain_fact() -> None:
    item = Item(1, "photo", uuid4(), Path("x"), 3)
    with pytest.raises(AttributeError):
        item.size = 4  # type: ignore[misc]
