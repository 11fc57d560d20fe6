"""A delivery process on sealed corrections: only its own, whole and alone, and only with who takes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from kiosk.custody import KeyFile
from kiosk.delivery import Outcome, Verdict, deliver
from kiosk.destinations.base import OpenPhoto, Progress, receipt_id
from kiosk.errors import NotProven, Problem, Unreachable
from kiosk.model import Act, Correction, Receipt, Session, Stage
from kiosk.seal import Cipher, Kind, PublicKey, SealHeader, generate_into, seal_parts
from kiosk.spool import Spool
from tests import nouns
from tests.unit.test_model import correction


class Taker:
    """A destination that takes nothing, and a corrector that takes what it is told to."""

    name = "taker"

    def __init__(self, error: Exception | None = None) -> None:
        self.taken: list[Correction] = []
        self.error = error

    def deliver(self, session: Session, open_photo: OpenPhoto, progress: Progress) -> Receipt:
        raise AssertionError("this is no session with photographs")

    def correct(self, correction: Correction, progress: Progress) -> Receipt:
        progress(Stage.SENDING)
        if self.error is not None:
            raise self.error
        self.taken.append(correction)
        return Receipt(receipt_id(correction.id), correction.id, 2, self.name, nouns.AT)


class Bench:
    def __init__(self, root: Path) -> None:
        self.spool = Spool(root / "spool", capacity=50_000_000, reserve=1_000_000, allow_disk=True)
        self.keys = KeyFile.create()
        self.session = uuid4()
        self.public: PublicKey = generate_into(self.keys.issue(self.session))
        self.correction = replace(correction(Act.WRONG_PATIENT), id=self.session)
        self.heard: list[dict[str, Any]] = []
        self.spool.begin(self.session)

    def add(self, plaintext: bytes, item: UUID | None = None, number: int = 0) -> None:
        header = SealHeader(self.session, item or self.session, Kind.CORRECTION, number)
        parts = seal_parts(self.public, header, plaintext, Cipher.CHACHA20_POLY1305)
        self.spool.add(self.session, number, "correction", item or self.session, parts)

    def delivers(self, taker: Taker, *, corrects: bool = True) -> Outcome:
        self.spool.commit(self.session)
        key = memoryview(bytearray(self.keys.view(self.session)))
        corrector = taker if corrects else None
        return deliver(self.session, self.spool, key, taker, self.heard.append, corrector=corrector)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.keys.close()


def test_a_correction_is_opened_and_handed_over(bench: Bench) -> None:
    bench.add(bench.correction.to_json())
    taker = Taker()
    outcome = bench.delivers(taker)
    assert outcome.verdict is Verdict.DELIVERED
    assert outcome.receipt is not None
    assert outcome.receipt.session == bench.session
    assert taker.taken == [bench.correction]
    assert bench.heard == [{"stage": "sending"}]


def test_what_is_no_correction_is_parked(bench: Bench) -> None:
    bench.add(b"{}")
    assert bench.delivers(Taker()) == Outcome(Verdict.PARK, Problem.CANNOT_OPEN)


def test_another_session_s_correction_is_parked(bench: Bench) -> None:
    bench.add(replace(bench.correction, id=uuid4()).to_json())
    taker = Taker()
    assert bench.delivers(taker) == Outcome(Verdict.PARK, Problem.CANNOT_OPEN)
    assert taker.taken == []


def test_two_corrections_in_one_session_are_parked(bench: Bench) -> None:
    for number in (1, 2):
        bench.add(bench.correction.to_json(), uuid4(), number)
    taker = Taker()
    assert bench.delivers(taker) == Outcome(Verdict.PARK, Problem.CANNOT_OPEN)
    assert taker.taken == []


def test_without_anybody_who_takes_it_it_is_parked(bench: Bench) -> None:
    bench.add(bench.correction.to_json())
    assert bench.delivers(Taker(), corrects=False) == Outcome(Verdict.PARK, Problem.REJECTED)


def test_what_the_record_answers_decides(bench: Bench) -> None:
    bench.add(bench.correction.to_json())
    assert bench.delivers(Taker(Unreachable("no answer"))) == Outcome(Verdict.RETRY, Problem.UNREACHABLE)


def test_what_is_not_proven_is_parked(bench: Bench) -> None:
    bench.add(bench.correction.to_json())
    assert bench.delivers(Taker(NotProven("different"))) == Outcome(Verdict.PARK, Problem.NOT_PROVEN)
