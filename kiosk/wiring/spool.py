"""The spool of a configuration: both processes open the same one."""

from __future__ import annotations

from pathlib import Path

from kiosk.config import Settings
from kiosk.spool import Spool


def open_spool(settings: Settings) -> Spool:
    """The spool of these settings. Raises SpoolNotRam unless it is in memory or this is the demo."""
    spool = settings.spool
    return Spool(
        Path(spool.path),
        capacity=spool.capacity_mb * 1_000_000,
        reserve=spool.reserve_mb * 1_000_000,
        allow_disk=settings.station.demo,
    )
