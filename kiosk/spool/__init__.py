"""The waiting room for sealed items: directories in memory, and nothing but renames between them.

::

    root/open/<session>/<number>-<kind>-<item>.sealed       the session in front of the kiosk
    root/ready/<session>/...                                committed: only a proven delivery destroys
    root/parked/<session>.<reason>/...                      needs a person

The names say everything that a restart must know. What a killed process can leave behind has a name that
starts with a dot; `sweep` removes it. Everything else that is not ours is ignored, reported, and neither
followed nor deleted. Files and directories are for their owner only.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from kiosk.errors import SessionGone, SpoolError, SpoolFull, SpoolNotRam
from kiosk.spool import files
from kiosk.spool.files import TRASH, Buffer, explained, opened

__all__ = ["ITEM_MAX", "NUMBER_MAX", "Item", "Spool"]

OPEN, READY, PARKED = "open", "ready", "parked"
ITEM_MAX = files.ITEM_MAX
NUMBER_MAX = 9999
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_REASON = re.compile("[a-z][a-z0-9-]{0,39}")
_SESSION_NAME = re.compile(_UUID)
_PARKED_NAME = re.compile(rf"({_UUID})\.({_REASON.pattern})")
_ITEM_NAME = re.compile(rf"([0-9]{{4}})-([a-z]{{1,16}})-({_UUID})\.sealed")
_REPORT_MAX = 100


@dataclass(frozen=True, slots=True)
class Item:
    """One sealed item of a session. `size` in bytes."""

    number: int
    kind: str
    item: UUID
    path: Path
    size: int


class Spool:
    """The spool below `root`, which is made where it is missing.

    capacity: bytes that it may hold.  reserve: bytes that are kept for the session that is open.
    Raises SpoolNotRam unless `root` is in memory or `allow_disk` is set, SpoolError where it is no directory.
    """

    def __init__(
        self,
        root: Path,
        *,
        capacity: int,
        reserve: int,
        allow_disk: bool = False,
        mountinfo: Path = Path("/proc/self/mountinfo"),
    ) -> None:
        self.root = root
        self.capacity = capacity
        self.reserve = reserve
        with explained("make"):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.in_ram = files.on_ram(root, mountinfo)
        if not (self.in_ram or allow_disk):
            raise SpoolNotRam("the spool's directory is not on tmpfs or ramfs")
        for state in (OPEN, READY, PARKED):
            files.make_directory(root / state)
            # A rename must never become a copy, nor leave the memory.
            if not files.is_directory_on(root / state, root.stat().st_dev):
                raise SpoolNotRam(f"{state} is not a directory of the spool's own file system")

    # --- the ui's side: one open session -----------------------------------------------------

    def begin(self, session: UUID) -> None:
        """Open an empty session. Raises SpoolFull where a whole session would not fit, SpoolError."""
        self.check_room()
        if self._find(session) is not None:
            raise SpoolError("this session exists already")
        with explained("begin"):
            files.make_directory(self._open(session))

    def add(
        self, session: UUID, number: int, kind: str, item: UUID, sealed: Buffer | tuple[Buffer, ...]
    ) -> Path:
        """Write an item (whole, or in parts that follow each other) into the open session.

        It is read back and compared before it gets its name. The same number, kind and item again replaces
        it. Raises SpoolFull, SessionGone or SpoolError; then nothing of it is left behind.
        """
        parts = sealed if isinstance(sealed, tuple) else (sealed,)
        size = sum(memoryview(part).nbytes for part in parts)
        name = f"{number:04d}-{kind}-{item}.sealed"
        if not _ITEM_NAME.fullmatch(name) or not 0 < size <= ITEM_MAX:
            raise SpoolError("not an item's number, kind or size")
        if self.used() + size > self.capacity:
            raise SpoolFull("the spool's capacity is used up")
        path = self._open(session)
        with explained("add"), opened(path) as directory:
            files.store(directory, name, parts)
            if not files.is_at(directory, path):
                files.unlink(name, directory)
                raise SessionGone("the session was destroyed meanwhile")
        return path / name

    def remove(self, session: UUID, item: UUID) -> None:
        """Destroy one item of the open session. Raises SessionGone, SpoolError where it is not there."""
        with explained("remove"), opened(self._open(session)) as directory:
            names = [n for n in os.listdir(directory) if (m := _ITEM_NAME.fullmatch(n)) and m[3] == str(item)]
            if not names:
                raise SpoolError("no such item in the open session")
            for name in names:
                files.unlink(name, directory)

    def clear(self, session: UUID) -> int:
        """Destroy every item of the open session, which stays open; return how many. Raises SessionGone."""
        with explained("clear"), opened(self._open(session)) as directory:
            names = [n for n in os.listdir(directory) if _ITEM_NAME.fullmatch(n)]
            for name in names:
                files.unlink(name, directory)
        return len(names)

    def commit(self, session: UUID) -> None:
        """Rename the open session to ready: the commit point. Raises SessionGone, SpoolError."""
        with explained("commit"), opened(self._open(session)):
            os.rename(self._open(session), self.root / READY / str(session))

    def destroy(self, session: UUID) -> bool:
        """Destroy the open session. Returns whether there was one; a committed one is not touched."""
        return self._discard(self._open(session))

    # --- the uploader's side: committed sessions ----------------------------------------------

    def open_sessions(self) -> list[UUID]:
        """Sessions that are not committed."""
        return [UUID(name) for name in self._directories(OPEN, _SESSION_NAME)]

    def ready(self) -> list[UUID]:
        """Committed sessions, the oldest first."""
        return [UUID(name) for name in self._directories(READY, _SESSION_NAME)]

    def parked(self) -> dict[UUID, str]:
        """Sessions that need a person, the oldest first, with the reason's code."""
        matches = (_PARKED_NAME.fullmatch(name) for name in self._directories(PARKED, _PARKED_NAME))
        return {UUID(m[1]): m[2] for m in matches if m}

    def items(self, session: UUID) -> list[Item]:
        """The items of a committed session, by number. Junk is left out. Raises SessionGone."""
        path = self.root / READY / str(session)
        found = []
        with explained("items"), opened(path) as directory, os.scandir(directory) as entries:
            for entry in entries:
                match = _ITEM_NAME.fullmatch(entry.name)
                if match and files.junk_file(facts := entry.stat(follow_symlinks=False)) is None:
                    item = UUID(match[3])
                    found.append(Item(int(match[1]), match[2], item, path / entry.name, facts.st_size))
        return sorted(found, key=lambda i: (i.number, i.kind, str(i.item)))

    def read(self, item: Item) -> bytearray:
        """Return a committed item's bytes, in a buffer that the caller owns.

        Raises SessionGone, SpoolError where the file changed.
        """
        # Not mapped: a file that is cut short under a mapping kills the process.
        with explained("read"), opened(item.path.parent) as directory:
            fd = os.open(item.path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
            with open(fd, "rb", buffering=0) as file:
                facts = os.fstat(fd)
                if files.junk_file(facts) is not None or facts.st_size != item.size:
                    raise SpoolError("the item changed since it was listed")
                data = bytearray(item.size)
                size = file.readinto(data)
        if size != item.size:
            raise SpoolError("the item was cut short while it was read")
        return data

    def park(self, session: UUID, reason: str) -> None:
        """Set a committed session aside under the reason's code. Raises SessionGone, SpoolError."""
        if not _REASON.fullmatch(reason):
            raise SpoolError("a reason is a code of small letters, digits and hyphens")
        path = self.root / READY / str(session)
        with explained("park"), opened(path):
            os.rename(path, self.root / PARKED / f"{session}.{reason}")

    def unpark(self, session: UUID) -> None:
        """Put a parked session back to ready. Raises SessionGone."""
        path = self._find(session)
        if path is None or path.parent.name != PARKED:
            raise SessionGone("no such parked session")
        with explained("unpark"):
            os.rename(path, self.root / READY / str(session))

    def forget(self, session: UUID) -> bool:
        """Destroy a delivered session. Returns whether it was there."""
        return self._discard(self.root / READY / str(session))

    @contextmanager
    def lock(self, session: UUID) -> Iterator[None]:
        """Hold a committed session alone, over all processes; a kill lets go of it.

        Raises SpoolError at once where somebody else holds it, SessionGone.
        """
        path = self.root / READY / str(session)
        with explained("lock"), opened(path) as directory:
            if not files.flock(directory):
                raise SpoolError("somebody else works on this session")
            if not files.is_at(directory, path):
                raise SessionGone("the session was moved away")
            yield

    # --- room ----------------------------------------------------------------------------------

    def used(self) -> int:
        """Bytes in the spool, leftovers and junk included."""
        total = 0
        for state in (OPEN, READY, PARKED):
            for entry in files.entries(self.root / state):
                if entry.is_dir(follow_symlinks=False):
                    total += sum(files.size(e) for e in files.entries(Path(entry.path)))
                total += files.size(entry)
        return total

    def room_for_session(self) -> bool:
        """Whether a whole new session fits: by the capacity, and by what the file system has."""
        facts = os.statvfs(self.root)
        return self.used() + self.reserve <= self.capacity and facts.f_bavail * facts.f_frsize >= self.reserve

    def check_room(self) -> None:
        """Raise SpoolFull unless `room_for_session`."""
        if not self.room_for_session():
            raise SpoolFull("no room for a whole session")

    # --- after a crash ---------------------------------------------------------------------------

    def sweep(self) -> list[str]:
        """Remove what killed processes left; report junk by place and kind, never by name.

        A temporary file that a live process still writes is left alone.
        """
        strays = (entry for entry in files.entries(self.root) if entry.name not in (OPEN, READY, PARKED))
        junk = [f"spool: {kind}" for entry in strays if (kind := files.junk_kind(entry))]
        for state in (OPEN, READY, PARKED):
            pattern = _PARKED_NAME if state == PARKED else _SESSION_NAME
            for entry in files.entries(self.root / state):
                is_directory = entry.is_dir(follow_symlinks=False)
                if is_directory and entry.name.startswith(TRASH):
                    with explained("sweep"):
                        files.empty(Path(entry.path))
                elif is_directory and pattern.fullmatch(entry.name):
                    junk += [f"{state} session: {kind}" for kind in self._sweep_session(Path(entry.path))]
                elif kind := files.junk_kind(entry):
                    junk.append(f"{state}: {kind}")
        more = len(junk) - _REPORT_MAX
        return [*junk[:_REPORT_MAX], f"and {more} more"] if more > 0 else junk

    # --- inside ------------------------------------------------------------------------------------

    def _sweep_session(self, path: Path) -> Iterator[str]:
        """Remove the session's leftovers; yield the kinds of its junk."""
        try:
            with explained("sweep"), opened(path) as directory:
                for entry in files.entries(directory):
                    kind = None if files.remove_leftover(entry, directory) else files.junk_kind(entry)
                    if kind and not (kind == files.ODD_NAME and _ITEM_NAME.fullmatch(entry.name)):
                        yield kind
        except SessionGone:
            # Renamed or destroyed by its owner while we looked.
            return

    def _open(self, session: UUID) -> Path:
        return self.root / OPEN / str(session)

    def _find(self, session: UUID) -> Path | None:
        """Where the session is, whatever its state."""
        for state, pattern in ((OPEN, _SESSION_NAME), (READY, _SESSION_NAME), (PARKED, _PARKED_NAME)):
            for name in self._directories(state, pattern):
                if name.partition(".")[0] == str(session):
                    return self.root / state / name
        return None

    def _directories(self, state: str, pattern: re.Pattern[str]) -> list[str]:
        """Names of the sessions in this state by age; the last item written counts."""
        found = []
        for entry in files.entries(self.root / state):
            if pattern.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                try:
                    found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
                except FileNotFoundError:
                    continue
        return [name for _, name in sorted(found)]

    def _discard(self, path: Path) -> bool:
        """Rename away first, so that a late writer fails; then unlink everything."""
        trash = path.parent / f"{TRASH}{secrets.token_hex(8)}"
        with explained("discard"):
            try:
                with opened(path):
                    os.rename(path, trash)
            except (SessionGone, FileNotFoundError):
                return False
            files.empty(trash)
        return True
