"""How rules are written: the rule book, and the few moves that every handler is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from kiosk import events as e
from kiosk.errors import Problem
from kiosk.flow import Flow, State
from kiosk.model import Consent, Decision, Photo, Purpose, Session

Result = tuple[Flow, tuple[e.Effect, ...]]
Handler = Callable[[Flow, Any], Result]

NOT_LOCKED = tuple(s for s in State if s is not State.LOCKED)
CLOSING = (State.RECEIPT, State.DECLINED, State.WITHDRAWN, State.CORRECTION)
"""The session is committed or refused: nothing on the screen can be lost any more."""

AFTER_CONSENT = (State.BODY_SITE, State.PREVIEW, State.REVIEW, State.SUMMARY, State.FAULT)
"""Where consent can be withdrawn on the spot."""

OPTIONAL_PURPOSES = (Purpose.TEACHING, Purpose.RESEARCH)
"""Asked with Yes and No, nothing preset. The record itself is what the signature agrees to."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: in `state`, `event` leads to one of `to`."""

    state: State
    event: type[e.Event]
    to: tuple[State, ...]
    note: str
    handler: Handler


class RuleBook:
    """The rows that one part of the workflow contributes."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def on(
        self,
        states: State | Iterable[State],
        event: type[e.Event],
        *to: State,
        note: str = "",
        may_stay: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Enter a handler. No `to`, or `may_stay`: the own state is a target too."""

        def enter(handler: Handler) -> Handler:
            for state in (states,) if isinstance(states, State) else states:
                targets = (*to, state) if may_stay or not to else to
                self.rules.append(Rule(state, event, targets, note, handler))
            return handler

        return enter


def stay(flow: Flow, *effects: e.Effect, **changes: Any) -> Result:
    """Change something in the same state; a hint that was shown goes away."""
    return replace(flow, **{"problem": None, **changes}), effects


def go(flow: Flow, state: State, *effects: e.Effect, **changes: Any) -> Result:
    """Change state; today's list goes away. An open question stays: a worker's answer must not close it."""
    fresh = {"problem": None, "busy": False, "sending": False, "visits": None}
    return replace(flow, state=state, **{**fresh, **changes}), effects


def lock(flow: Flow, reason: str, problem: Problem | None = None) -> Result:
    """The only way to LOCKED: everything of the session leaves the flow, and Wipe goes with it."""
    return Flow(flow.station, busy=True, problem=problem), (e.Wipe(reason),)


def to_preview(flow: Flow, **changes: Any) -> Result:
    """Open the camera; without a recorded consent that permits, nothing happens."""
    if flow.consent is None or flow.consent.decision is not Decision.PERMIT:
        return flow, ()
    return go(
        flow,
        State.PREVIEW,
        e.OpenCamera(flow.consent),
        e.SetLight(flow.light),
        **{"camera_ready": False, "frozen": None, "review": None, **changes},
    )


def fault(flow: Flow, event: e.Failed) -> Result:
    """Show FAULT. What was kept stays sealed; what was only on the screen is dropped."""
    return go(
        flow,
        State.FAULT,
        e.DropFrame(),
        e.CloseCamera(),
        problem=event.problem,
        resume=flow.state,
        camera_ready=False,
        frozen=None,
        review=None,
        # What was asked about a found receipt cannot be done from here.
        question=None if flow.filed is not None else flow.question,
    )


def make_consent(
    flow: Flow,
    id: UUID,
    decision: Decision,
    event: e.Agreed | e.QuestionConfirmed,
    choices: tuple[tuple[Purpose, bool], ...],
) -> Consent:
    """Build the consent from what the screen shows. Only a permit carries the signature."""
    signed = decision is Decision.PERMIT
    return Consent(
        id=id,
        decision=decision,
        at=event.at,
        text_id=flow.station.text_id,
        text_version=flow.station.text_version,
        language=flow.station.language,
        choices=choices,
        signer=flow.signer,
        strokes=flow.strokes if signed else (),
    )


def make_session(
    flow: Flow,
    consent: Consent | None,
    photos: tuple[Photo, ...],
    at: datetime,
) -> Session | None:
    """What Send seals, or None when something of it is missing."""
    if flow.session is None or flow.patient is None or flow.operator is None or consent is None:
        return None
    return Session(flow.session, flow.station.id, flow.patient, flow.operator, consent, photos, at)
