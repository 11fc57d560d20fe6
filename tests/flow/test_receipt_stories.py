"""What happens later: withdrawals and wrong patients, by receipt, on both real processes."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from kiosk.demo.supervisor import Demo
from kiosk.receipts import receipt_id
from tests.flow.story import (
    CONSENT,
    PATIENT,
    PHOTO,
    PROOF,
    SEND,
    SIGN_IN,
    SITE,
    TO_PREVIEW,
    events,
    kiosk,
    photographs,
    play,
    spool_is_empty,
)

IN_THE_RECORD = (TO_PREVIEW, PHOTO, PHOTO, SEND, PROOF)
ASK = """
tap "Find receipt"
wait FIND_RECEIPT
"""
TEACHING = """
tap "Withdraw teaching"
expect "may not be used for teaching"
tap "Withdraw teaching"
expect "Are you sure?"
tap "Yes, withdraw"
wait CORRECTION
"""
ALL = """
tap "Withdraw all consent"
expect "2 photographs are marked as entered in error"
tap "Withdraw all"
expect "Are you sure?"
tap "Yes, withdraw"
wait CORRECTION
"""
WRONG = """
tap "Wrong patient"
expect "This kiosk keeps no photograph"
tap "Go back"
tap "Wrong patient"
expect "take them again for the right patient"
tap "Mark as wrong"
expect "Are you sure?"
tap "Yes, wrong patient"
wait CORRECTION
"""
DONE = """
wait receipt 40
tap "Done"
wait LOCKED
"""
PERMITTED = {"TREAT": ["permit"], "TRAIN": ["permit"], "HRESCH": ["deny"]}


def last_receipt(demo: Demo) -> str:
    return str(events(demo, "receipt")[-1]["receipt"])


def found(receipt: str) -> str:
    return f'''
    {ASK}
    scan "{receipt.lower().replace("0", "o")}"
    wait FOUND_RECEIPT
    expect "OKONKWO-SMITH, Adaeze (Ms)"
    expect "{receipt}"
    expect "2 photographs"
    expect "A. Patel RN"
    '''


def in_force(demo: Demo) -> dict[str, list[str]]:
    """The verdicts of the active Consents by purpose."""
    verdicts: dict[str, list[str]] = {}
    for consent in demo.server.store.all("Consent"):
        if consent["status"] == "active":
            purpose = consent["provision"]["purpose"][0]["code"]
            verdicts.setdefault(purpose, []).append(consent["provision"]["type"])
    return verdicts


def statuses(demo: Demo) -> list[str]:
    return [document["status"] for document in photographs(demo)]


def audit(demo: Demo) -> list[dict[str, Any]]:
    lines = (demo.directory / "audit.jsonl").read_text(encoding="ascii").splitlines()
    return [json.loads(line) for line in lines]


def test_a_parent_signs_and_takes_it_back_later() -> None:
    with kiosk() as demo:
        play(demo, SIGN_IN, PATIENT, 'tap "Parent"', CONSENT, SITE, PHOTO, PHOTO, SEND, PROOF)
        (person,) = demo.server.store.all("RelatedPerson")
        assert person["relationship"][0]["coding"][0]["code"] == "PRN"
        assert person["patient"]["reference"] == "Patient/demo-patient-1"
        play(demo, SIGN_IN, found(last_receipt(demo)), TEACHING, DONE)
        performers = {c["performer"][0]["reference"] for c in demo.server.store.all("Consent")}
        assert performers == {f"RelatedPerson/{person['id']}"}
        assert in_force(demo)["TRAIN"] == ["deny"]


def test_one_purpose_is_withdrawn_later() -> None:
    with kiosk() as demo:
        play(demo, *IN_THE_RECORD)
        receipt = last_receipt(demo)
        assert in_force(demo) == PERMITTED
        play(demo, SIGN_IN, ASK, f"type {receipt}", 'tap "Find receipt"', "wait FOUND_RECEIPT", TEACHING)
        play(demo, "wait receipt 40", 'expect "Consent withdrawn"', 'expect "gave back the new state"')
        play(demo, 'tap "Done"', "wait LOCKED")
        assert in_force(demo) == {"TREAT": ["permit"], "TRAIN": ["deny"], "HRESCH": ["deny"]}
        assert statuses(demo) == ["current", "current"]
        assert spool_is_empty(demo)
        play(demo, SIGN_IN, found(receipt), 'tap "Back"', "wait FIND_RECEIPT", 'absent "OKONKWO"')
        asked = [line for line in audit(demo) if line["action"] == "receipt-asked"]
        done = [line for line in audit(demo) if line["action"] == "withdrawn-by-receipt"]
        assert [line["outcome"] for line in (*asked, *done)] == [receipt.lower()] * 3
        assert {line["operator"] for line in (*asked, *done)} == {"apatel"}
        said = json.dumps(demo.events) + json.dumps(audit(demo))
        assert not [secret for secret in ("OKONKWO", "9991230009", "demo-patient") if secret in said]


def test_all_consent_is_withdrawn_later() -> None:
    with kiosk(size="720x1280") as demo:
        play(demo, *IN_THE_RECORD, SIGN_IN)
        play(demo, found(last_receipt(demo)), ALL, DONE)
        assert in_force(demo) == {"TREAT": ["deny"], "TRAIN": ["deny"], "HRESCH": ["deny"]}
        assert statuses(demo) == ["entered-in-error"] * 2
        assert spool_is_empty(demo)


def test_the_wrong_patient_was_photographed() -> None:
    with kiosk() as demo:
        play(demo, *IN_THE_RECORD, SIGN_IN)
        receipt = last_receipt(demo)
        play(demo, found(receipt), WRONG, "wait receipt 40", 'expect "Marked as the wrong patient"')
        play(demo, 'expect "Take the photographs again"', 'tap "Done"', "wait LOCKED")
        assert in_force(demo) == {}
        assert {d["status"] for d in demo.server.store.all("DocumentReference")} == {"entered-in-error"}
        assert demo.server.store.count("Consent") == 3
        assert demo.server.store.count("Provenance") == 2
        assert spool_is_empty(demo)
        play(demo, SIGN_IN, found(receipt), 'expect "Marked as entered in error"')


def test_a_receipt_that_nobody_knows() -> None:
    with kiosk() as demo:
        play(demo, SIGN_IN, ASK, "scan R-0000-0000", 'expect "The record has nothing under this receipt"')
        play(demo, "scan 9991230009", 'expect "not a receipt number"')
        play(demo, "network down", "scan R-0000-0000", "wait hint", 'expect "cannot be reached"')
        play(demo, "network up", 'tap "Back"', "wait IDENTIFY")
        assert demo.server.store.count("Consent") == 0


def test_a_receipt_whose_photographs_still_wait_here() -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, "network down", SEND, "wait delivery-put-off 15", 'tap "Done"')
        receipt = receipt_id(UUID(events(demo, "committed")[-1]["session"]))
        play(demo, "wait LOCKED", SIGN_IN, ASK, f"scan {receipt}", 'expect "still wait in this kiosk"')
        play(demo, 'tap "Lock"', "wait LOCKED", "network up", "wait receipt 40")
        assert len(photographs(demo)) == 1


def test_the_server_goes_away_in_between() -> None:
    with kiosk() as demo:
        play(demo, *IN_THE_RECORD, SIGN_IN)
        play(demo, found(last_receipt(demo)), "network down", ALL)
        play(demo, 'expect "Not in the record yet"', "wait delivery-put-off 15", 'tap "Done"', "wait LOCKED")
        assert statuses(demo) == ["current", "current"]
        assert in_force(demo) == PERMITTED
        assert not spool_is_empty(demo)
        play(demo, "network up", "wait receipt 40")
        assert statuses(demo) == ["entered-in-error"] * 2
        assert in_force(demo) == {"TREAT": ["deny"], "TRAIN": ["deny"], "HRESCH": ["deny"]}
        assert spool_is_empty(demo)


def test_the_uploader_is_killed_in_the_middle() -> None:
    """The first photograph is marked, the answer is not heard: the next uploader ends what was begun."""
    with kiosk() as demo:
        play(demo, *IN_THE_RECORD, SIGN_IN)
        play(demo, found(last_receipt(demo)), "server delay 6 times=1 on=PUT:/fhir/DocumentReference", ALL)
        play(demo, "wait delivery:sending 20", "pause 1.5", "kill uploader")
        assert statuses(demo) == ["current", "current"]
        play(demo, "server none", DONE)
        assert statuses(demo) == ["entered-in-error"] * 2
        assert in_force(demo) == {"TREAT": ["deny"], "TRAIN": ["deny"], "HRESCH": ["deny"]}
        assert demo.server.store.count("Consent") == 5, "three given, two withdrawn: none twice"
        assert demo.server.store.count("Provenance") == 2
        assert {c["meta"]["versionId"] for c in demo.server.store.all("Consent")} <= {"1", "2"}
        assert spool_is_empty(demo)


def test_a_server_that_refuses_parks_the_correction() -> None:
    with kiosk() as demo:
        play(demo, *IN_THE_RECORD, SIGN_IN)
        play(demo, found(last_receipt(demo)), "server status 422 on=PUT:/fhir/DocumentReference", WRONG)
        play(demo, "wait parked 30", 'expect "The correction stopped"', 'expect "Call IT"')
        assert not spool_is_empty(demo)
        # IT mends the server and starts the uploader again: it is tried once more.
        play(demo, "server none", "kill uploader", DONE)
        assert {d["status"] for d in demo.server.store.all("DocumentReference")} == {"entered-in-error"}
        assert spool_is_empty(demo)


def test_nobody_touches_the_screen_while_a_receipt_is_open() -> None:
    with kiosk(timeouts={"found_receipt": 5}) as demo:
        play(demo, *IN_THE_RECORD, SIGN_IN)
        play(demo, found(last_receipt(demo)), 'tap "Wrong patient"', "wait LOCKED 20")
        assert in_force(demo) == PERMITTED
        assert statuses(demo) == ["current", "current"]
        assert spool_is_empty(demo)
