"""What the processes say while they run: one JSON object a line, and never patient data.

Only the fields of `Fields` exist, and their values must be enum-like codes, ids, numbers or booleans:
a name or an identifier cannot pass, by accident or otherwise. Under systemd the lines are the journal's;
in the demo they are what one sees.
"""

from __future__ import annotations

import json
import re
import threading
from typing import IO, TypedDict, Unpack
from uuid import UUID

_CODE = re.compile(r"[a-z][a-z0-9-]{0,39}")
_RECEIPT = re.compile(r"R(-[0-9A-Z]{4}){1,4}")


class Fields(TypedDict, total=False):
    """Everything a line may say."""

    state: str
    was: str
    session: UUID
    item: UUID
    kind: str
    number: int
    frame: int
    bytes: int
    photos: int
    stage: str
    problem: str
    reason: str
    receipt: str
    destination: str
    waiting: int
    parked: int
    online: bool
    locked: bool
    scrubbed: bool
    seconds: float
    pid: int
    code: int


class Journal:
    """Writes lines to `stream`. Thread safe."""

    def __init__(self, process: str, stream: IO[str]) -> None:
        self._process = process
        self._stream = stream
        self._lock = threading.Lock()

    def say(self, event: str, **fields: Unpack[Fields]) -> None:
        """Write one line. Raises ValueError for a value that is not a code, an id or a number."""
        line: dict[str, object] = {"event": _code(event), "process": self._process}
        for name, value in fields.items():
            if isinstance(value, UUID):
                line[name] = str(value)
            elif isinstance(value, bool | int | float):
                line[name] = round(value, 3) if isinstance(value, float) else value
            elif name == "receipt":
                line[name] = _match(_RECEIPT, value)
            else:
                line[name] = _code(value)
        text = json.dumps(line) + "\n"
        with self._lock:
            self._stream.write(text)
            self._stream.flush()


def _code(value: object) -> str:
    return _match(_CODE, value)


def _match(pattern: re.Pattern[str], value: object) -> str:
    # The value itself stays out of the error: it may be what must not be said.
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError("a journal value is not a code")
    return value
