"""Secrets: private files and credentials only, and complaints that name the file and not its content."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from kiosk import secret_files
from kiosk.errors import ConfigError

KEY = "password_file"
SECRET = "MARKER-SECRET"
NOBODY = 65534


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o400)
    return path


def refused(path: Path | str) -> str:
    with pytest.raises(ConfigError) as raised:
        secret_files.read(str(path), KEY)
    (complaint,) = raised.value.complaints
    assert str(path) in complaint
    assert "[fhir] password_file" in complaint
    assert "allowed: " in complaint
    assert SECRET not in complaint
    assert raised.value.__context__ is None
    with pytest.raises(ConfigError):
        secret_files.checked_path(str(path), KEY)
    return complaint


@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_private_files_are_read(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert secret_files.read_text(str(file), KEY) == SECRET
    assert secret_files.checked_path(str(file), KEY) == file
    assert secret_files.complaint(str(file), KEY) is None


@pytest.mark.parametrize(
    "mode", [0o440, 0o404, 0o640, 0o604, 0o444, 0o666, 0o500, 0o660, 0o420, 0o401, 0o410]
)
def test_files_that_others_can_use(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert f"is open to others (mode {mode:04o})" in refused(file)
    complaint = secret_files.complaint(str(file), KEY)
    assert complaint is not None
    assert "mode 0400 or 0600" in complaint


def test_not_regular_files(tmp_path: Path, file: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe, 0o600)
    link.symlink_to(file)
    assert "is not a regular file" in refused(pipe)
    assert "is not a regular file" in refused(tmp_path)
    assert "cannot be opened" in refused(link)
    assert "cannot be opened (No such file or directory)" in refused(tmp_path / "none")
    assert secret_files.complaint(str(link), KEY) is not None
    assert secret_files.complaint(str(tmp_path / "none"), KEY) is None


def test_another_users_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns it could open it to anybody. Root reads everything, so it asks as somebody else."""
    mine = os.stat(file).st_uid
    assert mine == os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    if mine != 0:
        assert f"belongs to another user (uid {mine})" in refused(file)
    else:
        assert secret_files.read_text(str(file), KEY) == SECRET
        monkeypatch.setattr(os, "fstat", lambda fd: _owned_by(os.stat(fd), NOBODY))
        assert f"belongs to another user (uid {NOBODY})" in refused(file)


def _owned_by(status: os.stat_result, uid: int) -> os.stat_result:
    values = list(status)
    values[4] = uid
    return os.stat_result(values)


def test_content_that_is_no_secret(file: Path) -> None:
    file.chmod(0o600)
    for content in (b"", b" \n\n", bytes(secret_files.LIMIT + 1)):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="is empty or over 64 KiB"):
            secret_files.read(str(file), KEY)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not text") as raised:
        secret_files.read_text(str(file), KEY)
    assert raised.value.__context__ is None


def test_spaces_belong_to_a_password_and_line_ends_do_not(file: Path) -> None:
    file.chmod(0o600)
    file.write_bytes(b" a b \r\n")
    assert secret_files.read_text(str(file), KEY) == " a b "


def test_credentials_by_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "LoadCredential=" in refused("password")
    assert secret_files.complaint("password", KEY) is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    assert secret_files.read_text("password", KEY) == SECRET
    file.chmod(0o644)
    assert secret_files.complaint("password", KEY) is not None


# --- systemd's access lists --------------------------------------------------------------------

USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NONE = 0xFFFFFFFF


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def systemd(uid: int) -> bytes:
    """What a credential of a service with User= carries (exec-credential.c: 0400 and one user entry)."""
    return acl((USER_OBJ, 4, NONE), (USER, 4, uid), (GROUP_OBJ, 0, NONE), (MASK, 4, NONE), (OTHER, 0, NONE))


@pytest.mark.parametrize(
    ("list_", "good"),
    [
        (systemd(1234), True),
        (systemd(1235), False),
        (acl((USER_OBJ, 4, NONE), (USER, 6, 1234), (GROUP_OBJ, 0, NONE), (MASK, 6, NONE)), False),
        (acl((USER_OBJ, 4, NONE), (GROUP_OBJ, 4, NONE), (MASK, 4, NONE), (OTHER, 0, NONE)), False),
        (acl((USER_OBJ, 4, NONE), (USER, 4, 1234), (GROUP, 4, 5), (MASK, 4, NONE)), False),
        (acl((USER_OBJ, 4, NONE), (USER, 4, 1234), (OTHER, 4, NONE)), False),
        (b"", False),
        (b"\x02\x00\x00\x00\x01", False),
        (struct.pack("<I", 3) + systemd(1234)[4:], False),
    ],
)
def test_a_credential_that_an_access_list_opens_to_us(
    file: Path, monkeypatch: pytest.MonkeyPatch, list_: bytes, good: bool
) -> None:
    """stat shows the list's mask as the group's bits: 0440, though no group may read."""
    file.chmod(0o440)
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(os, "fstat", lambda fd: _owned_by(os.stat(fd), 0))
    monkeypatch.setattr(os, "getxattr", lambda *a, **k: list_)
    if good:
        assert secret_files.read_text(str(file), KEY) == SECRET
    else:
        assert "is open to others (mode 0440)" in refused(file)
