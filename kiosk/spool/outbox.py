"""The ui's half of the spool: one open session, to which it adds until it is renamed to ready.

There is no way to read an item here. Where ui and uploader are two users that share a group, the ui's user
cannot list the committed sessions either, and cannot enter them once the uploader has taken them over.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from uuid import UUID

from kiosk.errors import SessionGone, SpoolError, SpoolFull, SpoolNotRam
from kiosk.spool import files
from kiosk.spool.files import TRASH, Buffer, explained, opened
from kiosk.spool.layout import ITEM_NAME, ONE_USER, OPEN, READY, STATES, TWO_USERS

_PAPERS_MAX = 1_000_000
"""Bytes of the reserve that photographs leave to consent and manifest, whose number is 0."""


class Outbox:
    """The spool below `root`, as the ui may use it.

    reserve: bytes that one session may hold.  group: the id of the group that ui and uploader share; None
    where one user runs both, who makes the directories where they are missing.
    Raises SpoolNotRam unless `root` is in memory or `allow_disk` is set, SpoolError where it is no
    directory, or the uploader has not made it yet.
    """

    def __init__(
        self,
        root: Path,
        *,
        reserve: int,
        allow_disk: bool = False,
        group: int | None = None,
        mountinfo: Path = Path("/proc/self/mountinfo"),
    ) -> None:
        self.root = root
        self.reserve = reserve
        self.group = group
        self.modes = ONE_USER if group is None else TWO_USERS
        with explained("open"):
            self._make_root()
            self.in_ram = files.on_ram(root, mountinfo)
            if not (self.in_ram or allow_disk):
                raise SpoolNotRam("the spool's directory is not on tmpfs or ramfs")
            self._make_states()
            for state in STATES:
                # A rename must never become a copy, nor leave the memory.
                if not files.is_directory_on(root / state, root.stat().st_dev):
                    raise SpoolNotRam(f"{state} is not a directory of the spool's own file system")

    def begin(self, session: UUID) -> None:
        """Open an empty session. Raises SpoolFull where a whole session would not fit, SpoolError."""
        self.check_room()
        if self._exists(session):
            raise SpoolError("this session exists already")
        with explained("begin"):
            files.make_directory(self._open(session), self.modes.session)

    def add(
        self, session: UUID, number: int, kind: str, item: UUID, sealed: Buffer | tuple[Buffer, ...]
    ) -> Path:
        """Write an item (whole, or in parts that follow each other) into the open session.

        It is read back and compared before it gets its name. The same number, kind and item again replaces
        it. Raises SpoolFull where the session would hold more than its reserve, SessionGone or SpoolError;
        then nothing of it is left behind.
        """
        parts = sealed if isinstance(sealed, tuple) else (sealed,)
        size = sum(memoryview(part).nbytes for part in parts)
        name = f"{number:04d}-{kind}-{item}.sealed"
        if not ITEM_NAME.fullmatch(name) or not 0 < size <= files.ITEM_MAX:
            raise SpoolError("not an item's number, kind or size")
        path = self._open(session)
        with explained("add"), opened(path) as directory:
            if sum(map(files.size, files.entries(directory))) + size > self._allowance(number):
                raise SpoolFull("the session's reserve is used up")
            files.store(directory, name, parts, self.modes.item)
            if not files.is_at(directory, path):
                files.unlink(name, directory)
                raise SessionGone("the session was destroyed meanwhile")
        return path / name

    def remove(self, session: UUID, item: UUID) -> None:
        """Destroy one item of the open session. Raises SessionGone, SpoolError where it is not there."""
        with explained("remove"), opened(self._open(session)) as directory:
            names = [n for n in os.listdir(directory) if (m := ITEM_NAME.fullmatch(n)) and m[3] == str(item)]
            if not names:
                raise SpoolError("no such item in the open session")
            for name in names:
                files.unlink(name, directory)

    def clear(self, session: UUID) -> int:
        """Destroy every item of the open session, which stays open; return how many. Raises SessionGone."""
        with explained("clear"), opened(self._open(session)) as directory:
            names = [n for n in os.listdir(directory) if ITEM_NAME.fullmatch(n)]
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

    def check_room(self) -> None:
        """Raise SpoolFull where the file system has less left than a session's reserve."""
        with explained("room"):
            facts = os.statvfs(self.root)
        if facts.f_bavail * facts.f_frsize < self.reserve:
            raise SpoolFull("no room for a whole session")

    # --- inside --------------------------------------------------------------------------------

    def _make_root(self) -> None:
        if self.group is None:
            files.make_root(self.root, self.modes.root)
        elif not self.root.is_dir():
            raise SpoolError("the uploader has not made the spool yet")

    def _make_states(self) -> None:
        if self.group is None:
            for state in STATES:
                files.make_directory(self.root / state, self.modes.own)

    def _allowance(self, number: int) -> int:
        papers = min(_PAPERS_MAX, self.reserve // 10)
        return self.reserve if number == 0 else self.reserve - papers

    def _open(self, session: UUID) -> Path:
        return self.root / OPEN / str(session)

    def _exists(self, session: UUID) -> bool:
        return any(os.path.lexists(self.root / state / str(session)) for state in (OPEN, READY))

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
