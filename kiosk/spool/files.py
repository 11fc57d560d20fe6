"""What the spool does with files: everything relative to an open directory, nothing through a symlink."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kiosk.errors import SessionGone, SpoolError, SpoolFull

Buffer = bytes | bytearray | memoryview

ITEM_MAX = 64 * 2**20
"""Bytes of one sealed item; larger ones are junk."""
TRASH = ".gone-"
TEMPORARY = ".part-"
"""What a killed process can leave behind starts with one of these."""
_NAME_MAX = 100
_TRIES = 10
ODD_NAME = "odd name"
_CHUNK = 256 * 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def on_ram(path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether `path` is on tmpfs or ramfs, as proc_pid_mountinfo(5) tells."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    kinds = set()
    for line in mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2:3] == [wanted]:
            kinds.add(after.split()[0])
    return bool(kinds) and kinds <= {"tmpfs", "ramfs"}


@contextmanager
def explained(step: str) -> Iterator[None]:
    """Turn an OSError into the spool's own errors, without its file name."""
    try:
        yield
    except OSError as e:
        code = errno.errorcode.get(e.errno or 0, "unknown")
        if e.errno in _NO_ROOM:
            raise SpoolFull(f"{step}: {code}") from None
        if e.errno == errno.ENOENT:
            raise SessionGone(f"{step}: not there") from None
        raise SpoolError(f"{step}: {code}") from None


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a session's directory, never through a symlink. Raises SessionGone."""
    try:
        fd = os.open(path, _DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        raise SessionGone("no such session") from None
    try:
        yield fd
    finally:
        os.close(fd)


def is_directory_on(path: Path, device: int) -> bool:
    """Whether this is a directory, not a symlink, on that device."""
    facts = path.lstat()
    return stat.S_ISDIR(facts.st_mode) and facts.st_dev == device


def make_root(path: Path, mode: int, group: int | None = None) -> None:
    """Make the spool's own directory with everything above it; one that exists is left as it is."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    make_directory(path, mode, group)


def make_directory(path: Path, mode: int, group: int | None = None) -> None:
    """Make it with this mode, whatever the umask. One that exists is left as it is, or shared after all."""
    try:
        # The final bits at once where the umask allows: a kill in between must not lock the other user out.
        os.mkdir(path, mode & 0o777)
    except FileExistsError:
        if group is None:
            return
    if group is not None:
        os.chown(path, -1, group)
    # After the group: a change of owner clears the set-group-id bit.
    os.chmod(path, mode)


def store(directory: int, name: str, parts: tuple[Buffer, ...], mode: int = 0o600) -> None:
    """Write a new file under a temporary name, read it back, and give it its name.

    Whatever goes wrong, nothing is left. Raises OSError, SpoolError.
    """
    temporary, fd = _temporary(directory)
    try:
        os.fchmod(fd, mode)
        for part in parts:
            rest = memoryview(part).cast("B")
            while rest:
                rest = rest[os.write(fd, rest) :]
        _compare(fd, parts)
        # The lock is held until here: `remove_leftover` of another process must not come in between.
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        unlink(temporary, directory)
        raise
    finally:
        os.close(fd)


def _temporary(directory: int) -> tuple[str, int]:
    """Make a locked file: the lock tells other processes that its writer lives."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for _ in range(_TRIES):
        name = f"{TEMPORARY}{secrets.token_hex(8)}"
        fd = os.open(name, flags, 0o600, dir_fd=directory)
        # Between open and lock it looks like a dead process's leftover and may be removed: make another.
        if flock(fd) and os.fstat(fd).st_nlink == 1:
            return name, fd
        os.close(fd)
        unlink(name, directory)
    raise SpoolError("temporary files vanish")


def _compare(fd: int, parts: tuple[Buffer, ...]) -> None:
    """Compare the file with what was to be written, byte for byte. Raises SpoolError."""
    chunk = bytearray(_CHUNK)
    offset = 0
    for part in parts:
        rest = memoryview(part).cast("B")
        while rest:
            count = os.preadv(fd, [memoryview(chunk)[: len(rest)]], offset)
            # A bytearray compares as one run of memory; a slice of it would be a copy.
            back = chunk if count == _CHUNK else chunk[:count]
            if count == 0 or back != rest[:count]:
                raise SpoolError("what was written reads back differently")
            rest = rest[count:]
            offset += count
    if os.fstat(fd).st_size != offset:
        raise SpoolError("what was written has another size")


def flock(fd: int) -> bool:
    """Lock an open file for ourselves, without waiting; say whether nobody else holds it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(directory: int, path: Path) -> bool:
    """Whether this open directory still has that name."""
    try:
        return os.path.samestat(os.fstat(directory), os.lstat(path))
    except FileNotFoundError:
        return False


def unlink(name: str, directory: int) -> None:
    """Unlink, unless it has just gone."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return


def entries(path: Path | int) -> list[os.DirEntry[str]]:
    """What is in a directory, or nothing where it has just gone. Raises SpoolError where it is none."""
    try:
        with explained("list"), os.scandir(path) as entries:
            return list(entries)
    except SessionGone:
        return []


def size(entry: os.DirEntry[str]) -> int:
    """Bytes of a regular file; 0 for anything else."""
    try:
        facts = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return 0
    return facts.st_size if stat.S_ISREG(facts.st_mode) else 0


def junk_file(facts: os.stat_result) -> str | None:
    """Say why this cannot be a sealed item, or None where it can."""
    kinds = {
        stat.S_IFLNK: "symlink",
        stat.S_IFSOCK: "socket",
        stat.S_IFIFO: "pipe",
        stat.S_IFDIR: "directory",
    }
    if not stat.S_ISREG(facts.st_mode):
        return kinds.get(stat.S_IFMT(facts.st_mode), "device")
    if facts.st_nlink != 1:
        return "hard link"
    if facts.st_size == 0:
        return "empty file"
    return "too large" if facts.st_size > ITEM_MAX else None


def junk_kind(entry: os.DirEntry[str]) -> str | None:
    """Say what kind of thing this is that does not belong here, or None where it has just gone."""
    if len(entry.name) > _NAME_MAX:
        return "huge name"
    try:
        return junk_file(entry.stat(follow_symlinks=False)) or ODD_NAME
    except FileNotFoundError:
        return None


def is_temporary(entry: os.DirEntry[str]) -> bool:
    """Whether this is a temporary file of `store`, by its name and kind."""
    if not entry.name.startswith(TEMPORARY):
        return False
    try:
        facts = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return True
    return stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1


def remove_leftover(entry: os.DirEntry[str], directory: int) -> bool:
    """Remove it where it is a temporary file whose process is dead. Returns False for anything else."""
    if not is_temporary(entry):
        return False
    try:
        fd = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return True
    try:
        if os.fstat(fd).st_nlink == 1 and flock(fd):
            unlink(entry.name, directory)
    finally:
        os.close(fd)
    return True


def empty(trash: Path) -> None:
    """Destroy a directory that was renamed away, with whatever a late writer still put into it."""
    for _ in range(_TRIES):
        try:
            shutil.rmtree(trash)
        except FileNotFoundError:
            # Another process empties it too.
            if not os.path.lexists(trash):
                return
        except OSError as e:
            if e.errno != errno.ENOTEMPTY:
                raise
        else:
            return
    raise SpoolError("a destroyed session's directory does not become empty")
