"""What the wiring adds of its own."""

from __future__ import annotations

import io
import os
from pathlib import Path
from uuid import uuid4

from kiosk import audit
from kiosk.audit import Action
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


def test_the_audit_goes_on_where_a_killed_uploader_was_cut_off(tmp_path: Path) -> None:
    """Half a line at the end is of an entry that nobody acted on: the chain goes on without it."""
    path, said, session = tmp_path / "audit.jsonl", io.StringIO(), uuid4()
    journal = Journal("test", said)
    log, delivered = uploader._audit(path, "test", journal)
    assert delivered == frozenset()
    log.append(Action.COMMITTED, session=session)
    log.append(Action.DELIVERED, session=session)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[0][:50])
    log, delivered = uploader._audit(path, "test", journal)
    log.append(Action.UPLOADER_RESTARTED)
    assert delivered == {session}
    assert "audit-torn" in said.getvalue()
    lines = path.read_bytes().splitlines()
    assert len(lines) == 3
    assert audit.verify(lines) == []


def test_nothing_is_forgotten_on_the_word_of_a_broken_chain(tmp_path: Path) -> None:
    path, said = tmp_path / "audit.jsonl", io.StringIO()
    journal = Journal("test", said)
    log, _ = uploader._audit(path, "test", journal)
    log.append(Action.COMMITTED, session=uuid4())
    log.append(Action.DELIVERED, session=uuid4())
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[1])
    assert uploader._audit(path, "test", journal)[1] == frozenset()
    assert "audit-broken" in said.getvalue()
