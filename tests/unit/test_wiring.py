"""What the wiring adds of its own."""

from __future__ import annotations

import io
import os
from pathlib import Path
from uuid import uuid4

import pytest

from kiosk import audit, config
from kiosk.errors import ConfigError
from kiosk.journal import Journal
from kiosk.wiring import uploader


def test_an_audit_line_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    said = io.StringIO()
    journal = Journal("test", said)
    full = os.open("/dev/full", os.O_WRONLY)
    uploader._append(full, b"an entry", journal)
    os.close(full)
    assert "audit-unwritten" in said.getvalue()
    path = tmp_path / "audit.jsonl"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    uploader._append(fd, b"one", journal)
    uploader._append(fd, b"two", journal)
    os.close(fd)
    assert path.read_bytes() == b"one\ntwo\n"
    assert audit.head_of([b"not an entry"]) == audit.GENESIS


@pytest.fixture
def settings(tmp_path: Path) -> config.Settings:
    """A configuration whose two secrets are missing or open to others."""
    (tmp_path / "password").write_text("MARKER-SECRET")
    (tmp_path / "password").chmod(0o644)
    fhir = {
        "url": "https://records.example.org/r4",
        "patient_systems": ["urn:x"],
        "auth": "basic",
        "user": "lethe",
        "password_file": str(tmp_path / "password"),
        "client_cert_file": str(tmp_path / "kiosk.pem"),
        "client_key_file": str(tmp_path / "none"),
    }
    return config.check({"station": {"id": "a", "name": "A", "demo": True}, "fhir": fhir}, "kiosk.toml")


def test_the_uploader_does_not_start_with_secrets_that_cannot_be_used(
    settings: config.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploader, "quiet_tracebacks", lambda: None)
    with pytest.raises(ConfigError) as raised:
        uploader.run(settings, Path("kiosk.toml"))
    assert len(raised.value.complaints) == 2
    assert "MARKER-SECRET" not in str(raised.value)


def test_a_delivery_with_a_wrong_configuration_is_no_crash(
    settings: config.Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crashes are counted, and park the session; this one waits for IT."""
    monkeypatch.setattr(uploader, "die_with_parent", lambda parent: None)
    monkeypatch.setattr(uploader, "quiet_tracebacks", lambda: None)
    with pytest.raises(ConfigError):
        uploader.run_delivery(settings, uuid4(), -1, 0)
    assert capsys.readouterr().out == '{"outcome": "retry", "problem": "config"}\n'
