"""Delivery into a FHIR R4 record: ask what is there, send what is missing, read it all back, then claim it.

The order is form, Consents and Provenance in one transaction, then one transaction per photograph; a server
that finds that too long gets the photograph's bytes first, as they are, and then the rest. Every
resource is recognised by an identifier that was minted before anything was sent, so a lost answer is
answered by asking. Nothing of a session is kept between two calls.

An attempt that nobody waited for may still be carried out, before or after the next one. Conditional creates
make one resource in either order. Binary and Provenance have no identifier; where the server lets us choose
ids (CapabilityStatement, updateCreate) they are PUT under ids of their own, and again become one. See
FhirDestination for the servers that do not.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from kiosk.consent_text import ENGLISH, ConsentText, wording_of
from kiosk.destinations.audit_trail import AUDIT_EVENT, record_delivery
from kiosk.destinations.base import OpenPhoto, Progress, make_receipt, wipe
from kiosk.destinations.second_copies import (
    BINARY,
    PROVENANCE,
    Written,
    delete_second_binary,
    delete_second_provenance,
)
from kiosk.errors import Conflict, DeliveryError, NotProven, NotThere, Rejected
from kiosk.fhir.answers import (
    Resource,
    creates_by_put,
    error_for_status,
    has_identifier,
    is_id,
    objects,
    part,
    token,
)
from kiosk.fhir.client import Digest, FhirClient, Pieces
from kiosk.fhir.codes import PURPOSES
from kiosk.fhir.consents import PDF, consent_bundle, consent_id, form_id, proxy_id, sha1_base64
from kiosk.fhir.photos import JPEG, binary_id, check_photo, filing_transaction, photo_transaction
from kiosk.fhir.practitioners import with_reference
from kiosk.fhir.resources import Filing, validate
from kiosk.heads import SignedHead
from kiosk.model import Photo, Purpose, Receipt, Session, Stage
from kiosk.report import consent_form_pdf

INDEX_PAUSES = (0.25, 0.75, 2.0)
"""Seconds to wait for a server whose search lags behind its writes, before a write counts as lost."""

DOCUMENT, PERSON = "DocumentReference", "RelatedPerson"

SURELY_TAKEN = 700_000
"""Bytes of a photograph that no server known to us finds too long inside a transaction: 1 MiB as base64."""

Wanted = Mapping[str, Sequence[UUID]]
"""Identifiers by resource type."""


def _now() -> datetime:
    return datetime.now(UTC)


class FhirDestination:
    """The record server. Implements kiosk.destinations.base.Destination.

    filing: the identifier system for everything sent, and the kiosk's name for people.
    wordings: the consent texts that this kiosk can have shown.
    now, pause: clock and sleep, replaced in tests.

    Where the server chooses the ids of Binary and Provenance itself, an attempt that finds that an earlier
    one got through in the meantime deletes the second copy that it has just made, when it can see that the
    first is the one in use. What remains there: a second copy that may not be deleted or whose answer is
    lost as well, and one that an earlier attempt makes after this session was proven, of which nobody hears.
    Such a Binary is referred to by nothing; its securityContext names the patient. Such a Provenance repeats
    the first.  A photograph that was sent apart from its DocumentReference leaves, on such a server, one
    Binary more for every attempt that ended between the two.
    """

    name = "fhir"

    def __init__(
        self,
        client: FhirClient,
        filing: Filing,
        wordings: tuple[ConsentText, ...] = (ENGLISH,),
        *,
        now: Callable[[], datetime] = _now,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._filing = filing
        self._wordings = wordings
        self._now = now
        self._pause = pause
        self._by_put: frozenset[str] | None = None
        self._too_long: int | None = None

    def deliver(self, session: Session, open_photo: OpenPhoto, progress: Progress) -> Receipt:
        """Deliver and prove one session; see Destination.deliver."""
        session = replace(session, operator=with_reference(self._client, session.operator))
        form = self._form(session)
        progress(Stage.SENDING)
        consents = self._send_consent(session, form)
        for photo in session.photos:
            self._send_photo(session, photo, open_photo, consents)
        progress(Stage.PROVING)
        stored = self._prove_consents(session)
        if session.consent.proxy is not None:
            person = self._get(PERSON, (proxy_id(session),))[proxy_id(session)]
            if not self._is_patient(part(person, "patient"), session):
                raise NotProven(f"{PERSON}: read back different from what was sent")
        stored.append(self._prove_document(session, form_id(session), PDF, Digest.of(form)))
        for photo in session.photos:
            stored.append(self._prove_photo(session, photo, open_photo, consents))
        # The server's own time of storing, so that a second proof gives an equal receipt.
        when = max((at for at in map(_last_updated, stored) if at), default=None)
        return make_receipt(session, self.name, when or self._now())

    def anchor(self, session: Session, receipt: Receipt, head: SignedHead) -> None:
        """Write the session's AuditEvent; see Destination.anchor and destinations/audit_trail.py."""
        put = self._may_put(AUDIT_EVENT)
        record_delivery(self._client, self._filing, session, receipt, head, put=put)

    def _form(self, session: Session) -> bytes:
        wording = wording_of(session.consent, self._wordings)
        if wording is None:
            raise Rejected("the consent names a wording that this kiosk does not have")
        return consent_form_pdf(session, self._filing.station_name, wording)

    # --- sending ---------------------------------------------------------------------------

    def _send_consent(self, session: Session, form: bytes) -> list[str]:
        """Make sure of the form and the Consents; returns the references of the Consents."""
        forms, consents = (form_id(session),), tuple(consent_id(session, purpose) for purpose in Purpose)
        wanted = {DOCUMENT: forms, "Consent": consents}
        if session.consent.proxy is not None:
            wanted[PERSON] = (proxy_id(session),)
        present = self._references(wanted)
        if len(present) < sum(map(len, wanted.values())):
            put = self._may_put(PROVENANCE)
            bundle = consent_bundle(session, self._filing, form, present, put=put)
            validate(bundle)
            kinds = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
            written = self._send(json.dumps(bundle).encode(), kinds, wanted)
            present = {id: _reference(found) for id, found in self._get("Consent", consents).items()}
            if not put:
                delete_second_provenance(self._client, written, present[consents[0]])
        return [present[id] for id in consents]

    def _send_photo(
        self, session: Session, photo: Photo, open_photo: OpenPhoto, consents: Sequence[str]
    ) -> None:
        wanted = {DOCUMENT: (photo.id,)}
        if self._references(wanted):
            return
        if self._too_long is None or photo.size < self._too_long:
            try:
                self._send_whole(session, photo, open_photo, consents)
            except Rejected as e:
                if e.status not in (400, 413) or photo.size <= SURELY_TAKEN:
                    raise
                self._too_long = photo.size
            else:
                return
        self._send_apart(session, photo, open_photo, consents)

    def _send_whole(
        self, session: Session, photo: Photo, open_photo: OpenPhoto, consents: Sequence[str]
    ) -> None:
        """Binary and DocumentReference in one transaction."""
        wanted = {DOCUMENT: (photo.id,)}
        put = self._may_put(BINARY)
        jpeg = open_photo(photo)
        try:
            body = photo_transaction(session, self._filing, photo, jpeg, consents, put=put)
            written = self._send(body, (BINARY, DOCUMENT), wanted)
        finally:
            wipe(jpeg)
        if not put:
            delete_second_binary(self._client, written, lambda: self._get(DOCUMENT, (photo.id,))[photo.id])

    def _send_apart(
        self, session: Session, photo: Photo, open_photo: OpenPhoto, consents: Sequence[str]
    ) -> None:
        """The bytes as they are, then the transaction that refers to them: for who finds the whole too long.

        A server that ran the whole as a batch has kept the DocumentReference without its Binary: it is
        replaced. When the DocumentReference is refused, the bytes are taken back.
        """
        wanted = {DOCUMENT: (photo.id,)}
        left = self._find(DOCUMENT, (photo.id,)).get(photo.id)
        if left is not None and self._leads_to_bytes(left, photo):
            return
        jpeg = open_photo(photo)
        try:
            check_photo(photo, jpeg)
            sha1 = sha1_base64(jpeg)
            id = str(binary_id(photo.id)) if self._may_put(BINARY) else None
            url = self._client.store_binary(jpeg, JPEG, f"Patient/{session.patient.id}", id)
        finally:
            wipe(jpeg)
        body = filing_transaction(
            session,
            self._filing,
            photo,
            sha1,
            consents,
            url=url,
            id=_reference(left).removeprefix(f"{DOCUMENT}/") if left else None,
        )
        try:
            self._send(body, (DOCUMENT,), wanted)
        except Rejected:
            with suppress(DeliveryError):
                self._client.delete(BINARY, url.removeprefix(f"{BINARY}/"))
            raise

    def _leads_to_bytes(self, document: Resource, photo: Photo) -> bool:
        attachments = [part(content, "attachment") for content in objects(document, "content")]
        try:
            self._attached(attachments[0] if attachments else {}, JPEG, photo.size)
        except NotProven:
            return False
        return True

    def _may_put(self, kind: str) -> bool:
        """Whether the server lets us choose the id of a new resource; asked once."""
        if self._by_put is None:
            self._by_put = creates_by_put(self._client.capabilities())
        return kind in self._by_put

    def _send(self, body: bytes | Pieces, kinds: Sequence[str], wanted: Wanted) -> list[Written]:
        """Send one transaction of resources of these kinds; `wanted`: what must be there afterwards.

        A conflict can mean that an earlier attempt gets through after all: then asking shows it, and
        nothing was written by this one.
        """
        try:
            return _check_entries(self._client.transaction(body), kinds)
        except Conflict:
            for pause in (0.0, *INDEX_PAUSES):
                if pause:
                    self._pause(pause)
                if len(self._references(wanted)) == sum(map(len, wanted.values())):
                    return []
            raise

    # --- asking ----------------------------------------------------------------------------

    def _find(self, kind: str, ids: Sequence[UUID]) -> dict[UUID, Resource]:
        """What the server has under these identifiers. Raises Conflict where one has several resources."""
        system = self._filing.identifier_system
        tokens = ",".join(token(system, str(id)) for id in ids)
        resources = self._client.search(kind, {"identifier": tokens})
        found: dict[UUID, Resource] = {}
        for resource in resources:
            id = next((id for id in ids if has_identifier(resource, system, str(id))), None)
            if id is None:
                raise Rejected(f"POST {kind}/_search: the server ignored the identifier")
            if id in found:
                raise Conflict(f"POST {kind}/_search: several with one identifier")
            found[id] = resource
        return found

    def _get(self, kind: str, ids: Sequence[UUID]) -> dict[UUID, Resource]:
        """As `_find`, for what was accepted. Raises NotProven when it does not turn up."""
        for pause in (0.0, *INDEX_PAUSES):
            if pause:
                self._pause(pause)
            if len(found := self._find(kind, ids)) == len(ids):
                return found
        raise NotProven(f"POST {kind}/_search: not found after it was accepted")

    def _references(self, wanted: Wanted) -> dict[UUID, str]:
        """The references of what is already there."""
        return {
            id: _reference(resource)
            for kind, ids in wanted.items()
            for id, resource in self._find(kind, ids).items()
        }

    # --- proving ---------------------------------------------------------------------------

    def _prove_consents(self, session: Session) -> list[Resource]:
        ids = {consent_id(session, purpose): purpose for purpose in Purpose}
        found = self._get("Consent", tuple(ids))
        for id, purpose in ids.items():
            resource, provision = found[id], part(found[id], "provision")
            expected = "permit" if session.consent.permits(purpose) else "deny"
            purposes = [p.get("code") for p in objects(provision, "purpose")]
            if (
                resource.get("status") != "active"
                or not self._is_patient(part(resource, "patient"), session)
                or provision.get("type") != expected
                or purposes != [PURPOSES[purpose].code]
            ):
                raise NotProven("Consent: read back different from what was sent")
        return list(found.values())

    def _prove_photo(
        self, session: Session, photo: Photo, open_photo: OpenPhoto, consents: Sequence[str]
    ) -> Resource:
        """As _prove_document. A photograph that lacks its bytes gets them, once: what a batch may leave."""
        digest = Digest(photo.size, photo.sha256)
        try:
            return self._prove_document(session, photo.id, JPEG, digest)
        except NotThere:
            self._send_apart(session, photo, open_photo, consents)
        return self._prove_document(session, photo.id, JPEG, digest)

    def _prove_document(self, session: Session, id: UUID, content_type: str, sent: Digest) -> Resource:
        """The DocumentReference, once it and the bytes it leads to are proven to be ours."""
        found = self._get(DOCUMENT, (id,))[id]
        contents = objects(found, "content")
        if (
            found.get("status") != "current"
            or len(contents) != 1
            or not self._is_patient(part(found, "subject"), session)
        ):
            raise NotProven(f"{DOCUMENT}: read back different from what was sent")
        if self._attached(part(contents[0], "attachment"), content_type, sent.size) != sent:
            raise NotProven(f"{DOCUMENT}: the bytes read back are not the ones that were sent")
        return found

    def _attached(self, attachment: Resource, content_type: str, size: int) -> Digest:
        """The attachment's digest, from inside it or from where it points: servers move data to a Binary."""
        data, url = attachment.get("data"), attachment.get("url")
        if isinstance(data, str):
            try:
                return Digest.of(base64.b64decode(data, validate=True))
            except binascii.Error:
                return Digest.of(b"")
        if not isinstance(url, str):
            raise NotProven(f"{DOCUMENT}: read back without its attachment")
        return self._client.read_digest(url, content_type, size)

    def _is_patient(self, reference: Resource, session: Session) -> bool:
        target = reference.get("reference")
        if not isinstance(target, str):
            return False
        return self._client.local(target) == f"Patient/{session.patient.id}"


def _check_entries(answer: Resource, kinds: Sequence[str]) -> list[Written]:
    """Every entry's own status: a server may run a transaction as a batch and say 200 all the same."""
    entries = objects(answer, "entry")
    if len(entries) != len(kinds):
        raise NotProven(f"POST Bundle: {len(entries)} answers to {len(kinds)} entries")
    written: list[Written] = []
    for number, (entry, kind) in enumerate(zip(entries, kinds, strict=True)):
        response = part(entry, "response")
        status = str(response.get("status", ""))[:3]
        if status not in ("200", "201"):
            code = int(status) if status.isascii() and status.isdigit() else 0
            raise error_for_status(code, f"POST Bundle: entry {number} {kind} {code}")
        written.append(Written(kind, status == "201", str(response.get("location", ""))))
    return written


def _reference(resource: Resource) -> str:
    kind, id = resource.get("resourceType"), resource.get("id")
    if not is_id(id):
        raise NotProven(f"{kind}: read back without an id")
    return f"{kind}/{id}"


def _last_updated(resource: Resource) -> datetime | None:
    """meta.lastUpdated, where the server gives it as R4's instant."""
    text = part(resource, "meta").get("lastUpdated")
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at and at.tzinfo else None
