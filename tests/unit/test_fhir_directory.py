from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk import errors
from kiosk.demo.fhir_server import DemoFhirServer
from kiosk.demo.patients import (
    CLOSED_NHS_NUMBER,
    DECEASED_NHS_NUMBER,
    LOCAL_MRN,
    MERGED_NHS_NUMBER,
    NHS_NUMBER,
    SHARED_NHS_NUMBER,
)
from kiosk.errors import LookupFailed, Problem
from kiosk.fhir.client import FhirClient
from kiosk.fhir.directory import PatientDirectory
from kiosk.model import HumanName, Identifier, Match, Patient, Sex

SYSTEMS = (NHS_NUMBER, LOCAL_MRN)
NUMBER = "9991230009"


class Answers:
    """A client that answers every search with the same resources, or raises."""

    def __init__(self, *resources: Any, error: errors.DeliveryError | None = None) -> None:
        self.resources = resources
        self.error = error
        self.asked: list[str] = []

    def local(self, url: str) -> str:
        return url

    def read(self, resource_type: str, id: str) -> Any:
        raise errors.Rejected("GET Patient: 404")

    def search(self, resource_type: str, parameters: Mapping[str, str]) -> list[Any]:
        assert resource_type == "Patient"
        self.asked.append(parameters["identifier"])
        if self.error:
            raise self.error
        return list(self.resources)


def find(
    *resources: Any, value: str = NUMBER, systems: tuple[str, ...] = (NHS_NUMBER,)
) -> tuple[Patient, ...]:
    directory = PatientDirectory(cast("FhirClient", Answers(*resources)), systems)
    return directory.find(value, Match.WRISTBAND)


def resource(**changes: Any) -> dict[str, Any]:
    made = {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [{"system": NHS_NUMBER, "value": NUMBER}],
        "name": [{"family": "Okonkwo-Smith", "given": ["Adaeze"], "prefix": ["Ms"]}],
        "birthDate": "1945-07-14",
        "gender": "female",
        **changes,
    }
    return {k: v for k, v in made.items() if v is not None}


# --- against the demo's server ----------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[DemoFhirServer]:
    with DemoFhirServer() as server:
        yield server


@pytest.fixture
def directory(server: DemoFhirServer) -> Iterator[PatientDirectory]:
    with FhirClient(server.base_url, timeout=(1.0, 2.0)) as client:
        yield PatientDirectory(client, SYSTEMS)
    server.faults.clear()
    server.set_network(True)


@pytest.mark.parametrize("match", list(Match))
def test_finds_by_number(directory: PatientDirectory, match: Match) -> None:
    (patient,) = directory.find("9991230009", match)
    assert patient == Patient(
        id="demo-patient-1",
        name=HumanName("OKONKWO-SMITH", "Adaeze", "Ms"),
        identifier=Identifier(NHS_NUMBER, "9991230009"),
        birth_date=date(1945, 7, 14),
        sex=Sex.FEMALE,
        match=match,
    )


def test_finds_by_the_second_system(directory: PatientDirectory) -> None:
    (patient,) = directory.find("D100202", Match.TYPED)
    assert patient.identifier == Identifier(LOCAL_MRN, "D100202")
    assert patient.name.family == "ABERNATHY"


def test_two_share_a_number(directory: PatientDirectory) -> None:
    assert [p.name.given for p in directory.find(SHARED_NHS_NUMBER, Match.WRISTBAND)] == [
        "Rosalind",
        "Rosemary",
    ]


def test_nobody(directory: PatientDirectory) -> None:
    assert directory.find("9990000000", Match.WRISTBAND) == ()


@pytest.mark.parametrize("odd", ["a|b", "9991230009,9994561235", "\\", "$", "*", "%", "' OR 1=1"])
def test_a_scan_is_never_a_query(directory: PatientDirectory, odd: str) -> None:
    assert directory.find(odd, Match.WRISTBAND) == ()


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("status 503", Problem.LOOKUP_UNREACHABLE),
        ("retry-after 3", Problem.LOOKUP_UNREACHABLE),
        ("drop-before", Problem.LOOKUP_UNREACHABLE),
        ("status 401", Problem.LOOKUP_REFUSED),
        ("status 403", Problem.LOOKUP_REFUSED),
        ("status 400", Problem.LOOKUP_REFUSED),
        ("status 404", Problem.LOOKUP_REFUSED),
        ("login-page", Problem.LOOKUP_REFUSED),
    ],
)
def test_troubles(server: DemoFhirServer, directory: PatientDirectory, fault: str, problem: Problem) -> None:
    server.faults.set(fault)
    with pytest.raises(LookupFailed) as raised:
        directory.find(NUMBER, Match.WRISTBAND)
    assert raised.value.problem is problem
    assert raised.value.retryable is (problem is Problem.LOOKUP_UNREACHABLE)
    assert NUMBER not in "".join(traceback.format_exception(raised.value))


def test_no_network(server: DemoFhirServer, directory: PatientDirectory) -> None:
    server.set_network(False)
    with pytest.raises(LookupFailed) as raised:
        directory.find("9991230009", Match.WRISTBAND)
    assert raised.value.problem is Problem.LOOKUP_UNREACHABLE


# --- odd answers ------------------------------------------------------------------------------


def test_one_record_found_twice_is_one_patient() -> None:
    both = resource(identifier=[{"system": s, "value": NUMBER} for s in SYSTEMS])
    (patient,) = find(both, both, systems=SYSTEMS)
    assert patient.identifier.system == NHS_NUMBER


@pytest.mark.parametrize(
    "unusable",
    [
        resource(id=None),
        resource(id="../x"),
        resource(id="x" * 65),
        resource(identifier=None),
        resource(identifier=[{"system": NHS_NUMBER, "value": "9994561235"}]),
        resource(identifier=[{"system": LOCAL_MRN, "value": NUMBER}]),
        resource(identifier=[{"value": NUMBER}]),
        resource(identifier="x"),
    ],
)
def test_records_that_must_not_be_used(unusable: dict[str, Any]) -> None:
    assert find(unusable) == ()
    assert [p.id for p in find(unusable, resource(id="good"))] == ["good"]


CLOSED = resource(active=False)
REPLACED = resource(link=[{"type": "replaced-by", "other": {"reference": "Patient/p2"}}])


@pytest.mark.parametrize(
    ("closed", "problem"),
    [
        ([CLOSED], Problem.PATIENT_INACTIVE),
        ([REPLACED], Problem.PATIENT_MERGE_BROKEN),
        ([CLOSED, REPLACED], Problem.PATIENT_MERGE_BROKEN),
        ([resource(link=[{"type": "replaced-by"}])], Problem.PATIENT_MERGE_BROKEN),
    ],
)
def test_a_closed_record_is_not_an_unknown_patient(closed: list[Any], problem: Problem) -> None:
    with pytest.raises(LookupFailed) as raised:
        find(*closed)
    assert (raised.value.problem, raised.value.retryable) == (problem, False)
    assert NUMBER not in "".join(traceback.format_exception(raised.value))
    assert [p.id for p in find(*closed, resource(id="good"))] == ["good"]


def test_active_and_other_links_are_fine() -> None:
    assert len(find(resource(active=True, link=[{"type": "replaces"}, {"type": "seealso"}]))) == 1


def test_blanks_and_case_do_not_matter() -> None:
    spaced = resource(identifier=[{"system": NHS_NUMBER, "value": "999 123 0009"}])
    assert len(find(spaced)) == 1
    letters = resource(identifier=[{"system": NHS_NUMBER, "value": "ab12"}])
    assert len(find(letters, value="AB12")) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, HumanName("")),
        ([], HumanName("")),
        ([{}], HumanName("")),
        (["x", 3], HumanName("")),
        ([{"text": "Adaeze Okonkwo"}], HumanName("Adaeze Okonkwo")),
        ([{"family": "Ok"}], HumanName("Ok")),
        ([{"given": ["Ada", "Bea", None]}], HumanName("", "Ada Bea")),
        ([{"family": ["Ok"], "given": "Ada"}], HumanName("")),
        ([{"family": "Old", "use": "old"}, {"family": "New", "use": "official"}], HumanName("New")),
        ([{"family": "Maid", "use": "maiden"}, {"family": "Now"}], HumanName("Now")),
        ([{"family": "A", "use": ["odd"]}, {"family": "B", "use": "usual"}], HumanName("B")),
        ([{"family": "Two\nlines\u202e\x00"}], HumanName("Two lines")),
        ([{"family": "x" * 500}], HumanName("x" * 200)),
    ],
)
def test_names(name: Any, expected: HumanName) -> None:
    (patient,) = find(resource(name=name))
    assert patient.name == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1945-07-14", date(1945, 7, 14)),
        ("1945-07", None),
        ("1945", None),
        ("1945-02-30", None),
        ("19450714", None),
        ("0000-00-00", None),
        (None, None),
        (1945, None),
    ],
)
def test_birth_dates(text: Any, expected: date | None) -> None:
    (patient,) = find(resource(birthDate=text))
    assert patient.birth_date == expected


@pytest.mark.parametrize("gender", ["male", "female", "other", "unknown", "banana", None, ["male"]])
def test_sex(gender: Any) -> None:
    (patient,) = find(resource(gender=gender))
    assert patient.sex is (Sex(gender) if gender in ("male", "female", "other") else Sex.UNKNOWN)


def test_never_more_than_twenty() -> None:
    assert len(find(*(resource(id=f"p{n}") for n in range(500)))) == 20


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("id", "identifier", "name", "birthDate", "gender", "active", "link"), json_value
        ),
    )
)
def test_nonsense_never_raises(nonsense: dict[str, Any]) -> None:
    # A record in use stands beside it: one that is closed would be an error of its own.
    for patient in find({**resource(), **nonsense}, resource(id="good")):
        assert patient.identifier.value == NUMBER


@pytest.mark.parametrize(
    ("changes", "deceased", "died"),
    [
        ({"deceasedBoolean": True}, True, None),
        ({"deceasedBoolean": False}, False, None),
        ({"deceasedBoolean": "true"}, False, None),
        ({"deceasedDateTime": "2026-02-03"}, True, date(2026, 2, 3)),
        ({"deceasedDateTime": "2026-02-03T23:30:00+01:00"}, True, date(2026, 2, 3)),
        ({"deceasedDateTime": "2026-02"}, True, None),
        ({"deceasedDateTime": "2026"}, True, None),
        ({"deceasedDateTime": "yesterday"}, False, None),
        ({}, False, None),
    ],
)
def test_who_has_died_is_found_and_said(changes: dict[str, Any], deceased: bool, died: date | None) -> None:
    (patient,) = find(resource(**changes))
    assert (patient.deceased, patient.died) == (deceased, died)


# --- merged records ---------------------------------------------------------------------------


def record(id: str, *replaced_by: str, **changes: Any) -> dict[str, Any]:
    links = [{"type": "replaced-by", "other": {"reference": reference}} for reference in replaced_by]
    number = [{"system": NHS_NUMBER, "value": f"number-of-{id}"}]
    return resource(id=id, identifier=number, link=links or None, **changes)


def merged(*records: dict[str, Any]) -> tuple[Patient, ...]:
    """Who is found by the number of the first record."""
    with (
        DemoFhirServer(patients=records) as server,
        FhirClient(server.base_url, timeout=(1.0, 2.0)) as client,
    ):
        try:
            return PatientDirectory(client, SYSTEMS).find(f"number-of-{records[0]['id']}", Match.WRISTBAND)
        finally:
            reads = [r.path for r in server.requests if r.method == "GET"]
            assert len(reads) == len(set(reads)) <= 20, "each is read once"


def test_a_merged_record_leads_to_the_one_that_is_left() -> None:
    (patient,) = merged(
        record("a", "Patient/b", active=False), record("b", "Patient/c/_history/2"), record("c", active=True)
    )
    assert patient.id == "c"
    assert patient.identifier == Identifier(NHS_NUMBER, "number-of-c")
    assert patient.merged_from == Identifier(NHS_NUMBER, "number-of-a")


def test_the_demo_has_a_merged_a_deceased_and_a_closed_record(directory: PatientDirectory) -> None:
    (patient,) = directory.find(MERGED_NHS_NUMBER, Match.WRISTBAND)
    assert patient.merged_from == Identifier(NHS_NUMBER, MERGED_NHS_NUMBER)
    assert patient.name.display() == "NAKAMURA-HOLT, Ines (Mrs)"
    (patient,) = directory.find(DECEASED_NHS_NUMBER, Match.WRISTBAND)
    assert patient.died == date(2026, 2, 3)
    with pytest.raises(LookupFailed) as raised:
        directory.find(CLOSED_NHS_NUMBER, Match.WRISTBAND)
    assert raised.value.problem is Problem.PATIENT_INACTIVE


@pytest.mark.parametrize("kind", ["seealso", "replaces", "refer"])
def test_other_links_are_not_followed(kind: str) -> None:
    other = record("a", active=True)
    other["link"] = [{"type": kind, "other": {"reference": "Patient/b"}}]
    (patient,) = merged(other, record("b"))
    assert (patient.id, patient.merged_from) == ("a", None)


def chain(length: int) -> list[dict[str, Any]]:
    """A record, and `length` mergers one after the other."""
    return [record(f"r{n}", *([f"Patient/r{n + 1}"] if n < length else [])) for n in range(length + 1)]


def test_five_mergers_are_followed_and_no_more() -> None:
    (patient,) = merged(*chain(5))
    assert patient.id == "r5"
    with pytest.raises(LookupFailed) as raised:
        merged(*chain(6))
    assert raised.value.problem is Problem.PATIENT_MERGE_BROKEN


@pytest.mark.parametrize(
    "records",
    [
        [record("a", "Patient/a")],
        [record("a", "Patient/b"), record("b", "Patient/a")],
        [record("a", "Patient/b"), record("b", "Patient/c"), record("c", "Patient/b")],
        [record("a", "Patient/missing")],
        [record("a", "https://elsewhere.example/fhir/Patient/b"), record("b")],
        [record("a", "RelatedPerson/b"), record("b")],
        [record("a", "Patient/b", "Patient/missing"), record("b")],
        [record("a", *(f"Patient/m{n}" for n in range(50)))],
    ],
)
def test_loops_and_dead_ends_are_a_hard_stop(records: list[dict[str, Any]]) -> None:
    with pytest.raises(LookupFailed) as raised:
        merged(*records)
    assert raised.value.problem is Problem.PATIENT_MERGE_BROKEN
    assert raised.value.__cause__ is raised.value.__context__ is None
    assert "number-of" not in str(raised.value)


def test_a_record_that_was_split_in_two_is_two_patients() -> None:
    found = merged(record("a", "Patient/b", "Patient/c"), record("b"), record("c"))
    assert [p.id for p in found] == ["b", "c"]


def test_two_ways_to_one_record_are_one_patient() -> None:
    records = record("a", "Patient/b", "Patient/c"), record("b", "Patient/d"), record("c", "Patient/d")
    (patient,) = merged(*records, record("d"))
    assert patient.id == "d"


def test_merged_into_a_closed_record() -> None:
    with pytest.raises(LookupFailed) as raised:
        merged(record("a", "Patient/b"), record("b", active=False))
    assert raised.value.problem is Problem.PATIENT_INACTIVE


@pytest.mark.parametrize("merged_first", [True, False])
def test_the_record_that_is_left_may_carry_the_old_number_too(merged_first: bool) -> None:
    both = [
        {"system": NHS_NUMBER, "value": "number-of-a", "use": "old"},
        {"system": NHS_NUMBER, "value": "number-of-b"},
    ]
    survivor = {**record("b"), "identifier": both}
    old = record("a", "Patient/b")
    with (
        DemoFhirServer(patients=[old, survivor] if merged_first else [survivor, old]) as server,
        FhirClient(server.base_url, timeout=(1.0, 2.0)) as client,
    ):
        (patient,) = PatientDirectory(client, SYSTEMS).find("number-of-a", Match.WRISTBAND)
    assert patient.identifier.value == "number-of-b"
    assert patient.merged_from == Identifier(NHS_NUMBER, "number-of-a")


@pytest.mark.parametrize(
    ("fault", "problem"),
    [("status 503", Problem.LOOKUP_UNREACHABLE), ("status 403", Problem.LOOKUP_REFUSED)],
)
def test_a_server_that_fails_half_way(
    server: DemoFhirServer, directory: PatientDirectory, fault: str, problem: Problem
) -> None:
    server.faults.set(f"{fault} on=GET:/fhir/Patient")
    with pytest.raises(LookupFailed) as raised:
        directory.find(MERGED_NHS_NUMBER, Match.WRISTBAND)
    assert raised.value.problem is problem
    assert MERGED_NHS_NUMBER not in "".join(traceback.format_exception(raised.value))
