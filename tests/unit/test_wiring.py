"""What the wiring adds of its own."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from kiosk import audit, config
from kiosk.audit import Action
from kiosk.errors import ConfigError
from kiosk.journal import Journal
from kiosk.wiring import uploader
from tests.collector import Authority

BOOT = UUID("0b7a3f8e-6d52-4f0e-8f1c-3a9b1c2d3e4f")
ONE, TWO = bytes(range(32)), bytes(range(1, 33))


def settings(directory: Path, **audit: Any) -> config.Settings:
    return config.check(
        {
            "station": {"id": "ward-4", "name": "Ward 4", "demo": True},
            "link": {"socket": str(directory / "link.sock")},
            "fhir": {"url": "http://127.0.0.1:9/fhir", "patient_systems": ["urn:x"]},
            "audit": audit,
        },
        "kiosk.toml",
    )


def starts(directory: Path) -> list[tuple[str, str]]:
    lines = (directory / "audit.jsonl").read_bytes().splitlines()
    assert audit.verify(lines) == []
    entries = [json.loads(line) for line in lines]
    return [(e["key"], e["outcome"]) for e in entries if e["action"] == "started"]


def test_a_boot_has_one_start_however_often_the_uploader_is_killed(tmp_path: Path) -> None:
    journal = Journal("test", io.StringIO())
    for _ in range(3):
        log, _ = uploader._audit(settings(tmp_path), journal, BOOT, ONE, None)
        log.append(Action.SIGN_IN)
    assert starts(tmp_path) == [(ONE.hex(), "ok")]
    assert log.head.seq == 4
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_key_that_went_with_the_service_manager_is_said_to_be_renewed(tmp_path: Path) -> None:
    journal = Journal("test", io.StringIO())
    for key in (ONE, TWO, TWO):
        uploader._audit(settings(tmp_path), journal, BOOT, key, None)
    assert starts(tmp_path) == [(ONE.hex(), "ok"), (TWO.hex(), "key-renewed")]


def test_a_log_that_was_touched_is_said_and_goes_on(tmp_path: Path) -> None:
    said = io.StringIO()
    uploader._audit(settings(tmp_path), Journal("test", said), BOOT, ONE, None)[0].append(Action.SIGN_IN)
    path = tmp_path / "audit.jsonl"
    path.write_bytes(path.read_bytes().replace(b"sign-in", b"deliver", 1))
    uploader._audit(settings(tmp_path), Journal("test", said), BOOT, ONE, None)[0].append(Action.SIGN_IN)
    assert "audit-broken" in said.getvalue()
    assert len(audit.verify(path.read_bytes().splitlines())) == 1


def test_no_collector_no_stream_and_a_bad_file_is_a_complaint(tmp_path: Path) -> None:
    journal = Journal("test", io.StringIO())
    assert uploader._stream(settings(tmp_path), journal, lambda count: None) is None
    authority = Authority(tmp_path)
    to: dict[str, Any] = {"syslog_host": "127.0.0.1", "syslog_ca_file": str(authority.file)}
    assert uploader._stream(settings(tmp_path, **to), journal, lambda count: None) is not None
    to["syslog_ca_file"] = str(tmp_path / "none.pem")
    with pytest.raises(ConfigError, match="syslog_ca_file"):
        uploader._stream(settings(tmp_path, **to), journal, lambda count: None)
    certificate, key = map(str, authority.certify("kiosk.example"))
    to |= {"syslog_ca_file": str(authority.file), "syslog_cert_file": certificate, "syslog_key_file": key}
    assert uploader._stream(settings(tmp_path, **to), journal, lambda count: None) is not None


def test_entries_go_to_the_file_and_to_the_stream(tmp_path: Path) -> None:
    journal = Journal("test", io.StringIO())
    to = {"syslog_host": "127.0.0.1", "syslog_ca_file": str(Authority(tmp_path).file)}
    stream = uploader._stream(settings(tmp_path, **to), journal, lambda count: None)
    assert stream is not None
    log, _ = uploader._audit(settings(tmp_path), journal, BOOT, ONE, stream)
    uploader._tell_dropped(log, 10**9)
    queued = [message.partition(b" - ")[2] for message in stream._queue]
    assert queued == log.lines() == (tmp_path / "audit.jsonl").read_bytes().splitlines()
    assert json.loads(queued[-1])["count"] == audit.COUNT_MAX


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
def open_secrets(tmp_path: Path) -> config.Settings:
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
    open_secrets: config.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploader, "quiet_tracebacks", lambda: None)
    with pytest.raises(ConfigError) as raised:
        uploader.run(open_secrets, Path("kiosk.toml"))
    assert len(raised.value.complaints) == 2
    assert "MARKER-SECRET" not in str(raised.value)


def test_a_delivery_with_a_wrong_configuration_is_no_crash(
    open_secrets: config.Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crashes are counted, and park the session; this one waits for IT."""
    monkeypatch.setattr(uploader, "die_with_parent", lambda parent: None)
    monkeypatch.setattr(uploader, "quiet_tracebacks", lambda: None)
    with pytest.raises(ConfigError):
        uploader.run_delivery(open_secrets, uuid4(), -1, 0, None)
    assert capsys.readouterr().out == '{"outcome": "retry", "problem": "config"}\n'


def test_the_audit_goes_on_where_a_killed_uploader_was_cut_off(tmp_path: Path) -> None:
    """Half a line at the end is of an entry that nobody acted on: the chain goes on without it."""
    path, said, session = tmp_path / "audit.jsonl", io.StringIO(), uuid4()
    given = settings(tmp_path)
    journal = Journal("test", said)
    log, delivered = uploader._audit(given, journal, BOOT, ONE, None)
    assert delivered == frozenset()
    log.append(Action.COMMITTED, session=session)
    log.append(Action.DELIVERED, session=session)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[0][:50])
    log, delivered = uploader._audit(given, journal, BOOT, ONE, None)
    log.append(Action.UPLOADER_RESTARTED)
    assert delivered == {session}
    assert "audit-torn" in said.getvalue()
    lines = path.read_bytes().splitlines()
    assert len(lines) == 4
    assert audit.verify(lines) == []


def test_nothing_is_forgotten_on_the_word_of_a_broken_chain(tmp_path: Path) -> None:
    path, said, given = tmp_path / "audit.jsonl", io.StringIO(), settings(tmp_path)
    journal = Journal("test", said)
    log, _ = uploader._audit(given, journal, BOOT, ONE, None)
    log.append(Action.COMMITTED, session=uuid4())
    log.append(Action.DELIVERED, session=uuid4())
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[1])
    assert uploader._audit(given, journal, BOOT, ONE, None)[1] == frozenset()
    assert "audit-broken" in said.getvalue()
