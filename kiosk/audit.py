"""The audit: a chain of entries that say what was done, when and by whom, and nothing about patients.

An entry is one line of canonical JSON (sorted keys, no white space, ASCII). `prev` is the SHA-256 of the
entry before it, `hash` is the SHA-256 of the line without `hash`. A change, a removal or a reorder breaks
the chain; a cut at the end shows against a head that is known from elsewhere (heads.py).

Every field is a number, a UUID or a short code that a strict pattern allows, so no name or identifier of
a patient fits in. Reading is as strict as writing: a line that `append` would not make is no entry.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

from kiosk.errors import KioskError

_VERSION = 2
_KEPT = 10_000
COUNT_MAX = 1_000_000
_STATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OPERATOR = re.compile(r"(?!.*\d{8})[A-Za-z][A-Za-z0-9._-]{0,31}")
_OUTCOME = re.compile(r"(?!.*\d{8})[a-z][a-z0-9-]{0,39}")
_HASH = re.compile("[0-9a-f]{64}")
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WALL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")
_KEY_BYTES = 32


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
    RECEIPT_ASKED = "receipt-asked"
    WITHDRAWN_BY_RECEIPT = "withdrawn-by-receipt"
    WRONG_PATIENT = "wrong-patient"
    COMMITTED = "committed"
    DELIVERED = "delivered"
    PARKED = "parked"
    UNPARKED = "unparked"
    KEY_LOST = "key-lost"
    UI_RESTARTED = "ui-restarted"
    UPLOADER_RESTARTED = "uploader-restarted"
    SPOOL_JUNK = "spool-junk"
    SYSLOG_DROPPED = "syslog-dropped"


_ACTIONS = frozenset(action.value for action in Action)
_CORRECTIONS = frozenset({Action.WITHDRAWN_BY_RECEIPT.value, Action.WRONG_PATIENT.value})


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

    def start(self, public_key: bytes, *, outcome: str = "ok") -> bytes:
        """Add the STARTED entry: heads are signed with this Ed25519 key (32 bytes) from here on."""
        if not isinstance(public_key, bytes) or len(public_key) != _KEY_BYTES:
            raise KioskError(f"audit: a public key has {_KEY_BYTES} bytes")
        return self._add(Action.STARTED, None, None, outcome, 0, {"key": public_key.hex()})

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
        if action is Action.STARTED:
            raise KioskError("audit: STARTED carries a key: use start")
        return self._add(action, session, operator, outcome, count, {})

    def _add(
        self,
        action: Action,
        session: UUID | None,
        operator: str | None,
        outcome: str,
        count: int,
        more: dict[str, str],
    ) -> bytes:
        if not isinstance(action, Action) or not (session is None or isinstance(session, UUID)):
            raise KioskError("audit: action and session are an Action and a UUID")
        if type(count) is not int or not 0 <= count <= COUNT_MAX:
            raise KioskError(f"audit: count is 0 to {COUNT_MAX}")
        facts: dict[str, Any] = {
            "v": _VERSION,
            "id": str(uuid4()),
            "station": self._station,
            "boot": str(self._boot),
            "action": action.value,
            "session": None if session is None else str(session),
            "operator": None if operator is None else _code("operator", operator, _OPERATOR),
            "outcome": _code("outcome", outcome, _OUTCOME),
            "count": count,
            **more,
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


@dataclass(slots=True)
class Survey:
    """What a chain says of itself. Empty `faults`: every entry is the one that was written, in its order."""

    faults: list[str] = field(default_factory=list)
    entries: int = 0
    station: str = ""
    boot: str = ""
    head: Head = GENESIS
    """Of the last entry."""
    hashes: dict[int, str] = field(default_factory=dict)
    """By number of the entry."""
    keys: dict[int, str] = field(default_factory=dict)
    """The public keys (hex) that STARTED entries carry, by number of the entry."""
    anchored: int = 0
    """Deliveries that the log says were anchored."""
    first: str = ""
    last: str = ""
    """Wall time of the first and the last entry, UTC."""

    def missing(self, anchor: Head) -> str | None:
        """Why the chain is not the one that `anchor` was taken from; None where it is."""
        if anchor.seq not in self.hashes:
            where = "cut short before" if anchor.seq > self.head.seq else "without"
            return f"the chain is {where} entry {anchor.seq}, which is anchored"
        if self.hashes[anchor.seq] != anchor.hash:
            return f"entry {anchor.seq} is not the one that is anchored"
        return None


def survey(lines: Iterable[bytes], *, start: Head = GENESIS) -> Survey:
    """Read a chain (lines without their ends) and note every change, removal and reorder in it.

    start: the head before the first line, where older lines were dropped.
    """
    seen = Survey(head=start, hashes={start.seq: start.hash})
    corrections: set[str] = set()
    for number, line in enumerate(lines, 1):
        entry = parse(line)
        if entry is None:
            seen.faults.append(f"line {number}: not an entry")
            continue
        seq, digest = entry["seq"], entry["hash"]
        if digest != _digest(entry):
            seen.faults.append(f"line {number}: changed")
        if seq != seen.head.seq + 1:
            seen.faults.append(f"line {number}: entry {seq} follows entry {seen.head.seq}")
        elif entry["prev"] != seen.head.hash:
            seen.faults.append(f"line {number}: does not follow from entry {seen.head.seq}")
        if seen.entries and (seen.station, seen.boot) != (entry["station"], entry["boot"]):
            seen.faults.append(f"line {number}: of another station or boot")
        seen.first = seen.first or entry["wall"]
        seen.station, seen.boot, seen.last = entry["station"], entry["boot"], entry["wall"]
        seen.entries += 1
        seen.head = Head(seq, digest)
        seen.hashes[seq] = digest
        if "key" in entry:
            seen.keys[seq] = entry["key"]
        if entry["action"] in _CORRECTIONS:
            corrections.add(entry["session"])
        # A correction is delivered without an anchor of its own.
        anchored = entry["action"] == Action.DELIVERED.value and entry["outcome"] == "ok"
        seen.anchored += anchored and entry["session"] not in corrections
    return seen


def verify(lines: Iterable[bytes], *, anchors: Iterable[Head] = (), start: Head = GENESIS) -> list[str]:
    """Return every fault of a chain: changed, removed, reordered, cut short. Empty: none.

    anchors: heads that are known from elsewhere; each must be in the chain.  start: see `survey`.
    """
    seen = survey(lines, start=start)
    return seen.faults + [fault for anchor in anchors if (fault := seen.missing(anchor))]


def head_of(lines: Iterable[bytes]) -> Head:
    """Where a chain ends: the head to go on from after a restart. Lines that are no entries do not count."""
    entries = [entry for entry in map(parse, lines) if entry is not None]
    return Head(entries[-1]["seq"], entries[-1]["hash"]) if entries else GENESIS


def sessions_with(lines: Iterable[bytes], action: Action) -> frozenset[UUID]:
    """The sessions that have an entry of this action."""
    entries = [entry for entry in map(parse, lines) if entry is not None]
    return frozenset(UUID(e["session"]) for e in entries if e["action"] == action.value and e["session"])


def parse(line: bytes) -> dict[str, Any] | None:
    """Return an entry that is canonical and has every field in its form and none besides, else None."""
    try:
        entry = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    forms = {**_FORMS, "key": _is(_HASH)} if entry.get("action") == Action.STARTED.value else _FORMS
    if entry.keys() != forms.keys() or not all(form(entry[name]) for name, form in forms.items()):
        return None
    return entry if _canonical(entry) == line else None


def _is(pattern: re.Pattern[str], *, or_none: bool = False) -> Callable[[Any], bool]:
    def form(value: Any) -> bool:
        return bool(pattern.fullmatch(value)) if isinstance(value, str) else or_none and value is None

    return form


def _whole(most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and 0 <= value <= most


_FORMS: Mapping[str, Callable[[Any], bool]] = {
    "v": lambda value: type(value) is int and value == _VERSION,
    "id": _is(_UUID),
    "station": _is(_STATION),
    "boot": _is(_UUID),
    "seq": _whole(2**53),
    "prev": _is(_HASH),
    "hash": _is(_HASH),
    "wall": _is(_WALL),
    "wall_trusted": lambda value: type(value) is bool,
    "clock_ms": _whole(2**53),
    "action": lambda value: isinstance(value, str) and value in _ACTIONS,
    "session": _is(_UUID, or_none=True),
    "operator": _is(_OPERATOR, or_none=True),
    "outcome": _is(_OUTCOME),
    "count": _whole(COUNT_MAX),
}
"""The form of every field of an entry."""


def _digest(entry: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical({k: v for k, v in entry.items() if k != "hash"})).hexdigest()


def _canonical(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode("ascii")


def _code(name: str, value: str, pattern: re.Pattern[str]) -> str:
    """Return the value where it is a code. Never repeats what was refused."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise KioskError(f"audit: {name} is not a code")
    return value
