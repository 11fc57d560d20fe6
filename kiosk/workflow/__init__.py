"""The pure state machine of one patient session: step(flow, event) -> (flow, effects).

No I/O, no clock, no threads, no drawing. The table is data: docs/workflow.md is drawn from it and
the tests walk all of it. A pair (state, event) without a rule changes nothing.

Guarantees that the tests hold:
- PREVIEW, REVIEW, SUMMARY and every camera effect need a recorded consent that permits;
- every state has a time-out, and no time-out ever means *accept*;
- every way back to LOCKED carries Wipe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from kiosk import events as e
from kiosk.flow import SECONDS, Flow, Question, State, Station
from kiosk.workflow import closing, consenting, correcting, photographing, signing_in
from kiosk.workflow.consenting import signature_counts
from kiosk.workflow.signing_in import clean_identifier
from kiosk.workflow.table import AFTER_CONSENT, OPTIONAL_PURPOSES, Result, Rule

__all__ = [
    "AFTER_CONSENT",
    "OPTIONAL_PURPOSES",
    "SECONDS",
    "TABLE",
    "Flow",
    "Question",
    "Result",
    "Rule",
    "State",
    "Station",
    "clean_identifier",
    "signature_counts",
    "step",
]


def _table(rules: Iterable[Rule]) -> Mapping[tuple[State, type[e.Event]], Rule]:
    table: dict[tuple[State, type[e.Event]], Rule] = {}
    for rule in rules:
        if table.setdefault((rule.state, rule.event), rule) is not rule:
            raise ValueError(f"two rules for {rule.state} and {rule.event.__name__}")
    return MappingProxyType(table)


TABLE = _table(
    [
        *signing_in.rules.rules,
        *consenting.rules.rules,
        *photographing.rules.rules,
        *correcting.rules.rules,
        *closing.rules.rules,
    ]
)

_PROGRESS = (
    e.SignInTouched,
    e.Scanned,
    e.Typed,
    e.PinEntered,
    e.ListTouched,
    e.VisitChosen,
    e.PatientConfirmed,
    e.PatientRejected,
    e.ChoiceMade,
    e.SignerChosen,
    e.StrokeDrawn,
    e.SignatureCleared,
    e.Agreed,
    e.Declined,
    e.SiteChosen,
    e.ChangeSiteTouched,
    e.ShutterPressed,
    e.LightToggled,
    e.Kept,
    e.Retaken,
    e.FinishTouched,
    e.MoreTouched,
    e.RemoveTouched,
    e.SendTouched,
    e.BackTouched,
    e.DoneTouched,
    e.RetryTouched,
    e.FindReceiptTouched,
    e.WithdrawalAsked,
    e.WrongPatientAsked,
)
"""What people do to get on. It waits while an effect is out or a question is open;
the workers' answers never wait."""


_STOPPING = (e.LockAsked, e.WithdrawAsked, e.QuestionConfirmed, e.TimedOut)
"""Ways to stop. They wait only for a commit that is out: its answer comes first, whatever it is."""


def step(flow: Flow, event: e.Event) -> Result:
    """Return the next flow and the effects to carry out. Never raises, for any pair."""
    if isinstance(event, _STOPPING) and flow.sending:
        return flow, ()
    if isinstance(event, _PROGRESS) and (flow.busy or flow.question is not None):
        return flow, ()
    rule = TABLE.get((flow.state, type(event)))
    return (flow, ()) if rule is None else rule.handler(flow, event)
