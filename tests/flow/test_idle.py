"""Idling in every state ends locked, sends nothing, and leaves nothing."""

from __future__ import annotations

import pytest

from tests.flow.story import (
    CONSENT,
    PATIENT,
    PHOTO,
    SIGN_IN,
    SITE,
    events,
    kiosk,
    photographs,
    play,
    spool_is_empty,
)

TO = {
    "sign_in": ("wait LOCKED 30", "badge BADGE-1001", 'expect "PIN"'),
    "identify": (SIGN_IN,),
    "confirm_patient": (SIGN_IN, "scan 9991230009", "wait CONFIRM_PATIENT"),
    "consent": (SIGN_IN, PATIENT, 'tap "Teaching: Yes"', "sign"),
    "body_site": (SIGN_IN, PATIENT, CONSENT),
    "review": (SIGN_IN, PATIENT, CONSENT, SITE, 'expect "Live"', "press", "wait REVIEW"),
    "summary": (SIGN_IN, PATIENT, CONSENT, SITE, PHOTO, 'tap "Finish"', "wait SUMMARY"),
    "fault": (SIGN_IN, PATIENT, CONSENT, SITE, PHOTO, "camera unplug", "wait FAULT 15"),
}
"""PREVIEW is told in test_stories.py: nobody touches the screen."""


@pytest.mark.parametrize("state", TO)
def test_idling_ends_locked_and_sends_nothing(state: str) -> None:
    with kiosk(timeouts={state: 5}) as demo:
        play(demo, *TO[state], "wait timed-out 15", "wait LOCKED 20")
        play(demo, 'expect "nobody touched the screen"')
        assert events(demo, "timed-out")[-1]["state"] == state.replace("_", "-")
        assert spool_is_empty(demo)
        assert photographs(demo) == []
        assert demo.server.store.count("Consent") == 0
        assert events(demo, "committed") == []


def test_idling_on_the_receipt_only_leaves_the_screen() -> None:
    with kiosk(timeouts={"receipt": 5}) as demo:
        play(
            demo,
            SIGN_IN,
            PATIENT,
            CONSENT,
            SITE,
            PHOTO,
            'tap "Finish"',
            'tap "Send to record"',
            "wait RECEIPT",
        )
        play(demo, "wait receipt 40", "wait LOCKED 30")
        assert len(photographs(demo)) == 1


@pytest.mark.parametrize(("state", "go"), [("declined", "Patient declines"), ("withdrawn", "Withdraw")])
def test_idling_on_a_refusal_still_records_it(state: str, go: str) -> None:
    before = (SIGN_IN, PATIENT) if state == "declined" else (SIGN_IN, PATIENT, CONSENT, SITE, PHOTO)
    yes = "Record the refusal" if state == "declined" else "Withdraw and destroy"
    with kiosk(timeouts={state: 5}) as demo:
        play(demo, *before, f'tap "{go}"', f'tap "{yes}"', "wait receipt 40", "wait LOCKED 30")
        assert {c["provision"]["type"] for c in demo.server.store.all("Consent")} == {"deny"}
        assert photographs(demo) == []
