"""SUMMARY, RECEIPT and FAULT, and the ways out that every state has."""

from __future__ import annotations

from dataclasses import replace

from kiosk import events as e
from kiosk.errors import Problem
from kiosk.flow import Flow, Question, State
from kiosk.model import Stage
from kiosk.workflow.table import (
    CLOSING,
    NOT_LOCKED,
    Result,
    RuleBook,
    fault,
    go,
    lock,
    make_session,
    stay,
    to_preview,
)

rules = RuleBook()


@rules.on(State.SUMMARY, e.MoreTouched, State.PREVIEW)
@rules.on(State.SUMMARY, e.BackTouched, State.PREVIEW)
def _more(flow: Flow, event: e.Event) -> Result:
    return to_preview(flow)


@rules.on(State.SUMMARY, e.RemoveTouched)
def _remove(flow: Flow, event: e.RemoveTouched) -> Result:
    if all(p.id != event.photo for p in flow.photos):
        return flow, ()
    return stay(flow, e.RemovePhoto(event.photo), busy=True)


@rules.on(State.SUMMARY, e.Removed, State.SUMMARY, State.PREVIEW, note="none left: back to the camera")
def _removed(flow: Flow, event: e.Removed) -> Result:
    left = tuple(p for p in flow.photos if p.id != event.photo)
    if left:
        return stay(flow, busy=False, photos=left)
    return to_preview(flow, photos=())


@rules.on(State.SUMMARY, e.SendTouched, note="seals the manifest")
def _send(flow: Flow, event: e.SendTouched) -> Result:
    session = make_session(flow, flow.consent, flow.photos, event.at)
    if session is None or not flow.photos:
        return flow, ()
    return stay(flow, e.Commit(session), busy=True, sending=True)


@rules.on(State.SUMMARY, e.Committed, State.RECEIPT, note="renamed to ready: the commit point")
def _committed(flow: Flow, event: e.Committed) -> Result:
    # The signature is sealed now, and nothing on the receipt needs it.
    return go(flow, State.RECEIPT, stage=Stage.WAITING, question=None, consent=None, strokes=(), choices=())


@rules.on(State.RECEIPT, e.DeliveryChanged)
@rules.on((State.DECLINED, State.WITHDRAWN), e.DeliveryChanged)
def _delivery(flow: Flow, event: e.DeliveryChanged) -> Result:
    return replace(flow, stage=event.stage, problem=event.problem, receipt=event.receipt or flow.receipt), ()


@rules.on(CLOSING, e.DoneTouched, State.LOCKED)
def _done(flow: Flow, event: e.DoneTouched) -> Result:
    return lock(flow, "done", Problem.REFUSAL_NOT_RECORDED if flow.refusal else None)


@rules.on(
    [s for s in NOT_LOCKED if s not in (State.PREVIEW, State.FAULT, *CLOSING)],
    e.Failed,
    State.FAULT,
    note="lasting troubles; others stay as a hint",
    may_stay=True,
)
def _failed(flow: Flow, event: e.Failed) -> Result:
    if event.lasting:
        return fault(flow, event)
    return replace(flow, busy=False, sending=False, problem=event.problem), ()


@rules.on(State.FAULT, e.Failed)
def _still_failed(flow: Flow, event: e.Failed) -> Result:
    return replace(flow, busy=False, problem=event.problem), ()


@rules.on(State.FAULT, e.Sealed, note="kept before the fault: it belongs to the session")
def _sealed_late(flow: Flow, event: e.Sealed) -> Result:
    if flow.consent is None:
        return flow, ()
    return replace(flow, photos=(*flow.photos, event.photo)), ()


@rules.on(CLOSING, e.Failed, note="only a refusal that is not committed yet can still fail")
def _closing_failed(flow: Flow, event: e.Failed) -> Result:
    if flow.refusal is None or event.problem not in (Problem.COMMIT_FAILED, Problem.SESSION_GONE):
        return flow, ()
    return replace(flow, busy=False, sending=False, problem=event.problem), ()


@rules.on(
    State.FAULT,
    e.RetryTouched,
    State.PREVIEW,
    State.SUMMARY,
    State.LOCKED,
    note="back to work, or lock where there is none",
)
def _retry(flow: Flow, event: e.RetryTouched) -> Result:
    if flow.consent is None or flow.site is None or flow.problem is Problem.SESSION_GONE:
        return lock(flow, "fault")
    if flow.resume is State.SUMMARY and flow.photos:
        return go(flow, State.SUMMARY, resume=None)
    return to_preview(flow, resume=None)


@rules.on(State.FAULT, e.FinishTouched, State.SUMMARY, State.FAULT, note="send what was kept")
def _fault_finish(flow: Flow, event: e.FinishTouched) -> Result:
    if flow.consent is None or not flow.photos or flow.problem is Problem.SESSION_GONE:
        return flow, ()
    return go(flow, State.SUMMARY, resume=None)


@rules.on(State.FAULT, e.DoneTouched, State.LOCKED, State.FAULT, note="asks first if photographs were kept")
def _fault_done(flow: Flow, event: e.DoneTouched) -> Result:
    if flow.photos and flow.problem is not Problem.SESSION_GONE:
        return replace(flow, question=Question.LOCK), ()
    return lock(flow, "fault")


@rules.on(
    NOT_LOCKED,
    e.LockAsked,
    State.LOCKED,
    note="asks first where something would be lost",
    may_stay=True,
)
def _lock_asked(flow: Flow, event: e.LockAsked) -> Result:
    if flow.patient is None or flow.state in CLOSING or flow.filed is not None:
        return lock(flow, "locked", Problem.REFUSAL_NOT_RECORDED if flow.refusal else None)
    return stay(flow, question=Question.LOCK, problem=flow.problem)


@rules.on(NOT_LOCKED, e.QuestionDismissed)
def _dismissed(flow: Flow, event: e.QuestionDismissed) -> Result:
    return replace(flow, question=None), ()


@rules.on(NOT_LOCKED, e.TimedOut, State.LOCKED, note="wipes")
def _timed_out(flow: Flow, event: e.TimedOut) -> Result:
    if flow.state in CLOSING:
        return lock(flow, "done", Problem.REFUSAL_NOT_RECORDED if flow.refusal else None)
    lost = flow.photos or flow.review is not None
    return lock(flow, "idle", Problem.IDLE_DESTROYED if lost else Problem.IDLE)
