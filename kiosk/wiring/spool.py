"""The spool of a configuration: both processes open the same one, the ui only its own half."""

from __future__ import annotations

import grp
from pathlib import Path

from kiosk.config import Settings
from kiosk.errors import ConfigError
from kiosk.spool import Outbox, Spool


def open_outbox(settings: Settings) -> Outbox:
    """The ui's half; see open_spool."""
    spool = settings.spool
    return Outbox(
        Path(spool.path),
        reserve=spool.reserve_mb * 1_000_000,
        allow_disk=settings.station.demo,
        group=group_id(settings),
    )


def open_spool(settings: Settings) -> Spool:
    """The uploader's whole spool. Raises SpoolNotRam unless it is in memory or this is the demo."""
    spool = settings.spool
    return Spool(
        Path(spool.path),
        capacity=spool.capacity_mb * 1_000_000,
        reserve=spool.reserve_mb * 1_000_000,
        allow_disk=settings.station.demo,
        group=group_id(settings),
    )


def group_id(settings: Settings) -> int | None:
    """The id of the group that the two users share, if there are two. Raises ConfigError."""
    name = settings.station.group
    if name is None:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(
            (f"[station] group: {name!r} is no group here; allowed: an existing one",)
        ) from None
