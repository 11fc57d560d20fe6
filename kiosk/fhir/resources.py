"""What every bundle is made of, and the one place where resources are validated before they are sent.

Resources are plain dicts, built the same way every time from a Session: nothing in them depends on the clock
or on chance, so that a second attempt sends what the first one sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote
from uuid import UUID, uuid5

from kiosk.errors import Rejected
from kiosk.fhir.answers import Resource, token
from kiosk.fhir.codes import URI_SYSTEM
from kiosk.model import Patient, Practitioner, Session
from kiosk.receipts import receipt_id


@dataclass(frozen=True, slots=True)
class Filing:
    """What a session does not say about itself: the identifier systems and the kiosk's name for people."""

    identifier_system: str
    station_name: str
    receipt_system: str = "urn:lethe:receipt"


@dataclass(frozen=True, slots=True)
class Part:
    """A resource that is found again by its identifier `id`, and the conditional create that makes it."""

    id: UUID
    resource: Resource

    @property
    def kind(self) -> str:
        """The resource type."""
        return str(self.resource["resourceType"])

    @property
    def full_url(self) -> str:
        """The entry's address inside its bundle: never the identifier, which some servers would rewrite."""
        return full_url(self.id)


def full_url(id: UUID) -> str:
    """The urn:uuid under which the resource with this identifier is known inside a bundle."""
    return uuid5(id, "fullUrl").urn


def identifier(filing: Filing, id: UUID) -> Resource:
    """The business identifier that deliveries are recognised by."""
    return {"system": filing.identifier_system, "value": str(id)}


def receipt_identifier(filing: Filing, session: UUID) -> Resource:
    """The identifier by which everything of one session is found again from its receipt."""
    return {"system": filing.receipt_system, "value": receipt_id(session)}


def master_identifier(id: UUID) -> Resource:
    """The globally unique identifier (MHD UniqueIdIdentifier without its profile's type)."""
    return {"system": URI_SYSTEM, "value": id.urn}


def conditional_create(filing: Filing, part: Part) -> Resource:
    """A transaction entry that does nothing when the identifier is already there (R4, ifNoneExist)."""
    wanted = quote(token(filing.identifier_system, str(part.id)), safe=":/")
    return {
        "fullUrl": part.full_url,
        "resource": part.resource,
        "request": {"method": "POST", "url": part.kind, "ifNoneExist": f"identifier={wanted}"},
    }


def unsearched_create(id: UUID, resource: Resource, *, put: bool) -> Resource:
    """A transaction entry for a resource that no search would find again; known in its bundle as `id.urn`.

    put: update as create (R4, 3.1.0.4.1) with `id` as the logical id, so that any number of attempts in any
    order make one resource.  Else a POST, which makes a new one each time.
    """
    kind = str(resource["resourceType"])
    if not put:
        return {"fullUrl": id.urn, "resource": resource, "request": {"method": "POST", "url": kind}}
    return {
        "fullUrl": id.urn,
        "resource": {"resourceType": kind, "id": str(id), **resource},
        "request": {"method": "PUT", "url": f"{kind}/{id}"},
    }


def transaction(entries: Sequence[Resource]) -> Resource:
    """A transaction Bundle."""
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def patient_reference(session: Session) -> Resource:
    """The literal reference to the patient on the server that the look-up asked, with the number besides."""
    return reference_to(session.patient)


def reference_to(patient: Patient) -> Resource:
    """As patient_reference, for a patient without a session."""
    return {
        "reference": f"Patient/{patient.id}",
        "identifier": {"system": patient.identifier.system, "value": patient.identifier.value},
    }


def visit_context(session: Session) -> Resource:
    """The part of DocumentReference.context that names the visit, where there is exactly one."""
    encounter = session.patient.encounter
    return {"encounter": [{"reference": encounter}]} if encounter else {}


def operator_reference(operator: Practitioner) -> Resource:
    """The operator: literally where the staff file or the server knows the reference, else by name."""
    made: Resource = {"type": "Practitioner", "display": operator.name}
    return {"reference": operator.reference, **made} if operator.reference else made


def device_reference(session: Session, filing: Filing) -> Resource:
    """The kiosk, by its identifier: it has no resource of its own on the server."""
    return station_reference(session.station, filing)


def station_reference(station: str, filing: Filing) -> Resource:
    """As device_reference, for a kiosk without a session."""
    return {
        "type": "Device",
        "identifier": {"system": filing.identifier_system, "value": station},
        "display": filing.station_name,
    }


def instant(at: datetime) -> str:
    """An R4 instant or dateTime with the offset of the clock that made it."""
    return at.isoformat(timespec="milliseconds")


def validate(bundle: Resource) -> None:
    """Check a Bundle and everything in it against R4 (fhir.resources R4B).

    Raises Rejected; its detail names places and kinds of faults, never values.
    """
    # Half a second and 25 MB: paid by the child that delivers, not by everyone who imports this.
    from fhir.resources.R4B.bundle import Bundle
    from pydantic import ValidationError

    try:
        Bundle.model_validate(bundle)
    except ValidationError as e:
        faults = [f"{'.'.join(map(str, f['loc']))} {f['type']}" for f in e.errors(include_input=False)]
    else:
        return
    # Raised out here: the validation error quotes patient data and must not be chained.
    raise Rejected(f"not valid R4: {'; '.join(faults)}")
