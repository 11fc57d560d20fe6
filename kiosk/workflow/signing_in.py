"""LOCKED, SIGN_IN, IDENTIFY, TODAY and CONFIRM_PATIENT: who works, and on whom."""

from __future__ import annotations

from dataclasses import replace

from kiosk import events as e
from kiosk.errors import Problem
from kiosk.flow import Flow, State
from kiosk.model import Signer
from kiosk.workflow.table import (
    Result,
    RuleBook,
    go,
    lock,
    stay,
)

rules = RuleBook()


IDENTIFIER_MAX = 64


def clean_identifier(text: str) -> str | None:
    """Return the scanned or typed identifier without blanks, or None when it cannot be one."""
    text = text.strip()
    if not text or len(text) > IDENTIFIER_MAX or not text.isascii() or not text.isprintable():
        return None
    text = text.replace(" ", "")
    return text if any(c.isalnum() for c in text) else None


@rules.on(State.LOCKED, e.SignInTouched, State.SIGN_IN)
def _locked_touched(flow: Flow, event: e.SignInTouched) -> Result:
    return go(flow, State.SIGN_IN)


@rules.on((State.LOCKED, State.SIGN_IN), e.Scanned, State.SIGN_IN, note="badge")
@rules.on(State.SIGN_IN, e.Typed, State.SIGN_IN, note="staff number")
def _badge_scanned(flow: Flow, event: e.Scanned | e.Typed) -> Result:
    badge = clean_identifier(event.text)
    if badge is None:
        return go(flow, State.SIGN_IN, problem=Problem.BADGE_UNREADABLE, badge="", badge_name="")
    return go(flow, State.SIGN_IN, e.CheckBadge(badge), busy=True, badge="", badge_name="")


@rules.on(State.LOCKED, e.TimedOut, note="the screen dims")
def _locked_idle(flow: Flow, event: e.TimedOut) -> Result:
    return flow, ()


@rules.on(State.LOCKED, e.Wiped)
def _wiped(flow: Flow, event: e.Wiped) -> Result:
    return replace(flow, busy=False), ()


@rules.on(State.LOCKED, e.Failed)
def _locked_failed(flow: Flow, event: e.Failed) -> Result:
    # While the wipe is out, this is the last word of a session that is over: it says nothing to the next.
    return flow if flow.busy else replace(flow, problem=event.problem), ()


@rules.on(State.SIGN_IN, e.BadgeAccepted)
def _badge_accepted(flow: Flow, event: e.BadgeAccepted) -> Result:
    return stay(flow, busy=False, badge=event.badge, badge_name=event.name, tries_left=None)


@rules.on(State.SIGN_IN, e.PinEntered)
def _pin_entered(flow: Flow, event: e.PinEntered) -> Result:
    if not flow.badge:
        return flow, ()
    return stay(flow, e.CheckPin(flow.badge, event.pin), busy=True)


@rules.on(State.SIGN_IN, e.SignInRefused, note="badge, PIN, lock-out, full spool, unset clock")
def _sign_in_refused(flow: Flow, event: e.SignInRefused) -> Result:
    keep = event.problem is Problem.PIN_WRONG
    return stay(
        flow,
        busy=False,
        problem=event.problem,
        tries_left=event.tries_left,
        badge=flow.badge if keep else "",
        badge_name=flow.badge_name if keep else "",
    )


@rules.on(State.SIGN_IN, e.SignedIn, State.IDENTIFY)
def _signed_in(flow: Flow, event: e.SignedIn) -> Result:
    return go(flow, State.IDENTIFY, operator=event.operator, session=event.session, tries_left=None)


@rules.on(State.SIGN_IN, e.BackTouched, State.LOCKED)
def _sign_in_back(flow: Flow, event: e.BackTouched) -> Result:
    return lock(flow, "cancelled")


@rules.on(State.IDENTIFY, e.Scanned, note="wristband")
@rules.on(State.IDENTIFY, e.Typed, note="identifier by hand")
def _identifier(flow: Flow, event: e.Scanned | e.Typed) -> Result:
    identifier = clean_identifier(event.text)
    if identifier is None:
        return stay(flow, problem=Problem.SCAN_UNREADABLE)
    return stay(flow, e.FindPatient(identifier, isinstance(event, e.Typed)), busy=True)


@rules.on(State.IDENTIFY, e.PatientsFound, State.CONFIRM_PATIENT, State.IDENTIFY, note="exactly one goes on")
def _patients_found(flow: Flow, event: e.PatientsFound) -> Result:
    if len(event.patients) == 1:
        return go(flow, State.CONFIRM_PATIENT, patient=event.patients[0])
    problem = Problem.PATIENT_AMBIGUOUS if event.patients else Problem.PATIENT_UNKNOWN
    return stay(flow, busy=False, problem=problem)


@rules.on(State.IDENTIFY, e.ListTouched, State.TODAY, State.IDENTIFY, note="where the station has a list")
def _list_touched(flow: Flow, event: e.ListTouched) -> Result:
    return go(flow, State.TODAY, e.ListVisits()) if flow.station.has_list else (flow, ())


@rules.on(State.TODAY, e.VisitsListed)
def _visits_listed(flow: Flow, event: e.VisitsListed) -> Result:
    return stay(flow, visits=event.list)


@rules.on(State.TODAY, e.ListFailed)
def _list_failed(flow: Flow, event: e.ListFailed) -> Result:
    return replace(flow, problem=event.problem), ()


@rules.on(State.TODAY, e.RetryTouched, note="asks again, unless the list is here or on its way")
def _list_again(flow: Flow, event: e.RetryTouched) -> Result:
    if flow.visits is not None or flow.problem is None:
        return flow, ()
    return stay(flow, e.ListVisits())


@rules.on(State.TODAY, e.VisitChosen, State.CONFIRM_PATIENT, State.TODAY, note="the list is dropped")
def _visit_chosen(flow: Flow, event: e.VisitChosen) -> Result:
    visits = flow.visits.visits if flow.visits is not None else ()
    chosen = next((v.patient for v in visits if v.patient.id == event.patient), None)
    return (flow, ()) if chosen is None else go(flow, State.CONFIRM_PATIENT, patient=chosen)


@rules.on(State.TODAY, e.Scanned, State.IDENTIFY, note="wristband: the list is not waited for")
def _scanned_at_the_list(flow: Flow, event: e.Scanned) -> Result:
    identifier = clean_identifier(event.text)
    if identifier is None:
        return go(flow, State.IDENTIFY, problem=Problem.SCAN_UNREADABLE)
    return go(flow, State.IDENTIFY, e.FindPatient(identifier, False), busy=True)


@rules.on(State.TODAY, e.BackTouched, State.IDENTIFY)
def _list_back(flow: Flow, event: e.BackTouched) -> Result:
    return go(flow, State.IDENTIFY)


@rules.on(State.IDENTIFY, e.BackTouched, State.LOCKED)
def _identify_back(flow: Flow, event: e.BackTouched) -> Result:
    return lock(flow, "cancelled")


@rules.on(State.CONFIRM_PATIENT, e.PatientConfirmed, State.CONSENT)
def _patient_confirmed(flow: Flow, event: e.PatientConfirmed) -> Result:
    if flow.patient is None:
        return flow, ()
    told = e.TellMatch(flow.patient.match)
    return go(flow, State.CONSENT, told, choices=(), strokes=(), signer=Signer.PATIENT)


@rules.on(State.CONFIRM_PATIENT, e.PatientRejected, State.IDENTIFY)
@rules.on(State.CONFIRM_PATIENT, e.BackTouched, State.IDENTIFY)
def _patient_rejected(flow: Flow, event: e.Event) -> Result:
    return go(flow, State.IDENTIFY, patient=None)
