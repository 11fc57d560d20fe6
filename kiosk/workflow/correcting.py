"""FIND_RECEIPT, FOUND_RECEIPT and CORRECTION: what can be done, by receipt, about what is in the record.

No way leads from here to the camera: whoever wants to photograph identifies a patient and asks for consent.
"""

from __future__ import annotations

from dataclasses import replace

from kiosk import events as e
from kiosk.errors import Problem
from kiosk.flow import Flow, Question, State
from kiosk.model import Act, Correction, Purpose, Stage
from kiosk.receipts import clean_receipt
from kiosk.workflow.table import Result, RuleBook, go, stay

rules = RuleBook()

SINGLY = (Purpose.TEACHING, Purpose.RESEARCH)
"""Purposes that can be withdrawn alone. Without the record purpose there is nothing left to use."""


@rules.on(State.IDENTIFY, e.FindReceiptTouched, State.FIND_RECEIPT)
def _find_receipt(flow: Flow, event: e.FindReceiptTouched) -> Result:
    return go(flow, State.FIND_RECEIPT)


@rules.on(State.FIND_RECEIPT, e.Scanned, note="receipt")
@rules.on(State.FIND_RECEIPT, e.Typed, note="receipt by hand")
def _receipt(flow: Flow, event: e.Scanned | e.Typed) -> Result:
    receipt = clean_receipt(event.text)
    if receipt is None:
        return stay(flow, problem=Problem.RECEIPT_UNREADABLE)
    return stay(flow, e.FindReceipt(receipt), busy=True)


@rules.on(State.FIND_RECEIPT, e.ReceiptFound, State.FOUND_RECEIPT)
def _receipt_found(flow: Flow, event: e.ReceiptFound) -> Result:
    return go(flow, State.FOUND_RECEIPT, filed=event.filed, patient=event.filed.patient)


@rules.on(State.FIND_RECEIPT, e.BackTouched, State.IDENTIFY)
def _find_back(flow: Flow, event: e.BackTouched) -> Result:
    return go(flow, State.IDENTIFY)


@rules.on(State.FOUND_RECEIPT, e.BackTouched, State.FIND_RECEIPT)
def _found_back(flow: Flow, event: e.BackTouched) -> Result:
    return go(flow, State.FIND_RECEIPT, filed=None, patient=None, withdrawing=())


@rules.on(State.FOUND_RECEIPT, e.WithdrawalAsked, note="asks twice: all that is permitted, or one purpose")
def _withdrawal_asked(flow: Flow, event: e.WithdrawalAsked) -> Result:
    permitted = flow.filed.permitted() if flow.filed else ()
    wanted = tuple(p for p in Purpose if p in event.purposes)
    one = len(wanted) == 1 and wanted[0] in SINGLY and wanted[0] in permitted
    if not (one or (wanted and wanted == permitted)):
        return flow, ()
    return stay(flow, act=Act.WITHDRAW, withdrawing=wanted, question=Question.CORRECT)


@rules.on(State.FOUND_RECEIPT, e.WrongPatientAsked, note="asks twice")
def _wrong_patient_asked(flow: Flow, event: e.WrongPatientAsked) -> Result:
    if flow.filed is None or flow.filed.retracted:
        return flow, ()
    return stay(flow, act=Act.WRONG_PATIENT, withdrawing=(), question=Question.CORRECT)


@rules.on(State.FOUND_RECEIPT, e.QuestionConfirmed, note="asks once more, then seals the correction")
def _confirmed(flow: Flow, event: e.QuestionConfirmed) -> Result:
    if flow.question is Question.CORRECT:
        return replace(flow, question=Question.CORRECT_SURE), ()
    ready = flow.question is Question.CORRECT_SURE and not flow.busy
    if not ready or flow.filed is None or flow.session is None or flow.operator is None:
        return flow, ()
    station = flow.station
    correction = Correction(
        id=flow.session,
        station=station.id,
        operator=flow.operator,
        act=flow.act,
        filed=flow.filed,
        purposes=flow.withdrawing,
        retracts=station.retracts,
        at=event.at,
    )
    return stay(flow, e.CommitCorrection(correction), busy=True, sending=True, question=None)


@rules.on(State.FOUND_RECEIPT, e.Committed, State.CORRECTION, note="renamed to ready: the commit point")
def _committed(flow: Flow, event: e.Committed) -> Result:
    return go(flow, State.CORRECTION, stage=Stage.WAITING, question=None)


@rules.on(State.CORRECTION, e.DeliveryChanged)
def _delivery(flow: Flow, event: e.DeliveryChanged) -> Result:
    return replace(flow, stage=event.stage, problem=event.problem, receipt=event.receipt or flow.receipt), ()
