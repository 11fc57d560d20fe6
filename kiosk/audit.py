"""The audit: a chain of entries that say what was done, when and by whom, and nothing about patients.

An entry is one line of canonical JSON (sorted keys, no white space, ASCII). `prev` is the SHA-256 of the
entry before it, `hash` is the SHA-256 of the line without `hash`. A change, a removal or a reorder breaks
the chain; a cut at the end shows against a head that is known from elsewhere.

Every field is a number, a UUID or a short code that a strict pattern allows, so no name or identifier of
a patient fits in.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from time import monotonic
from typing import Any
from uuid import UUID

from kiosk.errors import KioskError

_VERSION = 1
_KEPT = 10_000
_COUNT_MAX = 1_000_000
_STATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OPERATOR = re.compile(r"(?!.*\d{8})[A-Za-z][A-Za-z0-9._-]{0,31}")
_OUTCOME = re.compile(r"(?!.*\d{8})[a-z][a-z0-9-]{0,39}")
_HASH = re.compile("[0-9a-f]{64}")


class Action(Enum):
    """What was done. The value is what the entry says."""

    STARTED = "started"
    SIGN_IN = "sign-in"
    SIGN_IN_REFUSED = "sign-in-refused"
    SESSION_OPENED = "session-opened"
    PATIENT_CONFIRMED = "patient-confirmed"
    SESSION_DESTROYED = "session-destroyed"
    CONSENT_DENIED = "consent-denied"
    CONSENT_WITHDRAWN = "consent-withdrawn"
    COMMITTED = "committed"
    DELIVERED = "delivered"
    PARKED = "parked"
    UNPARKED = "unparked"
    KEY_LOST = "key-lost"
    UI_RESTARTED = "ui-restarted"
    UPLOADER_RESTARTED = "uploader-restarted"
    SPOOL_JUNK = "spool-junk"


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain is: the number of its last entry and that entry's hash (hex)."""

    seq: int
    hash: str


GENESIS = Head(0, "0" * 64)
"""Before the first entry of a boot."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class AuditLog:
    """One chain of one boot of one station, in memory; each line also goes to `sink`.

    The newest 10,000 entries are kept. Safe in several threads.
    wall_trusted: whether the clock is set.  wall: an aware datetime.  clock: seconds, never going back.
    """

    def __init__(
        self,
        station: str,
        boot_id: UUID,
        sink: Callable[[bytes], None] | None = None,
        *,
        wall_trusted: Callable[[], bool],
        wall: Callable[[], datetime] = _utc_now,
        clock: Callable[[], float] = monotonic,
        head: Head = GENESIS,
    ) -> None:
        self._station = _code("station", station, _STATION)
        self._boot = boot_id
        self._sink = sink
        self._wall = wall
        self._wall_trusted = wall_trusted
        self._clock = clock
        self._head = head
        self._lines: deque[bytes] = deque(maxlen=_KEPT)
        self._mutex = threading.Lock()

    @property
    def head(self) -> Head:
        """The newest entry, to be anchored elsewhere."""
        return self._head

    def lines(self) -> list[bytes]:
        """The kept entries, oldest first, without line ends."""
        with self._mutex:
            return list(self._lines)

    def append(
        self,
        action: Action,
        *,
        session: UUID | None = None,
        operator: str | None = None,
        outcome: str = "ok",
        count: int = 0,
    ) -> bytes:
        """Add an entry and return its line. Raises KioskError for a field that is not a plain code.

        The entry is kept before the sink is called; what the sink raises is passed on.
        """
        if not isinstance(action, Action) or not (session is None or isinstance(session, UUID)):
            raise KioskError("audit: action and session are an Action and a UUID")
        if type(count) is not int or not 0 <= count <= _COUNT_MAX:
            raise KioskError(f"audit: count is 0 to {_COUNT_MAX}")
        facts: dict[str, Any] = {
            "v": _VERSION,
            "station": self._station,
            "boot": str(self._boot),
            "action": action.value,
            "session": None if session is None else str(session),
            "operator": None if operator is None else _code("operator", operator, _OPERATOR),
            "outcome": _code("outcome", outcome, _OUTCOME),
            "count": count,
        }
        with self._mutex:
            facts["seq"] = self._head.seq + 1
            facts["prev"] = self._head.hash
            facts["wall"] = self._wall().astimezone(UTC).isoformat(timespec="milliseconds")
            facts["wall_trusted"] = self._wall_trusted()
            facts["clock_ms"] = int(self._clock() * 1000)
            facts["hash"] = _digest(facts)
            line = _canonical(facts)
            self._head = Head(facts["seq"], facts["hash"])
            self._lines.append(line)
            if self._sink is not None:
                # Inside the lock, so that lines leave in their order.
                self._sink(line)
        return line


def verify(lines: Iterable[bytes], *, anchors: Iterable[Head] = (), start: Head = GENESIS) -> list[str]:
    """Return every fault of a chain: changed, removed, reordered, cut short. Empty: none.

    start: the head before the first line, where older lines were dropped.
    anchors: heads that are known from elsewhere; each must be in the chain.
    """
    faults: list[str] = []
    hashes = {start.seq: start.hash}
    before = start
    origin: tuple[Any, Any] | None = None
    for number, line in enumerate(lines, 1):
        entry = _parse(line)
        if entry is None:
            faults.append(f"line {number}: not an entry")
            continue
        seq, digest = entry["seq"], entry["hash"]
        if digest != _digest(entry):
            faults.append(f"line {number}: changed")
        if seq != before.seq + 1:
            faults.append(f"line {number}: entry {seq} follows entry {before.seq}")
        elif entry["prev"] != before.hash:
            faults.append(f"line {number}: does not follow from entry {before.seq}")
        if origin not in (None, (entry["station"], entry["boot"])):
            faults.append(f"line {number}: of another station or boot")
        origin = (entry["station"], entry["boot"])
        before = Head(seq, digest)
        hashes[seq] = digest
    for anchor in anchors:
        if anchor.seq not in hashes:
            where = "cut short before" if anchor.seq > before.seq else "without"
            faults.append(f"the chain is {where} entry {anchor.seq}, which is anchored")
        elif hashes[anchor.seq] != anchor.hash:
            faults.append(f"entry {anchor.seq} is not the one that is anchored")
    return faults


def head_of(lines: Iterable[bytes]) -> Head:
    """Where a chain ends: the head to go on from after a restart. Lines that are no entries do not count."""
    entries = [entry for entry in map(_parse, lines) if entry is not None]
    return Head(entries[-1]["seq"], entries[-1]["hash"]) if entries else GENESIS


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return an entry that is canonical and has every field in its type, else None."""
    try:
        entry = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError):
        return None
    kinds = {"seq": int, "prev": str, "hash": str, "station": str, "boot": str, "action": str}
    if not isinstance(entry, dict) or any(type(entry.get(key)) is not kind for key, kind in kinds.items()):
        return None
    if not (_HASH.fullmatch(entry["hash"]) and _HASH.fullmatch(entry["prev"])):
        return None
    return entry if _canonical(entry) == line else None


def _digest(entry: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical({k: v for k, v in entry.items() if k != "hash"})).hexdigest()


def _canonical(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode("ascii")


def _code(field: str, value: str, pattern: re.Pattern[str]) -> str:
    """Return the value where it is a code. Never repeats what was refused."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise KioskError(f"audit: {field} is not a code")
    return value
