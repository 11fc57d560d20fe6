"""The uploader's secrets: systemd credentials by their name, or files that nobody else can read.

They are never an argument, an environment variable or a value in kiosk.toml. Complaints name the file and
what is allowed, never its content. Sources: systemd.exec(5), Credentials; acl(5).
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

from kiosk.errors import ConfigError

LIMIT = 64 * 1024
"""Bytes: a longer file is not a password and not a key."""
CREDENTIALS = "CREDENTIALS_DIRECTORY"

_ALLOWED = "allowed: a regular file, mode 0400 or 0600, owned by the uploader's user or root"
_ACL = "system.posix_acl_access"
_ACL_VERSION = 2
_USER_OBJ, _USER, _MASK = 0x01, 0x02, 0x10


def locate(name: str, key: str) -> Path:
    """Where the secret is: `name` is an absolute path, or a credential's file name.

    key: the key of [fhir] that names it, for the complaint. Raises ConfigError for a credential outside of a
    service that was given any.
    """
    if name.startswith("/"):
        return Path(name)
    directory = os.environ.get(CREDENTIALS)
    if not directory:
        complaint = f"[fhir] {key}: the credential {name} has no directory ({CREDENTIALS} is not set)"
        raise ConfigError((f"{complaint}; allowed: LoadCredential= in the service's unit, or a path",))
    return Path(directory, name)


def checked_path(name: str, key: str) -> Path:
    """The path of a secret that is private, for a library that reads it itself. Raises ConfigError."""
    path = locate(name, key)
    os.close(_open(path, key))
    return path


def read(name: str, key: str) -> bytes:
    """The content of a secret that is private. Raises ConfigError."""
    path = locate(name, key)
    with open(_open(path, key), "rb") as file:
        data = file.read(LIMIT + 1)
    if not data.strip() or len(data) > LIMIT:
        raise ConfigError((f"{path}: [fhir] {key} is empty or over 64 KiB; allowed: one secret",))
    return data


def read_text(name: str, key: str) -> str:
    """A password: the content as UTF-8 without the line end. Raises ConfigError."""
    try:
        return read(name, key).decode().strip("\r\n")
    except UnicodeDecodeError:
        pass
    raise ConfigError((f"{locate(name, key)}: [fhir] {key} is not text; allowed: UTF-8",))


def complaint(name: str, key: str) -> str | None:
    """What is wrong with a secret file that is here, judged by whoever asks; None: nothing, or not here.

    Kind and mode only: the uploader's user is another one than the one who checks a configuration.
    """
    try:
        path = locate(name, key)
        status = os.lstat(path)
    except (ConfigError, OSError):
        return None
    fault = _fault(status, _acl(path), owners=None)
    return f"{path}: [fhir] {key} {fault}; {_ALLOWED}" if fault else None


def _open(path: Path, key: str) -> int:
    try:
        # Not through a link, and not waiting for the other end of a pipe.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as e:
        fault: str | None = f"cannot be opened ({e.strerror})"
    else:
        fault = _fault(os.fstat(fd), _acl(fd), owners=(0, os.geteuid()))
        if fault is None:
            return fd
        os.close(fd)
    raise ConfigError((f"{path}: [fhir] {key} {fault}; {_ALLOWED}",))


def _fault(status: os.stat_result, acl: bytes, owners: tuple[int, ...] | None) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    mode = stat.S_IMODE(status.st_mode)
    # Root may read every file whoever owns it, so for root the owner says nothing.
    if owners and os.geteuid() != 0 and status.st_uid not in owners:
        return f"belongs to another user (uid {status.st_uid})"
    # systemd lets the service's user read by an ACL entry; stat then shows the ACL's mask as group bits.
    others = mode & 0o137 if _only_us(acl) else mode & 0o177
    return f"is open to others (mode {mode:04o})" if others else None


def _acl(file: Path | int) -> bytes:
    try:
        return os.getxattr(file, _ACL, **({} if isinstance(file, int) else {"follow_symlinks": False}))
    except OSError:
        return b""


def _only_us(acl: bytes) -> bool:
    """Whether an ACL lets in the file's owner and our own user, reading, and nobody else.

    Its form: a version (32 bits), then entries of tag, permissions (16 bits each) and id (32 bits), all
    little endian (linux/posix_acl_xattr.h).
    """
    if len(acl) < 4 or len(acl) % 8 != 4 or struct.unpack_from("<I", acl)[0] != _ACL_VERSION:
        return False
    for tag, permissions, id in struct.iter_unpack("<HHI", acl[4:]):
        ours = tag == _USER and (id == os.geteuid() or os.geteuid() == 0) and permissions == 4
        if not (ours or tag in (_USER_OBJ, _MASK) or permissions == 0):
            return False
    return True
