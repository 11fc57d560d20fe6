"""The Destination protocol: one of the two plug points. Whoever takes a session in proves that it has it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol
from uuid import NAMESPACE_URL, UUID, uuid5

from kiosk.heads import SignedHead
from kiosk.model import Photo, Receipt, Session, Stage

OpenPhoto = Callable[[Photo], bytearray]
"""Returns a photograph's JPEG plaintext; whoever calls it overwrites the bytes when done."""
Progress = Callable[[Stage], None]
"""Told SENDING while sending and PROVING while reading back."""

_RECEIPT_NAMESPACE = uuid5(NAMESPACE_URL, "urn:lethe-kiosk:receipt")
_ZEROS = bytes(64 * 1024)
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O, U, so that a code can be read out on the telephone."""


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


def receipt_id(session: UUID) -> str:
    """A short code such as R-7K4M-2QHD, always the same for one session, without patient data.

    40 bits of a UUID version 5 (RFC 9562) in Crockford's base 32.
    """
    bits = uuid5(_RECEIPT_NAMESPACE, str(session)).int >> 88
    code = "".join(_ALPHABET[(bits >> shift) & 31] for shift in range(35, -1, -5))
    return f"R-{code[:4]}-{code[4:]}"


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
