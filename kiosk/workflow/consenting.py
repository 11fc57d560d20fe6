"""CONSENT, DECLINED and WITHDRAWN: what the patient allows, refuses or takes back."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from kiosk import events as e
from kiosk.errors import Problem
from kiosk.flow import Flow, Question, State
from kiosk.model import Decision, Purpose, Stage, Stroke
from kiosk.workflow.table import (
    AFTER_CONSENT,
    OPTIONAL_PURPOSES,
    Result,
    RuleBook,
    go,
    lock,
    make_consent,
    make_session,
    stay,
)

rules = RuleBook()


@rules.on(State.CONSENT, e.ChoiceMade)
def _choice_made(flow: Flow, event: e.ChoiceMade) -> Result:
    if event.purpose not in OPTIONAL_PURPOSES:
        return flow, ()
    return stay(
        flow,
        choices=(*(c for c in flow.choices if c[0] is not event.purpose), (event.purpose, event.allowed)),
    )


@rules.on(State.CONSENT, e.SignerChosen, note="another signer starts a new signature")
def _signer_chosen(flow: Flow, event: e.SignerChosen) -> Result:
    return stay(flow, signer=event.signer, strokes=flow.strokes if event.signer is flow.signer else ())


@rules.on(State.CONSENT, e.StrokeDrawn)
def _stroke_drawn(flow: Flow, event: e.StrokeDrawn) -> Result:
    return stay(flow, strokes=(*flow.strokes, event.stroke))


@rules.on(State.CONSENT, e.SignatureCleared)
def _signature_cleared(flow: Flow, event: e.SignatureCleared) -> Result:
    return stay(flow, strokes=())


@rules.on(State.CONSENT, e.Agreed, note="only with every choice made and a signature")
def _agreed(flow: Flow, event: e.Agreed) -> Result:
    if any(flow.choice(p) is None for p in OPTIONAL_PURPOSES):
        return stay(flow, problem=Problem.CONSENT_CHOICE_MISSING)
    if not signature_counts(flow.strokes):
        return stay(flow, problem=Problem.CONSENT_SIGNATURE_MISSING)
    chosen = ((Purpose.RECORD, True), *((p, bool(flow.choice(p))) for p in OPTIONAL_PURPOSES))
    consent = make_consent(flow, event.consent, Decision.PERMIT, event, chosen)
    return stay(flow, e.RecordConsent(consent), busy=True)


@rules.on(State.CONSENT, e.ConsentRecorded, State.BODY_SITE, note="the consent is sealed in the spool")
def _consent_recorded(flow: Flow, event: e.ConsentRecorded) -> Result:
    return go(flow, State.BODY_SITE, consent=event.consent)


@rules.on(State.CONSENT, e.Declined, note="asks first")
def _declined(flow: Flow, event: e.Declined) -> Result:
    return stay(flow, question=Question.DECLINE)


@rules.on(State.CONSENT, e.BackTouched, State.CONFIRM_PATIENT)
def _consent_back(flow: Flow, event: e.BackTouched) -> Result:
    return go(flow, State.CONFIRM_PATIENT, choices=(), strokes=())


def signature_counts(strokes: tuple[Stroke, ...]) -> bool:
    """A signature is more than a resting finger: its lines cover a twentieth of the pad's width."""
    length = 0.0
    for stroke in strokes:
        for (x0, y0), (x1, y1) in pairwise(stroke):
            length += abs(x1 - x0) + abs(y1 - y0)
    return length >= 0.05


@rules.on(AFTER_CONSENT, e.WithdrawAsked, note="asks first")
def _withdraw_asked(flow: Flow, event: e.WithdrawAsked) -> Result:
    # A session that is gone has nothing left to destroy, and no key to record anything with.
    if flow.consent is None or flow.problem is Problem.SESSION_GONE:
        return flow, ()
    return replace(flow, question=Question.WITHDRAW), ()


@rules.on(
    [State.CONFIRM_PATIENT, State.CONSENT, *AFTER_CONSENT],
    e.QuestionConfirmed,
    State.LOCKED,
    State.DECLINED,
    State.WITHDRAWN,
    note="lock, decline or withdraw: whichever was asked",
)
def _confirmed(flow: Flow, event: e.QuestionConfirmed) -> Result:
    if flow.question is Question.LOCK:
        return lock(flow, "locked")
    if flow.question is Question.DECLINE and flow.state is State.CONSENT:
        return _refuse(flow, State.DECLINED, Decision.DENY, event)
    if flow.question is Question.WITHDRAW and flow.consent is not None:
        return _refuse(flow, State.WITHDRAWN, Decision.WITHDRAWN, event)
    return flow, ()


def _refuse(flow: Flow, state: State, decision: Decision, event: e.QuestionConfirmed) -> Result:
    """Everything taken is destroyed; only the refusal itself is committed, signed by nobody."""
    no = tuple((p, False) for p in Purpose)
    session = make_session(flow, make_consent(flow, event.consent, decision, event, no), (), event.at)
    if session is None:
        return lock(flow, "no-patient")
    forget: dict[str, Any] = {
        "photos": (),
        "review": None,
        "frozen": None,
        "strokes": (),
        "choices": (),
        "consent": None,
        "camera_ready": False,
        "question": None,
    }
    return go(
        flow,
        state,
        e.DropFrame(),
        e.CloseCamera(),
        e.CommitRefusal(session),
        busy=True,
        sending=True,
        refusal=session,
        stage=Stage.WAITING,
        **forget,
    )


@rules.on((State.DECLINED, State.WITHDRAWN), e.Committed)
def _refusal_committed(flow: Flow, event: e.Committed) -> Result:
    return stay(flow, busy=False, sending=False, refusal=None)


@rules.on((State.DECLINED, State.WITHDRAWN), e.RetryTouched)
def _refusal_retry(flow: Flow, event: e.RetryTouched) -> Result:
    if flow.refusal is None:
        return flow, ()
    return stay(flow, e.CommitRefusal(flow.refusal), busy=True, sending=True)
