"""The short-lived process that opens one committed session and delivers it.

It is the only process that sees the plaintext of a photograph after the shutter, and it ends with the
session. It reports to the uploader in JSON lines without patient data.
"""

from __future__ import annotations

import hashlib
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

from kiosk.destinations.base import Corrector, Destination, wipe
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
from kiosk.heads import SignedHead
from kiosk.model import Correction, Decision, Photo, Receipt, Session, Stage
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
    """The end of one attempt. `receipt` with DELIVERED only; `retry_after` in seconds, if one was asked.

    problem: why it is not delivered; with DELIVERED, why the audit's head is not anchored, or None.
    """

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
    """Read a private key from a socket or pipe into memory that is not a bytes object; closes it."""
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
    head: SignedHead | None = None,
    corrector: Corrector | None = None,
) -> Outcome:
    """Open, deliver and prove one session, then anchor `head`. Every end is an Outcome.

    corrector: who takes the sessions that correct what was delivered before; without one they are parked.
    The spool is left as it is.
    """
    try:
        with spool.lock(session):
            private = PrivateKey.from_buffer(key)
            return _deliver(session, spool, private, destination, report, head, corrector)
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
    head: SignedHead | None,
    corrector: Corrector | None,
) -> Outcome:
    items = spool.items(session)

    def progress(stage: Stage) -> None:
        report({"stage": stage.value})

    if any(item.kind == Kind.CORRECTION.value for item in items):
        if corrector is None:
            raise Rejected("a correction, and nobody who takes it")
        correction = _correction(session, spool, key, items)
        return Outcome(Verdict.DELIVERED, receipt=corrector.correct(correction, progress))
    manifest = _manifest(session, spool, key, items)
    _check_whole(manifest, spool, key, items)
    photos = {item.item: item for item in items if item.kind == Kind.PHOTO.value}

    def open_photo(photo: Photo) -> bytearray:
        return _open(session, spool, key, photos[photo.id])

    receipt = destination.deliver(manifest, open_photo, progress)
    if head is None:
        return Outcome(Verdict.DELIVERED, receipt=receipt)
    # Said before anchoring is tried: whatever becomes of that, the session is proven.
    report({"proof": receipt_to_message(receipt)})
    try:
        destination.anchor(manifest, receipt, head)
    except DeliveryError as e:
        return Outcome(Verdict.DELIVERED, e.problem, receipt=receipt)
    return Outcome(Verdict.DELIVERED, receipt=receipt)


def _check_whole(manifest: Session, spool: Spool, key: PrivateKey, items: list[Item]) -> None:
    """Raise CannotOpen unless every item that the manifest names is there and whole, and no other.

    Before anything is sent: a record must not get a consent to photographs that cannot follow it.
    """
    named = {(0, Kind.MANIFEST.value, manifest.id)}
    named |= {(photo.number, Kind.PHOTO.value, photo.id) for photo in manifest.photos}
    if manifest.consent.decision is Decision.PERMIT:
        named.add((0, Kind.CONSENT.value, manifest.consent.id))
    if {(item.number, item.kind, item.item) for item in items} != named:
        raise CannotOpen("the items are not those of the manifest")
    digests = {photo.id: photo.sha256 for photo in manifest.photos}
    for item in items:
        plaintext = _open(manifest.id, spool, key, item)
        digest = hashlib.sha256(plaintext).hexdigest()
        wipe(plaintext)
        if digests.get(item.item, digest) != digest:
            raise CannotOpen("a photograph is not the one that was taken")


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
    data = spool.read(item)
    open_in_place(key, expected, data)
    return data


def run(
    session: UUID,
    spool: Spool,
    key_fd: int,
    destination: Destination,
    write: Callable[[str], None],
    head: SignedHead | None = None,
    corrector: Corrector | None = None,
) -> None:
    """The delivery process: read the key, deliver, anchor, report."""

    def report(message: dict[str, Any]) -> None:
        write(json.dumps(message) + "\n")

    try:
        key = read_key(key_fd)
    except KioskError as e:
        report(Outcome(Verdict.PARK, e.problem).to_message())
        return
    report(deliver(session, spool, key, destination, report, head, corrector).to_message())
