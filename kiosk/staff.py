"""Who may sign in: the staff file, PINs and lock-out.

The staff file is TOML::

    [[staff]]
    id = "apatel"                     # goes into the audit; no patient ever has it
    name = "A. Patel RN"
    badge = "100423"                  # what the scanner reads
    pin = "$argon2id$v=19$m=19456,t=2,p=1$..."
    reference = "Practitioner/123"    # optional: on the record server
    identifier = "https://hospital.example/Id/staff|4711"    # optional: to find that reference by

PINs are Argon2id (RFC 9106) in the PHC string format, never weaker than 19 MiB and two passes.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from kiosk import tomlfile
from kiosk.errors import ConfigError, Problem, SignInError
from kiosk.model import Identifier, Practitioner

_MEMORY_KIB = 19456
_PASSES = 2
_LANES = 1
_SALT_BYTES = 16
_HASH_BYTES = 32
_MEMORY_KIB_MAX = 262144
_PASSES_MAX = 10
_LANES_MAX = 8
_PIN = re.compile("[0-9]{4,8}")
_PHC = re.compile(
    r"\$argon2id\$v=19\$m=([0-9]{1,9}),t=([0-9]{1,9}),p=([0-9]{1,9})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)
_ID = re.compile(r"(?!.*\d{8})[A-Za-z][A-Za-z0-9._-]{0,31}")
_BADGE = re.compile(r"[!-~]{1,64}")
_REFERENCE = re.compile(r"Practitioner(Role)?/[A-Za-z0-9.-]{1,64}")
_IDENTIFIER = re.compile(r"((?:https?://|urn:)[^\s|]{1,200})\|([!-{}~]{1,64})")
_NAME_MAX = 60
_FILE_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the staff file."""

    practitioner: Practitioner
    badge: str
    pin: str

    def __repr__(self) -> str:
        return f"Member({self.practitioner.id})"


class StaffList:
    """Everybody who may sign in, by badge."""

    def __init__(self, members: Iterable[Member]) -> None:
        self._by_badge = {member.badge: member for member in members}

    def __len__(self) -> int:
        return len(self._by_badge)

    def find(self, badge: str) -> Member | None:
        """Return the member with this badge."""
        return self._by_badge.get(badge)

    @classmethod
    def load(cls, path: Path) -> StaffList:
        """Read and check the whole file.

        Raises ConfigError with every complaint: file, entry, key and what is allowed; never a badge or PIN.
        """
        complaints: list[str] = []
        members = _members(tomlfile.load(path, _FILE_MAX), complaints)
        if complaints:
            raise ConfigError(tomlfile.shortened([f"{path}: {complaint}" for complaint in complaints]))
        return cls(members)


def _members(found: Mapping[str, Any], complaints: list[str]) -> list[Member]:
    unknown = len(found.keys() - {"staff"})
    if unknown:
        complaints.append(f"{unknown} unknown key(s) at the top; allowed: [[staff]] entries only")
    entries = found.get("staff")
    if not isinstance(entries, list) or not entries:
        complaints.append("staff: missing; allowed: at least one [[staff]] entry")
        return []
    members = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            complaints.append(f"staff entry {number}: not a table; allowed: a [[staff]] entry")
            continue
        faults = [f"staff entry {number}, {fault}" for fault in _faults(entry)]
        complaints += faults
        if not faults:
            known_by = _identifier(entry.get("identifier"))
            who = Practitioner(entry["id"], entry["name"], entry.get("reference"), known_by)
            members.append(Member(who, entry["badge"], entry["pin"]))
    for key in ("id", "badge"):
        complaints += _twice(entries, key)
    return members


def _identifier(text: str | None) -> Identifier | None:
    parts = _IDENTIFIER.fullmatch(text) if text is not None else None
    return None if parts is None else Identifier(parts[1], parts[2])


def _faults(entry: Mapping[str, Any]) -> list[str]:
    """What is wrong with one entry, as 'key: what; allowed: ...'."""
    checks: dict[str, tuple[Callable[[str], bool], str]] = {
        "id": (
            lambda v: _ID.fullmatch(v) is not None,
            "1 to 32 of A-Z a-z 0-9 . _ -, a letter first, never 8 digits in a row",
        ),
        "name": (
            lambda v: 0 < len(v.strip()) <= _NAME_MAX and v.isprintable(),
            f"1 to {_NAME_MAX} characters",
        ),
        "badge": (lambda v: _BADGE.fullmatch(v) is not None, "1 to 64 visible ASCII characters in quotes"),
        "pin": (
            _strong,
            (
                f"Argon2id with m={_MEMORY_KIB} to {_MEMORY_KIB_MAX}, t={_PASSES} to {_PASSES_MAX}, "
                f"p={_LANES} to {_LANES_MAX}, salt of {_SALT_BYTES} and hash of {_HASH_BYTES} bytes or more"
            ),
        ),
        "reference": (
            lambda v: _REFERENCE.fullmatch(v) is not None,
            "Practitioner/... or PractitionerRole/...",
        ),
        "identifier": (
            lambda v: _IDENTIFIER.fullmatch(v) is not None,
            "SYSTEM|VALUE, the system https://… or urn:…, the value 1 to 64 visible characters",
        ),
    }
    faults = []
    for key, (good, allowed) in checks.items():
        if key not in entry:
            if key not in ("reference", "identifier"):
                faults.append(f"{key}: missing; allowed: {allowed}")
        elif not isinstance(entry[key], str) or not good(entry[key]):
            faults.append(f"{key}: wrong; allowed: {allowed}")
    unknown = len(entry.keys() - checks.keys())
    if unknown:
        faults.append(f"{unknown} unknown key(s); allowed: {', '.join(checks)}")
    return faults


def _strong(pin: str) -> bool:
    """Whether this is a PHC string that we would make ourselves, or a stronger one."""
    match = _PHC.fullmatch(pin)
    if match is None:
        return False
    memory, passes, lanes = int(match[1]), int(match[2]), int(match[3])
    costs = (
        _MEMORY_KIB <= memory <= _MEMORY_KIB_MAX
        and _PASSES <= passes <= _PASSES_MAX
        and _LANES <= lanes <= _LANES_MAX
    )
    return costs and _decoded(match[4]) >= _SALT_BYTES and _decoded(match[5]) >= _HASH_BYTES


def _decoded(text: str) -> int:
    """Bytes behind unpadded Base64; 0 where it is none, or not the one spelling of its bytes."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return 0
    return len(data) if base64.b64encode(data).decode("ascii").rstrip("=") == text else 0


def _twice(entries: list[Any], key: str) -> list[str]:
    """Complain about values that two entries share, without telling the value."""
    first: dict[str, int] = {}
    complaints = []
    for number, entry in enumerate(entries, 1):
        value = entry.get(key) if isinstance(entry, dict) else None
        if not isinstance(value, str):
            continue
        if value in first:
            complaints.append(
                f"staff entry {number}, {key}: the same as in entry {first[value]}; allowed: one of its own"
            )
        first.setdefault(value, number)
    return complaints


def hash_pin(pin: str) -> str:
    """Return the PHC string for the staff file. Raises ConfigError unless the PIN is 4 to 8 digits."""
    if not _PIN.fullmatch(pin):
        raise ConfigError(("pin: wrong; allowed: 4 to 8 digits",))
    return _argon2id().derive_phc_encoded(pin.encode("ascii"))


def _argon2id() -> Argon2id:
    return Argon2id(
        salt=os.urandom(_SALT_BYTES),
        length=_HASH_BYTES,
        iterations=_PASSES,
        lanes=_LANES,
        memory_cost=_MEMORY_KIB,
    )


# --- signing in ----------------------------------------------------------------------------


@dataclass(slots=True)
class _Tries:
    failed: int = 0
    locked_until: float | None = None


class SignIn:
    """Checks badge and PIN, and locks a badge after too many wrong PINs. Safe in several threads.

    lock_seconds counts on `clock`, which must never go back. A restart of the process unlocks.
    """

    def __init__(
        self,
        staff: StaffList,
        max_tries: int = 5,
        lock_seconds: float = 300,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._staff = staff
        self._max_tries = max_tries
        self._lock_seconds = lock_seconds
        self._clock = clock
        self._tries: dict[str, _Tries] = {}
        self._mutex = threading.Lock()
        # A hash that no PIN opens: an unknown badge takes as long as a wrong PIN.
        self._nobody = _argon2id().derive_phc_encoded(os.urandom(_HASH_BYTES))

    def badge(self, badge: str) -> str:
        """Return the name of this badge's owner. Raises SignInError(BADGE_UNKNOWN)."""
        member = self._staff.find(badge)
        if member is None:
            raise SignInError(Problem.BADGE_UNKNOWN)
        return member.practitioner.name

    def check(self, badge: str, pin: str) -> Practitioner:
        """Return who signs in.

        Raises SignInError: PIN_WRONG with the tries that are left, LOCKED_OUT, BADGE_UNKNOWN.
        """
        member = self._staff.find(badge)
        if member is None:
            _opens(self._nobody, pin)
            raise SignInError(Problem.BADGE_UNKNOWN)
        left = self._take_try(badge)
        if _opens(member.pin, pin):
            with self._mutex:
                self._tries.pop(badge, None)
            return member.practitioner
        if left == 0:
            raise SignInError(Problem.LOCKED_OUT, 0)
        raise SignInError(Problem.PIN_WRONG, left)

    def _take_try(self, badge: str) -> int:
        """Count a try before it is made, so that many at once are not free; return what is left."""
        with self._mutex:
            tries = self._tries.setdefault(badge, _Tries())
            now = self._clock()
            if tries.locked_until is not None:
                if now < tries.locked_until:
                    raise SignInError(Problem.LOCKED_OUT, 0)
                tries.failed, tries.locked_until = 0, None
            tries.failed += 1
            if tries.failed >= self._max_tries:
                tries.locked_until = now + self._lock_seconds
            return max(self._max_tries - tries.failed, 0)


def _opens(phc: str, pin: str) -> bool:
    """Whether the PIN is the one behind the PHC string; the library compares in constant time."""
    try:
        Argon2id.verify_phc_encoded(pin.encode("utf-8", "replace"), phc)
    except InvalidKey:
        return False
    return True
