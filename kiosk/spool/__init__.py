"""The waiting room for sealed items: directories in memory, and nothing but renames between them.

::

    root/open/<session>/<number>-<kind>-<item>.sealed       the session in front of the kiosk
    root/ready/<session>/...                                committed: only a proven delivery destroys
    root/sending/<session>/...                              the same, taken over by the uploader
    root/parked/<session>.<reason>/...                      needs a person

The names say everything that a restart must know. What a killed process can leave behind has a name that
starts with a dot; `sweep` removes it. Everything else that is not ours is ignored, reported, and neither
followed nor deleted.

`Outbox` is the ui's half. Where ui and uploader are two users that share a group, the ui may add to the open
session and rename it to ready, and sees nothing else; where one user runs both, everything is his alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from kiosk.errors import SessionGone, SpoolError, SpoolFull
from kiosk.spool import files
from kiosk.spool.files import TRASH, explained, opened
from kiosk.spool.layout import (
    ITEM_NAME,
    NUMBER_MAX,
    OPEN,
    PARKED,
    PARKED_NAME,
    READY,
    REASON,
    SENDING,
    SESSION_NAME,
    STATES,
    Item,
)
from kiosk.spool.outbox import Outbox

__all__ = ["ITEM_MAX", "NUMBER_MAX", "Item", "Outbox", "Spool"]

ITEM_MAX = files.ITEM_MAX
_REPORT_MAX = 100


class Spool(Outbox):
    """The whole spool: the uploader's view.

    capacity: bytes that it may hold.  reserve: bytes that one session may hold; a session is opened only
    where that much is left.  group: see Outbox; this side makes the directories for both.
    """

    def __init__(
        self,
        root: Path,
        *,
        capacity: int,
        reserve: int,
        allow_disk: bool = False,
        group: int | None = None,
        mountinfo: Path = Path("/proc/self/mountinfo"),
    ) -> None:
        self.capacity = capacity
        super().__init__(root, reserve=reserve, allow_disk=allow_disk, group=group, mountinfo=mountinfo)

    def open_sessions(self) -> list[UUID]:
        """Sessions that are not committed."""
        return [UUID(name) for name in self._directories((OPEN,), SESSION_NAME)]

    def ready(self) -> list[UUID]:
        """Committed sessions, taken over or not, the oldest first."""
        return [UUID(name) for name in self._directories((READY, SENDING), SESSION_NAME)]

    def parked(self) -> dict[UUID, str]:
        """Sessions that need a person, the oldest first, with the reason's code."""
        matches = (PARKED_NAME.fullmatch(name) for name in self._directories((PARKED,), PARKED_NAME))
        return {UUID(m[1]): m[2] for m in matches if m}

    def take(self, session: UUID) -> None:
        """Move a committed session to where the ui's user cannot follow. Raises SessionGone, SpoolError."""
        path = self._committed(session)
        if path.parent.name == READY:
            with explained("take"), opened(path):
                os.rename(path, self.root / SENDING / str(session))

    def items(self, session: UUID) -> list[Item]:
        """The items of a committed session, by number. Junk is left out. Raises SessionGone."""
        path = self._committed(session)
        found = []
        with explained("items"), opened(path) as directory, os.scandir(directory) as entries:
            for entry in entries:
                match = ITEM_NAME.fullmatch(entry.name)
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
        if not REASON.fullmatch(reason):
            raise SpoolError("a reason is a code of small letters, digits and hyphens")
        path = self._committed(session)
        with explained("park"), opened(path):
            os.rename(path, self.root / PARKED / f"{session}.{reason}")

    def unpark(self, session: UUID) -> None:
        """Put a parked session back into the queue. Raises SessionGone."""
        path = self._parked(session)
        if path is None:
            raise SessionGone("no such parked session")
        with explained("unpark"):
            os.rename(path, self.root / SENDING / str(session))

    def forget(self, session: UUID) -> bool:
        """Destroy a delivered session. Returns whether it was there."""
        return self._discard(self._committed(session))

    @contextmanager
    def lock(self, session: UUID) -> Iterator[None]:
        """Hold a committed session alone, over all processes; a kill lets go of it.

        Raises SpoolError at once where somebody else holds it, SessionGone.
        """
        path = self._committed(session)
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
        for state in STATES:
            for entry in files.entries(self.root / state):
                if entry.is_dir(follow_symlinks=False):
                    total += sum(files.size(e) for e in files.entries(Path(entry.path)))
                total += files.size(entry)
        return total

    def room_for_session(self) -> bool:
        """Whether a whole new session fits: by the capacity, and by what the file system has.

        A session that is open counts with its whole reserve: it may still grow.
        """
        growing = 0
        for session in self.open_sessions():
            held = sum(map(files.size, files.entries(self._open(session))))
            growing += max(0, self.reserve - held)
        facts = os.statvfs(self.root)
        free = facts.f_bavail * facts.f_frsize
        return self.used() + growing + self.reserve <= self.capacity and growing + self.reserve <= free

    def check_room(self) -> None:
        """Raise SpoolFull unless `room_for_session`."""
        if not self.room_for_session():
            raise SpoolFull("no room for a whole session")

    # --- after a crash ---------------------------------------------------------------------------

    def sweep(self) -> list[str]:
        """Remove what killed processes left; report junk by place and kind, never by name.

        A temporary file that a live process still writes is left alone.
        """
        strays = (entry for entry in files.entries(self.root) if entry.name not in STATES)
        junk = [f"spool: {kind}" for entry in strays if (kind := files.junk_kind(entry))]
        for state in STATES:
            pattern = PARKED_NAME if state == PARKED else SESSION_NAME
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
                    if kind and not (kind == files.ODD_NAME and ITEM_NAME.fullmatch(entry.name)):
                        yield kind
        except SessionGone:
            # Renamed or destroyed by its owner while we looked.
            return

    def _make_root(self) -> None:
        files.make_root(self.root, self.modes.root, self.group)

    def _make_states(self) -> None:
        for state in STATES:
            mode = self.modes.inbox if state in (OPEN, READY) else self.modes.own
            files.make_directory(self.root / state, mode, self.group if state in (OPEN, READY) else None)

    def _committed(self, session: UUID) -> Path:
        taken = self.root / SENDING / str(session)
        return taken if os.path.lexists(taken) else self.root / READY / str(session)

    def _parked(self, session: UUID) -> Path | None:
        names = self._directories((PARKED,), PARKED_NAME)
        found = next((name for name in names if name.partition(".")[0] == str(session)), None)
        return None if found is None else self.root / PARKED / found

    def _exists(self, session: UUID) -> bool:
        places = (self.root / state / str(session) for state in (OPEN, READY, SENDING))
        return any(map(os.path.lexists, places)) or self._parked(session) is not None

    def _directories(self, states: tuple[str, ...], pattern: re.Pattern[str]) -> list[str]:
        """Names of the sessions in these states by age; the last item written counts."""
        found = []
        for entry in (e for state in states for e in files.entries(self.root / state)):
            if pattern.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                try:
                    found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
                except FileNotFoundError:
                    continue
        return [name for _, name in sorted(found)]
