"""Who the operator is on the server: exactly one active match, or the name alone."""

from __future__ import annotations

from typing import Any

import pytest

from kiosk.demo.fhir_server import DemoFhirServer
from kiosk.errors import ServerBusy, Unreachable
from kiosk.fhir.client import FhirClient
from kiosk.fhir.practitioners import with_reference
from kiosk.model import Identifier, Practitioner

NUMBER = Identifier("urn:staff", "4711")
NURSE = Practitioner("apatel", "A. Patel RN", identifier=NUMBER)


def practitioner(id: str, value: str = "4711", **changes: Any) -> dict[str, Any]:
    number = [{"system": "urn:staff", "value": value}]
    return {"resourceType": "Practitioner", "id": id, "identifier": number, **changes}


def resolved(*held: dict[str, Any], operator: Practitioner = NURSE, fault: str = "none") -> Practitioner:
    with DemoFhirServer(patients=(), visits=held) as server:
        server.faults.set(fault)
        with FhirClient(server.base_url, timeout=(1.0, 2.0)) as client:
            try:
                return with_reference(client, operator)
            finally:
                asked = {(r.method, r.path) for r in server.requests}
                assert asked <= {("POST", "/fhir/Practitioner/_search")}


@pytest.mark.parametrize(
    ("held", "reference"),
    [
        ([practitioner("a")], "Practitioner/a"),
        ([practitioner("a", active=True), practitioner("b", active=False)], "Practitioner/a"),
        ([practitioner("a", active=False)], None),
        ([practitioner("a"), practitioner("b")], None),
        ([practitioner("a", "4712")], None),
        ([], None),
    ],
)
def test_exactly_one_active_match(held: list[dict[str, Any]], reference: str | None) -> None:
    found = resolved(*held)
    assert (found.reference, found.name, found.identifier) == (reference, NURSE.name, NUMBER)


@pytest.mark.parametrize("fault", ["status 400", "status 403", "status 404", "login-page"])
def test_a_server_without_practitioners_leaves_the_name(fault: str) -> None:
    assert resolved(practitioner("a"), fault=fault) == NURSE


@pytest.mark.parametrize(("fault", "error"), [("status 503", ServerBusy), ("drop-before", Unreachable)])
def test_a_silent_server_is_asked_again_with_the_delivery(fault: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        resolved(practitioner("a"), fault=fault)


@pytest.mark.parametrize(
    "operator",
    [Practitioner("a", "A"), Practitioner("a", "A", "Practitioner/known", NUMBER)],
)
def test_nobody_is_asked_where_there_is_nothing_to_find(operator: Practitioner) -> None:
    assert resolved(practitioner("a"), operator=operator, fault="status 503") == operator
