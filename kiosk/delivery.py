"""The short-lived process that opens one committed session and delivers it.

It is the only process that sees the plaintext of a photograph after the shutter, and it ends with the
session. It reports to the uploader in JSON lines without patient data.
"""

from __future__ import annotations

import json
import mmap
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from kiosk.destinations.base import Destination
from kiosk.errors import CannotOpen, DeliveryError, KioskError, Problem, SealError, ServerBusy, SpoolError
from kiosk.model import Photo, Receipt, Session, Stage
from kiosk.seal import KEY_BYTES, Kind, PrivateKey, SealHeader, open_in_place
from kiosk.spool import Item, Spool

_RETRY_AFTER_MAX = 86_400.0
"""Seconds."""
_PHOTOS_MAX = 9999
_RECEIPT_ID = re.compile(r"R(-[0-9A-Z]{4}){1,4}")
_DESTINATION = re.compile(r"[a-z][a-z0-9-]{0,39}")


class Verdict(Enum):
    """How an attempt ended."""

    DELIVERED = "delivered"
    RETRY = "retry"
    PARK = "park"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one attempt. `receipt` with DELIVERED only; `retry_after` in seconds, if one was asked."""

    verdict: Verdict
    problem: Problem | None = None
    retry_after: float | None = None
    receipt: Receipt | None = None

    def to_message(self) -> dict[str, Any]:
        """For the report line."""
        message: dict[str, Any] = {"outcome": self.verdict.value}
        if self.problem is not None:
            message["problem"] = self.problem.code
        if self.retry_after is not None:
            message["retry_after"] = self.retry_after
        if self.receipt is not None:
            message["receipt"] = receipt_to_message(self.receipt)
        return message

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Outcome:
        """Inverse of to_message; nothing is trusted. Raises ValueError, KeyError or TypeError."""
        problem, receipt = message.get("problem"), message.get("receipt")
        retry_after = message.get("retry_after")
        if (
            type(retry_after) not in (type(None), int, float)
            or not 0 <= (retry_after or 0) <= _RETRY_AFTER_MAX
        ):
            raise ValueError("retry_after")
        return cls(
            Verdict(message["outcome"]),
            None if problem is None else Problem.from_code(problem),
            retry_after,
            None if receipt is None else receipt_from_message(receipt),
        )


def receipt_to_message(receipt: Receipt) -> dict[str, Any]:
    """A receipt as JSON values."""
    return {
        "id": receipt.id,
        "session": str(receipt.session),
        "photos": receipt.photos,
        "destination": receipt.destination,
        "delivered_at": receipt.delivered_at.isoformat(),
    }


def receipt_from_message(message: dict[str, Any]) -> Receipt:
    """Inverse of receipt_to_message. Raises ValueError, KeyError or TypeError for anything else."""
    id, photos, destination = message["id"], message["photos"], message["destination"]
    if not _RECEIPT_ID.fullmatch(id) or not _DESTINATION.fullmatch(destination):
        raise ValueError("id or destination")
    if type(photos) is not int or not 0 <= photos <= _PHOTOS_MAX:
        raise ValueError("photos")
    session, at = UUID(str(message["session"])), datetime.fromisoformat(message["delivered_at"])
    return Receipt(id, session, photos, destination, at)


def read_key(fd: int) -> memoryview:
    """Read a private key from a pipe into memory that is not a bytes object."""
    area = mmap.mmap(-1, mmap.PAGESIZE)
    view = memoryview(area)[:KEY_BYTES]
    got = 0
    while got < KEY_BYTES:
        n = os.readv(fd, [view[got:]])
        if n == 0:
            raise SealError("the key did not come", problem=Problem.KEY_LOST)
        got += n
    os.close(fd)
    return view


def deliver(
    session: UUID,
    spool: Spool,
    key: memoryview,
    destination: Destination,
    report: Callable[[dict[str, Any]], None],
) -> Outcome:
    """Open, deliver and prove one session. Every end is an Outcome; the spool is left as it is."""
    try:
        with spool.lock(session):
            return _deliver(session, spool, PrivateKey.from_buffer(key), destination, report)
    except ServerBusy as e:
        return Outcome(Verdict.RETRY, e.problem, e.retry_after)
    except (DeliveryError, SealError) as e:
        return Outcome(Verdict.RETRY if e.retryable else Verdict.PARK, e.problem)
    except SpoolError:
        # Another process still holds the session, or it was moved while we looked: try again.
        return Outcome(Verdict.RETRY, Problem.DELIVERY_INTERRUPTED)
    finally:
        key[:] = bytes(len(key))


def _deliver(
    session: UUID,
    spool: Spool,
    key: PrivateKey,
    destination: Destination,
    report: Callable[[dict[str, Any]], None],
) -> Outcome:
    items = {item.item: item for item in spool.items(session)}
    manifest = _manifest(session, spool, key, list(items.values()))

    def open_photo(photo: Photo) -> bytearray:
        item = items.get(photo.id)
        if item is None or item.kind != Kind.PHOTO.value:
            raise CannotOpen("a photograph of the manifest is missing")
        return _open(session, spool, key, item)

    def progress(stage: Stage) -> None:
        report({"stage": stage.value})

    receipt = destination.deliver(manifest, open_photo, progress)
    return Outcome(Verdict.DELIVERED, receipt=receipt)


def _manifest(session: UUID, spool: Spool, key: PrivateKey, items: list[Item]) -> Session:
    found = [item for item in items if item.kind == Kind.MANIFEST.value]
    if len(found) != 1:
        raise CannotOpen("not exactly one manifest")
    try:
        manifest = Session.from_json(_open(session, spool, key, found[0]))
    except ValueError as e:
        raise CannotOpen(f"manifest: {e}") from None
    if manifest.id != session:
        raise CannotOpen("the manifest is another session's")
    return manifest


def _open(session: UUID, spool: Spool, key: PrivateKey, item: Item) -> bytearray:
    expected = SealHeader(session, item.item, Kind(item.kind), item.number)
    data = spool.read(item)
    open_in_place(key, expected, data)
    return data


def run(
    session: UUID,
    spool: Spool,
    key_fd: int,
    destination: Destination,
    write: Callable[[str], None],
) -> None:
    """The delivery process: read the key, deliver, report."""

    def report(message: dict[str, Any]) -> None:
        write(json.dumps(message) + "\n")

    try:
        key = read_key(key_fd)
    except KioskError as e:
        report(Outcome(Verdict.PARK, e.problem).to_message())
        return
    report(deliver(session, spool, key, destination, report).to_message())
