"""Today's list and the visit, against the demo's server and against servers that answer oddly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from kiosk.demo.fhir_server import DemoFhirServer
from kiosk.demo.patients import LOCAL_MRN, NHS_NUMBER
from kiosk.demo.visits import CLINIC, ELSEWHERE, ENCOUNTER, demo_visits
from kiosk.errors import DeliveryError, LookupFailed, NotLetIn, Problem, Rejected, ServerBusy, Unreachable
from kiosk.fhir.client import FhirClient
from kiosk.fhir.directory import PatientDirectory
from kiosk.fhir.visits import MOST, PAGE, WHOLE_S, Visits
from kiosk.model import Identifier, Match, Patient

SYSTEMS = (NHS_NUMBER, LOCAL_MRN)
DAY = datetime(2026, 11, 23, 12, 0)


def at(hour: int, minute: int = 0, *, days: int = 0) -> str:
    return (DAY.replace(hour=hour, minute=minute, tzinfo=UTC) + timedelta(days=days)).isoformat()


def patient(id: str, **changes: Any) -> dict[str, Any]:
    number = {"system": NHS_NUMBER, "value": f"999-{id}"}
    name = [{"family": f"Family-{id}"}]
    return {"resourceType": "Patient", "id": id, "identifier": [number], "name": name, **changes}


def appointment(id: str, who: str, start: str | None, status: str = "booked", place: str = CLINIC) -> Any:
    made = {
        "resourceType": "Appointment",
        "id": id,
        "status": status,
        "participant": [
            {"actor": {"reference": f"Patient/{who}"}, "status": "accepted"},
            {"actor": {"reference": place}, "status": "accepted"},
        ],
    }
    return {**made, "start": start} if start else made


def encounter(
    id: str, who: str, start: str | None = None, status: str = "in-progress", where: str | None = None
) -> Any:
    place = {"location": {"reference": CLINIC}, **({"status": where} if where else {})}
    return {
        "resourceType": "Encounter",
        "id": id,
        "status": status,
        "class": {"code": "AMB"},
        "subject": {"reference": f"Patient/{who}"},
        "location": [place],
        **({"period": {"start": start}} if start else {}),
    }


@contextmanager
def asking(
    *visits: Any, patients: Sequence[Any] = (), zone: tzinfo = UTC, now: datetime = DAY
) -> Iterator[tuple[DemoFhirServer, Visits]]:
    """A server with these resources, and the list of its clinic."""
    with (
        DemoFhirServer(patients=patients, visits=visits) as server,
        FhirClient(server.base_url, timeout=(1.0, 2.0)) as client,
    ):
        yield server, Visits(client, SYSTEMS, CLINIC, zone=zone, now=lambda _: now)


def listed(*visits: Any, patients: Sequence[Any], zone: tzinfo = UTC, now: datetime = DAY) -> list[str]:
    with asking(*visits, patients=patients, zone=zone, now=now) as (_, here):
        return [visit.patient.id for visit in here.today().visits]


# --- the demo's clinic ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[DemoFhirServer]:
    with DemoFhirServer(visits=demo_visits(lambda: DAY)) as server:
        yield server


@pytest.fixture
def clinic(server: DemoFhirServer) -> Iterator[Visits]:
    with FhirClient(server.base_url, timeout=(1.0, 2.0)) as client:
        yield Visits(client, SYSTEMS, CLINIC, now=lambda _: DAY)
    server.faults.clear()
    server.set_network(True)


def test_the_demo_clinic(clinic: Visits) -> None:
    found = clinic.today()
    assert not found.cut
    lines = [
        (v.at.astimezone().strftime("%H:%M") if v.at else "", v.patient.id, v.here) for v in found.visits
    ]
    assert lines == [
        ("09:00", "demo-patient-1", True),
        ("09:30", "demo-patient-2", False),
        ("10:15", "demo-patient-3", False),
        ("11:30", "demo-patient-8", False),
        ("", "demo-patient-9", True),
    ]
    first, *_, merged, deceased = (v.patient for v in found.visits)
    assert {v.patient.match for v in found.visits} == {Match.LIST}
    assert first.encounter == ENCOUNTER
    assert first.identifier == Identifier(NHS_NUMBER, "9991230009")
    assert (merged.merged_from, merged.encounter) == (Identifier(NHS_NUMBER, "9992223332"), None)
    assert deceased.deceased


def test_a_list_takes_few_requests(server: DemoFhirServer, clinic: Visits) -> None:
    before = len(server.requests)
    clinic.today()
    asked = [(r.method, r.path) for r in server.requests[before:]]
    # The last one follows the merger.
    assert asked == [
        ("POST", "/fhir/Appointment/_search"),
        ("POST", "/fhir/Encounter/_search"),
        ("GET", "/fhir/Patient/demo-patient-8"),
    ]


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("status 503", Problem.LIST_UNREACHABLE),
        ("retry-after 3", Problem.LIST_UNREACHABLE),
        ("drop-before", Problem.LIST_UNREACHABLE),
        ("delay 3", Problem.LIST_UNREACHABLE),
        ("status 503 on=POST:/fhir/Encounter", Problem.LIST_UNREACHABLE),
        ("status 403", Problem.LIST_REFUSED),
        ("status 404", Problem.LIST_REFUSED),
        ("status 400", Problem.LIST_REFUSED),
        ("login-page", Problem.LIST_REFUSED),
    ],
)
def test_troubles(server: DemoFhirServer, clinic: Visits, fault: str, problem: Problem) -> None:
    server.faults.set(fault)
    with pytest.raises(LookupFailed) as raised:
        clinic.today()
    assert raised.value.problem is problem
    assert raised.value.retryable is (problem is Problem.LIST_UNREACHABLE)
    assert raised.value.__context__ is None


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_server_with_one_half_gives_that_half(server: DemoFhirServer, clinic: Visits, status: int) -> None:
    server.faults.set(f"status {status} on=POST:/fhir/Appointment")
    assert [v.patient.id for v in clinic.today().visits] == ["demo-patient-1", "demo-patient-9"]
    server.faults.clear()
    server.faults.set(f"status {status} on=POST:/fhir/Encounter")
    assert [v.patient.encounter for v in clinic.today().visits] == [None] * 4


# --- what is on it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("visit", "there"),
    [
        (appointment("a", "p", at(9)), True),
        (appointment("a", "p", at(9), "arrived"), True),
        (appointment("a", "p", at(9), "checked-in"), True),
        (appointment("a", "p", at(9), "cancelled"), False),
        (appointment("a", "p", at(9), "fulfilled"), False),
        (appointment("a", "p", at(9), "noshow"), False),
        (appointment("a", "p", at(9), place=ELSEWHERE), False),
        (appointment("a", "p", at(9, days=1)), False),
        (appointment("a", "p", at(9, days=-1)), False),
        (appointment("a", "p", None), False),
        (encounter("e", "p"), True),
        (encounter("e", "p", at(9, days=-4)), True),
        (encounter("e", "p", status="arrived"), True),
        (encounter("e", "p", status="finished"), False),
        (encounter("e", "p", status="planned"), False),
        (encounter("e", "p", where="active"), True),
        (encounter("e", "p", where="completed"), False),
        (encounter("e", "p", where="planned"), False),
    ],
)
def test_who_is_on_the_list(visit: Any, there: bool) -> None:
    assert listed(visit, patients=[patient("p")]) == (["p"] if there else [])


def test_each_patient_once_in_order_of_time() -> None:
    visits = [
        encounter("e1", "late", at(8)),
        appointment("a1", "late", at(11)),
        appointment("a2", "late", at(10, 30)),
        appointment("a3", "early", at(9)),
        encounter("e2", "lodger", at(9, days=-3)),
        encounter("e3", "walk-in", at(10)),
    ]
    patients = [patient(id) for id in ("lodger", "late", "early", "walk-in")]
    with asking(*visits, patients=patients) as (_, here):
        found = here.today().visits
    lines = [(v.patient.id, v.at and v.at.strftime("%H:%M"), v.here) for v in found]
    assert lines == [
        ("early", "09:00", False),
        ("walk-in", "10:00", True),
        ("late", "10:30", True),
        ("lodger", None, True),
    ]


@pytest.mark.parametrize(
    ("day", "first", "after"),
    [
        # In London the clocks go back on 25 October 2026: that day has 25 hours.
        (datetime(2026, 10, 25, 12), "2026-10-25T00:00:00+01:00", "2026-10-26T00:00:00+00:00"),
        (datetime(2026, 3, 29, 12), "2026-03-29T00:00:00+00:00", "2026-03-30T00:00:00+01:00"),
        (datetime(2026, 7, 1, 12), "2026-07-01T00:00:00+01:00", "2026-07-02T00:00:00+01:00"),
    ],
)
def test_today_is_the_day_of_the_station(day: datetime, first: str, after: str) -> None:
    begins, ends = datetime.fromisoformat(first), datetime.fromisoformat(after)
    minute = timedelta(minutes=1)
    visits = [
        appointment("a1", "before", (begins - minute).isoformat()),
        appointment("a2", "first", begins.astimezone(UTC).isoformat()),
        appointment("a3", "last", (ends - minute).astimezone(UTC).isoformat()),
        appointment("a4", "after", ends.isoformat()),
    ]
    patients = [patient(id) for id in ("before", "first", "last", "after")]
    assert listed(*visits, patients=patients, zone=ZoneInfo("Europe/London"), now=day) == ["first", "last"]


def test_closed_records_and_those_without_a_number_are_left_out() -> None:
    patients = [
        patient("closed", active=False),
        patient("stranger", identifier=[{"system": "urn:other", "value": "1"}]),
        patient(
            "split", link=[{"type": "replaced-by", "other": {"reference": f"Patient/{i}"}} for i in "ab"]
        ),
        patient("a"),
        patient("b"),
        patient("lost", link=[{"type": "replaced-by", "other": {"reference": "Patient/nobody"}}]),
        patient("good"),
    ]
    visits = [appointment(f"x-{p['id']}", p["id"], at(9)) for p in patients if p["id"] not in "ab"]
    assert listed(*visits, patients=patients) == ["good"]


def test_a_long_list_is_followed_over_pages_and_cut() -> None:
    many = [f"p{n:03}" for n in range(MOST + 20)]
    visits = [appointment(f"a-{id}", id, at(8, n % 60)) for n, id in enumerate(many[: PAGE + 10])]
    with asking(*visits, patients=[patient(id) for id in many]) as (server, here):
        found = here.today()
        assert (len(found.visits), found.cut) == (PAGE + 10, False)
        # Two pages of Appointments, one of Encounters.
        assert [r.method for r in server.requests] == ["POST", "GET", "POST"]
    visits = [appointment(f"a-{id}", id, at(8, n % 60)) for n, id in enumerate(many)]
    with asking(*visits, patients=[patient(id) for id in many]) as (_, here):
        found = here.today()
        assert (len(found.visits), found.cut) == (MOST, True)


# --- the visit --------------------------------------------------------------------------------

P = Patient("p", cast("Any", None), Identifier(NHS_NUMBER, "999-p"))


@pytest.mark.parametrize(
    ("visits", "expected"),
    [
        ([], None),
        ([encounter("e1", "p")], "Encounter/e1"),
        ([encounter("e1", "p", status="arrived")], None),
        ([encounter("e1", "p", status="finished")], None),
        ([encounter("e1", "p", where="completed")], None),
        ([encounter("e1", "q")], None),
        ([encounter("e1", "p"), encounter("e2", "q")], "Encounter/e1"),
        ([encounter("e1", "p"), encounter("e2", "p")], None),
    ],
)
def test_the_visit_of_a_scanned_patient(visits: list[Any], expected: str | None) -> None:
    with asking(*visits, patients=[patient("p"), patient("q")]) as (_, here):
        assert here.placed(P).encounter == expected


@pytest.mark.parametrize(
    ("visits", "expected"),
    [
        ([encounter("e1", "p")], "Encounter/e1"),
        ([encounter("e1", "p", status="arrived")], "Encounter/e1"),
        ([encounter("e1", "p", status="arrived"), encounter("e2", "p")], "Encounter/e2"),
        ([encounter("e1", "p"), encounter("e2", "p")], None),
        ([encounter("e1", "p", status="arrived"), encounter("e2", "p", status="arrived")], None),
        ([appointment("a", "p", at(9))], None),
    ],
)
def test_the_visit_of_a_listed_patient(visits: list[Any], expected: str | None) -> None:
    with asking(*visits, patients=[patient("p")]) as (_, here):
        assert [v.patient.encounter for v in here.today().visits] == [expected]


def test_the_visit_of_a_record_that_was_merged_is_not_the_new_ones() -> None:
    old = patient("old", link=[{"type": "replaced-by", "other": {"reference": "Patient/new"}}])
    with asking(encounter("e1", "old"), patients=[old, patient("new")]) as (_, here):
        (visit,) = here.today().visits
    assert (visit.patient.id, visit.patient.encounter, visit.here) == ("new", None, True)


@pytest.mark.parametrize("fault", ["status 500", "status 403", "login-page", "drop-before", "delay 3"])
def test_without_an_answer_there_is_no_visit_and_no_error(fault: str) -> None:
    with asking(encounter("e1", "p"), patients=[patient("p")]) as (server, here):
        server.faults.set(fault)
        assert here.placed(P) == P


# --- odd servers ------------------------------------------------------------------------------


class Odd:
    """Plays a client: `answers` by resource type, an error where one is given; strict about _include."""

    base_url = "https://record.example"

    def __init__(self, answers: Mapping[str, Any], *, includes: bool = True, by_id: bool = True) -> None:
        self.answers = answers
        self.includes = includes
        self.by_id = by_id
        self.asked: list[str] = []

    def local(self, url: str) -> str:
        return url.removeprefix("https://record.example/")

    def search_page(self, kind: str, parameters: Sequence[tuple[str, str]]) -> dict[str, Any]:
        self.asked.append(kind)
        if not self.includes and any(name == "_include" for name, _ in parameters):
            raise Rejected("400")
        answer = self.answers.get(kind, [])
        if isinstance(answer, DeliveryError):
            raise answer
        return {"entry": [{"resource": r} for r in answer]}

    def next_page(self, bundle: Any) -> None:
        return None

    def search(self, kind: str, parameters: Mapping[str, str]) -> list[Any]:
        self.asked.append(f"{kind}/_search")
        if not self.by_id:
            raise Rejected("400")
        return [self.answers[id] for id in parameters["_id"].split(",") if id in self.answers]

    def read(self, kind: str, id: str) -> Any:
        self.asked.append(f"{kind}/{id}")
        if id not in self.answers:
            raise Rejected("404")
        return self.answers[id]


def odd(client: Odd) -> Visits:
    return Visits(cast("FhirClient", client), SYSTEMS, CLINIC, zone=UTC, now=lambda _: DAY)


def test_without_include_patients_come_in_one_search() -> None:
    visits = [appointment(f"a{n}", f"p{n}", at(9, n)) for n in range(5)]
    patients = {f"p{n}": patient(f"p{n}") for n in range(5)}
    client = Odd({"Appointment": visits, **patients}, includes=False)
    assert len(odd(client).today().visits) == 5
    assert client.asked == ["Appointment", "Appointment", "Encounter", "Encounter", "Patient/_search"]


def test_without_a_search_by_id_they_are_read_and_those_that_are_too_many_are_said_to_be_missing() -> None:
    visits = [appointment(f"a{n}", f"p{n:02}", at(9, n)) for n in range(30)]
    client = Odd({"Appointment": visits, **{f"p{n:02}": patient(f"p{n:02}") for n in range(30)}}, by_id=False)
    found = odd(client).today()
    assert (len(found.visits), found.cut) == (20, True)


def test_a_server_that_ignores_the_parameters_puts_no_stranger_on_the_list() -> None:
    strangers = [
        appointment("a1", "p", at(9), "cancelled"),
        appointment("a2", "p", at(9), place=ELSEWHERE),
        appointment("a3", "p", at(9, days=1)),
        {**appointment("a4", "p", at(9)), "participant": "x"},
        {"resourceType": "Appointment"},
        patient("p"),
    ]
    gone = [encounter("e1", "p", status="finished"), {**encounter("e2", "p"), "location": []}, {}]
    assert odd(Odd({"Appointment": strangers, "Encounter": gone})).today().visits == ()
    (good,) = odd(Odd({"Appointment": [*strangers, appointment("a5", "p", at(9))]})).today().visits
    assert good.patient.id == "p"


@pytest.mark.parametrize(
    "next_link",
    [
        "https://elsewhere.example/fhir?page=2",
        "http://127.0.0.1:1/fhir?page=2",
        "{base}evil/fhir?page=2",
        "{base}/../admin?page=2",
        "{base}/%2e%2e/admin?page=2",
        "{base}/Appointment?page=2\r\nX: y",
        "",
        7,
    ],
)
def test_a_next_page_elsewhere_is_not_followed_and_not_passed_over(next_link: Any) -> None:
    with asking(appointment("a", "p", at(9)), patients=[patient("p")]) as (server, here):
        link = next_link.replace("{base}", server.base_url) if isinstance(next_link, str) else next_link
        search_page = here._client.search_page

        def with_link(kind: str, parameters: Any) -> Any:
            return {**search_page(kind, parameters), "link": [{"relation": "next", "url": link}]}

        here._client.search_page = with_link  # type: ignore[method-assign]
        found = here.today()
        assert ([v.patient.id for v in found.visits], found.cut) == (["p"], True)
        assert {r.method for r in server.requests} == {"POST"}


def test_a_page_that_fails_is_a_list_that_fails() -> None:
    """Half a list would look like a whole one."""
    many = [f"p{n:03}" for n in range(PAGE + 10)]
    visits = [appointment(f"a-{id}", id, at(8)) for id in many]
    for fault, problem in (("status 503", Problem.LIST_UNREACHABLE), ("status 403", Problem.LIST_REFUSED)):
        with asking(*visits, patients=[patient(id) for id in many]) as (server, here):
            server.faults.set(f"{fault} on=GET:/fhir/Appointment")
            with pytest.raises(LookupFailed) as raised:
                here.today()
            assert raised.value.problem is problem


@pytest.mark.parametrize(
    ("count", "total", "cut"),
    [(PAGE, None, True), (PAGE, PAGE, False), (PAGE, PAGE + 5, True), (PAGE - 1, None, False)],
)
def test_a_server_that_does_not_page_may_have_more(count: int, total: int | None, cut: bool) -> None:
    """As @medplum/fhir-router does: a full page, and no word of the next."""
    many = [f"p{n:03}" for n in range(count)]
    visits = [appointment(f"a-{id}", id, at(8)) for id in many]
    with asking(*visits, patients=[patient(id) for id in many]) as (_, here):
        search_page = here._client.search_page

        def unpaged(kind: str, parameters: Any) -> Any:
            page = {k: v for k, v in search_page(kind, parameters).items() if k not in ("link", "total")}
            return page if total is None or kind != "Appointment" else {**page, "total": total}

        here._client.search_page = unpaged  # type: ignore[method-assign]
        found = here.today()
        assert (len(found.visits), found.cut) == (count, cut)


def test_a_next_page_right_behind_the_base_is_followed() -> None:
    with asking(appointment("a", "p", at(9)), patients=[patient("p")]) as (server, here):
        page = {"link": [{"relation": "next", "url": f"{server.base_url}?_getpages=1&_count=5"}]}
        with pytest.raises(DeliveryError):
            here._client.next_page(page)
        assert server.requests[-1].method == "GET"


def test_absolute_references_to_this_server_are_understood() -> None:
    visit = appointment("a", "p", at(9))
    for participant in visit["participant"]:
        participant["actor"]["reference"] = "https://record.example/" + participant["actor"]["reference"]
    (found,) = odd(Odd({"Appointment": [visit, patient("p")]})).today().visits
    assert found.patient.id == "p"


@pytest.mark.parametrize(
    ("one", "other", "problem"),
    [
        (Unreachable(), Rejected(), Problem.LIST_UNREACHABLE),
        (Rejected(), ServerBusy(), Problem.LIST_UNREACHABLE),
        (Rejected(), NotLetIn(), Problem.LIST_REFUSED),
    ],
)
def test_two_errors(one: DeliveryError, other: DeliveryError, problem: Problem) -> None:
    with pytest.raises(LookupFailed) as raised:
        odd(Odd({"Appointment": one, "Encounter": other})).today()
    assert raised.value.problem is problem


def test_no_request_begins_after_the_time_for_the_whole_list() -> None:
    client = Odd({"Appointment": [appointment("a", "p", at(9)), patient("p")]})
    times = iter([0.0, 1.0, WHOLE_S + 1])
    slow = Visits(
        cast("FhirClient", client), SYSTEMS, CLINIC, zone=UTC, now=lambda _: DAY, clock=lambda: next(times)
    )
    with pytest.raises(LookupFailed) as raised:
        slow.today()
    assert raised.value.problem is Problem.LIST_UNREACHABLE
    assert client.asked == ["Appointment"]


# --- access logs ------------------------------------------------------------------------------


def test_no_address_carries_an_identifier(server: DemoFhirServer) -> None:
    """Addresses land in access logs. Logical ids may be in them; numbers and names may not."""
    addresses: list[str] = []
    with FhirClient(server.base_url, timeout=(1.0, 2.0)) as client:
        client._http.hooks["response"].append(lambda r, *_, **__: addresses.append(r.request.url))
        directory = PatientDirectory(client, SYSTEMS)
        visits = Visits(client, SYSTEMS, CLINIC, now=lambda _: DAY)
        for number in ("9991230009", "9992223332", "9994445553", "D100202"):
            for found in directory.find(number, Match.WRISTBAND):
                visits.placed(found)
        visits.today()
    assert len(addresses) > 10
    assert any("demo-patient-8" in address for address in addresses), "the merger is followed by a read"
    said = " ".join(addresses)
    for secret in ("999", "D1002", "identifier", "OKONKWO", "nhs-number"):
        assert secret not in said
