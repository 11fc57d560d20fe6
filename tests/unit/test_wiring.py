"""What the wiring adds of its own."""

from __future__ import annotations

import io
import os
from pathlib import Path

from kiosk import audit
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
