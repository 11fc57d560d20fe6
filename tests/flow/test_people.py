"""Stories about who the patient is: from today's list, merged, deceased, closed, and without a list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kiosk.demo.patients import CLOSED_NHS_NUMBER, DECEASED_NHS_NUMBER, MERGED_NHS_NUMBER
from kiosk.demo.supervisor import Demo
from kiosk.demo.visits import ENCOUNTER
from tests.flow.story import (
    CONSENT,
    PHOTO,
    PROOF,
    SEND,
    SIGN_IN,
    SITE,
    events,
    kiosk,
    photographs,
    play,
    spool_is_empty,
)

LIST = """
tap "Today's list"
wait TODAY
expect "ABERNATHY, Callum (Mr)"
"""
CONFIRM = """
tap "Yes, this patient"
wait CONSENT
"""
TO_THE_END = CONSENT + SITE + PHOTO + SEND + PROOF


def matches(demo: Demo) -> list[str]:
    """How the confirmed patients were found, as the audit has it."""
    lines = (demo.directory / "audit.jsonl").read_text(encoding="ascii").splitlines()
    entries = [json.loads(line) for line in lines]
    return [entry["outcome"] for entry in entries if entry["action"] == "patient-confirmed"]


def contexts(demo: Demo) -> list[Any]:
    """The visit of every DocumentReference in the record: the form and the photographs."""
    return [d["context"].get("encounter") for d in demo.server.store.all("DocumentReference")]


def test_from_todays_list_to_the_record(tmp_path: Path) -> None:
    """The visit is on the photograph and on the form, and the operator is known by a reference."""
    with kiosk() as demo:
        play(demo, SIGN_IN, LIST, "shot list", screens=tmp_path)
        assert (tmp_path / "list.png").stat().st_size > 5_000
        play(demo, 'expect "09:30"', 'expect "999 456 1235"', 'absent "FENWICK"')
        play(demo, 'tap "Find a name"', "type okon", 'expect "1 of 5 match"', 'tap "Show 1"')
        play(demo, 'absent "ABERNATHY"', 'tap "OKONKWO-SMITH, Adaeze (Ms)"', "wait CONFIRM_PATIENT")
        play(demo, 'expect "From today\'s list"', 'absent "ABERNATHY"', CONFIRM)
        play(demo, 'expect "From today\'s list"', TO_THE_END)
        assert contexts(demo) == [[{"reference": ENCOUNTER}]] * 2
        (photograph,) = photographs(demo)
        assert photograph["subject"]["reference"] == "Patient/demo-patient-1"
        assert photograph["author"][0]["reference"] == "Practitioner/demo-practitioner-1"
        assert matches(demo) == ["list"]
        said = json.dumps(demo.events) + (demo.directory / "audit.jsonl").read_text(encoding="ascii")
        for secret in ("OKONKWO", "ABERNATHY", "999456", "999123", "demo-patient", "demo-encounter"):
            assert secret not in said
        assert spool_is_empty(demo)


def test_a_scanned_patient_has_the_visit_that_is_in_progress_and_one_without_has_none() -> None:
    with kiosk() as demo:
        play(demo, SIGN_IN, "scan 9991230009", "wait CONFIRM_PATIENT", CONFIRM, TO_THE_END)
        assert contexts(demo) == [[{"reference": ENCOUNTER}]] * 2
        play(demo, SIGN_IN, "scan 9994561235", "wait CONFIRM_PATIENT", CONFIRM, TO_THE_END)
        assert contexts(demo)[2:] == [None, None]
        assert matches(demo) == ["wristband", "wristband"]


def test_a_merged_number_leads_to_the_record_that_is_left() -> None:
    with kiosk() as demo:
        play(demo, SIGN_IN, f"scan {MERGED_NHS_NUMBER}", "wait CONFIRM_PATIENT")
        play(demo, 'expect "NAKAMURA-HOLT, Ines (Mrs)"', 'expect "999 333 4448"')
        play(demo, 'expect "Number 999 222 3332 on the wristband was merged into this record"')
        play(demo, CONFIRM, TO_THE_END)
        (photograph,) = photographs(demo)
        assert photograph["subject"]["reference"] == "Patient/demo-patient-8"
        assert photograph["subject"]["identifier"]["value"] == "9993334448"


def test_a_deceased_patient_is_said_to_be_and_takes_the_tap_like_any_other() -> None:
    with kiosk(size="720x1280") as demo:
        play(demo, SIGN_IN, f"scan {DECEASED_NHS_NUMBER}", "wait CONFIRM_PATIENT")
        play(demo, 'expect "Deceased"', 'expect "03-Feb-2026"', 'expect "this patient has died"')
        play(demo, "press", f"scan {DECEASED_NHS_NUMBER}", "pause 0.5", 'expect "Is this the patient?"')
        assert demo.state() == "CONFIRM_PATIENT"
        play(demo, CONFIRM, 'expect "Deceased"', TO_THE_END)
        assert [p["subject"]["reference"] for p in photographs(demo)] == ["Patient/demo-patient-9"]


def test_a_closed_record_is_not_an_unknown_patient() -> None:
    with kiosk() as demo:
        play(
            demo, SIGN_IN, f"scan {CLOSED_NHS_NUMBER}", 'expect "record is closed"', 'absent "No patient has"'
        )
        assert demo.state() == "IDENTIFY"


def test_the_list_cannot_be_reached_and_everything_else_goes_on() -> None:
    with kiosk() as demo:
        play(demo, SIGN_IN, "server status 503 on=POST:/fhir/Appointment", 'tap "Today\'s list"')
        play(demo, "wait TODAY", 'expect "Today\'s list cannot be reached"', "server none")
        play(demo, 'tap "Try again"', 'expect "ABERNATHY, Callum (Mr)"', 'tap "Back"', "wait IDENTIFY")
        # A slow list does not hold up a wristband.
        play(demo, "server delay 60 on=POST:/fhir/Appointment", 'tap "Today\'s list"', "wait TODAY")
        play(demo, 'expect "Asking for today\'s list"', "scan 9991230009", "wait CONFIRM_PATIENT")
        given_up = events(demo, "effect-failed")[-1]
        assert (given_up["kind"], given_up["problem"]) == ("list-visits", "lookup-unreachable")
        play(demo, 'tap "No, someone else"', "wait IDENTIFY", "server none")
        # A server that has no such list.
        play(demo, "server status 403 on=POST:/fhir/Appointment", "server status 404 on=POST:/fhir/Encounter")
        play(demo, 'tap "Today\'s list"', "wait TODAY", 'expect "gives no list for this place"')
        play(demo, 'absent "Try again"', 'tap "Back"', "wait IDENTIFY")
        play(demo, "type 9991230009", 'tap "Find patient"', "wait CONFIRM_PATIENT", CONFIRM, TO_THE_END)
        assert matches(demo) == ["typed"]
        assert contexts(demo) == [None, None], "without an answer about visits there is none"


def test_a_place_where_nobody_is_expected_and_a_station_without_a_place() -> None:
    with kiosk(location="Location/empty") as demo:
        play(demo, SIGN_IN, 'tap "Today\'s list"', "wait TODAY", 'expect "Nobody is on today\'s list"')
        play(demo, "scan 9991230009", "wait CONFIRM_PATIENT")
    with kiosk(location=None) as demo:
        play(demo, SIGN_IN, 'expect "or type the number"', 'absent "Today\'s list"')
