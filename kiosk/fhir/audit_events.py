"""A proven delivery as an AuditEvent that carries the newest signed head, and the heads in what IT downloads.

Shape: IHE Basic Audit Log Patterns, PatientCreate (IHE/ITI.BasicAudit, input/fsh/PatientCreate.fsh): client,
server and user as agents; patient and data as entities. Its slices are open: one more entity, a security
resource, holds the head in its details. Codes: R4 audit-event-type, restful-interaction, audit-entity-type,
object-role, network-type; DICOM PS3.16 CID 402 by way of BALP.

About the patient it says the literal reference and nothing else.
"""

from __future__ import annotations

from uuid import UUID, uuid5

from kiosk.errors import Rejected
from kiosk.fhir.answers import Resource, objects, part
from kiosk.fhir.codes import TREATMENT, Coding, concept
from kiosk.fhir.resources import (
    Filing,
    device_reference,
    identifier,
    instant,
    operator_reference,
    transaction,
    validate,
)
from kiosk.heads import SignedHead
from kiosk.model import Receipt, Session

AUDIT_EVENT = "AuditEvent"
PROFILE = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientCreate"
HEAD_DETAIL = "lethe-audit-head-"
"""What the types of the details begin with that hold a head."""

_REST = Coding("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest", "Restful Operation")
_CREATE = Coding("http://hl7.org/fhir/restful-interaction", "create", "create")
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_CLIENT = Coding(_DCM, "110153", "Source Role ID")
_SERVER = Coding(_DCM, "110152", "Destination Role ID")
_AUTHOR = Coding("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "AUT", "author (originator)")
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_PERSON = Coding(_ENTITY, "1", "Person")
_SYSTEM_OBJECT = Coding(_ENTITY, "2", "System Object")
_OTHER = Coding(_ENTITY, "4", "Other")
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_PATIENT = Coding(_ROLE, "1", "Patient")
_DOMAIN_RESOURCE = Coding(_ROLE, "4", "Domain Resource")
_SECURITY_RESOURCE = Coding(_ROLE, "13", "Security Resource")
_SOURCE_TYPE = "http://terminology.hl7.org/CodeSystem/security-source-type"
_USER_DEVICE = Coding(_SOURCE_TYPE, "1", "User Device")
_MACHINE_NAME, _URI = "1", "5"


def event_id(session: Session) -> UUID:
    """The id of the session's AuditEvent, where the server lets us choose."""
    return uuid5(session.id, "audit-event")


def delivery_event(
    session: Session, filing: Filing, receipt: Receipt, head: SignedHead, server: str
) -> Resource:
    """The AuditEvent, without an id, checked against R4. `server`: the FHIR base address. Raises Rejected.

    Its time is the receipt's, which is the server's own and the same for every attempt.
    """
    event: Resource = {
        "resourceType": AUDIT_EVENT,
        "meta": {"profile": [PROFILE]},
        "type": _REST.to_fhir(),
        "subtype": [_CREATE.to_fhir()],
        "action": "C",
        "recorded": instant(receipt.delivered_at),
        "outcome": "0",
        "purposeOfEvent": [concept(TREATMENT)],
        "agent": [
            {
                "type": concept(_CLIENT),
                "who": device_reference(session, filing),
                "requestor": False,
                "network": {"address": session.station, "type": _MACHINE_NAME},
            },
            {
                "type": concept(_SERVER),
                "who": {"display": server},
                "requestor": False,
                "network": {"address": server, "type": _URI},
            },
            {"type": concept(_AUTHOR), "who": operator_reference(session.operator), "requestor": True},
        ],
        "source": {"observer": device_reference(session, filing), "type": [_USER_DEVICE.to_fhir()]},
        "entity": [
            {
                "what": {"reference": f"Patient/{session.patient.id}"},
                "type": _PERSON.to_fhir(),
                "role": _PATIENT.to_fhir(),
            },
            {
                "what": {"identifier": identifier(filing, session.id)},
                "type": _SYSTEM_OBJECT.to_fhir(),
                "role": _DOMAIN_RESOURCE.to_fhir(),
                # The only thing in it that R4 can search for (entity-name).
                "name": str(session.id),
            },
            {
                "type": _OTHER.to_fhir(),
                "role": _SECURITY_RESOURCE.to_fhir(),
                "description": "Signed head of the kiosk's audit chain",
                "detail": [
                    {"type": HEAD_DETAIL + name, "valueString": value}
                    for name, value in head.to_fields().items()
                ],
            },
        ],
    }
    validate(transaction([{"resource": event, "request": {"method": "POST", "url": AUDIT_EVENT}}]))
    return event


def tells_of(event: Resource, filing: Filing, session: Session) -> bool:
    """Whether this AuditEvent is the one of the session: some servers ignore what they cannot search."""
    wanted = identifier(filing, session.id)
    return any(part(part(entity, "what"), "identifier") == wanted for entity in objects(event, "entity"))


def heads_in(document: Resource) -> list[SignedHead]:
    """The signed heads in an AuditEvent or a Bundle of them; AuditEvents of others carry none.

    Raises Rejected for another resource, KioskError for a head that is not of its form.
    """
    kind = document.get("resourceType")
    if kind == "Bundle":
        resources = (part(entry, "resource") for entry in objects(document, "entry"))
        events = (resource for resource in resources if resource.get("resourceType") == AUDIT_EVENT)
        return [head for event in events for head in heads_in(event)]
    if kind != AUDIT_EVENT:
        raise Rejected("neither a Bundle nor an AuditEvent")
    heads: list[SignedHead] = []
    for entity in objects(document, "entity"):
        details = {str(d.get("type")): d.get("valueString") for d in objects(entity, "detail")}
        fields = {k.removeprefix(HEAD_DETAIL): v for k, v in details.items() if k.startswith(HEAD_DETAIL)}
        if fields:
            heads.append(SignedHead.from_fields(fields))
    return heads
