"""Where private keys live, and how they outlive the process that uses them.

`KeyFile` is a memory file of fixed size: memfd_secret(2), which the kernel maps nowhere else, or a sealed
memfd(2) where the kernel lacks it. It has no name and no disk behind it: when the last descriptor closes,
the keys are gone.

The service manager keeps that descriptor over restarts (sd_notify(3) FDSTORE=1, sd_listen_fds(3)).
`notify` and `stored_fds` are the client's half; `NotifySocket` is the manager's half, for where there is
no systemd.

Slots are 128 bytes: session UUID (16), state (1), padding (15), key (96). Slot 0 holds the magic in place of
a UUID, and the key that signs this boot's audit.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import socket
import sys
import threading
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from types import TracebackType
from uuid import UUID

from kiosk.errors import KioskError, Problem, SealError, SpoolFull

SLOTS = 256
SLOT_SIZE = 128
KEY_SIZE = 96
SIGNING_KEY_SIZE = 32
"""Bytes: an Ed25519 private key (RFC 8032)."""
SESSIONS_MAX = SLOTS - 1
_SIZE = SLOTS * SLOT_SIZE
_MAGIC = b"LETHE-KEYS-1\n"
_STATE = 16
_KEY = 32
_FREE, _LIVE = 0, 1
_SYS_MEMFD_SECRET = 447
"""The same number on every architecture (Linux 5.14)."""
_SHAPE_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


class KeyFile:
    """Private keys by session, in one memory file. Safe to use from several threads.

    Raises KioskError where the descriptor is not such a file.
    """

    def __init__(self, fd: int, kind: str) -> None:
        self.fd = fd
        self.kind = kind
        """"memfd_secret" or "memfd"."""
        self._lock = threading.Lock()
        self._map = mmap.mmap(fd, _SIZE)
        self._memory = memoryview(self._map)

    @classmethod
    def create(cls) -> KeyFile:
        """Make an empty file. Owns its descriptor, which is closed on exec."""
        for make, kind in ((_memfd_secret, "memfd_secret"), (_memfd, "memfd")):
            try:
                fd = make()
            except OSError:
                continue
            try:
                os.ftruncate(fd, _SIZE)
                if kind == "memfd":
                    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SHAPE_SEALS | fcntl.F_SEAL_SEAL)
                keys = cls(fd, kind)
            except OSError:
                # Secret memory counts as locked memory (RLIMIT_MEMLOCK); there may be none left.
                os.close(fd)
                continue
            keys._memory[: len(_MAGIC)] = _MAGIC
            return keys
        raise KioskError("the kernel gives no memory file")

    @classmethod
    def from_fd(cls, fd: int) -> KeyFile:
        """Take over a file that `create` made, and its descriptor; finishes a `forget` that was cut short.

        Raises KioskError; the descriptor is then the caller's to close.
        """
        try:
            kind = _kind_of(fd)
            keys = cls(fd, kind)
        except (OSError, ValueError) as e:
            raise KioskError("not a key file: cannot be mapped") from e
        if keys._memory[: len(_MAGIC)] != _MAGIC:
            keys._unmap()
            raise KioskError("not a key file: wrong magic")
        for slot in range(1, SLOTS):
            if keys._state(slot) != _LIVE:
                keys._zero(slot)
        return keys

    def issue(self, session: UUID) -> memoryview:
        """Take a slot for `session` and return its 96 zero bytes, to be filled with the private key.

        Raises SealError where the session has a key already, SpoolFull where all 255 slots are taken.
        """
        with self._lock:
            if self._slot(session) is not None:
                raise SealError("this session has a key already")
            slot = next((n for n in range(1, SLOTS) if self._state(n) == _FREE), None)
            if slot is None:
                raise SpoolFull("every key slot is taken")
            start = slot * SLOT_SIZE
            self._memory[start : start + 16] = session.bytes
            # Last, so that a process killed in between leaves a free slot.
            self._memory[start + _STATE] = _LIVE
            return self._key(slot)

    def view(self, session: UUID) -> memoryview:
        """Return the session's 96 key bytes in place. Raises SealError with Problem.KEY_LOST."""
        with self._lock:
            slot = self._slot(session)
            if slot is None:
                raise SealError("no key for this session", problem=Problem.KEY_LOST)
            return self._key(slot)

    def sessions(self) -> frozenset[UUID]:
        """Every session that has a key."""
        with self._lock:
            return frozenset(self._owner(n) for n in range(1, SLOTS) if self._state(n) == _LIVE)

    def forget(self, session: UUID) -> None:
        """Overwrite the session's key with zeros, for good. Does nothing where there is none."""
        with self._lock:
            slot = self._slot(session)
            if slot is not None:
                # First, so that nobody sees half a key; `from_fd` zeroes what a kill leaves here.
                self._memory[slot * SLOT_SIZE + _STATE] = _FREE
                self._zero(slot)

    def signing_key(self) -> memoryview:
        """Return the 32 bytes of the key that signs this boot's audit, in place; made when first asked for.

        It belongs to no session, takes no session's slot and is never forgotten: it goes with the file.
        """
        with self._lock:
            key = self._memory[_KEY : _KEY + SIGNING_KEY_SIZE]
            if self._state(0) != _LIVE:
                # The kernel writes its random bytes straight into this memory.
                with open("/dev/urandom", "rb", buffering=0) as urandom:
                    if urandom.readinto(key) != SIGNING_KEY_SIZE:
                        raise KioskError("the kernel gave too few random bytes")
                # Last, so that a process killed in between leaves no half key.
                self._memory[_STATE] = _LIVE
            return key

    def close(self) -> None:
        """Unmap and close. Raises BufferError while a view is still out: release it first."""
        if not self._map.closed:
            self._unmap()
            os.close(self.fd)

    def __enter__(self) -> KeyFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _unmap(self) -> None:
        self._memory.release()
        try:
            self._map.close()
        except BufferError:
            self._memory = memoryview(self._map)
            raise

    def _slot(self, session: UUID) -> int | None:
        live = (n for n in range(1, SLOTS) if self._state(n) == _LIVE)
        return next((n for n in live if self._owner(n) == session), None)

    def _state(self, slot: int) -> int:
        return self._memory[slot * SLOT_SIZE + _STATE]

    def _owner(self, slot: int) -> UUID:
        start = slot * SLOT_SIZE
        return UUID(bytes=self._memory[start : start + 16].tobytes())

    def _key(self, slot: int) -> memoryview:
        start = slot * SLOT_SIZE + _KEY
        return self._memory[start : start + KEY_SIZE]

    def _zero(self, slot: int) -> None:
        start = slot * SLOT_SIZE
        self._memory[start : start + SLOT_SIZE] = bytes(SLOT_SIZE)


def _memfd_secret() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.syscall(ctypes.c_long(_SYS_MEMFD_SECRET), ctypes.c_uint(os.O_CLOEXEC)))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "memfd_secret")
    return fd


def _memfd() -> int:
    return os.memfd_create("lethe-keys", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def _kind_of(fd: int) -> str:
    """Tell the two apart, and both from files that could be cut short under the mapping."""
    if os.fstat(fd).st_size != _SIZE:
        raise KioskError("not a key file: wrong size")
    if os.readlink(f"/proc/self/fd/{fd}").startswith("/secretmem"):
        return "memfd_secret"
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError as e:
        raise KioskError("not a key file: not a memory file") from e
    if seals & _SHAPE_SEALS != _SHAPE_SEALS:
        raise KioskError("not a key file: its size is not sealed")
    return "memfd"


# --- the service's half of the descriptor store ---------------------------------------------


def notify(message: str, fds: Sequence[int] = (), environ: Mapping[str, str] = os.environ) -> bool:
    """Send `message` (lines like READY=1) and descriptors to the service manager, as sd_notify(3) does.

    Returns False where there is no manager. Raises KioskError where it does not take the message.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(address)
            if fds:
                socket.send_fds(sock, [message.encode()], list(fds))
            else:
                sock.send(message.encode())
    except OSError as e:
        raise KioskError(f"the service manager does not listen: {errno.errorcode.get(e.errno or 0)}") from e
    return True


def store(name: str, fd: int, environ: Mapping[str, str] = os.environ) -> bool:
    """Ask the service manager to keep `fd` under `name` over restarts. See `notify`."""
    return notify(f"FDSTORE=1\nFDNAME={name}", (fd,), environ)


def stored_fds(environ: MutableMapping[str, str] = os.environ) -> dict[str, int]:
    """Return the descriptors that the service manager kept for us, by name, as sd_listen_fds(3) does.

    They are then closed on exec, and the variables are gone. Of several with one name the last counts.
    """
    pid, count, names = (environ.pop(k, "") for k in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    fds: dict[str, int] = {}
    labels = names.split(":") if names else []
    for index in range(int(count)):
        fd = _FIRST_FD + index
        os.set_inheritable(fd, False)
        name = labels[index] if index < len(labels) else "unknown"
        if name in fds:
            os.close(fds[name])
        fds[name] = fd
    return fds


_FIRST_FD = 3
"""SD_LISTEN_FDS_START: where systemd puts the first one."""


# --- the manager's half, where there is no systemd ------------------------------------------


class NotifySocket:
    """Receives what `notify` sends and keeps the descriptors, until it is closed.

    `path` must be new; the socket is unlinked on close.
    """

    MESSAGE_MAX = 4096
    FDS_MAX = 16

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stored: list[tuple[str, int]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.bind(os.fspath(path))
            path.chmod(0o600)
        except OSError:
            self._socket.close()
            raise

    @property
    def stored(self) -> tuple[tuple[str, int], ...]:
        """Names and descriptors that are kept."""
        return tuple(self._stored)

    def fileno(self) -> int:
        """For select and poll."""
        return self._socket.fileno()

    def receive(self, timeout: float | None = None) -> dict[str, str] | None:
        """Take one message: {"READY": "1"} and the like. None when none came within `timeout` seconds."""
        self._socket.settimeout(timeout)
        try:
            data, fds, flags, _ = socket.recv_fds(self._socket, self.MESSAGE_MAX, self.FDS_MAX)
        except (TimeoutError, BlockingIOError):
            return None
        pairs = (line.partition("=") for line in data.decode("utf-8", "replace").splitlines())
        message = {key: value for key, sep, value in pairs if sep}
        name = message.get("FDNAME", "stored")
        keep = message.get("FDSTORE") == "1" and not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        for fd in fds:
            # Not MSG_CMSG_CLOEXEC: socket.recv_fds of Python 3.11 drops its flags.
            os.set_inheritable(fd, False)
            if keep and len(self._stored) < self.FDS_MAX and ":" not in name and name.isprintable():
                self._stored.append((name, fd))
            else:
                os.close(fd)
        if message.get("FDSTOREREMOVE") == "1":
            self._remove(name)
        return message

    def child(self, argv: Sequence[str]) -> tuple[list[str], tuple[int, ...]]:
        """Return the command and the `pass_fds` that start `argv` with every kept descriptor.

        For subprocess.Popen(command, pass_fds=pass_fds, env={..., "NOTIFY_SOCKET": str(path)}). The
        command starts this module, which puts the descriptors at 3 and up, says so in LISTEN_PID,
        LISTEN_FDS and LISTEN_FDNAMES, and becomes `argv`: the process id stays the same.
        """
        if not self._stored:
            return list(argv), ()
        words = [f"{fd}={name}" for name, fd in self._stored]
        launcher = [sys.executable, "-m", "kiosk.custody", *words, "--", *argv]
        return launcher, tuple(fd for _, fd in self._stored)

    def close(self) -> None:
        """Close every kept descriptor: what only they held is gone."""
        self._remove(None)
        if self._socket.fileno() >= 0:
            self._socket.close()
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> NotifySocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _remove(self, name: str | None) -> None:
        for kept, fd in self._stored:
            if name in (None, kept):
                os.close(fd)
        self._stored = [] if name is None else [(n, fd) for n, fd in self._stored if n != name]


def _become(words: Sequence[str]) -> None:
    """Exec the command after `--` with the descriptors FD=NAME at 3 and up."""
    split = words.index("--")
    given = [word.partition("=") for word in words[:split]]
    # First out of the way, so that no target is another one's source.
    above = [fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, _FIRST_FD + 2 * len(given)) for fd, _, _ in given]
    for number, _, _ in given:
        os.set_inheritable(int(number), False)
    for index, fd in enumerate(above):
        os.dup2(fd, _FIRST_FD + index, inheritable=True)
    command = words[split + 1 :]
    listen = {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": str(len(given)),
        "LISTEN_FDNAMES": ":".join(name for _, _, name in given),
    }
    os.execvpe(command[0], list(command), {**os.environ, **listen})  # noqa: S606


if __name__ == "__main__":
    _become(sys.argv[1:])
