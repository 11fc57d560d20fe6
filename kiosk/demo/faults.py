"""How the demo's FHIR server can be told to misbehave, in words that fit on one script line.

    none                          forget every fault
    delay SECONDS                 wait, then answer as usual
    status CODE                   answer 400..599 with an OperationOutcome and do nothing
    retry-after SECONDS           answer 429 with Retry-After and do nothing
    drop-before                   drop the connection before doing anything
    drop-after-commit             do the write, then drop the connection without an answer
    login-page                    answer 200 with a text/html sign-in page and do nothing
    dangling-url                  leave urn:uuid in attachment.url when a transaction is stored
    corrupt-readback              flip bytes in what a read of Binary gives back
    delay-readback SECONDS        wait before a read of Binary is answered

After it may come, in any order: `times=N` (default: until cleared) and `on=METHOD:PATHPREFIX`, for
example `on=POST:/fhir` or `on=*:/fhir/Binary`; a prefix ends at a slash, and `$` after it asks for exactly
this path (`on=POST:/fhir$` is the transaction and nothing else).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
_LONGEST = 3600.0


class FaultKind(Enum):
    """What goes wrong; the value is the word in the script."""

    DELAY = "delay"
    STATUS = "status"
    RETRY_AFTER = "retry-after"
    DROP_BEFORE = "drop-before"
    DROP_AFTER_COMMIT = "drop-after-commit"
    LOGIN_PAGE = "login-page"
    DANGLING_URL = "dangling-url"
    CORRUPT_READBACK = "corrupt-readback"
    DELAY_READBACK = "delay-readback"


_TAKES = {
    FaultKind.DELAY: "SECONDS",
    FaultKind.STATUS: "CODE",
    FaultKind.RETRY_AFTER: "SECONDS",
    FaultKind.DELAY_READBACK: "SECONDS",
}
ALLOWED = ", ".join(["none", *(f"{k.value} {_TAKES[k]}" if k in _TAKES else k.value for k in FaultKind)])


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `amount`: seconds or status code; `times` None: until cleared; `path` "": anywhere."""

    kind: FaultKind
    amount: float = 0.0
    times: int | None = None
    method: str = "*"
    path: str = ""
    exact: bool = False

    def hits(self, method: str, path: str) -> bool:
        """Whether a request with this method and path (no query) meets the filter."""
        if self.method not in ("*", method):
            return False
        if self.exact:
            return path == self.path
        prefix = self.path.rstrip("/")
        return path == prefix or path.startswith(prefix + "/")

    def text(self) -> str:
        """The fault in the words that `parse_fault` reads."""
        words = [self.kind.value]
        if self.kind in _TAKES:
            words.append(f"{self.amount:g}")
        if self.times is not None:
            words.append(f"times={self.times}")
        if self.path:
            words.append(f"on={self.method}:{self.path}{'$' if self.exact else ''}")
        return " ".join(words)


def parse_fault(text: str) -> Fault | None:
    """Read one fault; None for `none`. Raises ValueError that says what is allowed."""
    words = text.split()
    if not words:
        raise ValueError(f"no fault is named; allowed are: {ALLOWED}")
    if words[0] == "none":
        if len(words) > 1:
            raise ValueError("`none` stands alone")
        return None
    kind = next((k for k in FaultKind if k.value == words[0]), None)
    if kind is None:
        raise ValueError(f"unknown fault {words[0][:40]!r}; allowed are: {ALLOWED}")
    rest = words[1:]
    amount = 0.0
    if kind in _TAKES:
        if not rest:
            raise ValueError(f"`{kind.value}` needs {_TAKES[kind]}")
        amount = _amount(kind, rest.pop(0))
    times: int | None = None
    method, path, exact = "*", "", False
    seen: set[str] = set()
    for word in rest:
        key, equals, value = word.partition("=")
        if not equals or key not in ("times", "on"):
            raise ValueError(f"after `{kind.value}` only times=N and on=METHOD:PATHPREFIX are allowed")
        if key in seen:
            raise ValueError(f"{key}= is given twice")
        seen.add(key)
        if key == "times":
            if not (value.isascii() and value.isdigit() and 0 < int(value) <= 1_000_000):
                raise ValueError("times= must be a whole number from 1 to 1000000")
            times = int(value)
        else:
            method, path, exact = _filter(value)
    return Fault(kind, amount, times, method, path, exact)


def _amount(kind: FaultKind, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if kind is FaultKind.STATUS:
        if not (400 <= value <= 599 and value == int(value)):
            raise ValueError("`status` needs a CODE from 400 to 599")
    elif not 0 <= value <= _LONGEST:
        raise ValueError(f"`{kind.value}` needs SECONDS from 0 to {_LONGEST:g}")
    elif kind is FaultKind.RETRY_AFTER and value != int(value):
        raise ValueError("`retry-after` needs whole SECONDS (RFC 9110, 10.2.3)")
    return value


def _filter(value: str) -> tuple[str, str, bool]:
    method, colon, path = value.partition(":")
    if not colon or method not in (*METHODS, "*") or not path.startswith("/"):
        known = ", ".join((*METHODS, "*"))
        raise ValueError(f"on= must be METHOD:PATHPREFIX; METHOD is one of {known}, PATHPREFIX starts with /")
    return method, path.removesuffix("$"), path.endswith("$")


class Faults:
    """The faults that are active now; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[Fault] = []
        self._revision = 0

    def set(self, text: str) -> None:
        """Add the fault that `text` describes, or clear all with `none`. Raises ValueError."""
        fault = parse_fault(text)
        with self._lock:
            self._revision += 1
            if fault is None:
                self._active.clear()
            else:
                self._active.append(fault)

    def clear(self) -> None:
        """Forget every fault."""
        self.set("none")

    @property
    def active(self) -> tuple[Fault, ...]:
        """The faults that still wait for a request, oldest first."""
        with self._lock:
            return tuple(self._active)

    @property
    def revision(self) -> int:
        """A number that grows with every change."""
        with self._lock:
            return self._revision

    def take(self, method: str, path: str, kinds: Iterable[FaultKind]) -> Fault | None:
        """Use up one turn of the oldest active fault of these kinds that hits this request."""
        wanted = frozenset(kinds)
        with self._lock:
            for i, fault in enumerate(self._active):
                if fault.kind not in wanted or not fault.hits(method, path):
                    continue
                if fault.times is not None:
                    self._revision += 1
                    self._active[i : i + 1] = [_one_less(fault, fault.times)] if fault.times > 1 else []
                return fault
        return None


def _one_less(fault: Fault, times: int) -> Fault:
    return Fault(fault.kind, fault.amount, times - 1, fault.method, fault.path, fault.exact)
