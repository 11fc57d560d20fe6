"""One photograph as R4 resources: a Binary with the JPEG and the DocumentReference that files it.

Media would fit in R4 too, but is gone in R5 and refused by most record systems; see the field notes of IHE
MHD and HL7 Europe Imaging, which both use DocumentReference.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from kiosk.errors import Rejected
from kiosk.fhir import codes
from kiosk.fhir.answers import Resource
from kiosk.fhir.codes import concept
from kiosk.fhir.consents import sha1_base64
from kiosk.fhir.resources import (
    Filing,
    Part,
    conditional_create,
    device_reference,
    identifier,
    instant,
    master_identifier,
    operator_reference,
    patient_reference,
    receipt_identifier,
    transaction,
    unsearched_create,
    validate,
    visit_context,
)
from kiosk.model import Photo, Session

JPEG = "image/jpeg"

_SLICE = 57 * 1024
"""Bytes encoded at a time; a multiple of three, so that base64 needs no padding in between."""


@dataclass(frozen=True, slots=True)
class PhotoTransaction:
    """The JSON of one photograph's transaction, encoded piece by piece while it is sent.

    It holds no copy of `jpeg`: whoever made it overwrites the picture once nothing is to be sent any more.
    Every iteration gives the whole again, so that it can be sent again.
    """

    before: bytes
    jpeg: bytearray
    after: bytes

    def __len__(self) -> int:
        """Bytes in all: the Content-Length."""
        return len(self.before) + (len(self.jpeg) + 2) // 3 * 4 + len(self.after)

    def __iter__(self) -> Iterator[bytes]:
        """The pieces in their order."""
        yield self.before
        with memoryview(self.jpeg) as view:
            for start in range(0, len(view), _SLICE):
                yield binascii.b2a_base64(view[start : start + _SLICE], newline=False)
        yield self.after


def photo_part(
    session: Session, filing: Filing, photo: Photo, sha1: str, consents: Sequence[str], url: str
) -> Part:
    """The DocumentReference of one photograph.

    sha1: base64 of the JPEG's SHA-1.  consents: references of the Consents that it was taken under.
    url: where its Binary is.
    """
    taken = instant(photo.taken_at)
    title = f"Clinical photograph {photo.number}: {photo.site.display()}"
    attachment = {
        "contentType": JPEG,
        "url": url,
        "size": photo.size,
        "hash": sha1,
        "title": title,
        "creation": taken,
    }
    site = {"url": "concept", "valueCodeableConcept": codes.body_site(photo.site)}
    return Part(
        photo.id,
        {
            "resourceType": "DocumentReference",
            "extension": [{"url": codes.BODY_SITE_EXTENSION, "extension": [site]}],
            "masterIdentifier": master_identifier(photo.id),
            "identifier": [identifier(filing, photo.id), receipt_identifier(filing, session.id)],
            "status": "current",
            "type": concept(codes.PHOTOGRAPH),
            "category": [concept(codes.IMAGES)],
            "subject": patient_reference(session),
            "date": instant(session.committed_at),
            "author": [operator_reference(session.operator), device_reference(session, filing)],
            "description": title,
            "securityLabel": [concept(codes.NORMAL)],
            "content": [{"attachment": attachment, "format": codes.MIME_TYPE_SUFFICIENT.to_fhir()}],
            "context": {
                **visit_context(session),
                "period": {"start": taken, "end": taken},
                "related": [{"reference": reference} for reference in consents],
            },
        },
    )


def binary_id(photo: UUID) -> UUID:
    """The id of the photograph's Binary, inside its bundle and, where the server lets us choose, there.

    It comes from the photograph's random id: who has the same has the same photograph, so a PUT never
    overwrites another.
    """
    return uuid5(photo, "binary")


def photo_transaction(
    session: Session, filing: Filing, photo: Photo, jpeg: bytearray, consents: Sequence[str], *, put: bool
) -> PhotoTransaction:
    """The whole transaction, checked against R4; it reads `jpeg` while it is sent.

    put: whether the server lets us choose the Binary's id; see unsearched_create.
    Raises Rejected when `jpeg` is not the photograph of the manifest.
    """
    check_photo(photo, jpeg)
    part = photo_part(session, filing, photo, sha1_base64(jpeg), consents, binary_id(photo.id).urn)
    # Built and validated around a stand-in: the picture itself is never copied.
    stand_in = base64.b64encode(uuid5(photo.id, "stand-in").bytes).decode("ascii")
    binary = {
        "resourceType": "Binary",
        "contentType": JPEG,
        "securityContext": {"reference": f"Patient/{session.patient.id}"},
        "data": stand_in,
    }
    bundle: Resource = transaction(
        [unsearched_create(binary_id(photo.id), binary, put=put), conditional_create(filing, part)]
    )
    validate(bundle)
    before, _, after = json.dumps(bundle).encode().partition(stand_in.encode())
    return PhotoTransaction(before, jpeg, after)


def filing_transaction(
    session: Session,
    filing: Filing,
    photo: Photo,
    sha1: str,
    consents: Sequence[str],
    *,
    url: str,
    id: str | None,
) -> bytes:
    """The transaction that files a photograph whose bytes are at `url` already, as JSON, checked against R4.

    id: of a DocumentReference that leads nowhere and is to be replaced; None: there is none.
    """
    part = photo_part(session, filing, photo, sha1, consents, url)
    if id is None:
        entry = conditional_create(filing, part)
    else:
        entry = {
            "resource": {**part.resource, "id": id},
            "request": {"method": "PUT", "url": f"{part.kind}/{id}"},
        }
    bundle = transaction([entry])
    validate(bundle)
    return json.dumps(bundle).encode()


def check_photo(photo: Photo, jpeg: bytearray) -> None:
    """Raises Rejected when `jpeg` is not the photograph of the manifest."""
    if len(jpeg) != photo.size or hashlib.sha256(jpeg).hexdigest() != photo.sha256:
        raise Rejected(f"photograph {photo.number} is not the one of the manifest")
