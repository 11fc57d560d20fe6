"""Who the operator is on the record server, found by the identifier of the staff file.

Resolved by the delivery process and not at the sign-in: a sign-in works offline, and whoever delivers has the
server at hand. Until then the identifier waits in the sealed manifest.
"""

from __future__ import annotations

from dataclasses import replace

from kiosk.errors import Conflict, NotLetIn, NotProven, Rejected
from kiosk.fhir.answers import has_identifier, is_id, token
from kiosk.fhir.client import FhirClient
from kiosk.model import Practitioner


def with_reference(client: FhirClient, operator: Practitioner) -> Practitioner:
    """The operator with a reference where exactly one active Practitioner has the identifier.

    Otherwise as before, and so known by name only: also when the server has no Practitioners, or does not let
    us see them. Raises DeliveryError (retryable) when it does not answer.
    """
    number = operator.identifier
    if operator.reference is not None or number is None:
        return operator
    try:
        found = client.search("Practitioner", {"identifier": token(number.system, number.value)})
    except (Rejected, NotLetIn, NotProven, Conflict):
        return operator
    ids = {
        str(r["id"])
        for r in found
        if is_id(r.get("id"))
        and r.get("active") is not False
        and has_identifier(r, number.system, number.value)
    }
    return replace(operator, reference=f"Practitioner/{ids.pop()}") if len(ids) == 1 else operator
