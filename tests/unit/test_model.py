"""What a Consent, a Filed and a Correction hold together, and what they refuse to hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from kiosk.model import (
    Act,
    Consent,
    Correction,
    Filed,
    FiledConsent,
    Manner,
    Practitioner,
    Purpose,
    Session,
    Signer,
)
from tests import nouns

OTHER = Practitioner("mjones", "M. Jones RN")
RECORD_ONLY = ((Purpose.RECORD, True), (Purpose.TEACHING, False), (Purpose.RESEARCH, False))
FILED = Filed(
    receipt="R-7K4M-2QHD",
    patient=nouns.PATIENT,
    at=nouns.AT,
    operator="A. Patel RN",
    photos=("d1", "d2"),
    forms=("f",),
    consents=(
        FiledConsent("c1", Purpose.RECORD, True, True),
        FiledConsent("c2", Purpose.TEACHING, True, False),
        FiledConsent("c3", Purpose.TEACHING, False, True),
        FiledConsent("c4", Purpose.RESEARCH, True, True),
    ),
)


def correction(act: Act, *purposes: Purpose, retracts: bool = True) -> Correction:
    at = datetime(2026, 11, 24, 9, tzinfo=UTC)
    return Correction(UUID(int=8, version=4), "ward-7", nouns.NURSE, act, FILED, purposes, retracts, at)


@pytest.mark.parametrize(
    "changes",
    [
        {"manner": Manner.VERBAL, "strokes": ()},
        {"witness": OTHER},
        {"manner": Manner.VERBAL, "witness": OTHER},
        {"manner": Manner.BEST_INTERESTS, "strokes": (), "choices": RECORD_ONLY},
        {"clinician": OTHER},
        {"manner": Manner.BEST_INTERESTS, "strokes": (), "clinician": OTHER},
        {"signer_name": "R. Okonkwo"},
    ],
)
def test_a_consent_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"verbal|best-interests|signature|name"):
        replace(nouns.consent(), **changes)


def kinds() -> list[Consent]:
    given = nouns.consent()
    return [
        given,
        replace(given, signer=Signer.GUARDIAN, signer_name="R. Okonkwo"),
        replace(given, strokes=(), manner=Manner.VERBAL, witness=OTHER),
        replace(given, strokes=(), manner=Manner.BEST_INTERESTS, clinician=OTHER, choices=RECORD_ONLY),
    ]


@pytest.mark.parametrize("given", kinds())
def test_the_sealed_manifest_carries_who_decided_and_how(given: Consent) -> None:
    session = nouns.session(given)
    assert Session.from_json(session.to_json()) == session


def test_every_way_of_consenting_has_evidence_of_its_own() -> None:
    found = {c.evidence(nouns.PATIENT, nouns.NURSE, "ward-7") for c in kinds()}
    assert len(found) == len(kinds())


def test_a_manifest_that_contradicts_itself_does_not_open() -> None:
    session = nouns.session(kinds()[2])
    broken = session.to_json().replace(b'"verbal"', b'"signed"')
    with pytest.raises(ValueError, match="value_error") as caught:
        Session.from_json(broken)
    assert "Okonkwo" not in str(caught.value)


def test_what_is_in_force() -> None:
    assert FILED.choice(Purpose.RECORD) is True
    assert FILED.choice(Purpose.TEACHING) is False, "the inactive one does not count"
    assert FILED.permitted() == (Purpose.RECORD, Purpose.RESEARCH)
    assert replace(FILED, consents=()).choice(Purpose.RECORD) is None


def test_a_correction_is_sealed_whole() -> None:
    made = correction(Act.WITHDRAW, Purpose.RECORD, Purpose.RESEARCH)
    assert Correction.from_json(made.to_json()) == made
    assert Filed.from_json(FILED.to_json()) == FILED


def test_a_withdrawal_touches_what_is_permitted_and_named() -> None:
    one = correction(Act.WITHDRAW, Purpose.RESEARCH)
    assert [c.id for c in one.withdrawn] == ["c4"]
    assert one.retracted_photos == ()
    assert [c.id for c in correction(Act.WITHDRAW, Purpose.TEACHING).withdrawn] == []
    whole = correction(Act.WITHDRAW, Purpose.RECORD, Purpose.RESEARCH)
    assert [c.id for c in whole.withdrawn] == ["c1", "c4"]
    assert whole.retracted_photos == ("d1", "d2")
    assert correction(Act.WITHDRAW, Purpose.RECORD, retracts=False).retracted_photos == ()


def test_a_wrong_patient_takes_everything_back_whatever_the_policy() -> None:
    made = correction(Act.WRONG_PATIENT, retracts=False)
    assert made.withdrawn == ()
    assert made.retracted_photos == ("d1", "d2")
