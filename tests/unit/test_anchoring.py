"""From the proof to the anchor: what the delivery process says, and what the uploader makes of it."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from kiosk import errors
from kiosk.children import Children
from kiosk.custody import KeyFile
from kiosk.delivery import Outcome, Verdict, deliver, receipt_to_message
from kiosk.destinations.base import OpenPhoto, Progress
from kiosk.errors import DeliveryError, Problem
from kiosk.heads import SignedHead
from kiosk.model import Receipt, Session
from kiosk.seal import Kind, SealHeader, choose_suite, generate_into, seal
from kiosk.spool import Spool
from tests import nouns

HEAD = SignedHead("ward-7", str(UUID(int=7, version=4)), 4, "ab" * 32, "5" * 128)
RECEIPT = Receipt("R-7K4M-2QHD", nouns.SESSION_ID, 0, "played", datetime(2026, 11, 23, tzinfo=UTC))


class Played:
    """A destination that proves at once and then does with the anchor as told."""

    name = "played"

    def __init__(self, refusal: BaseException | None = None) -> None:
        self.refusal = refusal
        self.anchored: list[tuple[Session, Receipt, SignedHead]] = []

    def deliver(self, session: Session, open_photo: OpenPhoto, progress: Progress) -> Receipt:
        return RECEIPT

    def anchor(self, session: Session, receipt: Receipt, head: SignedHead) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.anchored.append((session, receipt, head))


def delivered(
    tmp_path: Path, destination: Played, head: SignedHead | None
) -> tuple[Outcome, list[dict[str, Any]], Session]:
    spool = Spool(tmp_path / "spool", capacity=50_000_000, reserve=1_000_000, allow_disk=True)
    session = nouns.session(nouns.consent())
    said: list[dict[str, Any]] = []
    with KeyFile.create() as keys, keys.issue(session.id) as key:
        public = generate_into(key)
        spool.begin(session.id)
        for kind, item, plaintext in (
            (Kind.CONSENT, session.consent.id, session.consent.to_json()),
            (Kind.MANIFEST, session.id, session.to_json()),
        ):
            sealed = seal(public, SealHeader(session.id, item, kind, 0), plaintext, choose_suite())
            spool.add(session.id, 0, kind.value, item, sealed)
        spool.commit(session.id)
        outcome = deliver(session.id, spool, key, destination, said.append, head)
        assert not any(key)
    return outcome, said, session


def test_the_head_is_anchored_after_the_proof(tmp_path: Path) -> None:
    destination = Played()
    outcome, said, session = delivered(tmp_path, destination, HEAD)
    assert destination.anchored == [(session, RECEIPT, HEAD)]
    assert said == [{"proof": receipt_to_message(RECEIPT)}]
    assert outcome == Outcome(Verdict.DELIVERED, receipt=RECEIPT)


def test_without_a_head_nothing_is_anchored(tmp_path: Path) -> None:
    destination = Played()
    outcome, said, _ = delivered(tmp_path, destination, None)
    assert (destination.anchored, said) == ([], [])
    assert outcome == Outcome(Verdict.DELIVERED, receipt=RECEIPT)


@pytest.mark.parametrize(
    "refusal",
    [
        errors.Rejected("405"),
        errors.NotLetIn("403"),
        errors.ServerBusy("503", retry_after=9),
        errors.Unreachable("timed out"),
        errors.Conflict("409"),
    ],
)
def test_a_refused_anchor_leaves_the_session_delivered(tmp_path: Path, refusal: DeliveryError) -> None:
    outcome, said, _ = delivered(tmp_path, Played(refusal), HEAD)
    assert outcome == Outcome(Verdict.DELIVERED, refusal.problem, receipt=RECEIPT)
    assert said == [{"proof": receipt_to_message(RECEIPT)}]
    assert Outcome.from_message(outcome.to_message()) == outcome


# --- the uploader's side --------------------------------------------------------------------------


class Scripted(Children):
    """Its delivery process is a few lines of Python that know `proof` and `end`."""

    script = ""

    def _command(self, *arguments: str) -> list[str]:
        self.arguments = arguments
        proof, end = receipt_to_message(RECEIPT), Outcome(Verdict.DELIVERED, receipt=RECEIPT).to_message()
        names = f"import json, os, sys, time\nproof, end = { ({'proof': proof})!r}, {end!r}\n"
        say = "def say(m): print(m if isinstance(m, str) else json.dumps(m), flush=True)\n"
        return [sys.executable, "-c", names + say + self.script]


def run(script: str, *, attempt_s: float = 30.0, anchor_s: float = 30.0) -> tuple[Outcome, Scripted]:
    def nothing(stage: object) -> None:
        pass

    children = Scripted(Path("/none"), attempt_s=attempt_s, head=lambda: HEAD, anchor_s=anchor_s)
    children.script = script
    with KeyFile.create() as keys, keys.issue(nouns.SESSION_ID) as key:
        return asyncio.run(children.deliver(nouns.SESSION_ID, key, nothing)), children


INTERRUPTED = Outcome(Verdict.DELIVERED, Problem.DELIVERY_INTERRUPTED, receipt=RECEIPT)
RETRY = Outcome(Verdict.RETRY, Problem.DELIVERY_INTERRUPTED)
DONE = Outcome(Verdict.DELIVERED, receipt=RECEIPT)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("say({'stage': 'sending'}); say(proof); say(end)", DONE),
        ("say(proof); say({**end, 'problem': 'rejected'})", replace(DONE, problem=Problem.REJECTED)),
        ("say(proof); os.kill(os.getpid(), 9)", INTERRUPTED),
        ("say(proof); say('nonsense')", INTERRUPTED),
        ("say(proof); say({'outcome': 'retry', 'problem': 'unreachable'})", INTERRUPTED),
        ("say(proof); say({'outcome': 'park', 'problem': 'rejected'})", INTERRUPTED),
        ("os.kill(os.getpid(), 9)", RETRY),
        ("say({'proof': {}}); say(end)", RETRY),
        ("say({'proof': 7})", RETRY),
    ],
)
def test_what_was_proven_stays_delivered(script: str, expected: Outcome) -> None:
    assert run(script)[0] == expected


def test_a_server_that_hangs_over_the_anchor_is_not_waited_for() -> None:
    assert run("say(proof); time.sleep(600)", anchor_s=0.3)[0] == INTERRUPTED


def test_a_server_that_hangs_before_the_proof_is_tried_again() -> None:
    assert run("time.sleep(600)", attempt_s=0.3)[0] == Outcome(Verdict.RETRY, Problem.UNREACHABLE)


def test_the_newest_head_goes_along() -> None:
    _, children = run("say(end)")
    option = children.arguments.index("--head")
    assert SignedHead.from_json(children.arguments[option + 1]) == HEAD
