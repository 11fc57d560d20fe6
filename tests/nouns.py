"""The nouns that many tests need: one synthetic patient, nurse, site, consent and session."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from uuid import UUID

from kiosk.consent_text import ENGLISH
from kiosk.model import (
    Aspect,
    BodySite,
    Consent,
    Decision,
    HumanName,
    Identifier,
    Laterality,
    Patient,
    Photo,
    Practitioner,
    Purpose,
    Region,
    Session,
    Sex,
    Signer,
)

NHS = "https://fhir.nhs.uk/Id/nhs-number"
AT = datetime(2026, 11, 23, 14, 5, 12, 345_000, tzinfo=UTC)
STROKES = (((0.1, 0.6), (0.3, 0.2), (0.5, 0.7), (0.8, 0.4)), ((0.9, 0.5),))
CONSENT_ID, SESSION_ID = UUID(int=2, version=4), UUID(int=1, version=4)
SITE = BodySite(Region.FOREARM, Laterality.LEFT, Aspect.FRONT)
NURSE = Practitioner("apatel", "A. Patel RN")
PATIENT = Patient(
    "p1",
    HumanName("Okonkwo-Smith", "Adaeze", "Ms"),
    Identifier(NHS, "9991230009"),
    date(1945, 7, 14),
    Sex.FEMALE,
)


def consent(
    decision: Decision = Decision.PERMIT,
    *,
    id: UUID = CONSENT_ID,
    at: datetime = AT,
    signer: Signer = Signer.PATIENT,
) -> Consent:
    """Record and teaching allowed, research not; a refusal allows nothing and carries no signature."""
    permit = decision is Decision.PERMIT
    return Consent(
        id=id,
        decision=decision,
        at=at,
        text_id=ENGLISH.id,
        text_version=ENGLISH.version,
        language=ENGLISH.language,
        choices=((Purpose.RECORD, permit), (Purpose.TEACHING, permit), (Purpose.RESEARCH, False)),
        signer=signer,
        strokes=STROKES if permit else (),
    )


def session(
    given: Consent,
    photos: Iterable[Photo] = (),
    *,
    id: UUID = SESSION_ID,
    patient: Patient = PATIENT,
    operator: Practitioner = NURSE,
    committed_at: datetime = AT,
) -> Session:
    """What Send seals. A refusal has no photographs, whatever is given."""
    permit = given.decision is Decision.PERMIT
    return Session(id, "ward-7", patient, operator, given, tuple(photos) if permit else (), committed_at)
