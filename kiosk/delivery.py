"""The short-lived process that opens one committed session and delivers it.

It is the only process that sees the plaintext of a photograph after the shutter, and it ends with the
session. It reports to the uploader in JSON lines without patient data.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from kiosk.destinations.base import Corrector, Destination
from kiosk.errors import (
    CannotOpen,
    DeliveryError,
    KioskError,
    Problem,
    Rejected,
    SealError,
    ServerBusy,
    SpoolError,
)
from kiosk.model import Correction, Photo, Receipt, Session, Stage
from kiosk.seal import KEY_BYTES, Kind, PrivateKey, SealHeader, open_sealed
from kiosk.spool import Item, Spool


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
        """Inverse of to_message. Raises ValueError or KeyError for anything else."""
        problem = message.get("problem")
        receipt = message.get("receipt")
        return cls(
            Verdict(message["outcome"]),
            None if problem is None else Problem.from_code(problem),
            message.get("retry_after"),
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
    """Inverse of receipt_to_message."""
    return Receipt(
        message["id"],
        UUID(message["session"]),
        message["photos"],
        message["destination"],
        datetime.fromisoformat(message["delivered_at"]),
    )


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
    corrector: Corrector | None = None,
) -> Outcome:
    """Open, deliver and prove one session. Every end is an Outcome; the spool is left as it is.

    corrector: who takes the sessions that correct what was delivered before; without one they are parked.
    """
    try:
        with spool.lock(session):
            return _deliver(session, spool, PrivateKey.from_buffer(key), destination, report, corrector)
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
    corrector: Corrector | None,
) -> Outcome:
    items = {item.item: item for item in spool.items(session)}

    def progress(stage: Stage) -> None:
        report({"stage": stage.value})

    if any(item.kind == Kind.CORRECTION.value for item in items.values()):
        if corrector is None:
            raise Rejected("a correction, and nobody who takes it")
        correction = _correction(session, spool, key, list(items.values()))
        return Outcome(Verdict.DELIVERED, receipt=corrector.correct(correction, progress))
    manifest = _manifest(session, spool, key, list(items.values()))

    def open_photo(photo: Photo) -> bytearray:
        item = items.get(photo.id)
        if item is None or item.kind != Kind.PHOTO.value:
            raise CannotOpen("a photograph of the manifest is missing")
        return _open(session, spool, key, item)

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


def _correction(session: UUID, spool: Spool, key: PrivateKey, items: list[Item]) -> Correction:
    if len(items) != 1:
        raise CannotOpen("a correction with something else beside it")
    try:
        correction = Correction.from_json(_open(session, spool, key, items[0]))
    except ValueError as e:
        raise CannotOpen(f"correction: {e}") from None
    if correction.id != session:
        raise CannotOpen("the correction is another session's")
    return correction


def _open(session: UUID, spool: Spool, key: PrivateKey, item: Item) -> bytearray:
    expected = SealHeader(session, item.item, Kind(item.kind), item.number)
    return open_sealed(key, expected, spool.read(item))


def run(
    session: UUID,
    spool: Spool,
    key_fd: int,
    destination: Destination,
    write: Callable[[str], None],
    corrector: Corrector | None = None,
) -> None:
    """The delivery process: read the key, deliver, report."""

    def report(message: dict[str, Any]) -> None:
        write(json.dumps(message) + "\n")

    try:
        key = read_key(key_fd)
    except KioskError as e:
        report(Outcome(Verdict.PARK, e.problem).to_message())
        return
    report(deliver(session, spool, key, destination, report, corrector).to_message())
