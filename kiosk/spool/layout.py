"""Names in the spool: they say everything that a restart must know."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

OPEN, READY, SENDING, PARKED = "open", "ready", "sending", "parked"
STATES = (OPEN, READY, SENDING, PARKED)
NUMBER_MAX = 9999
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
REASON = re.compile("[a-z][a-z0-9-]{0,39}")
SESSION_NAME = re.compile(_UUID)
PARKED_NAME = re.compile(rf"({_UUID})\.({REASON.pattern})")
ITEM_NAME = re.compile(rf"([0-9]{{4}})-([a-z]{{1,16}})-({_UUID})\.sealed")


@dataclass(frozen=True, slots=True)
class Item:
    """One sealed item of a session. `size` in bytes."""

    number: int
    kind: str
    item: UUID
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Modes:
    """Who may do what (chmod(2)), for one user or for two that share a group."""

    root: int
    inbox: int
    """Of open and ready: with a group, to add and to rename, not to list."""
    own: int
    """Of sending and parked."""
    session: int
    item: int


ONE_USER = Modes(root=0o700, inbox=0o700, own=0o700, session=0o700, item=0o600)
TWO_USERS = Modes(root=0o710, inbox=0o2730, own=0o700, session=0o2770, item=0o640)
"""The set-group-id bit hands the shared group down to what the other user makes."""
