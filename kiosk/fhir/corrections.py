"""What a withdrawal or a wrong-patient correction writes: denying Consents, new states, a Provenance.

Like everything that is sent, it is built from the sealed Correction alone, so that a second attempt writes
what the first one wrote. Only what the server itself said before (performer, policy) is taken over from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from kiosk.fhir import codes
from kiosk.fhir.answers import Resource, objects, part
from kiosk.fhir.codes import concept
from kiosk.fhir.resources import (
    Filing,
    Part,
    identifier,
    instant,
    operator_reference,
    reference_to,
    station_reference,
)
from kiosk.model import Act, Correction, FiledConsent, Purpose

IN_ERROR = "entered-in-error"


@dataclass(frozen=True, slots=True)
class Change:
    """One resource of the record, and the one element of it that a correction changes."""

    kind: str
    id: str
    element: str
    value: str | bool

    @property
    def reference(self) -> str:
        """`Type/id`."""
        return f"{self.kind}/{self.id}"

    def done(self, resource: Resource) -> bool:
        """Whether the resource is as it shall be. What is entered in error stays so."""
        return resource.get(self.element) in (self.value, IN_ERROR)

    def applied(self, resource: Resource) -> Resource:
        """The resource with the change, and otherwise as the server gave it."""
        return {**resource, self.element: self.value}


def changes(correction: Correction) -> tuple[Change, ...]:
    """Every state that a correction changes."""
    return tuple(_changes(correction))


def _changes(correction: Correction) -> Iterator[Change]:
    filed = correction.filed
    for consent in correction.withdrawn:
        yield Change("Consent", consent.id, "status", "inactive")
    if correction.act is Act.WRONG_PATIENT:
        for consent in filed.consents:
            yield Change("Consent", consent.id, "status", IN_ERROR)
    for photo in correction.retracted_photos:
        yield Change("DocumentReference", photo, "status", IN_ERROR)
    if correction.act is Act.WRONG_PATIENT:
        for form in filed.forms:
            yield Change("DocumentReference", form, "status", IN_ERROR)
        for person in filed.proxies:
            # R4's RelatedPerson has no status; inactive ones are "no longer in use", also for an error.
            yield Change("RelatedPerson", person, "active", False)


def denial_id(correction: Correction, purpose: Purpose) -> UUID:
    """The identifier of the Consent that denies a purpose from now on."""
    return uuid5(correction.id, f"consent:{purpose.value}")


def denial_part(correction: Correction, filing: Filing, old: FiledConsent, before: Resource) -> Part:
    """The Consent that denies what `old` allowed. `before`: old as the server gives it."""
    id, purpose = denial_id(correction, old.purpose), codes.PURPOSES[old.purpose]
    category = [concept(codes.PATIENT_CONSENT), concept(codes.PHOTOGRAPHS)]
    if old.purpose is Purpose.RESEARCH:
        category.append(concept(codes.PHOTOGRAPHS_RESEARCH))
    return Part(
        id,
        {
            "resourceType": "Consent",
            "identifier": [
                identifier(filing, id),
                {"system": filing.receipt_system, "value": correction.filed.receipt},
            ],
            "status": "active",
            "scope": concept(codes.PRIVACY),
            "category": category,
            "patient": reference_to(correction.filed.patient),
            "dateTime": instant(correction.at),
            # The grantor stays the one who had agreed: the patient, or who decides for the patient.
            "performer": objects(before, "performer") or [reference_to(correction.filed.patient)],
            "sourceReference": {"reference": f"Consent/{old.id}"},
            "policyRule": part(before, "policyRule") or concept(text="Consent to photographs, withdrawn"),
            "provision": {"type": "deny", "purpose": [purpose.to_fhir()]},
        },
    )


def correction_provenance_id(correction: Correction) -> UUID:
    """The logical id of the Provenance, where the server lets us choose it."""
    return uuid5(correction.id, "provenance")


def correction_provenance(correction: Correction, filing: Filing, targets: Sequence[str]) -> Resource:
    """Who did it, when, and why; `entity` carries the correction's own identifier, to be recognised by."""
    wrong = correction.act is Act.WRONG_PATIENT
    reason = "Filed in the wrong patient's record" if wrong else "Consent withdrawn"
    return {
        "resourceType": "Provenance",
        "target": [{"reference": target} for target in targets],
        "occurredDateTime": instant(correction.at),
        "recorded": instant(correction.at),
        "reason": [concept(text=reason)],
        "activity": concept(codes.NULLIFY if wrong else codes.UPDATE),
        "agent": [
            {"type": concept(codes.ENTERER), "who": operator_reference(correction.operator)},
            {"type": concept(codes.ASSEMBLER), "who": station_reference(correction.station, filing)},
        ],
        "entity": [
            {
                "role": "source",
                "what": {
                    "identifier": identifier(filing, correction.id),
                    "display": f"{reason}, receipt {correction.filed.receipt}",
                },
            }
        ],
    }


def is_provenance_of(correction: Correction, filing: Filing, resource: Resource) -> bool:
    """Whether this is the Provenance of this correction: it has no identifier of its own in R4."""
    wanted = identifier(filing, correction.id)
    held = (part(part(entity, "what"), "identifier") for entity in objects(resource, "entity"))
    return any(all(i.get(key) == value for key, value in wanted.items()) for i in held)
