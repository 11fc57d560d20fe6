"""`kiosk audit verify`: what a log, the anchors that IT has of it, and their signatures say together.

The chain shows every change, removal and reorder inside the log. An anchor shows that the log up to it is
the one that the kiosk had when it delivered; its signature shows that the kiosk made the anchor. What lies
after the last anchor can be cut off, and the end written anew, without a trace here: its length is said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kiosk.audit import Head, Survey, survey
from kiosk.errors import ConfigError, KioskError
from kiosk.fhir.audit_events import heads_in
from kiosk.heads import SignedHead

GOOD, FAULTS = 0, 1
_SHOWN = 50
"""Faults that are printed; the rest is counted."""


@dataclass(slots=True)
class Findings:
    """What was found. `faults` empty: good."""

    log: Survey
    faults: list[str] = field(default_factory=list)
    anchors: list[SignedHead] = field(default_factory=list)
    """The anchors of this log's boot, oldest first, each once."""
    others: int = 0
    """Anchors of other boots or stations."""

    @property
    def open_end(self) -> int:
        """How many entries lie after the last anchor that the log holds."""
        held = [anchor.seq for anchor in self.anchors if anchor.seq in self.log.hashes]
        return self.log.head.seq - max(held, default=0)


def check(lines: Iterator[bytes], anchors: Sequence[SignedHead]) -> Findings:
    """Verify the lines of one boot (each with its line end) against anchors of any boots."""
    log = survey(_without_ends(lines))
    found = Findings(log, list(log.faults))
    if not log.entries:
        found.faults.append("there is no entry: a log begins with the start of its boot")
    elif 1 not in log.keys:
        found.faults.append("the log does not begin with the start of its boot")
    mine = {anchor for anchor in anchors if (anchor.station, anchor.boot) == (log.station, log.boot)}
    found.anchors = sorted(mine, key=lambda anchor: anchor.seq)
    found.others = len(set(anchors) - mine)
    for anchor in found.anchors:
        if fault := log.missing(Head(anchor.seq, anchor.hash)):
            found.faults.append(fault)
        if not _signed(anchor, log):
            found.faults.append(f"the anchor of entry {anchor.seq} is not signed by this boot's key")
    return found


def _signed(anchor: SignedHead, log: Survey) -> bool:
    """Whether the key that was in force at that entry made the signature."""
    keys = [key for seq, key in log.keys.items() if seq <= anchor.seq]
    return bool(keys) and anchor.signed_by(bytes.fromhex(keys[-1]))


def _without_ends(lines: Iterator[bytes]) -> Iterator[bytes]:
    for line in lines:
        # A last line without its end was cut: passed on with a mark that no entry has.
        yield line[:-1] if line.endswith(b"\n") else line + b"?"


def read_anchors(path: Path) -> list[SignedHead]:
    """The heads in a Bundle of AuditEvents, one AuditEvent, or JSON lines of either. Raises ConfigError."""
    data = _read(path)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    try:
        if isinstance(document, dict) and "resourceType" in document:
            return heads_in(document)
        return [head for line in data.splitlines() if line.strip() for head in _heads_of_line(line)]
    except KioskError as e:
        allowed = "a Bundle of AuditEvents, one AuditEvent, or lines of AuditEvents or heads"
        raise ConfigError((f"{path}: no anchors ({e.detail}); allowed: {allowed}",)) from None


def _heads_of_line(line: bytes) -> list[SignedHead]:
    """A line is a head, or an AuditEvent: what a bulk export gives."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and "resourceType" in document:
        return heads_in(document)
    return [SignedHead.from_json(line)]


def run(file: Path, anchor_files: Sequence[Path], write: Callable[[str], Any]) -> int:
    """The command: print what was found. Returns GOOD or FAULTS; raises ConfigError for unusable files."""
    anchors = [head for path in anchor_files for head in read_anchors(path)]
    try:
        with file.open("rb") as lines:
            found = check(iter(lines), anchors)
    except OSError as e:
        raise ConfigError((_unreadable(file, e),)) from None
    for line in report(str(file), found, anchors_given=bool(anchor_files)):
        write(line + "\n")
    return FAULTS if found.faults else GOOD


def report(name: str, found: Findings, *, anchors_given: bool) -> Iterator[str]:
    """The findings for people, a line at a time; the last one is the verdict."""
    log = found.log
    yield f"{name}: {log.entries} entries"
    if log.entries:
        yield f"  station {log.station}, boot {log.boot}"
        yield f"  from {log.first} to {log.last}"
    for seq, key in log.keys.items():
        yield f"  signing key from entry {seq} on: {key}"
    if anchors_given:
        yield f"  anchors of this boot: {len(found.anchors)}; of other boots or stations: {found.others}"
    else:
        yield "  no anchors were given: only the chain itself is checked"
    if anchors_given and log.anchored > len(found.anchors):
        yield f"  note: the log tells of {log.anchored} anchored deliveries; look for the missing anchors"
    if len(log.keys) > 1:
        yield "  note: the signing key was renewed; there is no sign of that but the log's own word"
    yield f"  entries after the last anchor: {found.open_end}; these can be cut off or changed unseen"
    for fault in found.faults[:_SHOWN]:
        yield f"FAULT: {fault}"
    if len(found.faults) > _SHOWN:
        yield f"FAULT: and {len(found.faults) - _SHOWN} more"
    yield f"{len(found.faults)} faults" if found.faults else "good"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise ConfigError((_unreadable(path, e),)) from None


def _unreadable(path: Path, error: OSError) -> str:
    return f"{path}: cannot be read ({error.strerror}); allowed: a readable file"
