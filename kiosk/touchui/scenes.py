"""Made-up flows for pictures and tests: one for every state and what can happen in it.

Nobody here is a real patient; the number is from the range reserved for tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from math import cos, pi, sin
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from kiosk.errors import Problem
from kiosk.flow import Flow, Question, State, Station
from kiosk.model import (
    Act,
    Aspect,
    BodySite,
    Consent,
    Decision,
    Filed,
    FiledConsent,
    HumanName,
    Identifier,
    Laterality,
    Match,
    Patient,
    Photo,
    Practitioner,
    Purpose,
    QueueStatus,
    Receipt,
    Region,
    Session,
    Sex,
    Stage,
    Stroke,
    Verdict,
    Visit,
    VisitList,
)

STATION = Station("Wound clinic 2", "photo-consent", "1", "en")
NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
PATIENT = Patient(
    "p1",
    HumanName("Okonkwo-Smith", "Adaeze", "Ms"),
    Identifier("https://fhir.nhs.uk/Id/nhs-number", "9991230009"),
    date(1945, 7, 14),
    Sex.FEMALE,
)
SPARSE = Patient(
    "p2",
    HumanName("Featherstonehaugh-Cholmondeley", "Maximiliana Alexandrina", "Prof"),
    Identifier("urn:oid:2.16.840.1.113883.2.1.4.1", "H-1007-88B"),
    match=Match.TYPED,
)
"""A long name, and hardly anything known."""
MERGED = replace(
    PATIENT,
    name=HumanName("Nakamura-Holt", "Ines", "Mrs"),
    identifier=Identifier(PATIENT.identifier.system, "9993334448"),
    merged_from=Identifier(PATIENT.identifier.system, "9992223332"),
)
DECEASED = replace(PATIENT, deceased=True, died=date(2026, 11, 21))
OPERATOR = Practitioner("s1", "A. Patel RN")
SITE = BodySite(Region.FOREARM, Laterality.LEFT, Aspect.FRONT)
GOOD = (
    Verdict("focus", 1, True, "Sharp"),
    Verdict("light", 1, True, "Good"),
    Verdict("glare", 1, True, "None"),
)
BLURRED = (Verdict("focus", 0, False, "Blurred"), *GOOD[1:])


class Wording(NamedTuple):
    """The consent text of the pictures."""

    title: str
    body: str
    purposes: Mapping[Purpose, tuple[str, str]]


WORDING = Wording(
    "May we take photographs?",
    "We would like to take photographs of your skin or wound. You can say no or change your mind. "
    "Your care will not be affected.",
    MappingProxyType(
        {
            Purpose.RECORD: ("Care and health record", "Stored with your record, for your care team."),
            Purpose.TEACHING: ("Teaching", "Training health staff. Never with your name."),
            Purpose.RESEARCH: ("Research or publication", "We will ask you again before publishing."),
        }
    ),
)


def signature() -> tuple[Stroke, ...]:
    """Return a flourish: a loop, a row of waves, a dot."""
    first = [(0.20 + 0.10 * sin(t * 1.1) + 0.02 * t, 0.70 - 0.42 * sin(t * 0.5 + 0.2)) for t in _steps(2.9)]
    waves = [
        (0.36 + 0.060 * t + 0.022 * sin(t * 2 * pi * 0.9), 0.56 - (0.16 - 0.018 * t) * cos(t * 2 * pi * 0.9))
        for t in _steps(6.4)
    ]
    dot = ((0.81, 0.62), (0.812, 0.622))
    return tuple(first), tuple(waves), dot


def _steps(until: float) -> list[float]:
    return [i * 0.09 for i in range(int(until / 0.09) + 1)]


def photo(number: int, verdicts: tuple[Verdict, ...] = GOOD) -> Photo:
    """Return a photograph's description."""
    return Photo(UUID(int=number), number, NOW, SITE, 40 + number, 4056, 3040, 2_100_000, "0" * 64, verdicts)


CONSENT = Consent(
    UUID(int=9),
    Decision.PERMIT,
    NOW,
    STATION.text_id,
    STATION.text_version,
    "en",
    ((Purpose.RECORD, True), (Purpose.TEACHING, True), (Purpose.RESEARCH, False)),
    strokes=signature(),
)


FILED = Filed(
    receipt="R-7K4M-2QHD",
    patient=replace(PATIENT, match=Match.RECEIPT),
    at=NOW,
    operator="A. Patel RN",
    photos=("d1", "d2"),
    forms=("f",),
    consents=(
        FiledConsent("c1", Purpose.RECORD, True, True),
        FiledConsent("c2", Purpose.TEACHING, True, True),
        FiledConsent("c3", Purpose.RESEARCH, False, True),
    ),
)
SPARSELY_FILED = Filed("R-7K4M-2QHD", replace(SPARSE, match=Match.RECEIPT), None, "", (), ("f",), ())


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture: a name, what is drawn, and what was typed before."""

    name: str
    flow: Flow
    status: QueueStatus = field(default_factory=lambda: QueueStatus(waiting=2, online=True))
    keys: str = ""
    taps: tuple[str, ...] = ()
    demo: bool = False
    in_ram: bool = True
    verdicts: tuple[Verdict, ...] = GOOD
    notice: Problem | None = None
    seconds_left: int | None = None
    dimmed: bool = False


def visits() -> VisitList:
    """Return a clinic's morning: nine patients, of whom some are here."""
    names = (
        ("Abernathy", "Callum", "Mr"),
        ("Okonkwo-Smith", "Adaeze", "Ms"),
        ("Lindqvist", "Saga", ""),
        ("Featherstonehaugh-Cholmondeley", "Maximiliana Alexandrina", "Prof"),
        ("M\u00fcller", "J\u00fcrgen", "Dr"),
        ("Vanterpool", "Desmond", "Mr"),
        ("Nakamura-Holt", "Ines", "Mrs"),
        ("Fenwick", "Rosalind", "Mrs"),
        ("Fenwick", "Rosemary", "Dr"),
    )
    lines = []
    for i, name in enumerate(names):
        number = replace(PATIENT.identifier, value=f"999{123 + i}000{i}")
        patient = Patient(f"v{i}", HumanName(*name), number, date(1945 + 7 * i, 1 + i, 3 + 2 * i))
        at = None if i == 8 else NOW + timedelta(minutes=20 * i - 40)
        lines.append(Visit(at, i in (0, 1, 8), replace(patient, match=Match.LIST, deceased=i == 7)))
    return VisitList(tuple(lines))


def scenes() -> tuple[Scene, ...]:
    """Return all pictures, in the order in which a person meets them."""
    closed = Flow(STATION)
    badge = replace(closed, state=State.SIGN_IN)
    pin = replace(badge, badge="100234", badge_name="A. Patel RN")
    inside = replace(closed, state=State.IDENTIFY, operator=OPERATOR, session=UUID(int=5))
    offered = replace(inside, station=replace(STATION, has_list=True))
    waiting = replace(offered, state=State.TODAY)
    listed = replace(waiting, visits=visits())
    found = replace(inside, state=State.CONFIRM_PATIENT, patient=PATIENT)
    asked = replace(found, state=State.CONSENT)
    signed = replace(
        asked, choices=((Purpose.TEACHING, True), (Purpose.RESEARCH, False)), strokes=signature()
    )
    agreed = replace(signed, consent=CONSENT, state=State.BODY_SITE)
    camera = replace(agreed, state=State.PREVIEW, site=SITE, camera_ready=True)
    two = replace(camera, photos=(photo(1), photo(2)), taken=2)
    review = replace(two, state=State.REVIEW, review=photo(3), taken=3)
    summary = replace(two, state=State.SUMMARY, camera_ready=False)
    sent = replace(summary, state=State.RECEIPT)
    refused = replace(asked, state=State.DECLINED)
    withdrawn = replace(asked, state=State.WITHDRAWN)
    refusal = Session(UUID(int=5), STATION.id, PATIENT, OPERATOR, CONSENT, (), NOW)
    receipt = Receipt("R-7K4M-02", UUID(int=5), 2, "Hospital record", NOW)
    asking = replace(inside, state=State.FIND_RECEIPT)
    filed = replace(asking, state=State.FOUND_RECEIPT, patient=FILED.patient, filed=FILED)
    all_of_it = replace(filed, withdrawing=FILED.permitted())
    one = replace(filed, withdrawing=(Purpose.TEACHING,), question=Question.CORRECT)
    wrong = replace(filed, act=Act.WRONG_PATIENT)
    taken_back = replace(
        FILED, consents=tuple(replace(c, permits=False) for c in FILED.consents), in_error=2, retracted=True
    )
    corrected = replace(all_of_it, state=State.CORRECTION)
    proof = Receipt("R-3M9P-0T6B", UUID(int=5), 2, "fhir", NOW)
    fault = replace(two, state=State.FAULT, camera_ready=False, problem=Problem.CAMERA_GONE)
    offline = QueueStatus(waiting=2, online=False)
    parked = QueueStatus(waiting=2, parked=1, online=False, clock_set=False)
    return (
        Scene("locked", closed),
        Scene("locked-calm", closed, QueueStatus(online=True)),
        Scene("locked-notice", closed, parked, notice=Problem.IDLE, demo=True, in_ram=False),
        Scene("locked-wiping", replace(closed, busy=True)),
        Scene("locked-dimmed", closed, dimmed=True),
        Scene("sign-in", badge),
        Scene("sign-in-typed", badge, keys="100234"),
        Scene("sign-in-abc", badge, taps=("type:layout",)),
        Scene("sign-in-unknown", replace(badge, problem=Problem.BADGE_UNKNOWN)),
        Scene("pin", pin, keys="12"),
        Scene("pin-wrong", replace(pin, problem=Problem.PIN_WRONG, tries_left=3)),
        Scene("pin-busy", replace(pin, busy=True), keys="1234"),
        Scene("identify", inside),
        Scene("identify-typed", inside, keys="9991230009"),
        Scene("identify-letters", inside, keys="H1007", taps=("letters",)),
        Scene("identify-unknown", replace(inside, problem=Problem.PATIENT_UNKNOWN), offline),
        Scene(
            "identify-ambiguous",
            replace(inside, problem=Problem.PATIENT_AMBIGUOUS),
            keys="9991230009",
            taps=("find",),
        ),
        Scene(
            "identify-unreachable",
            replace(inside, problem=Problem.LOOKUP_UNREACHABLE),
            offline,
            keys="9991230009",
        ),
        Scene("identify-busy", replace(inside, busy=True), keys="9991230009"),
        Scene("identify-list", offered),
        Scene("identify-list-busy", replace(offered, busy=True), keys="9991230009"),
        Scene("identify-list-unknown", replace(offered, problem=Problem.PATIENT_UNKNOWN)),
        Scene("identify-inactive", replace(offered, problem=Problem.PATIENT_INACTIVE)),
        Scene("today", listed),
        Scene("today-last-page", listed, taps=("page:on", "page:on")),
        Scene("today-filtered", listed, keys="muller"),
        Scene("today-typing", listed, keys="fen", taps=("filter",)),
        Scene("today-nobody-matches", listed, keys="zz"),
        Scene("today-cut", replace(listed, visits=replace(visits(), cut=True))),
        Scene("today-asking", waiting),
        Scene("today-empty", replace(waiting, visits=VisitList())),
        Scene("today-unreachable", replace(waiting, problem=Problem.LIST_UNREACHABLE), offline),
        Scene("today-refused", replace(waiting, problem=Problem.LIST_REFUSED)),
        Scene("find-receipt", asking),
        Scene("find-receipt-typed", asking, keys="7K4M 2QHD"),
        Scene("find-receipt-busy", replace(asking, busy=True), keys="R-7K4M-2QHD"),
        Scene("find-receipt-unknown", replace(asking, problem=Problem.RECEIPT_UNKNOWN), keys="R-7K4M-2QHX"),
        Scene("find-receipt-waiting", replace(asking, problem=Problem.RECEIPT_WAITING), offline, keys="7K4M"),
        Scene("found-receipt", filed),
        Scene("found-receipt-withdrawn", replace(filed, filed=replace(taken_back, retracted=False))),
        Scene("found-receipt-taken-back", replace(filed, filed=taken_back)),
        Scene(
            "found-receipt-sparse",
            replace(filed, filed=SPARSELY_FILED, patient=SPARSELY_FILED.patient),
            parked,
            demo=True,
        ),
        Scene("found-receipt-busy", replace(filed, busy=True)),
        Scene("found-receipt-failed", replace(filed, problem=Problem.COMMIT_FAILED)),
        Scene("withdraw-one", one),
        Scene("withdraw-all", replace(all_of_it, question=Question.CORRECT)),
        Scene(
            "withdraw-all-kept",
            replace(all_of_it, question=Question.CORRECT, station=replace(STATION, retracts=False)),
        ),
        Scene("withdraw-sure", replace(all_of_it, question=Question.CORRECT_SURE)),
        Scene("wrong-patient", replace(wrong, question=Question.CORRECT)),
        Scene("wrong-patient-sure", replace(wrong, question=Question.CORRECT_SURE)),
        Scene("correction-waiting", corrected, offline),
        Scene("correction-retrying", replace(corrected, problem=Problem.UNREACHABLE), offline),
        Scene("correction-sending", replace(corrected, stage=Stage.SENDING)),
        Scene("correction-proving", replace(corrected, stage=Stage.PROVING)),
        Scene("correction-done", replace(corrected, stage=Stage.DELIVERED, receipt=proof)),
        Scene(
            "correction-done-wrong-patient",
            replace(corrected, act=Act.WRONG_PATIENT, stage=Stage.DELIVERED, receipt=proof),
        ),
        Scene("correction-parked", replace(corrected, stage=Stage.PARKED, problem=Problem.REJECTED), parked),
        Scene("confirm-patient", found),
        Scene("confirm-patient-typed", replace(found, patient=SPARSE)),
        Scene("confirm-patient-list", replace(found, patient=replace(PATIENT, match=Match.LIST))),
        Scene("confirm-patient-merged", replace(found, patient=MERGED)),
        Scene("confirm-patient-deceased", replace(found, patient=DECEASED)),
        Scene(
            "confirm-patient-both",
            replace(found, patient=replace(SPARSE, deceased=True, merged_from=PATIENT.identifier)),
        ),
        Scene("consent", asked),
        Scene("consent-list", replace(asked, patient=replace(PATIENT, match=Match.LIST))),
        Scene("consent-deceased", replace(asked, patient=DECEASED)),
        Scene("consent-signed", signed),
        Scene("consent-missing", replace(asked, problem=Problem.CONSENT_CHOICE_MISSING)),
        Scene("consent-unsigned", replace(signed, strokes=(), problem=Problem.CONSENT_SIGNATURE_MISSING)),
        Scene("consent-failed", replace(signed, problem=Problem.CLOCK_NOT_SET), parked, demo=True),
        Scene("consent-busy", replace(signed, busy=True)),
        Scene("consent-decline", replace(signed, question=Question.DECLINE)),
        Scene("body-site", agreed),
        Scene("body-site-side", replace(agreed, site=BodySite(Region.LOWER_LEG))),
        Scene("body-site-chosen", replace(agreed, site=SITE)),
        Scene("body-site-back", replace(agreed, site=BodySite(Region.SACRUM)), parked, demo=True),
        Scene("preview-starting", replace(camera, camera_ready=False)),
        Scene("preview", two),
        Scene("preview-deceased", replace(two, patient=replace(SPARSE, deceased=True, match=Match.LIST))),
        Scene("preview-blurred", camera, verdicts=BLURRED, demo=True, in_ram=False),
        Scene("preview-busy", replace(two, busy=True, frozen=3)),
        Scene("preview-problem", replace(two, problem=Problem.CAMERA_HUNG), offline),
        Scene("preview-withdraw", replace(two, question=Question.WITHDRAW)),
        Scene("preview-countdown", two, seconds_left=12),
        Scene("review", review),
        Scene("review-blurred", replace(review, review=photo(3, BLURRED), light=False)),
        Scene("review-busy", replace(review, busy=True)),
        Scene("review-problem", replace(review, problem=Problem.SEAL_FAILED)),
        Scene("summary", summary),
        Scene("summary-one", replace(summary, photos=(photo(1),))),
        Scene("summary-five", replace(summary, photos=tuple(photo(i) for i in range(1, 6)))),
        Scene("summary-many", replace(summary, photos=tuple(photo(i) for i in range(1, 13)))),
        Scene(
            "summary-last-page",
            replace(summary, photos=tuple(photo(i) for i in range(1, 12))),
            taps=("page:on", f"remove:{photo(8).id}"),
        ),
        Scene("summary-asking", summary, taps=(f"remove:{photo(2).id}",)),
        Scene("summary-busy", replace(summary, busy=True)),
        Scene("summary-failed", replace(summary, problem=Problem.COMMIT_FAILED), offline),
        Scene("summary-lock", replace(summary, question=Question.LOCK)),
        Scene("receipt-waiting", replace(sent, stage=Stage.WAITING), offline),
        Scene("receipt-retrying", replace(sent, problem=Problem.UNREACHABLE), offline),
        Scene("receipt-sending", replace(sent, stage=Stage.SENDING)),
        Scene("receipt-proving", replace(sent, stage=Stage.PROVING)),
        Scene("receipt-delivered", replace(sent, stage=Stage.DELIVERED, receipt=receipt)),
        Scene("receipt-parked", replace(sent, stage=Stage.PARKED, problem=Problem.REJECTED), parked),
        Scene("receipt-not-proven", replace(sent, stage=Stage.PARKED, problem=Problem.NOT_PROVEN), parked),
        Scene("declined-busy", replace(refused, busy=True, refusal=refusal)),
        Scene("declined", refused),
        Scene("declined-failed", replace(refused, refusal=refusal, problem=Problem.COMMIT_FAILED)),
        Scene("declined-parked", replace(refused, stage=Stage.PARKED, problem=Problem.REJECTED), parked),
        Scene("declined-recorded", replace(refused, stage=Stage.DELIVERED)),
        Scene("withdrawn-busy", replace(withdrawn, busy=True, refusal=refusal)),
        Scene("withdrawn", withdrawn),
        Scene("withdrawn-closing", withdrawn, seconds_left=8),
        Scene("fault", fault),
        Scene("fault-early", replace(inside, state=State.FAULT, problem=Problem.SPOOL_NOT_RAM)),
        Scene("fault-gone", replace(fault, problem=Problem.SESSION_GONE, photos=())),
    )


def troubled(problem: Problem) -> tuple[Scene, ...]:
    """Return one scene of every state with this problem open, to see that its sentence fits."""
    first: dict[State, Scene] = {}
    for scene in scenes():
        plain = scene.flow.question is None and not scene.flow.busy and scene.seconds_left is None
        if plain and not scene.dimmed:
            first.setdefault(scene.flow.state, scene)
    return tuple(
        replace(s, name=f"{s.name}-{problem.code}", flow=replace(s.flow, problem=problem))
        for s in first.values()
    )
