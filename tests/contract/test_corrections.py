"""Withdrawals and wrong-patient corrections against the demo's server, after a real delivery."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from kiosk import errors
from kiosk.demo.fhir_server import DemoFhirServer
from kiosk.destinations.corrections import FhirCorrector
from kiosk.destinations.fhir import FhirDestination
from kiosk.errors import LookupFailed, Problem
from kiosk.fhir.answers import Resource
from kiosk.fhir.client import FhirClient
from kiosk.fhir.receipts import ReceiptDirectory
from kiosk.model import (
    PHOTOS_MAX,
    Act,
    Correction,
    Filed,
    Match,
    Practitioner,
    Purpose,
    Session,
    Signer,
    Stage,
)
from kiosk.receipts import receipt_id
from tests import nouns
from tests.contract.test_destination import (
    FILING,
    NHS,
    Album,
    DyingClient,
    Killed,
    assert_silent,
    make_session,
    marked,
    marker_patient,
    nothing,
)

AT = datetime(2026, 11, 24, 9, 0, 0, 250_000, tzinfo=UTC)
OTHER_NURSE = Practitioner("mjones", "M. Jones RN")
KINDS = ("Consent", "DocumentReference", "Binary", "Provenance", "RelatedPerson")


class World:
    """A record server with one delivered session, and what can be done about it."""

    def __init__(self, server: DemoFhirServer, client: Callable[[type[FhirClient]], FhirClient]) -> None:
        self.server = server
        self.make_client = client
        self.client = client(FhirClient)
        self.pauses: list[float] = []
        self.corrector = FhirCorrector(self.client, FILING, pause=self.pauses.append)
        self.directory = ReceiptDirectory(self.client, FILING, (NHS,))
        self.session = self.delivers(1)

    def delivers(self, patient: int, signer: Signer = Signer.PATIENT) -> Session:
        album = Album()
        session = make_session(marked(patient), (album.add(1), album.add(2)))
        session = replace(session, consent=replace(session.consent, signer=signer))
        FhirDestination(self.client, FILING, pause=self.pauses.append).deliver(session, album.open, nothing)
        return session

    def finds(self, session: Session | None = None) -> Filed:
        return self.directory.find(receipt_id((session or self.session).id))

    def correction(self, act: Act, *purposes: Purpose, retracts: bool = True) -> Correction:
        return Correction(uuid4(), "ward-7", OTHER_NURSE, act, self.finds(), purposes, retracts, AT)

    def state(self) -> dict[str, Any]:
        """Everything but Patients: status, verdict, and how often it was written."""
        store = self.server.store
        return {
            f"{kind}/{r['id']}": (
                r.get("status", r.get("active")),
                r.get("provision"),
                r["meta"]["versionId"],
            )
            for kind in KINDS
            for r in store.all(kind)
        }

    def consents(self) -> list[tuple[str, str, str]]:
        found = self.server.store.all("Consent")
        return sorted(
            (c["provision"]["purpose"][0]["code"], c["provision"]["type"], c["status"]) for c in found
        )

    def documents(self, session: Session | None = None) -> dict[str, list[str]]:
        wanted = receipt_id((session or self.session).id)
        found: dict[str, list[str]] = {}
        for document in self.server.store.all("DocumentReference"):
            if any(i["value"] == wanted for i in document["identifier"]):
                content_type = document["content"][0]["attachment"]["contentType"]
                found.setdefault(content_type, []).append(document["status"])
        return found


@pytest.fixture(params=[True, False], ids=["update-create", "server-chooses-ids"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    opened: list[FhirClient] = []
    patients = [marker_patient(marked(number)) for number in (1, 2)]
    with DemoFhirServer(patients, update_create=request.param) as server:

        def client(kind: type[FhirClient]) -> FhirClient:
            opened.append(kind(server.base_url))
            return opened[-1]

        yield World(server, client)
        for one in opened:
            one.close()
        assert server.crashes == []


PERMITTED = [("HRESCH", "deny", "active"), ("TRAIN", "permit", "active"), ("TREAT", "permit", "active")]
CURRENT = {"image/jpeg": ["current", "current"], "application/pdf": ["current"]}
IN_ERROR = {"image/jpeg": ["entered-in-error"] * 2, "application/pdf": ["entered-in-error"]}


# --- finding -------------------------------------------------------------------------------------


def test_a_receipt_leads_to_everything_and_to_nothing_else(world: World) -> None:
    world.delivers(2)
    filed = world.finds()
    held = filed.patient
    assert (held.id, held.identifier) == (world.session.patient.id, world.session.patient.identifier)
    assert (held.name.family, held.match) == ("MARKERFAMILY", Match.RECEIPT)
    assert filed.operator == "MARKERNURSE RN"
    assert filed.at == nouns.AT
    assert (len(filed.photos), len(filed.forms), len(filed.consents)) == (2, 1, 3)
    assert filed.permitted() == (Purpose.RECORD, Purpose.TEACHING)
    assert filed.choice(Purpose.RESEARCH) is False
    assert (filed.proxies, filed.retracted) == ((), False)


def test_receipts_are_asked_for_in_the_body(world: World) -> None:
    world.finds()
    assert all("R-" not in record.path for record in world.server.requests)


def refusal(world: World, receipt: str) -> LookupFailed:
    with pytest.raises(LookupFailed) as raised:
        world.directory.find(receipt)
    assert_silent(raised.value)
    return raised.value


def test_an_unknown_receipt(world: World) -> None:
    assert refusal(world, "R-0000-0000").problem is Problem.RECEIPT_UNKNOWN


def test_a_receipt_of_another_server(world: World) -> None:
    consent = world.server.store.all("Consent")[0]
    copied = {k: v for k, v in consent.items() if k not in ("id", "meta", "sourceReference", "performer")}
    copied["identifier"] = [{"system": FILING.receipt_system, "value": "R-0000-0001"}]
    copied["patient"] = {"reference": "https://other.example/fhir/Patient/marker-patient-1"}
    world.server.store.create(copied, "Consent")
    assert refusal(world, "R-0000-0001").problem is Problem.RECEIPT_ELSEWHERE


def test_two_sessions_with_one_receipt_are_a_hard_stop(world: World) -> None:
    other = world.delivers(2)
    for document in world.server.store.all("DocumentReference"):
        if document["identifier"][1]["value"] == receipt_id(other.id):
            document["identifier"][1]["value"] = receipt_id(world.session.id)
            world.server.store.update(document, "DocumentReference", document["id"])
    assert refusal(world, receipt_id(world.session.id)).problem is Problem.RECEIPT_AMBIGUOUS


@pytest.mark.parametrize(
    ("fault", "problem", "retryable"),
    [
        ("status 503", Problem.LOOKUP_UNREACHABLE, True),
        ("drop-before", Problem.LOOKUP_UNREACHABLE, True),
        ("status 401", Problem.LOOKUP_REFUSED, False),
        ("status 400", Problem.LOOKUP_REFUSED, False),
        ("login-page", Problem.LOOKUP_REFUSED, False),
    ],
)
def test_a_server_that_does_not_answer(world: World, fault: str, problem: Problem, retryable: bool) -> None:
    world.server.faults.set(fault)
    failed = refusal(world, receipt_id(world.session.id))
    assert (failed.problem, failed.retryable) == (problem, retryable)


def test_a_server_that_ignores_the_parameter_shows_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.client, "search", lambda kind, *_, **__: world.server.store.all(kind))
    assert refusal(world, "R-0000-0000").problem is Problem.RECEIPT_UNKNOWN


def test_a_whole_set_of_photographs_is_found_and_marked(world: World) -> None:
    """Twenty photographs and a form are more than the first page of some servers."""
    album = Album()
    photos = tuple(album.add(number) for number in range(1, PHOTOS_MAX + 1))
    world.session = make_session(marked(2), photos)
    FhirDestination(world.client, FILING).deliver(world.session, album.open, nothing)
    assert len(world.finds().photos) == PHOTOS_MAX
    world.corrector.correct(world.correction(Act.WRONG_PATIENT), nothing)
    assert world.documents()["image/jpeg"] == ["entered-in-error"] * PHOTOS_MAX


def test_a_part_of_what_is_filed_is_not_taken_for_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiosk.fhir.client.WHOLE", 2)
    assert refusal(world, receipt_id(world.session.id)).problem is Problem.LOOKUP_REFUSED


# --- what is done ----------------------------------------------------------------------------------


def test_one_purpose_is_withdrawn(world: World) -> None:
    stages: list[Stage] = []
    made = world.correction(Act.WITHDRAW, Purpose.TEACHING)
    receipt = world.corrector.correct(made, stages.append)
    assert stages == [Stage.SENDING, Stage.PROVING]
    assert (receipt.id, receipt.session, receipt.photos) == (receipt_id(made.id), made.id, 0)
    assert world.consents() == [
        ("HRESCH", "deny", "active"),
        ("TRAIN", "deny", "active"),
        ("TRAIN", "permit", "inactive"),
        ("TREAT", "permit", "active"),
    ]
    assert world.documents() == CURRENT
    filed = world.finds()
    assert filed.permitted() == (Purpose.RECORD,)
    assert not filed.retracted


def test_who_did_it_and_why(world: World) -> None:
    made = world.correction(Act.WITHDRAW, Purpose.TEACHING)
    world.corrector.correct(made, nothing)
    _, provenance = world.server.store.all("Provenance")
    assert [a["type"]["coding"][0]["code"] for a in provenance["agent"]] == ["enterer", "assembler"]
    assert provenance["agent"][0]["who"]["display"] == "M. Jones RN"
    assert provenance["agent"][1]["who"]["identifier"]["value"] == "ward-7"
    assert provenance["reason"] == [{"text": "Consent withdrawn"}]
    assert provenance["activity"]["coding"][0]["code"] == "UPDATE"
    assert datetime.fromisoformat(provenance["recorded"]) == AT
    targets = [t["reference"] for t in provenance["target"]]
    assert len(targets) == 2
    assert all(t.startswith("Consent/") for t in targets)
    denial = world.server.store.get("Consent", targets[0].partition("/")[2])
    assert denial is not None
    assert denial["sourceReference"]["reference"] == targets[1]
    assert denial["performer"][0]["reference"] == "Patient/marker-patient-1"
    assert denial["policyRule"]["text"] == "photo-consent, version 2026-11, en"


@pytest.mark.parametrize("retracts", [True, False])
def test_all_consent_is_withdrawn(world: World, retracts: bool) -> None:
    made = world.correction(Act.WITHDRAW, Purpose.RECORD, Purpose.TEACHING, retracts=retracts)
    receipt = world.corrector.correct(made, nothing)
    assert receipt.photos == (2 if retracts else 0)
    assert world.consents() == [
        ("HRESCH", "deny", "active"),
        ("TRAIN", "deny", "active"),
        ("TRAIN", "permit", "inactive"),
        ("TREAT", "deny", "active"),
        ("TREAT", "permit", "inactive"),
    ]
    assert world.documents() == (
        {"image/jpeg": ["entered-in-error"] * 2, "application/pdf": ["current"]} if retracts else CURRENT
    ), "the form stays: it is the evidence of what was allowed until then"
    filed = world.finds()
    assert filed.permitted() == ()
    assert (filed.in_error, filed.retracted) == (2 if retracts else 0, False)


def test_a_wrong_patient(world: World) -> None:
    other = world.delivers(2)
    receipt = world.corrector.correct(world.correction(Act.WRONG_PATIENT), nothing)
    assert receipt.photos == 2
    assert world.documents() == IN_ERROR
    assert world.documents(other) == CURRENT
    assert [c[2] for c in world.consents()].count("entered-in-error") == 3
    assert world.server.store.count("Consent") == 6, "nobody consented and nobody refused"
    assert world.server.store.count("Binary") == 4
    filed = world.finds()
    assert (filed.retracted, filed.permitted()) == (True, ())
    assert world.finds(other).permitted() == (Purpose.RECORD, Purpose.TEACHING)
    provenance = world.server.store.all("Provenance")[-1]
    assert provenance["activity"]["coding"][0]["code"] == "NULLIFY"
    assert len(provenance["target"]) == 6


def test_a_proxy_of_the_wrong_patient_is_no_longer_one(world: World) -> None:
    world.session = world.delivers(2, Signer.PARENT)
    assert len(world.finds().proxies) == 1
    world.corrector.correct(world.correction(Act.WRONG_PATIENT), nothing)
    (person,) = world.server.store.all("RelatedPerson")
    assert person["active"] is False


def test_a_proxy_s_consent_is_withdrawn_in_the_proxy_s_name(world: World) -> None:
    world.session = world.delivers(2, Signer.PARENT)
    world.corrector.correct(world.correction(Act.WITHDRAW, Purpose.TEACHING), nothing)
    (person,) = world.server.store.all("RelatedPerson")
    denial = world.server.store.all("Consent")[-1]
    assert denial["provision"]["type"] == "deny"
    assert denial["performer"][0]["reference"] == f"RelatedPerson/{person['id']}"


def test_a_wrong_patient_after_a_withdrawal_takes_the_denials_back_too(world: World) -> None:
    before = world.correction(Act.WRONG_PATIENT)
    world.corrector.correct(world.correction(Act.WITHDRAW, Purpose.TEACHING), nothing)
    # Decided on what was seen before the withdrawal arrived.
    world.corrector.correct(before, nothing)
    assert {c[2] for c in world.consents()} == {"entered-in-error"}
    assert world.documents() == IN_ERROR


def test_a_withdrawal_after_a_wrong_patient_revives_nothing(world: World) -> None:
    late = world.correction(Act.WITHDRAW, Purpose.RECORD, Purpose.TEACHING)
    world.corrector.correct(world.correction(Act.WRONG_PATIENT), nothing)
    world.corrector.correct(late, nothing)
    assert {c[2] for c in world.consents()} == {"entered-in-error"}
    assert world.server.store.count("Consent") == 3
    assert world.documents() == IN_ERROR


def test_nothing_else_of_a_resource_changes(world: World) -> None:
    before = {d["id"]: d for d in world.server.store.all("DocumentReference")}
    world.corrector.correct(world.correction(Act.WRONG_PATIENT), nothing)
    for document in world.server.store.all("DocumentReference"):
        old = before[document["id"]]
        assert {k: v for k, v in document.items() if k not in ("meta", "status")} == {
            k: v for k, v in old.items() if k not in ("meta", "status")
        }


# --- again, and in the middle --------------------------------------------------------------------------

WAYS = [(Act.WITHDRAW, (Purpose.RECORD, Purpose.TEACHING)), (Act.WRONG_PATIENT, ())]


@pytest.mark.parametrize(("act", "purposes"), WAYS)
def test_a_second_time_changes_nothing(world: World, act: Act, purposes: tuple[Purpose, ...]) -> None:
    made = world.correction(act, *purposes)
    first = world.corrector.correct(made, nothing)
    state = world.state()
    again = world.corrector.correct(made, nothing)
    assert world.state() == state
    assert replace(again, delivered_at=first.delivered_at) == first


@pytest.mark.parametrize(("act", "purposes"), WAYS)
def test_killed_at_every_step_and_repeated_the_end_is_the_same(
    world: World, act: Act, purposes: tuple[Purpose, ...]
) -> None:
    """Killed after each request; before the next one would leave the server in the same state."""

    def shape() -> list[Any]:
        return sorted(
            [
                str((key.partition("/")[0], status, provision, version))
                for key, (status, provision, version) in world.state().items()
            ]
        )

    world.corrector.correct(world.correction(act, *purposes), nothing)
    whole = shape()
    per_session = len(whole)
    for step in range(1, 200):
        known = set(world.state())
        world.session = world.delivers(2)
        made = world.correction(act, *purposes)
        client = world.make_client(DyingClient)
        assert isinstance(client, DyingClient)
        client.step, client.after = step, True
        try:
            FhirCorrector(client, FILING, pause=world.pauses.append).correct(made, nothing)
        except Killed:
            world.corrector.correct(made, nothing)
            new = {k: v for k, v in world.state().items() if k not in known}
            assert len(new) == per_session
            ends = [str((key.partition("/")[0], *value)) for key, value in new.items()]
            assert sorted(ends) == whole, f"killed at request {step}"
            continue
        break
    assert step > 12, "every request was tried"


@pytest.mark.parametrize("fault", ["drop-after-commit", "drop-before", "status 503", "retry-after 3"])
def test_a_lost_or_busy_answer_is_tried_again(world: World, fault: str) -> None:
    made = world.correction(Act.WITHDRAW, Purpose.TEACHING)
    world.server.faults.set(f"{fault} times=1 on=PUT:/fhir")
    with pytest.raises(errors.DeliveryError) as raised:
        world.corrector.correct(made, nothing)
    assert raised.value.retryable
    assert_silent(raised.value)
    world.corrector.correct(made, nothing)
    assert world.finds().permitted() == (Purpose.RECORD,)
    assert world.server.store.count("Consent") == 4
    assert world.server.store.count("Provenance") == 2


def test_somebody_else_was_faster(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between reading and writing the record changes: the write is refused, and what is new stays."""
    made = world.correction(Act.WRONG_PATIENT)
    photo = made.filed.photos[0]
    read = world.client.read_version
    meddled: list[str] = []

    def meddle(kind: str, id: str) -> Any:
        found = read(kind, id)
        if id == photo and not meddled:
            meddled.append(id)
            newer = {**found.resource, "description": "Renamed by the ward"}
            world.server.store.update(newer, kind, id)
        return found

    monkeypatch.setattr(world.client, "read_version", meddle)
    world.corrector.correct(made, nothing)
    document = world.server.store.get("DocumentReference", photo)
    assert document is not None
    assert (document["description"], document["status"]) == ("Renamed by the ward", "entered-in-error")
    assert 412 in [r.status for r in world.server.requests if r.method == "PUT"]


def test_somebody_else_is_faster_each_time(world: World) -> None:
    made = world.correction(Act.WITHDRAW, Purpose.TEACHING)
    world.server.faults.set("status 409 on=PUT:/fhir/Consent")
    with pytest.raises(errors.Conflict) as raised:
        world.corrector.correct(made, nothing)
    assert not raised.value.retryable
    assert world.consents() == PERMITTED
    assert len(world.pauses) >= 3


def test_a_server_without_versions_is_written_without_a_condition(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = world.client.read_version
    monkeypatch.setattr(world.client, "read_version", lambda *a: replace(read(*a), etag=None))
    world.corrector.correct(world.correction(Act.WITHDRAW, Purpose.TEACHING), nothing)
    assert world.finds().permitted() == (Purpose.RECORD,)


class LateClient(FhirClient):
    """Its writes of one kind are still under way when it has given up waiting."""

    late = ""

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url)
        self.under_way: list[tuple[bytes, dict[str, Any]]] = []

    def write(self, resource_type: str, body: bytes | bytearray, **conditions: Any) -> None:
        if resource_type == self.late:
            self.under_way.append((bytes(body), conditions))
            raise errors.Unreachable(f"{resource_type}: timed out")
        super().write(resource_type, body, **conditions)

    def arrive(self) -> list[str]:
        """What was under way is carried out now. Returns how it ended."""
        ends = []
        kind, self.late = self.late, ""
        for body, conditions in self.under_way:
            try:
                self.write(kind, body, **conditions)
                ends.append("done")
            except errors.Conflict:
                ends.append("conflict")
        return ends


@pytest.mark.parametrize("before", [True, False], ids=["arrives-before", "arrives-after"])
@pytest.mark.parametrize("kind", ["Consent", "DocumentReference", "Provenance"])
def test_a_write_that_arrives_late_changes_nothing(world: World, kind: str, before: bool) -> None:
    made = world.correction(Act.WITHDRAW, Purpose.RECORD, Purpose.TEACHING)
    client = world.make_client(LateClient)
    assert isinstance(client, LateClient)
    if kind == "Consent":
        # The old ones are inactive already: what is late is the one that denies.
        for old in made.withdrawn:
            held = world.server.store.get("Consent", old.id) or {}
            world.server.store.update({**held, "status": "inactive"}, "Consent", old.id)
    client.late = kind
    with pytest.raises(errors.Unreachable):
        FhirCorrector(client, FILING, pause=world.pauses.append).correct(made, nothing)
    assert len(client.under_way) == 1
    if before:
        assert client.arrive() == ["done"]
    world.corrector.correct(made, nothing)
    state = world.state()
    if not before:
        ends = client.arrive()
        if kind == "Provenance" and not world.server.store.update_create:
            # The server chose both ids: the second one says what the first one said.
            assert world.server.store.count("Provenance") == 3
            return
        assert ends == (["conflict"] if kind == "DocumentReference" else ["done"])
    after = world.state()
    assert after.keys() == state.keys()
    assert {k: v[:2] for k, v in after.items()} == {k: v[:2] for k, v in state.items()}
    assert world.server.store.count("Consent") == 5
    assert world.server.store.count("Provenance") == 2


def test_permissions_end_even_where_the_photographs_cannot_be_marked(world: World) -> None:
    made = world.correction(Act.WITHDRAW, Purpose.RECORD, Purpose.TEACHING)
    world.server.faults.set("status 422 on=PUT:/fhir/DocumentReference")
    with pytest.raises(errors.Rejected):
        world.corrector.correct(made, nothing)
    filed = world.finds()
    assert [filed.choice(p) for p in Purpose] == [False, False, False]


@pytest.mark.parametrize("status", [400, 405, 422])
def test_a_server_that_refuses_is_parked_on(world: World, status: int) -> None:
    made = world.correction(Act.WRONG_PATIENT)
    world.server.faults.set(f"status {status} on=PUT:/fhir")
    with pytest.raises(errors.Rejected) as raised:
        world.corrector.correct(made, nothing)
    assert not raised.value.retryable
    assert_silent(raised.value)


@pytest.mark.parametrize("kind", ["Consent", "DocumentReference", "Provenance"])
@pytest.mark.parametrize(("act", "purposes"), WAYS)
def test_a_server_that_says_yes_and_does_nothing_is_not_believed(
    world: World, monkeypatch: pytest.MonkeyPatch, act: Act, purposes: tuple[Purpose, ...], kind: str
) -> None:
    write = world.client.write

    def forget(resource_type: str, body: bytes | bytearray, **conditions: Any) -> None:
        if resource_type != kind:
            write(resource_type, body, **conditions)

    monkeypatch.setattr(world.client, "write", forget)
    with pytest.raises(errors.NotProven) as raised:
        world.corrector.correct(world.correction(act, *purposes), nothing)
    assert kind in raised.value.detail


def test_photographs_that_were_moved_to_another_patient_are_left_alone(world: World) -> None:
    made = world.correction(Act.WRONG_PATIENT)
    photo: Resource = world.server.store.get("DocumentReference", made.filed.photos[0]) or {}
    moved = {**photo, "subject": {"reference": "Patient/marker-patient-2"}}
    world.server.store.update(moved, "DocumentReference", photo["id"])
    with pytest.raises(errors.Rejected):
        world.corrector.correct(made, nothing)
    assert (world.server.store.get("DocumentReference", photo["id"]) or {})["status"] == "current"


def test_a_deleted_photograph_is_for_a_person_to_look_at(world: World) -> None:
    made = world.correction(Act.WRONG_PATIENT)
    world.client.delete("DocumentReference", made.filed.photos[0])
    with pytest.raises(errors.Rejected):
        world.corrector.correct(made, nothing)
