"""What every Destination promises. A new one gets a World and a subclass of DestinationContract."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from enum import Enum, auto
from typing import Any, Protocol
from uuid import UUID, uuid4

import pytest
from PIL import Image

from kiosk import errors
from kiosk.demo.fhir_server import DemoFhirServer
from kiosk.destinations.base import Destination, receipt_id
from kiosk.destinations.fhir import SURELY_TAKEN, FhirDestination
from kiosk.fhir.answers import Resource
from kiosk.fhir.audit_events import heads_in
from kiosk.fhir.auth import BasicAuth
from kiosk.fhir.client import FhirClient, Pieces
from kiosk.fhir.resources import Filing
from kiosk.heads import SignedHead
from kiosk.model import (
    Aspect,
    BodySite,
    Decision,
    HumanName,
    Identifier,
    Laterality,
    Patient,
    Photo,
    Practitioner,
    Region,
    Session,
    Sex,
    Stage,
)
from tests import nouns
from tests.nouns import AT, NHS
from tests.peers.stand_in import StandIn

MARKERS = ("MARKERFAMILY", "Markergiven", "9998887776", "marker-patient-1", "1931-02-03", "MARKERNURSE")


class Trouble(Enum):
    """What can go wrong on the way."""

    LOST_ANSWERS = auto()
    BUSY_FOR_7_SECONDS = auto()
    BUSY = auto()
    UNREACHABLE = auto()
    REFUSED = auto()
    NOT_SIGNED_IN = auto()
    FORBIDDEN = auto()
    LOGIN_PAGE = auto()
    LOGIN_PAGE_INSTEAD_OF_AN_ANSWER = auto()
    SIGNED_OUT_BEFORE_THE_PROOF = auto()
    WRONG_ADDRESS = auto()
    CORRUPT_READ_BACK = auto()
    DANGLING = auto()


class Killed(BaseException):
    """Stands for kill -9."""


class World(Protocol):
    """A destination with the far side in our hands."""

    destination: Destination

    def patient(self, number: int) -> Patient: ...

    def stored(self) -> dict[str, int]: ...

    def expected(self, *sessions: Session) -> dict[str, int]: ...

    def photographs_of(self, patient: Patient) -> list[str]: ...

    def recorded(self) -> list[SignedHead]:
        """The heads in the far side's audit, oldest first."""
        ...

    def record_texts(self) -> list[str]:
        """The records in the far side's audit, as they are stored."""
        ...

    def refuse_records(self, trouble: str) -> None:
        """Let the far side refuse, from now on, what `anchor` sends: words of the demo server's faults."""
        ...

    def trouble(self, trouble: Trouble) -> None: ...

    def calm(self) -> None: ...

    def dying(self, step: int, after: bool) -> Destination:
        """The same destination, killed before or after its `step`th outward request."""
        ...


class Album:
    """The sealed photographs of a session, and what became of every plaintext that was handed out."""

    def __init__(self) -> None:
        self.jpegs: dict[UUID, bytes] = {}
        self.out: list[bytearray] = []

    def add(self, number: int, at_least: int = 0) -> Photo:
        """A new photograph; `at_least` bytes: what follows the picture's end is no part of it."""
        pixels = hashlib.sha256(uuid4().bytes).digest() * 96
        stream = io.BytesIO()
        Image.frombytes("RGB", (32, 32), pixels).save(stream, "JPEG", quality=90)
        jpeg = stream.getvalue().ljust(at_least, b"\xfe")
        photo = Photo(
            id=uuid4(),
            number=number,
            taken_at=AT,
            site=BodySite(Region.FOREARM, Laterality.LEFT, Aspect.FRONT),
            frame=number,
            width=32,
            height=32,
            size=len(jpeg),
            sha256=hashlib.sha256(jpeg).hexdigest(),
        )
        self.jpegs[photo.id] = jpeg
        return photo

    def open(self, photo: Photo) -> bytearray:
        assert not any(map(any, self.out)), "two photographs in plaintext at once"
        self.out.append(bytearray(self.jpegs[photo.id]))
        return self.out[-1]


def make_session(
    patient: Patient, photos: tuple[Photo, ...] = (), decision: Decision = Decision.PERMIT
) -> Session:
    given = nouns.consent(decision, id=uuid4(), at=AT)
    nurse = Practitioner("s-1", "MARKERNURSE RN")
    return nouns.session(given, photos, id=uuid4(), patient=patient, operator=nurse)


def nothing(stage: Stage) -> None:
    """Progress that nobody watches."""


def assert_silent(error: BaseException) -> None:
    """No patient data in the error, in what it was raised from, or in its attributes."""
    text = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    assert not [marker for marker in MARKERS if marker.lower() in text.lower()]


def head_number(seq: int) -> SignedHead:
    return SignedHead(
        "ward-7", str(UUID(int=7, version=4)), seq, hashlib.sha256(b"%d" % seq).hexdigest(), "5" * 128
    )


class DestinationContract:
    """Run by every implementation; the subclass provides `world`."""

    @pytest.fixture
    def album(self) -> Album:
        return Album()

    @pytest.fixture
    def session(self, world: World, album: Album) -> Session:
        return make_session(world.patient(1), (album.add(1), album.add(2)))

    def test_delivers_and_says_so(self, world: World, album: Album, session: Session) -> None:
        stages: list[Stage] = []
        receipt = world.destination.deliver(session, album.open, stages.append)
        assert receipt.id == receipt_id(session.id)
        assert (receipt.session, receipt.photos) == (session.id, 2)
        assert receipt.destination == world.destination.name
        assert receipt.delivered_at.tzinfo is not None
        assert [*dict.fromkeys(stages)] == [Stage.SENDING, Stage.PROVING]
        assert world.stored() == world.expected(session)
        assert world.photographs_of(session.patient) == sorted(p.sha256 for p in session.photos)

    def test_plaintext_is_overwritten(self, world: World, album: Album, session: Session) -> None:
        world.destination.deliver(session, album.open, nothing)
        assert len(album.out) == 2
        assert all(len(b) > 100 and not any(b) for b in album.out)

    def test_twenty_times_the_same(self, world: World, album: Album, session: Session) -> None:
        receipts = {world.destination.deliver(session, album.open, nothing) for _ in range(20)}
        assert len(receipts) == 1
        assert world.stored() == world.expected(session)
        assert len(album.out) == 2, "a photograph was opened although it was there already"

    @pytest.mark.parametrize("stage", [Stage.SENDING, Stage.PROVING])
    def test_killed_at_a_stage(self, world: World, album: Album, session: Session, stage: Stage) -> None:
        def die(now: Stage) -> None:
            if now is stage:
                raise Killed

        with pytest.raises(Killed):
            world.destination.deliver(session, album.open, die)
        assert world.destination.deliver(session, album.open, nothing).photos == 2
        assert world.stored() == world.expected(session)

    @pytest.mark.parametrize("number", [0, 1])
    def test_killed_when_a_photograph_is_opened(
        self, world: World, album: Album, session: Session, number: int
    ) -> None:
        def die(photo: Photo) -> bytearray:
            if photo == session.photos[number]:
                raise Killed
            return album.open(photo)

        with pytest.raises(Killed):
            world.destination.deliver(session, die, nothing)
        world.destination.deliver(session, album.open, nothing)
        assert world.stored() == world.expected(session)

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    def test_killed_at_every_request(self, world: World, after: bool) -> None:
        sessions: list[Session] = []
        for step in range(1, 100):
            album = Album()
            session = make_session(world.patient(1), (album.add(1), album.add(2)))
            sessions.append(session)
            try:
                world.dying(step, after).deliver(session, album.open, nothing)
            except Killed:
                assert not any(map(any, album.out)), "a plaintext outlived the attempt"
                world.destination.deliver(session, album.open, nothing)
            else:
                break
        assert 5 < len(sessions) < 99, "the steps were not walked to the end"
        assert world.stored() == world.expected(*sessions)

    def test_answers_get_lost_after_every_commit(self, world: World, album: Album, session: Session) -> None:
        world.trouble(Trouble.LOST_ANSWERS)
        lost = 0
        while True:
            try:
                world.destination.deliver(session, album.open, nothing)
                break
            except errors.Unreachable as e:
                assert_silent(e)
                lost += 1
                assert lost < 10
        assert lost >= 3, "consent and two photographs"
        assert world.stored() == world.expected(session)

    @pytest.mark.parametrize(
        ("trouble", "expected"),
        [
            (Trouble.BUSY_FOR_7_SECONDS, errors.ServerBusy),
            (Trouble.BUSY, errors.ServerBusy),
            (Trouble.UNREACHABLE, errors.Unreachable),
            (Trouble.REFUSED, errors.Rejected),
            (Trouble.NOT_SIGNED_IN, errors.NotLetIn),
            (Trouble.FORBIDDEN, errors.NotLetIn),
            (Trouble.LOGIN_PAGE, errors.NotLetIn),
            (Trouble.LOGIN_PAGE_INSTEAD_OF_AN_ANSWER, errors.NotLetIn),
            (Trouble.SIGNED_OUT_BEFORE_THE_PROOF, errors.NotLetIn),
            (Trouble.WRONG_ADDRESS, errors.NotLetIn),
            (Trouble.CORRUPT_READ_BACK, errors.NotProven),
            (Trouble.DANGLING, errors.NotProven),
        ],
    )
    def test_trouble_is_told_and_nothing_is_claimed(
        self,
        world: World,
        album: Album,
        session: Session,
        trouble: Trouble,
        expected: type[errors.DeliveryError],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        world.trouble(trouble)
        with pytest.raises(expected) as raised:
            world.destination.deliver(session, album.open, nothing)
        assert_silent(raised.value)
        assert not [m for m in MARKERS if m.lower() in caplog.text.lower()]
        if isinstance(raised.value, errors.ServerBusy):
            assert raised.value.retry_after == (7 if trouble is Trouble.BUSY_FOR_7_SECONDS else None)
        assert raised.value.retryable is (expected not in (errors.Rejected, errors.NotProven))

    @pytest.mark.parametrize(
        "trouble", [t for t in Trouble if t not in (Trouble.DANGLING, Trouble.LOST_ANSWERS)]
    )
    def test_trouble_passes(self, world: World, album: Album, session: Session, trouble: Trouble) -> None:
        world.trouble(trouble)
        with pytest.raises(errors.DeliveryError):
            world.destination.deliver(session, album.open, nothing)
        world.calm()
        assert world.destination.deliver(session, album.open, nothing).photos == 2
        assert world.stored() == world.expected(session)

    def test_dangling_stays_unproven(self, world: World, album: Album, session: Session) -> None:
        world.trouble(Trouble.DANGLING)
        for _ in range(3):
            with pytest.raises(errors.NotProven):
                world.destination.deliver(session, album.open, nothing)
            world.calm()
        assert world.stored() == world.expected(session), "it was sent again although it was there"

    @pytest.mark.parametrize("decision", [Decision.DENY, Decision.WITHDRAWN])
    def test_refusal_is_recorded_without_photographs(
        self, world: World, album: Album, decision: Decision
    ) -> None:
        session = make_session(world.patient(1), (), decision)
        receipts = {world.destination.deliver(session, album.open, nothing) for _ in range(2)}
        assert [r.photos for r in receipts] == [0]
        assert world.stored() == world.expected(session)
        assert world.photographs_of(session.patient) == []

    def test_two_patients_do_not_mix(self, world: World) -> None:
        albums = [Album(), Album()]
        sessions = [
            make_session(world.patient(n + 1), tuple(album.add(k + 1) for k in range(2)))
            for n, album in enumerate(albums)
        ]

        def die_at_proving(stage: Stage) -> None:
            if stage is Stage.PROVING:
                raise Killed

        for session, album in zip(sessions, albums, strict=True):
            with pytest.raises(Killed):
                world.destination.deliver(session, album.open, die_at_proving)
        receipts = [
            world.destination.deliver(session, album.open, nothing)
            for session, album in zip(reversed(sessions), reversed(albums), strict=True)
        ]
        assert receipts[0].id != receipts[1].id
        assert world.stored() == world.expected(*sessions)
        for session in sessions:
            assert world.photographs_of(session.patient) == sorted(p.sha256 for p in session.photos)

    def test_a_photograph_that_is_not_the_manifests_is_not_sent(
        self, world: World, album: Album, session: Session
    ) -> None:
        album.jpegs[session.photos[1].id] += b"more"
        with pytest.raises(errors.Rejected) as raised:
            world.destination.deliver(session, album.open, nothing)
        assert_silent(raised.value)
        assert world.photographs_of(session.patient) == [session.photos[0].sha256]
        assert not any(map(any, album.out))

    # --- the record in the far side's audit ----------------------------------------------------

    def test_a_delivery_is_recorded_with_the_head(self, world: World, album: Album, session: Session) -> None:
        receipt = world.destination.deliver(session, album.open, nothing)
        assert world.recorded() == [], "delivering alone records nothing"
        world.destination.anchor(session, receipt, head_number(4))
        assert world.recorded() == [head_number(4)]
        assert world.stored() == world.expected(session)

    def test_a_refusal_by_the_patient_is_recorded_too(self, world: World, album: Album) -> None:
        session = make_session(world.patient(1), (), Decision.DENY)
        receipt = world.destination.deliver(session, album.open, nothing)
        world.destination.anchor(session, receipt, head_number(4))
        assert world.recorded() == [head_number(4)]

    def test_a_record_names_the_patient_by_reference_only(
        self, world: World, album: Album, session: Session
    ) -> None:
        receipt = world.destination.deliver(session, album.open, nothing)
        world.destination.anchor(session, receipt, head_number(4))
        (text,) = world.record_texts()
        assert text.count(session.patient.id) == 1
        person = ("MARKERFAMILY", "Markergiven", session.patient.identifier.value, "1931-02-03")
        assert not [word for word in person if word.lower() in text.lower()]

    def test_twenty_records_are_one(self, world: World, album: Album, session: Session) -> None:
        receipt = world.destination.deliver(session, album.open, nothing)
        for _ in range(20):
            world.destination.anchor(session, receipt, head_number(4))
        assert world.recorded() == [head_number(4)]

    def test_two_sessions_of_one_patient_are_two_records(self, world: World, album: Album) -> None:
        for number in (1, 2):
            session = make_session(world.patient(1), (album.add(1),))
            receipt = world.destination.deliver(session, album.open, nothing)
            for _ in range(2):
                world.destination.anchor(session, receipt, head_number(number))
        assert world.recorded() == [head_number(1), head_number(2)]

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    def test_killed_at_every_request_of_recording(self, world: World, after: bool) -> None:
        for step in range(1, 20):
            album = Album()
            session = make_session(world.patient(1), (album.add(1),))
            receipt = world.destination.deliver(session, album.open, nothing)
            try:
                world.dying(step, after).anchor(session, receipt, head_number(step))
            except Killed:
                assert world.destination.deliver(session, album.open, nothing) == receipt
                world.destination.anchor(session, receipt, head_number(step))
            else:
                break
        assert 2 < step < 19, "the steps were not walked to the end"
        assert world.recorded() == [head_number(number) for number in range(1, step + 1)]

    @pytest.mark.parametrize(
        ("trouble", "expected"),
        [
            ("status 405", errors.Rejected),
            ("status 403", errors.NotLetIn),
            # As a PUT it is about the resource, as a POST about the server: refused either way.
            ("status 404", errors.DeliveryError),
            ("status 422", errors.Rejected),
            ("status 400", errors.Rejected),
            ("status 501", errors.Rejected),
            ("status 409", errors.Conflict),
            ("status 503", errors.ServerBusy),
            ("login-page", errors.NotLetIn),
            ("drop-before", errors.Unreachable),
            ("drop-after-commit", errors.Unreachable),
        ],
    )
    def test_a_refused_record_is_told_and_undoes_nothing(
        self,
        world: World,
        album: Album,
        session: Session,
        trouble: str,
        expected: type[errors.DeliveryError],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        receipt = world.destination.deliver(session, album.open, nothing)
        world.refuse_records(trouble)
        with pytest.raises(expected) as raised:
            world.destination.anchor(session, receipt, head_number(4))
        assert_silent(raised.value)
        assert not [m for m in MARKERS if m.lower() in caplog.text.lower()]
        assert world.stored() == world.expected(session)
        assert world.destination.deliver(session, album.open, nothing) == receipt
        world.calm()
        world.destination.anchor(session, receipt, head_number(4))
        assert world.recorded() == [head_number(4)]


# --- FHIR ------------------------------------------------------------------------------------

FILING = Filing("urn:lethe:photo", "Wound clinic, room 4")


class DyingClient(FhirClient):
    """Killed before or after its nth request; what was sent has arrived."""

    step, after = 0, False

    def _send(self, *args: Any, **kwargs: Any) -> Any:
        self.step -= 1
        if self.step == 0 and not self.after:
            raise Killed
        answer = super()._send(*args, **kwargs)
        if self.step == 0:
            raise Killed
        return answer


def whole_of(body: bytes | Pieces) -> bytes:
    """What is sent, in one."""
    return body if isinstance(body, bytes) else b"".join(body)


class LateClient(FhirClient):
    """Its first transactions of a kind are still under way when the client has given up waiting."""

    def __init__(self, base_url: str, **kwargs: Any) -> None:
        super().__init__(base_url, **kwargs)
        self.late = ""
        self.under_way: list[bytes] = []

    def transaction(self, body: bytes | Pieces) -> Resource:
        if self.late and self.late.encode() in (sent := whole_of(body)):
            # A copy, as the network has one: the photograph is wiped when this raises.
            self.under_way.append(sent)
            raise errors.Unreachable("POST Bundle: timed out")
        return super().transaction(body)

    def arrive(self) -> None:
        """What was under way is carried out by the server, and nobody hears its answer."""
        self.late = ""
        while self.under_way:
            self.transaction(self.under_way.pop(0))


class FhirWorld:
    """The demo's record server, with two patients who carry the markers."""

    def __init__(
        self, server: DemoFhirServer | StandIn, clients: Callable[[type[FhirClient]], FhirClient]
    ) -> None:
        self.server = server
        self._clients = clients
        self.pauses: list[float] = []
        self.client = clients(FhirClient)
        self.destination = FhirDestination(self.client, FILING, pause=self.pauses.append)

    def patient(self, number: int) -> Patient:
        return marked(number)

    def stored(self) -> dict[str, int]:
        kinds = ("Consent", "DocumentReference", "Binary", "Provenance")
        return {kind: self.server.store.count(kind) for kind in kinds}

    def expected(self, *sessions: Session) -> dict[str, int]:
        photos = sum(len(s.photos) for s in sessions)
        return {
            "Consent": 3 * len(sessions),
            "DocumentReference": len(sessions) + photos,
            "Binary": photos,
            "Provenance": len(sessions),
        }

    def photographs_of(self, patient: Patient) -> list[str]:
        found = []
        for document in self.server.store.all("DocumentReference"):
            attachment = document["content"][0]["attachment"]
            if document["subject"]["reference"] == f"Patient/{patient.id}" and "url" in attachment:
                data = self.server.store.binary_bytes(attachment["url"].removeprefix("Binary/"))
                found.append(hashlib.sha256(data).hexdigest())
        return sorted(found)

    def recorded(self) -> list[SignedHead]:
        return [head for event in self.server.store.all("AuditEvent") for head in heads_in(event)]

    def record_texts(self) -> list[str]:
        return [json.dumps(event) for event in self.server.store.all("AuditEvent")]

    def refuse_records(self, trouble: str) -> None:
        method = "PUT" if self.server.store.update_create else "POST"
        # The question before it is a POST too, to a longer path.
        exact = "" if method == "PUT" else "$"
        self.server.faults.set(f"{trouble} on={method}:/fhir/AuditEvent{exact}")

    def trouble(self, trouble: Trouble) -> None:
        if trouble is Trouble.UNREACHABLE:
            self.server.set_network(False)
            return
        self.server.faults.set(
            {
                Trouble.LOST_ANSWERS: "drop-after-commit on=POST:/fhir$",
                Trouble.BUSY_FOR_7_SECONDS: "retry-after 7",
                Trouble.BUSY: "status 503 on=POST:/fhir$",
                Trouble.REFUSED: "status 422 on=POST:/fhir$",
                Trouble.NOT_SIGNED_IN: "status 401",
                Trouble.FORBIDDEN: "status 403 on=POST:/fhir$",
                Trouble.LOGIN_PAGE: "login-page",
                Trouble.LOGIN_PAGE_INSTEAD_OF_AN_ANSWER: "login-page on=POST:/fhir$",
                Trouble.SIGNED_OUT_BEFORE_THE_PROOF: "login-page on=GET:/fhir/Binary",
                Trouble.WRONG_ADDRESS: "status 404",
                Trouble.CORRUPT_READ_BACK: "corrupt-readback",
                Trouble.DANGLING: "dangling-url",
            }[trouble]
        )

    def calm(self) -> None:
        self.server.faults.clear()
        self.server.set_network(True)

    def late(self, kind: str) -> tuple[LateClient, Destination]:
        """A client that hears nothing of the transactions that hold this type, and its destination."""
        client = self._clients(LateClient)
        assert isinstance(client, LateClient)
        client.late = f'"resourceType": "{kind}"'
        return client, FhirDestination(client, FILING, pause=self.pauses.append)

    def dying(self, step: int, after: bool) -> Destination:
        client = self._clients(DyingClient)
        assert isinstance(client, DyingClient)
        client.step, client.after = step, after
        return FhirDestination(client, FILING, pause=self.pauses.append)


def marked(number: int) -> Patient:
    return Patient(
        id=f"marker-patient-{number}",
        name=HumanName("MARKERFAMILY", "Markergiven", "Ms"),
        identifier=Identifier(NHS, f"999888777{5 + number}"),
        birth_date=date(1931, 2, 3),
        sex=Sex.FEMALE,
    )


def marker_patient(patient: Patient) -> Resource:
    return {
        "resourceType": "Patient",
        "id": patient.id,
        "identifier": [{"system": patient.identifier.system, "value": patient.identifier.value}],
        "name": [{"family": patient.name.family, "given": [patient.name.given]}],
    }


SERVERS = {
    "update-create": ("demo", {"update_create": True}),
    "server-chooses-ids": ("demo", {"update_create": False}),
    "real": ("real", {"transactions": True, "updateCreate": True}),
    "real-batch-server-chooses-ids": ("real", {"transactions": False, "updateCreate": False}),
}
"""The demo's record server, and one that nobody here wrote, which may run a transaction as a batch."""


@pytest.fixture(params=SERVERS.values(), ids=SERVERS)
def fhir(request: pytest.FixtureRequest) -> Iterator[FhirWorld]:
    yield from fhir_world(request)


def fhir_world(request: pytest.FixtureRequest) -> Iterator[FhirWorld]:
    which, options = request.param
    opened: list[FhirClient] = []
    patients = [marker_patient(marked(number)) for number in (1, 2)]
    with (
        StandIn(request.getfixturevalue("real_fhir"), patients, **options)
        if which == "real"
        else DemoFhirServer(patients, **options)
    ) as server:

        def client(kind: type[FhirClient]) -> FhirClient:
            opened.append(kind(server.base_url, timeout=(2.0, 5.0)))
            return opened[-1]

        yield FhirWorld(server, client)
        for each in opened:
            each.close()
        assert server.crashes == []


class TestFhirDestination(DestinationContract):
    @pytest.fixture
    def world(self, fhir: FhirWorld) -> FhirWorld:
        return fhir

    def test_identifiers_stay_out_of_addresses(
        self, world: FhirWorld, album: Album, session: Session
    ) -> None:
        world.destination.deliver(session, album.open, nothing)
        for request in world.server.requests:
            text = repr(request.path)
            assert not [m for m in MARKERS if m in text], "patient data in an address"
            assert str(session.photos[0].id) not in text

    def test_several_with_one_identifier(self, world: FhirWorld, album: Album, session: Session) -> None:
        world.destination.deliver(session, album.open, nothing)
        twin = next(
            d
            for d in world.server.store.all("DocumentReference")
            if d["identifier"][0]["value"] == str(session.photos[0].id)
        )
        world.server.store.create(
            {k: v for k, v in twin.items() if k not in ("id", "meta")}, "DocumentReference"
        )
        with pytest.raises(errors.Conflict) as raised:
            world.destination.deliver(session, album.open, nothing)
        assert_silent(raised.value)

    @pytest.mark.parametrize(
        ("kind", "change"),
        [
            ("DocumentReference", {"subject": {"reference": "Patient/marker-patient-2"}}),
            ("DocumentReference", {"status": "entered-in-error"}),
            ("Consent", {"patient": {"reference": "Patient/marker-patient-2"}}),
            ("Consent", {"status": "inactive"}),
            ("Consent", {"provision": {"type": "permit"}}),
            ("Consent", {"provision": {"type": "deny"}}),
        ],
    )
    def test_anything_changed_is_not_proven(
        self, world: FhirWorld, album: Album, session: Session, kind: str, change: Resource
    ) -> None:
        world.destination.deliver(session, album.open, nothing)
        first = world.server.store.all(kind)[0]
        world.server.store.update({**first, **change}, kind, first["id"])
        with pytest.raises(errors.NotProven) as raised:
            world.destination.deliver(session, album.open, nothing)
        assert_silent(raised.value)

    def test_a_changed_form_is_not_proven(self, world: FhirWorld, album: Album, session: Session) -> None:
        world.destination.deliver(session, album.open, nothing)
        form = next(
            d for d in world.server.store.all("DocumentReference") if "data" in d["content"][0]["attachment"]
        )
        form["content"][0]["attachment"]["data"] = "AAAA" + form["content"][0]["attachment"]["data"][4:]
        world.server.store.update(form, "DocumentReference", form["id"])
        with pytest.raises(errors.NotProven):
            world.destination.deliver(session, album.open, nothing)

    def test_a_form_that_the_server_moved_to_a_binary_is_proven(
        self, world: FhirWorld, album: Album, session: Session
    ) -> None:
        first = world.destination.deliver(session, album.open, nothing)
        store = world.server.store
        form = next(d for d in store.all("DocumentReference") if "data" in d["content"][0]["attachment"])
        attachment = form["content"][0]["attachment"]
        moved = store.create(
            {
                "resourceType": "Binary",
                "contentType": "application/pdf",
                "data": attachment.pop("data"),
            },
            "Binary",
        ).stored
        attachment["url"] = f"{world.server.base_url}/Binary/{moved.resource['id']}"
        store.update(form, "DocumentReference", form["id"])
        assert world.destination.deliver(session, album.open, nothing).id == first.id

    def test_an_unknown_wording_is_refused_before_anything_is_sent(
        self, world: FhirWorld, album: Album, session: Session
    ) -> None:
        strange = replace(session, consent=replace(session.consent, text_version="1999-01"))
        with pytest.raises(errors.Rejected):
            world.destination.deliver(strange, album.open, nothing)
        assert world.server.requests == []

    def test_a_missing_part_is_sent_alone(self, world: FhirWorld, album: Album, session: Session) -> None:
        """A server that ran the transaction as a batch and stopped halfway."""
        whole = world.client.transaction
        sent: list[int] = []

        def half(body: bytes | Pieces) -> Resource:
            bundle = json.loads(whole_of(body))
            sent.append(len(bundle["entry"]))
            if len(sent) > 1:
                return whole(body)
            kept = {**bundle, "entry": bundle["entry"][:1]}
            answer = whole(json.dumps(kept).encode())
            failed = {"response": {"status": "422 Unprocessable"}}
            return {**answer, "entry": [*answer["entry"], *[failed] * (len(bundle["entry"]) - 1)]}

        world.client.transaction = half  # type: ignore[method-assign]
        with pytest.raises(errors.Rejected, match="entry 1 Consent 422"):
            world.destination.deliver(session, album.open, nothing)
        world.destination.deliver(session, album.open, nothing)
        assert sent[:2] == [5, 4], "form, three Consents, Provenance; then all but the form"
        assert world.stored() == world.expected(session)

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            ("409 Conflict", errors.Conflict),
            ("412 Precondition Failed", errors.Conflict),
            ("503 Busy", errors.ServerBusy),
            ("400 Bad", errors.Rejected),
            ("banana", errors.Rejected),
            (None, errors.Rejected),
        ],
    )
    def test_every_entrys_status_counts(
        self, world: FhirWorld, album: Album, session: Session, status: str | None, expected: type[Exception]
    ) -> None:
        def answer(body: bytes | Pieces) -> Resource:
            entries = [{"response": {"status": "201 Created"}} for _ in range(4)]
            return {"entry": [*entries, {"response": {"status": status} if status else {}}]}

        world.client.transaction = answer  # type: ignore[method-assign]
        with pytest.raises(expected):
            world.destination.deliver(session, album.open, nothing)

    def test_an_answer_that_lacks_entries_is_not_believed(
        self, world: FhirWorld, album: Album, session: Session
    ) -> None:
        world.client.transaction = lambda body: {"entry": []}  # type: ignore[method-assign]
        with pytest.raises(errors.NotProven):
            world.destination.deliver(session, album.open, nothing)

    def test_a_write_that_never_turns_up_is_not_proven(
        self, world: FhirWorld, album: Album, session: Session
    ) -> None:
        ok = [{"response": {"status": "201"}}] * 5
        world.client.transaction = lambda body: {"entry": ok}  # type: ignore[method-assign]
        with pytest.raises(errors.NotProven):
            world.destination.deliver(session, album.open, nothing)
        assert len(world.pauses) == 3, "a lagging index gets its time first"

    def test_a_conflict_of_what_got_through_is_success(
        self, world: FhirWorld, album: Album, session: Session
    ) -> None:
        whole = world.client.transaction

        def conflict(body: bytes | Pieces) -> Resource:
            whole(body)
            raise errors.Conflict("POST Bundle: 409")

        world.client.transaction = conflict  # type: ignore[method-assign]
        assert world.destination.deliver(session, album.open, nothing).photos == 2
        assert world.stored() == world.expected(session)

    def test_a_server_that_ignores_the_identifier_is_refused(
        self, world: FhirWorld, album: Album, session: Session
    ) -> None:
        world.destination.deliver(session, album.open, nothing)
        everything = world.server.store.all("DocumentReference")
        world.client.search = lambda resource_type, parameters: everything  # type: ignore[method-assign]
        other = make_session(world.patient(1), ())
        with pytest.raises(errors.Rejected, match="ignored the identifier"):
            world.destination.deliver(other, album.open, nothing)

    def test_an_attachment_elsewhere_is_not_fetched(
        self, world: FhirWorld, album: Album, session: Session
    ) -> None:
        world.destination.deliver(session, album.open, nothing)
        store = world.server.store
        document = next(d for d in store.all("DocumentReference") if "url" in d["content"][0]["attachment"])
        document["content"][0]["attachment"]["url"] = "http://127.0.0.1:9/fhir/Binary/1"
        store.update(document, "DocumentReference", document["id"])
        with pytest.raises(errors.NotProven, match="does not lead to this server"):
            world.destination.deliver(session, album.open, nothing)

    # --- an answer that comes too late ---------------------------------------------------------

    @pytest.mark.parametrize("kind", ["Provenance", "Binary"])
    def test_the_first_attempt_arrives_between_the_seconds_question_and_its_sending(
        self, world: FhirWorld, album: Album, session: Session, kind: str
    ) -> None:
        first, destination = world.late(kind)
        with pytest.raises(errors.Unreachable):
            destination.deliver(session, album.open, nothing)
        whole = world.client.transaction

        def send(body: bytes | Pieces) -> Resource:
            if f'"resourceType": "{kind}"'.encode() in whole_of(body):
                first.arrive()
            return whole(body)

        world.client.transaction = send  # type: ignore[method-assign]
        receipt = world.destination.deliver(session, album.open, nothing)
        assert world.stored() == world.expected(session)
        assert world.photographs_of(session.patient) == sorted(p.sha256 for p in session.photos)
        assert world.destination.deliver(session, album.open, nothing) == receipt

    @pytest.mark.parametrize("kind", ["Provenance", "Binary"])
    def test_the_first_attempt_arrives_after_the_second_was_proven(
        self, world: FhirWorld, album: Album, session: Session, kind: str
    ) -> None:
        first, destination = world.late(kind)
        with pytest.raises(errors.Unreachable):
            destination.deliver(session, album.open, nothing)
        receipt = world.destination.deliver(session, album.open, nothing)
        first.arrive()
        expected = world.expected(session)
        if not world.server.store.update_create:
            expected[kind] += 1  # Nobody is left to hear of it: see FhirDestination.
        assert world.stored() == expected
        assert world.photographs_of(session.patient) == sorted(p.sha256 for p in session.photos)
        assert world.destination.deliver(session, album.open, nothing) == receipt

    @pytest.mark.parametrize("waits", [(1.2, 1.8), (1.8, 0.0)], ids=["first-first", "second-first"])
    def test_a_server_that_answers_too_late(
        self, world: FhirWorld, album: Album, waits: tuple[float, float]
    ) -> None:
        session = make_session(world.patient(1), (album.add(1),))
        with pytest.raises(Killed):
            world.dying(4, True).deliver(session, album.open, nothing)
        assert world.server.store.count("Consent") == 3
        for wait in waits:
            world.server.faults.set(f"delay {wait} times=1 on=POST:/fhir$")
        with (
            FhirClient(world.server.base_url, timeout=(2.0, 10.0)) as client,
            FhirClient(world.server.base_url, timeout=(2.0, 0.6)) as hasty,
        ):
            # Impatient with the transaction only: a busy machine is slow with everything.
            client.transaction = hasty.transaction  # type: ignore[method-assign]
            with pytest.raises(errors.Unreachable):
                FhirDestination(client, FILING).deliver(session, album.open, nothing)
        whole = world.client.transaction
        second: list[Resource] = []

        def send(body: bytes | Pieces) -> Resource:
            second.append(whole(body))
            return second[-1]

        world.client.transaction = send  # type: ignore[method-assign]
        world.destination.deliver(session, album.open, nothing)
        deadline = time.monotonic() + 10
        # On a machine so busy that the first attempt arrived before the second asked, there is no second.
        while [r.path for r in world.server.requests].count("/fhir") < 2 + len(second):
            assert time.monotonic() < deadline, "the first attempt never arrived"
            time.sleep(0.02)
        expected = world.expected(session)
        if second and not world.server.store.update_create and waits[1] == 0:
            expected["Binary"] += 1
        assert world.stored() == expected

    def test_a_transaction_that_is_still_being_carried_out_is_waited_for(
        self, world: FhirWorld, album: Album, session: Session
    ) -> None:
        """Two attempts at once: the second is refused with 409 before the first can be seen."""
        whole = world.client.transaction
        hidden: list[bytes] = []

        def conflict(body: bytes | Pieces) -> Resource:
            hidden.append(whole_of(body))
            raise errors.Conflict("POST Bundle: 409")

        def pause(_: float) -> None:
            while hidden:
                whole(hidden.pop())

        world.client.transaction = conflict  # type: ignore[method-assign]
        FhirDestination(world.client, FILING, pause=pause).deliver(session, album.open, nothing)
        assert world.stored() == world.expected(session)

    def test_the_capability_statement_is_read_once(
        self, world: FhirWorld, album: Album, session: Session
    ) -> None:
        world.destination.deliver(session, album.open, nothing)
        asked = [r for r in world.server.requests if r.path == "/fhir/metadata"]
        assert len(asked) == 1

    @pytest.mark.parametrize(
        "trouble", ["status 405", "status 403", "status 503", "drop-before", "login-page"]
    )
    def test_a_surplus_that_may_not_be_deleted_stays(
        self, world: FhirWorld, album: Album, session: Session, trouble: str
    ) -> None:
        first, destination = world.late("Binary")
        with pytest.raises(errors.Unreachable):
            destination.deliver(session, album.open, nothing)
        whole = world.client.transaction

        def send(body: bytes | Pieces) -> Resource:
            first.arrive()
            return whole(body)

        world.client.transaction = send  # type: ignore[method-assign]
        world.server.faults.set(f"{trouble} on=DELETE:/fhir")
        assert world.destination.deliver(session, album.open, nothing).photos == 2
        expected = world.expected(session)
        expected["Binary"] += 0 if world.server.store.update_create else 1
        assert world.stored() == expected

    def test_a_record_is_valid_and_of_its_profile(
        self, world: FhirWorld, album: Album, session: Session
    ) -> None:
        from fhir.resources.R4B.auditevent import AuditEvent

        receipt = world.destination.deliver(session, album.open, nothing)
        world.destination.anchor(session, receipt, head_number(4))
        (stored,) = world.server.store.all("AuditEvent")
        event = AuditEvent.model_validate(stored)
        # IHE BALP PatientCreate, by its slices.
        assert (event.type.code, event.action, event.outcome) == ("rest", "C", "0")
        assert [coding.code for coding in event.subtype] == ["create"]
        assert event.recorded == receipt.delivered_at
        client, server, user = event.agent
        assert [agent.type.coding[0].code for agent in event.agent] == ["110153", "110152", "AUT"]
        assert [agent.requestor for agent in event.agent] == [False, False, True]
        assert (client.network.address, client.network.type) == (session.station, "1")
        assert (server.network.address, server.network.type) == (world.server.base_url, "5")
        assert user.network is None
        assert event.source.observer == client.who
        patient, data, _head = event.entity
        assert [entity.type.code for entity in event.entity] == ["1", "2", "4"]
        assert [entity.role.code for entity in event.entity] == ["1", "4", "13"]
        assert patient.what.model_dump(exclude_none=True) == {"reference": f"Patient/{session.patient.id}"}
        assert data.what.identifier.value == str(session.id)
        assert stored["meta"]["profile"][0].endswith("IHE.BasicAudit.PatientCreate")

    def test_a_later_attempt_puts_the_newer_head(
        self, world: FhirWorld, album: Album, session: Session
    ) -> None:
        receipt = world.destination.deliver(session, album.open, nothing)
        for seq in (4, 9):
            world.destination.anchor(session, receipt, head_number(seq))
        assert world.recorded() == [head_number(9 if world.server.store.update_create else 4)]

    def test_a_server_that_does_not_let_us_ask_gets_the_record_all_the_same(
        self, world: FhirWorld, album: Album, session: Session
    ) -> None:
        receipt = world.destination.deliver(session, album.open, nothing)
        world.server.faults.set("status 400 on=POST:/fhir/AuditEvent/_search")
        for _ in range(2):
            world.destination.anchor(session, receipt, head_number(4))
        assert len(world.recorded()) == (1 if world.server.store.update_create else 2)

    def test_another_ones_record_is_not_taken_for_ours(
        self, world: FhirWorld, album: Album, session: Session
    ) -> None:
        """A server that ignores what it cannot search shows every AuditEvent of the patient."""
        other = make_session(session.patient, (album.add(1),))
        receipt = world.destination.deliver(other, album.open, nothing)
        world.destination.anchor(other, receipt, head_number(4))
        everything = world.server.store.all("AuditEvent")
        world.client.search = lambda resource_type, parameters: everything  # type: ignore[method-assign]
        world.destination.anchor(session, receipt, head_number(5))
        assert world.recorded() == [head_number(4), head_number(5)]

    def test_what_is_in_use_is_never_deleted(self, world: FhirWorld, album: Album, session: Session) -> None:
        """A server that says 200 for what it has just created."""
        whole = world.client.transaction

        def muddled(body: bytes | Pieces) -> Resource:
            answer = whole(body)
            for entry in answer["entry"]:
                if entry["response"]["location"].startswith(("DocumentReference/", "Consent/")):
                    entry["response"]["status"] = "200 OK"
            return answer

        world.client.transaction = muddled  # type: ignore[method-assign]
        world.destination.deliver(session, album.open, nothing)
        assert world.stored() == world.expected(session)
        assert not [r for r in world.server.requests if r.method == "DELETE"]


# --- a photograph that the server finds too long for a transaction ---------------------------------

LONG = 1_200_000
SHORT_SIGHTED = {
    "update-create": ("demo", {"max_data": 1024 * 1024}),
    "server-chooses-ids": ("demo", {"max_data": 1024 * 1024, "update_create": False}),
    "413": ("demo", {"max_body": 1_400_000}),
    "real": ("real", {"transactions": True, "updateCreate": True}),
    "real-batch-server-chooses-ids": ("real", {"transactions": False, "updateCreate": False}),
}
"""The real one takes bodies of any length, and 1 MiB in a base64Binary."""


class TestTooLongForATransaction:
    def test_the_limit_is_below_all_of_theirs(self) -> None:
        assert SURELY_TAKEN * 4 // 3 < 1024 * 1024 < LONG < 1_400_000 < LONG * 4 // 3

    @pytest.fixture(params=SHORT_SIGHTED.values(), ids=SHORT_SIGHTED)
    def world(self, request: pytest.FixtureRequest) -> Iterator[FhirWorld]:
        yield from fhir_world(request)

    @pytest.fixture
    def album(self) -> Album:
        return Album()

    @pytest.fixture
    def session(self, world: FhirWorld, album: Album) -> Session:
        return make_session(world.patient(1), (album.add(1), album.add(2, LONG), album.add(3, LONG)))

    def test_the_bytes_go_first(self, world: FhirWorld, album: Album, session: Session) -> None:
        receipt = world.destination.deliver(session, album.open, nothing)
        assert world.stored() == world.expected(session)
        assert world.photographs_of(session.patient) == sorted(p.sha256 for p in session.photos)
        assert not any(map(any, album.out))
        assert len(album.out) == 4, "what is too long is found out once"
        assert world.destination.deliver(session, album.open, nothing) == receipt
        contexts = {b["securityContext"]["reference"] for b in world.server.store.all("Binary")}
        assert contexts == {f"Patient/{session.patient.id}"}

    def test_a_refused_document_takes_its_bytes_along(
        self, world: FhirWorld, album: Album, session: Session
    ) -> None:
        whole = world.client.transaction

        def refuse(body: bytes | Pieces) -> Resource:
            if len(body) < LONG and b"Binary" in whole_of(body):
                refused = errors.Rejected("POST Bundle: 422")
                refused.status = 422
                raise refused
            return whole(body)

        short = make_session(world.patient(1), (album.add(1, LONG),))
        world.client.transaction = refuse  # type: ignore[method-assign]
        with pytest.raises(errors.Rejected):
            world.destination.deliver(short, album.open, nothing)
        assert world.stored()["Binary"] == 0
        assert not any(map(any, album.out))

    def test_a_short_one_that_is_refused_stays_refused(self, world: FhirWorld, album: Album) -> None:
        world.trouble(Trouble.REFUSED)
        short = make_session(world.patient(1), (album.add(1),))
        with pytest.raises(errors.Rejected):
            world.destination.deliver(short, album.open, nothing)
        assert not [r for r in world.server.requests if r.path.startswith("/fhir/Binary")]

    def test_the_answer_to_the_bytes_gets_lost(self, world: FhirWorld, album: Album) -> None:
        """Where the server chooses ids, that leaves a Binary that nothing refers to: see FhirDestination."""
        session = make_session(world.patient(1), (album.add(1, LONG),))
        method = "PUT" if world.server.store.update_create else "POST"
        world.server.faults.set(f"drop-after-commit times=1 on={method}:/fhir/Binary")
        with pytest.raises(errors.Unreachable):
            world.destination.deliver(session, album.open, nothing)
        world.destination.deliver(session, album.open, nothing)
        expected = world.expected(session)
        expected["Binary"] += 0 if world.server.store.update_create else 1
        assert world.stored() == expected
        assert world.photographs_of(session.patient) == [session.photos[0].sha256]

    def test_the_bytes_vanish_before_the_proof(self, world: FhirWorld, album: Album) -> None:
        session = make_session(world.patient(1), (album.add(1, LONG), album.add(2)))

        def lose(stage: Stage) -> None:
            if stage is Stage.PROVING:
                for binary in world.server.store.all("Binary"):
                    world.client.delete("Binary", binary["id"])

        world.destination.deliver(session, album.open, lose)
        assert world.stored() == world.expected(session)
        assert world.photographs_of(session.patient) == sorted(p.sha256 for p in session.photos)


# --- attachments that come back as addresses elsewhere ------------------------------------------------


class TestSignedAddresses:
    @pytest.fixture(params=["demo", "real"])
    def world(self, request: pytest.FixtureRequest) -> Iterator[FhirWorld]:
        request.param = (request.param, {"signed": True})
        yield from fhir_world(request)

    def deliver(self, world: FhirWorld, *elsewhere: str) -> Session:
        album = Album()
        session = make_session(world.patient(1), (album.add(1),))
        with FhirClient(world.server.base_url, auth=BasicAuth("u", "p"), elsewhere=elsewhere) as client:
            FhirDestination(client, FILING, pause=world.pauses.append).deliver(session, album.open, nothing)
        return session

    def reads(self, world: FhirWorld) -> list[Any]:
        return [r for r in world.server.requests if r.path.startswith("/storage/")]

    def test_they_are_read_back_now_without_credentials(self, world: FhirWorld) -> None:
        session = self.deliver(world, world.server.storage_url)
        assert world.stored() == world.expected(session)
        (binary,) = world.server.store.all("Binary")
        (read,) = self.reads(world)
        assert binary["id"] in read.path
        assert not read.signed_in
        assert any(r.signed_in for r in world.server.requests), "or nothing is shown by that"

    def test_nowhere_else(self, world: FhirWorld) -> None:
        with pytest.raises(errors.NotProven, match="does not lead to this server"):
            self.deliver(world)
        with pytest.raises(errors.NotProven, match="does not lead to this server"):
            self.deliver(world, world.server.storage_url + "/deeper")
        assert self.reads(world) == []
