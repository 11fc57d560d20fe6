"""User stories, played through fingers, scanner and button on both real processes."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kiosk.cameras.counter import read_counter
from kiosk.demo.patients import NHS_NUMBER, SHARED_NHS_NUMBER
from kiosk.demo.player import StepFailed
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


def test_from_badge_to_receipt() -> None:
    """Two photographs of 12 megapixels: the frames that were frozen are the pixels that arrived."""
    with kiosk(still="4608x2592") as demo:
        play(demo, TO_PREVIEW, PHOTO, PHOTO, SEND, PROOF)
        documents = photographs(demo)
        frames = [line["frame"] for line in events(demo, "captured")]
        assert len(documents) == len(frames) == 2
        for document, frame in zip(documents, frames, strict=True):
            attachment = document["content"][0]["attachment"]
            jpeg = demo.server.store.binary_bytes(attachment["url"].split("/")[-1])
            assert jpeg is not None
            assert attachment["size"] == len(jpeg)
            with Image.open(io.BytesIO(jpeg)) as picture:
                assert picture.size == (4608, 2592)
                assert read_counter(np.asarray(picture)) == frame
            assert document["subject"]["reference"] == "Patient/demo-patient-1"
        assert demo.server.store.count("Binary") == 2
        assert demo.server.store.count("Consent") == 3
        assert demo.server.store.count("Provenance") == 1
        assert spool_is_empty(demo)
        receipt = events(demo, "receipt")[-1]
        assert receipt["photos"] == 2


def test_journal_and_audit_hold_no_patient_data() -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, SEND, PROOF)
        said = json.dumps(demo.events) + (demo.directory / "audit.jsonl").read_text(encoding="ascii")
        for secret in (
            "OKONKWO",
            "Adaeze",
            "9991230009",
            "999 123",
            "1945",
            "demo-patient",
            "2468",
            "BADGE-1001",
        ):
            assert secret not in said
        assert "receipt" in said


def test_the_patient_declines() -> None:
    with kiosk() as demo:
        play(demo, SIGN_IN, PATIENT)
        play(demo, 'tap "Patient declines"', 'tap "Record the refusal"', "wait DECLINED", "wait receipt 30")
        play(demo, 'expect "No photographs"', 'tap "Done"', "wait LOCKED")
        consents = demo.server.store.all("Consent")
        assert {c["provision"]["type"] for c in consents} == {"deny"}
        assert photographs(demo) == []
        assert demo.server.store.count("Binary") == 0
        assert spool_is_empty(demo)


def test_consent_is_withdrawn_after_three_photographs() -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, PHOTO, PHOTO, 'tap "Withdraw"', 'expect "destroy"')
        play(
            demo,
            'tap "Withdraw and destroy"',
            "wait WITHDRAWN",
            "wait receipt 30",
            'tap "Done"',
            "wait LOCKED",
        )
        assert photographs(demo) == []
        assert demo.server.store.count("Binary") == 0
        assert {c["provision"]["type"] for c in demo.server.store.all("Consent")} == {"deny"}
        assert spool_is_empty(demo)
        assert len(events(demo, "sealed")) == 3
        assert [line["reason"] for line in events(demo, "destroyed")] == ["withdrawn"]


def test_retake_keeps_only_the_second() -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, "press", "wait REVIEW", 'tap "Retake"', "wait PREVIEW", PHOTO, SEND, PROOF)
        taken = events(demo, "captured")
        assert len(taken) == 2
        assert taken[0]["frame"] < taken[1]["frame"]
        assert len(photographs(demo)) == 1
        jpeg = demo.server.store.binary_bytes(demo.server.store.all("Binary")[0]["id"])
        assert jpeg is not None
        with Image.open(io.BytesIO(jpeg)) as picture:
            assert read_counter(np.asarray(picture)) == taken[1]["frame"]


def test_offline_waits_and_online_delivers() -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, "network down", SEND)
        play(demo, 'expect "Not in the record yet"', 'expect "Offline"', "wait delivery-put-off 15")
        assert photographs(demo) == []
        assert not spool_is_empty(demo)
        play(demo, "network up", PROOF)
        assert len(photographs(demo)) == 1
        assert spool_is_empty(demo)


def test_the_nurse_may_leave_while_the_queue_waits() -> None:
    """Two patients wait for the network; both arrive, each in the own record, exactly once."""
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, "network down", SEND, 'tap "Done"', "wait LOCKED")
        play(demo, 'expect "not in the record yet"', "network up", "wait receipt 40")
        second = PATIENT.replace("9991230009", "9994561235").replace(
            "OKONKWO-SMITH, Adaeze (Ms)", "ABERNATHY"
        )
        play(demo, SIGN_IN, second, CONSENT, SITE, PHOTO, SEND, PROOF)
        subjects = [d["subject"]["reference"] for d in photographs(demo)]
        assert subjects == ["Patient/demo-patient-1", "Patient/demo-patient-2"]


def test_five_wrong_pins_lock_the_badge() -> None:
    with kiosk() as demo:
        play(demo, "wait LOCKED 30", "badge BADGE-1001", *["pin 1111", "wait sign-in-refused"] * 5)
        play(demo, 'expect "Too many wrong PINs"', "badge BADGE-1001", "pin 2468", "wait sign-in-refused")
        play(demo, 'expect "Too many wrong PINs"')
        assert events(demo, "session-opened") == []
        play(demo, "badge BADGE-1002", "pin 1357", "wait IDENTIFY")


def test_a_wrong_pin_says_how_many_are_left() -> None:
    with kiosk() as demo:
        play(
            demo, "wait LOCKED 30", "badge BADGE-1001", "pin 1111", 'expect "That PIN is wrong"', 'expect "4"'
        )
        play(demo, "pin 2468", "wait IDENTIFY")


def test_an_unknown_badge_is_named() -> None:
    with kiosk() as demo:
        play(demo, "wait LOCKED 30", "badge BADGE-9999", 'expect "This badge is not known here"')
        play(demo, "badge BADGE-1001", "pin 2468", "wait IDENTIFY")


def test_nobody_touches_the_screen() -> None:
    """The automatic lock in the middle of a session destroys it and sends nothing."""
    with kiosk(timeouts={"preview": 5}) as demo:
        play(
            demo,
            TO_PREVIEW,
            PHOTO,
            'expect "Locking in"',
            "wait LOCKED 20",
            'expect "nobody touched the screen"',
        )
        assert spool_is_empty(demo)
        assert photographs(demo) == []
        assert demo.server.store.count("Consent") == 0
        assert len(events(demo, "session-destroyed")) == 1


def test_locking_in_the_middle_asks_first() -> None:
    with kiosk() as demo:
        play(
            demo,
            TO_PREVIEW,
            PHOTO,
            'tap "Lock"',
            'tap "Stay"',
            'tap "Lock"',
            'tap "Lock and destroy"',
            "wait LOCKED",
        )
        assert spool_is_empty(demo)
        assert demo.server.store.count("Consent") == 0


def test_unknown_wristband_garbage_and_floods() -> None:
    flood = "scan " + "9" * 10_000
    with kiosk() as demo:
        play(demo, SIGN_IN, "scan 9990000000", 'expect "No patient has this number"')
        play(demo, "scan '\x01\x02<%&|*'", 'expect "not a patient identifier"')
        play(demo, flood, 'expect "not a patient identifier"', PATIENT)
        assert demo.state() == "CONSENT"


def test_two_patients_with_one_number_are_a_hard_stop() -> None:
    with kiosk() as demo:
        play(demo, SIGN_IN, f"scan {SHARED_NHS_NUMBER}", 'expect "Two patients share this number"')
        assert demo.state() == "IDENTIFY"


def test_typing_the_number_finds_the_patient() -> None:
    with kiosk(size="720x1280") as demo:
        play(demo, SIGN_IN, "type 9991230009", 'tap "Find patient"', "wait CONFIRM_PATIENT")
        play(demo, 'tap "No, someone else"', "wait IDENTIFY")


def test_the_button_means_nothing_outside_the_camera() -> None:
    with kiosk() as demo:
        play(
            demo, "wait LOCKED 30", "press", "badge BADGE-1001", "press", "pin 2468", "wait IDENTIFY", "press"
        )
        play(
            demo,
            "scan 9991230009",
            "wait CONFIRM_PATIENT",
            "press",
            'tap "Yes, this patient"',
            "wait CONSENT",
        )
        play(demo, "press", CONSENT, "press", SITE, PHOTO, 'tap "Finish"', "wait SUMMARY", "press")
        play(demo, 'tap "Send to record"', "wait RECEIPT", "press", PROOF, "press")
        assert len(events(demo, "captured")) == 1
        assert len(photographs(demo)) == 1


def test_agreeing_needs_answers_and_a_signature() -> None:
    with kiosk() as demo:
        play(demo, SIGN_IN, PATIENT, 'tap "Agree, take photos"', 'expect "Choose Yes or No"')
        play(demo, 'tap "Teaching: No"', 'tap "Research or publication: No"', 'tap "Agree, take photos"')
        play(demo, 'expect "A signature is needed"')
        assert demo.state() == "CONSENT"
        assert events(demo, "consent-recorded") == []


def test_the_camera_is_unplugged_between_two_photographs() -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, "camera unplug", "wait FAULT 15", 'expect "unplugged"', "camera ok")
        play(demo, 'tap "Try again"', "wait PREVIEW", 'expect "Live"', PHOTO, SEND, PROOF)
        assert len(photographs(demo)) == 2


def test_a_hung_camera_and_what_was_kept_still_arrives() -> None:
    with kiosk() as demo:
        play(
            demo,
            TO_PREVIEW,
            PHOTO,
            "camera hang",
            "wait FAULT 20",
            'tap "Send what was kept"',
            "wait SUMMARY",
        )
        play(demo, 'tap "Send to record"', "wait RECEIPT", PROOF)
        assert len(photographs(demo)) == 1


def test_a_blurred_photograph_is_named() -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, "camera blur", "pause 0.5", "press", "wait REVIEW", 'expect "Blurred"')
        play(demo, 'tap "Retake"', "wait PREVIEW", "camera dark", "pause 0.5", "press", "wait REVIEW")
        play(demo, 'expect "Too dark"')


def test_the_server_says_500_and_recovers() -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, "server status 500 on=POST:/fhir", SEND, "wait delivery-put-off 15")
        play(demo, 'expect "Not in the record yet"', "server none", PROOF)
        assert len(photographs(demo)) == 1
        assert demo.server.store.count("Binary") == 1


def test_the_record_refuses_and_the_session_is_parked() -> None:
    with kiosk() as demo:
        play(
            demo,
            TO_PREVIEW,
            PHOTO,
            "server status 422 on=POST:/fhir",
            SEND,
            "wait parked 20",
            'expect "Call IT"',
        )
        assert not spool_is_empty(demo)
        play(demo, "server none", 'tap "Done"', "wait LOCKED", TO_PREVIEW, PHOTO, SEND, PROOF)
        assert len(photographs(demo)) == 1


def test_wrong_bytes_in_the_read_back_are_never_called_delivered() -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, "server corrupt-readback", SEND, "wait parked 20")
        play(demo, 'expect "Call IT"')
        assert events(demo, "receipt") == []
        assert not spool_is_empty(demo)


def test_an_answer_lost_after_the_commit_is_not_sent_twice() -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, "server drop-after-commit times=1 on=POST:/fhir", SEND, PROOF)
        assert len(photographs(demo)) == 1
        assert demo.server.store.count("Binary") == 1
        assert demo.server.store.count("Provenance") == 1


def test_the_server_cannot_be_reached_at_start() -> None:
    with kiosk() as demo:
        play(demo, "network down", SIGN_IN, "scan 9991230009", 'expect "The patient list cannot be reached"')
        play(demo, "network up", PATIENT)


def test_the_screen_is_killed_with_photographs_kept() -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, PHOTO, "kill ui", "wait session-destroyed 10", "wait LOCKED 30")
        play(demo, 'expect "The screen restarted"')
        assert spool_is_empty(demo)
        assert photographs(demo) == []
        play(demo, TO_PREVIEW, PHOTO, SEND, PROOF)
        assert len(photographs(demo)) == 1


def test_the_uploader_is_killed_between_sending_and_proof() -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, "server delay-readback 3 times=1", SEND, "wait delivery:proving 20")
        assert len(photographs(demo)) == 1, "it is sent, and not yet proven"
        play(demo, "kill uploader", PROOF)
        assert len(photographs(demo)) == 1
        assert demo.server.store.count("Binary") == 1
        assert demo.server.store.count("Provenance") == 1
        assert demo.server.store.count("Consent") == 3
        assert spool_is_empty(demo)


def test_the_uploader_is_killed_while_photographs_are_taken() -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, "kill uploader", PHOTO, SEND, PROOF)
        assert len(photographs(demo)) == 2


def test_the_uploader_is_killed_before_the_patient_is_found() -> None:
    with kiosk() as demo:
        play(demo, SIGN_IN, "kill uploader", "wait uploader-ready", "wait uploader-ready 20", PATIENT)


def test_a_hundred_patients_need_no_more_descriptors_than_one() -> None:
    """The screen replaces itself after each session: nothing that its libraries left open may pile up."""
    counts = []
    with kiosk() as demo:
        for _ in range(3):
            play(demo, SIGN_IN, PATIENT, CONSENT, SITE, PHOTO, SEND, PROOF)
            pid = events(demo, "state")[-1]["pid"]
            counts.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
    assert counts[0] == counts[1] == counts[2]


def test_a_kill_after_send_says_nothing_false() -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, "network down", SEND, "kill ui", "wait LOCKED 30")
        play(demo, 'expect "not in the record yet"', 'absent "nothing"', "network up", "wait receipt 40")
        assert len(photographs(demo)) == 1


def test_the_queue_stays_on_the_screen_while_the_uploader_is_away() -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, "network down", SEND, 'tap "Done"', "wait LOCKED 30")
        play(demo, 'expect "not in the record yet"', "kill uploader", 'expect "not in the record yet"')
        play(demo, "network up", "wait receipt 40")


def test_a_failed_step_names_its_line(tmp_path: Path) -> None:
    with kiosk() as demo, pytest.raises(StepFailed, match=r"story:2: tap failed in LOCKED") as caught:
        play(demo, "wait LOCKED 30", 'tap "Send to record"')
    assert "Sign in" in str(caught.value) or "sign in" in str(caught.value)


def test_sealed_size_and_hash_in_the_record_are_the_photographs(tmp_path: Path) -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, SEND, PROOF)
        document = photographs(demo)[0]
        jpeg = demo.server.store.binary_bytes(demo.server.store.all("Binary")[0]["id"])
        assert jpeg is not None
        import base64

        sha1 = base64.b64encode(hashlib.sha1(jpeg, usedforsecurity=False).digest()).decode()
        assert document["content"][0]["attachment"]["hash"] == sha1
        assert demo.server.store.patients_by_identifier("9991230009", NHS_NUMBER)
