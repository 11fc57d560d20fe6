"""Recording a proven delivery at the FHIR server, once, as an AuditEvent with a signed head.

Where the server lets us choose the id of a new AuditEvent (CapabilityStatement, updateCreate) it is PUT under
one of the session's own: any number of attempts in any order make one, with the head of the last to arrive.

Other servers are asked first. What remains there: a second AuditEvent when an earlier attempt arrives only
after the question, or when the server does not answer it. Both are true; a verifier takes both.
"""

from __future__ import annotations

import json

from kiosk.errors import Rejected
from kiosk.fhir.audit_events import AUDIT_EVENT, delivery_event, event_id, tells_of
from kiosk.fhir.client import FhirClient
from kiosk.fhir.resources import Filing
from kiosk.heads import SignedHead
from kiosk.model import Receipt, Session

__all__ = ["AUDIT_EVENT", "record_delivery"]


def record_delivery(
    client: FhirClient, filing: Filing, session: Session, receipt: Receipt, head: SignedHead, *, put: bool
) -> None:
    """Write the AuditEvent of one session. The server's 200 or 201 is believed: it may be write-only.

    put: whether the server lets us choose the id.  Raises errors.DeliveryError.
    """
    event = delivery_event(session, filing, receipt, head, client.base_url)
    if put:
        id = str(event_id(session))
        client.write("AuditEvent", json.dumps({**event, "id": id}).encode(), id=id)
    elif not _is_there(client, filing, session):
        client.write("AuditEvent", json.dumps(event).encode())


def _is_there(client: FhirClient, filing: Filing, session: Session) -> bool:
    """Whether an earlier attempt got through. A server that does not let us ask gets a second AuditEvent."""
    asked = {"patient": f"Patient/{session.patient.id}", "entity-name": str(session.id)}
    try:
        found = client.search(AUDIT_EVENT, asked)
    except Rejected:
        return False
    return any(tells_of(event, filing, session) for event in found)
