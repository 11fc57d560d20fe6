"""Who decides for a patient, delivered: a RelatedPerson that is there once, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from kiosk import errors
from kiosk.demo.fhir_server import DemoFhirServer
from kiosk.destinations.fhir import FhirDestination
from kiosk.fhir.client import FhirClient
from kiosk.model import Manner, Practitioner, Purpose, Session, Signer
from tests.contract.test_destination import (
    FILING,
    Album,
    DyingClient,
    Killed,
    make_session,
    marked,
    marker_patient,
    nothing,
)

WITNESS = Practitioner("mjones", "M. Jones RN")


@pytest.fixture(params=[True, False], ids=["update-create", "server-chooses-ids"])
def server(request: pytest.FixtureRequest) -> Iterator[DemoFhirServer]:
    patients = [marker_patient(marked(number)) for number in (1, 2)]
    with DemoFhirServer(patients, update_create=request.param) as running:
        yield running
    assert running.crashes == []


def by_proxy(album: Album) -> Session:
    session = make_session(marked(1), (album.add(1),))
    return replace(
        session, consent=replace(session.consent, signer=Signer.GUARDIAN, signer_name="R. Okonkwo")
    )


def deliver(server: DemoFhirServer, session: Session, album: Album) -> None:
    with FhirClient(server.base_url) as client:
        FhirDestination(client, FILING, pause=lambda _: None).deliver(session, album.open, nothing)


def test_killed_at_every_step_there_is_one_proxy(server: DemoFhirServer) -> None:
    for step in range(1, 60):
        album = Album()
        session = by_proxy(album)
        before = server.store.count("RelatedPerson")
        killed = False
        with DyingClient(server.base_url) as client:
            client.step, client.after = step, True
            try:
                FhirDestination(client, FILING, pause=lambda _: None).deliver(session, album.open, nothing)
            except Killed:
                killed = True
        deliver(server, session, album)
        assert server.store.count("RelatedPerson") == before + 1, f"killed at request {step}"
        person = server.store.all("RelatedPerson")[-1]
        consents = server.store.all("Consent")[-3:]
        assert {c["performer"][0]["reference"] for c in consents} == {f"RelatedPerson/{person['id']}"}
        if not killed:
            break
    assert step > 8, "every request was tried"


def test_a_proxy_of_somebody_else_is_no_proof(server: DemoFhirServer) -> None:
    album = Album()
    session = by_proxy(album)
    deliver(server, session, album)
    (person,) = server.store.all("RelatedPerson")
    moved = {**person, "patient": {"reference": "Patient/marker-patient-2"}}
    server.store.update(moved, "RelatedPerson", person["id"])
    with pytest.raises(errors.NotProven):
        deliver(server, session, album)


def test_a_verbal_consent_and_best_interests_arrive(server: DemoFhirServer) -> None:
    for manner, who in ((Manner.VERBAL, "witness"), (Manner.BEST_INTERESTS, "clinician")):
        album = Album()
        session = make_session(marked(1), (album.add(1),))
        choices = tuple((p, p is Purpose.RECORD) for p in Purpose)
        given = replace(session.consent, strokes=(), choices=choices, manner=manner, **{who: WITNESS})
        deliver(server, replace(session, consent=given), album)
        provenance = server.store.all("Provenance")[-1]
        assert "signature" not in provenance
        assert "M. Jones RN" in [a["who"].get("display") for a in provenance["agent"]]
    assert server.store.count("RelatedPerson") == 0
