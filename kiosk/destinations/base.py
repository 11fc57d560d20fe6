"""The Destination protocol: one of the two plug points. Whoever takes a session in proves that it has it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from kiosk.heads import SignedHead
from kiosk.model import Correction, Photo, Receipt, Session, Stage
from kiosk.receipts import receipt_id as receipt_id

OpenPhoto = Callable[[Photo], bytearray]
"""Returns a photograph's JPEG plaintext; whoever calls it overwrites the bytes when done."""
Progress = Callable[[Stage], None]
"""Told SENDING while sending and PROVING while reading back."""

_ZEROS = bytes(64 * 1024)


class Destination(Protocol):
    """Somewhere that committed sessions go to.

    `deliver` may be called again after any failure, or after its process was killed at any point:
    it asks what is already there, sends only what is missing, proves everything by reading it
    back, and returns an equal receipt each time.
    """

    @property
    def name(self) -> str:
        """A short name for the receipt and the audit, such as 'fhir'."""
        ...

    def deliver(self, session: Session, open_photo: OpenPhoto, progress: Progress) -> Receipt:
        """Deliver and prove one session.

        At most one photograph is held in plaintext at a time, and it is overwritten with zeros.
        Raises errors.Unreachable, errors.ServerBusy and errors.NotLetIn (try again), errors.Rejected,
        errors.NotProven and errors.Conflict (park). No error text holds patient data.
        What `open_photo` and `progress` raise passes through.
        """
        ...

    def anchor(self, session: Session, receipt: Receipt, head: SignedHead) -> None:
        """Record a proven delivery in the destination's own audit, with the newest head of the kiosk's.

        Called after `deliver`, and again where what came of it is not known: one session makes one record
        wherever the far side allows it. It holds a reference to the patient and nothing else about them.
        Raises errors.DeliveryError where it could not be recorded: what was proven stays proven.
        """
        ...


class Corrector(Protocol):
    """Somewhere that can take back what was delivered; see destinations/corrections.py."""

    def correct(self, correction: Correction, progress: Progress) -> Receipt:
        """Carry one correction out and prove it.

        May be called again after any failure or kill, like Destination.deliver, and raises the same errors.
        """
        ...


def make_receipt(session: Session, destination: str, delivered_at: datetime) -> Receipt:
    """The receipt of a session that was proven."""
    return Receipt(
        id=receipt_id(session.id),
        session=session.id,
        photos=len(session.photos),
        destination=destination,
        delivered_at=delivered_at,
    )


def wipe(buffer: bytearray) -> None:
    """Overwrite a plaintext buffer with zeros, a piece at a time: whole zeros would be two copies of it."""
    with memoryview(buffer) as view:
        for start in range(0, len(view), len(_ZEROS)):
            piece = view[start : start + len(_ZEROS)]
            piece[:] = _ZEROS[: len(piece)]
