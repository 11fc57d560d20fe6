"""What the record holds under a receipt: the look-up that corrections begin with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kiosk.errors import DeliveryError, LookupFailed, NotLetIn, Problem
from kiosk.fhir.answers import Resource, has_identifier, is_id, objects, part, token
from kiosk.fhir.client import FhirClient
from kiosk.fhir.codes import PURPOSES
from kiosk.fhir.people import own_identifier, patient_noun, text_of
from kiosk.fhir.resources import Filing
from kiosk.model import Filed, FiledConsent, Match

_BY_CODE = {coding.code: purpose for purpose, coding in PURPOSES.items()}
_DEAD = "entered-in-error"


class ReceiptDirectory:
    """Receipts of one server. `systems`: the identifier systems of patients, best first."""

    def __init__(self, client: FhirClient, filing: Filing, systems: Sequence[str]) -> None:
        self._client = client
        self._filing = filing
        self._systems = systems

    def find(self, receipt: str) -> Filed:
        """Everything that was filed under this receipt, in whatever state it is now.

        Raises LookupFailed: RECEIPT_UNKNOWN, RECEIPT_ELSEWHERE (its patient is on another server),
        RECEIPT_AMBIGUOUS, LOOKUP_UNREACHABLE (retryable), LOOKUP_REFUSED.
        """
        try:
            documents = self._search("DocumentReference", receipt)
            consents = self._search("Consent", receipt)
            if not documents and not consents:
                raise LookupFailed("no such receipt", problem=Problem.RECEIPT_UNKNOWN)
            patient = self._patient_id(documents, consents)
            return self._filed(receipt, self._client.read("Patient", patient), documents, consents)
        except DeliveryError as e:
            silent = e.retryable and not isinstance(e, NotLetIn)
            failed = LookupFailed(
                e.detail, problem=Problem.LOOKUP_UNREACHABLE if silent else Problem.LOOKUP_REFUSED
            )
            failed.retryable = silent
        raise failed

    def _search(self, kind: str, receipt: str) -> list[Resource]:
        system = self._filing.receipt_system
        found = self._client.search(kind, {"identifier": token(system, receipt)}, whole=True)
        # A server that ignored the parameter must not offer a stranger's photographs.
        return [r for r in found if has_identifier(r, system, receipt) and is_id(r.get("id"))]

    def _patient_id(self, documents: list[Resource], consents: list[Resource]) -> str:
        references = [
            *(part(d, "subject").get("reference") for d in documents),
            *(part(c, "patient").get("reference") for c in consents),
        ]
        patients = {self._client.local(r) if isinstance(r, str) else "" for r in references}
        if any(not _is_patient(p) for p in patients):
            raise LookupFailed("a patient of another server", problem=Problem.RECEIPT_ELSEWHERE)
        if len(patients) > 1 or len([d for d in documents if not _is_photo(d)]) > 1:
            raise LookupFailed("one receipt, several sessions", problem=Problem.RECEIPT_AMBIGUOUS)
        return patients.pop().partition("/")[2]

    def _filed(
        self, receipt: str, person: Resource, documents: list[Resource], consents: list[Resource]
    ) -> Filed:
        number = own_identifier(person, self._systems)
        if number is None or not is_id(person.get("id")):
            raise LookupFailed("the patient has no known number", problem=Problem.LOOKUP_REFUSED)
        photos = [d for d in documents if _is_photo(d)]
        forms = [d for d in documents if not _is_photo(d)]
        performers = (p.get("reference") for c in consents for p in objects(c, "performer"))
        local = {self._client.local(p) for p in performers if isinstance(p, str)}
        return Filed(
            receipt=receipt,
            patient=patient_noun(person, number, Match.RECEIPT),
            at=min(filter(None, map(_taken, [*photos, *forms])), default=None),
            operator=next(filter(None, map(_author, [*forms, *photos])), ""),
            photos=tuple(str(d["id"]) for d in photos),
            forms=tuple(str(d["id"]) for d in forms),
            consents=tuple(filter(None, map(_consent, consents))),
            proxies=tuple(sorted(p.partition("/")[2] for p in local if p.startswith("RelatedPerson/"))),
            in_error=sum(d.get("status") == _DEAD for d in photos),
            retracted=bool(documents) and all(d.get("status") == _DEAD for d in documents),
        )


def _is_patient(reference: str) -> bool:
    kind, _, id = reference.partition("/")
    return kind == "Patient" and is_id(id)


def _is_photo(document: Resource) -> bool:
    attachments = (part(content, "attachment") for content in objects(document, "content"))
    return any(str(a.get("contentType", "")).startswith("image/") for a in attachments)


def _consent(resource: Resource) -> FiledConsent | None:
    """One purpose and its verdict; None where the Consent is not one of ours."""
    provision = part(resource, "provision")
    purposes = [_BY_CODE.get(str(p.get("code"))) for p in objects(provision, "purpose")]
    if len(purposes) != 1 or purposes[0] is None:
        return None
    active, permits = resource.get("status") == "active", provision.get("type") == "permit"
    return FiledConsent(str(resource["id"]), purposes[0], permits, active)


def _taken(document: Resource) -> datetime | None:
    start = part(part(document, "context"), "period").get("start") or document.get("date")
    try:
        at = datetime.fromisoformat(start) if isinstance(start, str) else None
    except ValueError:
        return None
    return at if at and at.tzinfo else None


def _author(document: Resource) -> str:
    return next((text_of(a.get("display")) for a in objects(document, "author") if a.get("display")), "")
