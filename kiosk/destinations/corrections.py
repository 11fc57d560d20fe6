"""Withdrawals and wrong-patient corrections, by receipt, in a FHIR R4 record.

Each resource is read, left alone where it is as it shall be, and else written back on the version that was
read (If-Match, where the server gives an ETag). 409 and 412 mean that somebody else was faster: it is read
again, and what is then found decides. New Consents are conditional creates under identifiers that come from
the sealed correction, so an attempt that was killed at any point is repeated to the same end. Nothing counts
as done before every state was read back.

Where the server chooses the Provenance's id itself it is looked for first; two attempts that run at the same
time could then leave two, which say the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

from kiosk.destinations.base import Progress, receipt_id
from kiosk.errors import Conflict, NotProven, Rejected
from kiosk.fhir.answers import Resource, creates_by_put, has_identifier, is_id, part, token
from kiosk.fhir.client import FhirClient
from kiosk.fhir.corrections import (
    IN_ERROR,
    Change,
    changes,
    correction_provenance,
    correction_provenance_id,
    denial_id,
    denial_part,
    is_provenance_of,
)
from kiosk.fhir.resources import Filing, transaction, validate
from kiosk.model import Act, Correction, FiledConsent, Receipt, Stage

PAUSES = (0.25, 0.75, 2.0)
"""Seconds to wait for a search that lags behind, or for whoever else is writing just now."""

_PATIENT_IN = {"Consent": "patient", "DocumentReference": "subject", "RelatedPerson": "patient"}


def _now() -> datetime:
    return datetime.now(UTC)


class FhirCorrector:
    """Corrects what FhirDestination delivered. Implements kiosk.destinations.base.Corrector.

    filing: as for the delivery.  now, pause: clock and sleep, replaced in tests.
    """

    name = "fhir"

    def __init__(
        self,
        client: FhirClient,
        filing: Filing,
        *,
        now: Callable[[], datetime] = _now,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._filing = filing
        self._now = now
        self._pause = pause

    def correct(self, correction: Correction, progress: Progress) -> Receipt:
        """Carry one correction out and prove it; see Corrector.correct."""
        progress(Stage.SENDING)
        wanted = [*changes(correction), *self._late(correction)]
        # What may be done with the photographs comes first: whatever stops the rest, that is settled.
        for change in (c for c in wanted if c.kind == "Consent"):
            self._change(change, correction)
        withdrawn = [old for old in correction.withdrawn if not self._in_error(old)]
        denials = [self._deny(correction, old) for old in withdrawn]
        for change in (c for c in wanted if c.kind != "Consent"):
            self._change(change, correction)
        targets = [*denials, *(change.reference for change in wanted)]
        self._record(correction, targets)
        progress(Stage.PROVING)
        for change in wanted:
            if not change.done(self._client.read_version(change.kind, change.id).resource):
                raise NotProven(f"{change.kind}: read back different from what was sent")
        for old in withdrawn:
            self._prove_denial(correction, old)
        if self._found(lambda: self._provenance(correction, targets[0])) is None:
            raise NotProven("Provenance: not found after it was accepted")
        photos = len(correction.retracted_photos)
        return Receipt(receipt_id(correction.id), correction.id, photos, self.name, self._now())

    # --- what is there already ----------------------------------------------------------------

    def _late(self, correction: Correction) -> list[Change]:
        """What came under the receipt of a wrong patient after the operator had looked."""
        if correction.act is not Act.WRONG_PATIENT:
            return []
        filed, system = correction.filed, self._filing.receipt_system
        known = {*filed.photos, *filed.forms, *(consent.id for consent in filed.consents)}
        late = []
        for kind in ("DocumentReference", "Consent"):
            wanted = {"identifier": token(system, filed.receipt)}
            for found in self._client.search(kind, wanted, whole=True):
                if has_identifier(found, system, filed.receipt) and found.get("id") not in known:
                    late.append(Change(kind, _reference(found).partition("/")[2], "status", IN_ERROR))
        return late

    def _in_error(self, old: FiledConsent) -> bool:
        """Whether the whole consent was found wrong meanwhile: then there is nothing left to withdraw."""
        return self._client.read_version("Consent", old.id).resource.get("status") == IN_ERROR

    def _change(self, change: Change, correction: Correction) -> None:
        """Bring one resource into its new state. Raises Conflict where others keep changing it."""
        for pause in (0.0, *PAUSES):
            if pause:
                self._pause(pause)
            read = self._client.read_version(change.kind, change.id)
            self._check_patient(read.resource, correction)
            if change.done(read.resource):
                return
            body = json.dumps(change.applied(read.resource)).encode()
            try:
                self._client.write(change.kind, body, id=change.id, if_match=read.etag)
            except Conflict:
                continue
            return
        raise Conflict(f"PUT {change.kind}: changed by others each time")

    def _check_patient(self, resource: Resource, correction: Correction) -> None:
        """What is under this id now must still be of the patient that the operator saw."""
        kind = str(resource.get("resourceType"))
        target = part(resource, _PATIENT_IN[kind]).get("reference")
        patient = f"Patient/{correction.filed.patient.id}"
        if not isinstance(target, str) or self._client.local(target) != patient:
            raise Rejected(f"{kind}: belongs to another patient by now")

    # --- what is new --------------------------------------------------------------------------

    def _deny(self, correction: Correction, old: FiledConsent) -> str:
        """Make sure of the Consent that denies; returns its reference."""
        found = self._denial(correction, old)
        if found is None:
            before = self._client.read("Consent", old.id)
            made = denial_part(correction, self._filing, old, before)
            validate(transaction([{"fullUrl": made.full_url, "resource": made.resource, "request": _POST}]))
            wanted = quote(token(self._filing.identifier_system, str(made.id)), safe=":/")
            try:
                body = json.dumps(made.resource).encode()
                self._client.write("Consent", body, if_none_exist=f"identifier={wanted}")
            except Conflict:
                # An earlier attempt got through after all, or there are several: the search shows which.
                self._pause(PAUSES[0])
            found = self._found(lambda: self._denial(correction, old))
        if found is None:
            raise NotProven("POST Consent/_search: not found after it was accepted")
        return _reference(found)

    def _denial(self, correction: Correction, old: FiledConsent) -> Resource | None:
        system, value = self._filing.identifier_system, str(denial_id(correction, old.purpose))
        found = self._client.search("Consent", {"identifier": token(system, value)})
        if not all(has_identifier(resource, system, value) for resource in found):
            raise Rejected("POST Consent/_search: the server ignored the identifier")
        if len(found) > 1:
            raise Conflict("POST Consent/_search: several with one identifier")
        return found[0] if found else None

    def _prove_denial(self, correction: Correction, old: FiledConsent) -> None:
        found = self._found(lambda: self._denial(correction, old))
        if found is None:
            raise NotProven("Consent: not found after it was accepted")
        self._check_patient(found, correction)
        if found.get("status") != "active" or part(found, "provision").get("type") != "deny":
            raise NotProven("Consent: read back different from what was sent")

    def _record(self, correction: Correction, targets: list[str]) -> None:
        """Make sure of the Provenance."""
        if not targets:
            raise Rejected("the correction changes nothing")
        if self._provenance(correction, targets[0]) is not None:
            return
        made = correction_provenance(correction, self._filing, targets)
        validate(transaction([{"resource": made, "request": {"method": "POST", "url": "Provenance"}}]))
        id = None
        if "Provenance" in creates_by_put(self._client.capabilities()):
            id = str(correction_provenance_id(correction))
            made = {"resourceType": "Provenance", "id": id, **made}
        self._client.write("Provenance", json.dumps(made).encode(), id=id)

    def _provenance(self, correction: Correction, target: str) -> Resource | None:
        found = self._client.search("Provenance", {"target": target}, whole=True)
        # Who else has changed the same resource has left one too.
        return next((p for p in found if is_provenance_of(correction, self._filing, p)), None)

    def _found(self, look: Callable[[], Resource | None]) -> Resource | None:
        """Look until a search has caught up, or for as long as PAUSES allow."""
        for pause in (0.0, *PAUSES):
            if pause:
                self._pause(pause)
            if (found := look()) is not None:
                return found
        return None


_POST = {"method": "POST", "url": "Consent"}


def _reference(resource: Resource) -> str:
    kind, id = resource.get("resourceType"), resource.get("id")
    if not is_id(id):
        raise NotProven(f"{kind}: read back without an id")
    return f"{kind}/{id}"
