"""A small spool for tests, and what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kiosk.spool import Spool

MEGABYTE = 2**20


def make(root: Path, **changes: Any) -> Spool:
    return Spool(root, **{"capacity": 100 * MEGABYTE, "reserve": 2 * MEGABYTE, "allow_disk": True, **changes})


def everything(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*"))
