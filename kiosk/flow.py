"""The workflow's nouns: the states, the open question, and the Flow that screens draw.

Frozen and without behaviour; kiosk/workflow.py decides, kiosk/touchui/ draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from kiosk.errors import Problem
from kiosk.model import (
    Act,
    BodySite,
    Consent,
    Filed,
    Patient,
    Photo,
    Practitioner,
    Purpose,
    Receipt,
    Session,
    Signer,
    Stage,
    Stroke,
    VisitList,
)


class State(Enum):
    """What the person in front of the kiosk is doing."""

    LOCKED = "locked"
    SIGN_IN = "sign-in"
    IDENTIFY = "identify"
    TODAY = "today"
    CONFIRM_PATIENT = "confirm-patient"
    CONSENT = "consent"
    BODY_SITE = "body-site"
    PREVIEW = "preview"
    REVIEW = "review"
    SUMMARY = "summary"
    RECEIPT = "receipt"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    FAULT = "fault"
    FIND_RECEIPT = "find-receipt"
    FOUND_RECEIPT = "found-receipt"
    CORRECTION = "correction"


class Question(Enum):
    """A question that is open over the screen. The first answer destroys something, the second does not.

    CORRECT asks what is to be done about a found receipt, CORRECT_SURE asks once more.
    """

    LOCK = "lock"
    DECLINE = "decline"
    WITHDRAW = "withdraw"
    CORRECT = "correct"
    CORRECT_SURE = "correct-sure"


@dataclass(frozen=True, slots=True)
class Station:
    """What the workflow must know of the kiosk and its consent text.

    name: what people call it.  has_list: whether today's list can be asked for.
    retracts: whether photographs are marked as entered in error when the record consent is withdrawn later.
    """

    id: str
    text_id: str
    text_version: str
    language: str
    name: str = ""
    has_list: bool = False
    retracts: bool = True


@dataclass(frozen=True, slots=True)
class Flow:
    """Everything a screen needs to draw itself, and everything `step` needs to decide."""

    station: Station
    state: State = State.LOCKED
    busy: bool = False
    sending: bool = False
    """A commit is out: what it decides cannot be stopped, withdrawn or timed out any more."""
    problem: Problem | None = None
    tries_left: int | None = None
    question: Question | None = None
    badge: str = ""
    badge_name: str = ""
    operator: Practitioner | None = None
    session: UUID | None = None
    visits: VisitList | None = None
    """Today's list, while it is on the screen: a change of state drops it."""
    patient: Patient | None = None
    choices: tuple[tuple[Purpose, bool], ...] = ()
    signer: Signer = Signer.PATIENT
    strokes: tuple[Stroke, ...] = ()
    consent: Consent | None = None
    site: BodySite | None = None
    light: bool = True
    camera_ready: bool = False
    frozen: int | None = None
    review: Photo | None = None
    photos: tuple[Photo, ...] = ()
    taken: int = 0
    refusal: Session | None = None
    stage: Stage = Stage.WAITING
    receipt: Receipt | None = None
    resume: State | None = None
    filed: Filed | None = None
    act: Act = Act.WITHDRAW
    withdrawing: tuple[Purpose, ...] = ()
    """What is to be done about `filed`, as it is being asked or was decided."""

    def choice(self, purpose: Purpose) -> bool | None:
        """Yes, no, or None for not answered yet."""
        return dict(self.choices).get(purpose)


SECONDS: Mapping[State, int] = {
    State.LOCKED: 120,
    State.SIGN_IN: 30,
    State.IDENTIFY: 90,
    State.TODAY: 90,
    State.CONFIRM_PATIENT: 90,
    State.CONSENT: 300,
    State.BODY_SITE: 120,
    State.PREVIEW: 180,
    State.REVIEW: 180,
    State.SUMMARY: 300,
    State.RECEIPT: 60,
    State.DECLINED: 20,
    State.WITHDRAWN: 20,
    State.FAULT: 180,
    State.FIND_RECEIPT: 90,
    State.FOUND_RECEIPT: 120,
    State.CORRECTION: 60,
}
"""Seconds without a touch, a press or a scan before TimedOut. kiosk.toml may change them."""
