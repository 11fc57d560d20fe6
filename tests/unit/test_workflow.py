"""The whole state table, walked: total, guarded by consent, and every way out wipes."""

from __future__ import annotations

import dataclasses
import inspect
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk import events as e
from kiosk.errors import Problem
from kiosk.model import (
    PHOTOS_MAX,
    Act,
    BodySite,
    Correction,
    Decision,
    Filed,
    FiledConsent,
    Laterality,
    Match,
    Patient,
    Photo,
    Purpose,
    Region,
    Signer,
    Stage,
    Visit,
    VisitList,
)
from kiosk.workflow import (
    AFTER_CONSENT,
    SECONDS,
    TABLE,
    Flow,
    Question,
    State,
    Station,
    clean_identifier,
    step,
)
from kiosk.workflow.drawing import markdown
from tests.nouns import NURSE, PATIENT

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
STATION = Station("clinic-1", "photo-consent", "2026-11", "en", has_list=True)
OTHER = dataclasses.replace(PATIENT, id="p2")
EXPECTED = dataclasses.replace(PATIENT, match=Match.LIST, encounter="Encounter/e1")
LIST = VisitList((Visit(NOW, True, EXPECTED), Visit(None, False, OTHER)))
SITE = BodySite(Region.FOREARM, Laterality.LEFT)
STROKE = ((0.1, 0.5), (0.4, 0.2), (0.8, 0.6))
IDS = [UUID(int=n) for n in range(1, 5)]


FILED = Filed(
    "R-7K4M-2QHD",
    PATIENT,
    NOW,
    "A. Patel RN",
    ("d1", "d2"),
    ("f",),
    (
        FiledConsent("c1", Purpose.RECORD, True, True),
        FiledConsent("c2", Purpose.TEACHING, True, True),
        FiledConsent("c3", Purpose.RESEARCH, False, True),
    ),
)


def photo(id: UUID, number: int = 1) -> Photo:
    return Photo(id, number, NOW, SITE, 7, 64, 48, 1000, "00" * 32)


EVENTS: list[e.Event] = [
    e.SignInTouched(),
    e.Scanned("BADGE-1001"),
    e.Scanned("\x00\x01"),
    e.Typed("9991230009"),
    e.PinEntered("2468"),
    e.BadgeAccepted("BADGE-1001", "A. Patel RN"),
    e.SignInRefused(Problem.PIN_WRONG, 4),
    e.SignInRefused(Problem.LOCKED_OUT),
    e.SignedIn(NURSE, IDS[0]),
    e.PatientsFound(()),
    e.PatientsFound((PATIENT,)),
    e.PatientsFound((PATIENT, OTHER)),
    e.ListTouched(),
    e.VisitsListed(LIST),
    e.VisitsListed(VisitList()),
    e.ListFailed(Problem.LIST_UNREACHABLE),
    e.VisitChosen("p1"),
    e.VisitChosen("somebody else"),
    e.FindReceiptTouched(),
    e.Typed("7k4m 2qhd"),
    e.ReceiptFound(FILED),
    e.WithdrawalAsked((Purpose.TEACHING,)),
    e.WithdrawalAsked(FILED.permitted()),
    e.WithdrawalAsked((Purpose.RECORD,)),
    e.WrongPatientAsked(),
    e.PatientConfirmed(),
    e.PatientRejected(),
    e.ChoiceMade(Purpose.TEACHING, True),
    e.ChoiceMade(Purpose.RESEARCH, False),
    e.ChoiceMade(Purpose.RECORD, False),
    e.SignerChosen(Signer.PARENT),
    e.StrokeDrawn(STROKE),
    e.SignatureCleared(),
    e.Agreed(IDS[1], NOW),
    e.Declined(IDS[1], NOW),
    e.SiteChosen(SITE),
    e.SiteChosen(BodySite(Region.FOREARM)),
    e.ChangeSiteTouched(),
    e.CameraReady(),
    e.ShutterPressed(7, IDS[2], NOW),
    e.ShutterPressed(-1, IDS[2], NOW),
    e.Captured(photo(IDS[2])),
    e.Kept(),
    e.Retaken(),
    e.Sealed(photo(IDS[2])),
    e.LightToggled(),
    e.FinishTouched(),
    e.MoreTouched(),
    e.RemoveTouched(IDS[2]),
    e.Removed(IDS[2]),
    e.SendTouched(NOW),
    e.Committed(),
    e.DeliveryChanged(Stage.SENDING),
    e.DeliveryChanged(Stage.PARKED, Problem.REJECTED),
    e.WithdrawAsked(),
    e.LockAsked(),
    e.QuestionConfirmed(IDS[3], NOW),
    e.QuestionDismissed(),
    e.BackTouched(),
    e.DoneTouched(),
    e.RetryTouched(),
    e.Failed(Problem.UNREACHABLE),
    e.Failed(Problem.CAMERA_GONE, lasting=True),
    e.Failed(Problem.SESSION_GONE, lasting=True),
    e.TimedOut(),
    e.Wiped(),
]


class Nurse:
    """Plays events and answers effects as good workers would."""

    def __init__(self, patients: tuple[Patient, ...] = (PATIENT,)) -> None:
        self.flow = Flow(STATION)
        self.effects: list[e.Effect] = []
        self.patients = patients

    def does(self, *events: e.Event) -> Nurse:
        for event in events:
            self.flow, effects = step(self.flow, event)
            self.effects += effects
            for effect in effects:
                if (answer := self.answer(effect)) is not None:
                    self.does(answer)
        return self

    def answer(self, effect: e.Effect) -> e.Event | None:
        match effect:
            case e.CheckBadge(badge):
                return e.BadgeAccepted(badge, NURSE.name)
            case e.CheckPin():
                return e.SignedIn(NURSE, IDS[0])
            case e.FindPatient():
                return e.PatientsFound(self.patients)
            case e.ListVisits():
                return e.VisitsListed(LIST)
            case e.FindReceipt():
                return e.ReceiptFound(FILED)
            case e.RecordConsent(consent):
                return e.ConsentRecorded(consent)
            case e.OpenCamera():
                return e.CameraReady()
            case e.TakePhoto(photo_id, number):
                return e.Captured(photo(photo_id, number))
            case e.SealPhoto(taken):
                return e.Sealed(taken)
            case e.RemovePhoto(photo_id):
                return e.Removed(photo_id)
            case e.Commit() | e.CommitRefusal() | e.CommitCorrection():
                return e.Committed()
            case e.Wipe():
                return e.Wiped()
        return None

    def signs_in(self) -> Nurse:
        return self.does(e.Scanned("BADGE-1001"), e.PinEntered("2468"))

    def finds_patient(self) -> Nurse:
        return self.signs_in().does(e.Scanned("9991230009"), e.PatientConfirmed())

    def finds_receipt(self) -> Nurse:
        return self.signs_in().does(e.FindReceiptTouched(), e.Typed("r 7k4m 2qhd"))

    def has_consent(self) -> Nurse:
        choices = e.ChoiceMade(Purpose.TEACHING, True), e.ChoiceMade(Purpose.RESEARCH, False)
        return self.finds_patient().does(*choices, e.StrokeDrawn(STROKE), e.Agreed(uuid4(), NOW))

    def photographs(self, count: int = 1) -> Nurse:
        self.has_consent().does(e.SiteChosen(SITE))
        for _ in range(count):
            self.does(e.ShutterPressed(7, uuid4(), NOW), e.Kept())
        return self


def test_happy_path_commits_what_was_kept() -> None:
    nurse = Nurse().photographs(2).does(e.FinishTouched(), e.SendTouched(NOW))
    assert nurse.flow.state is State.RECEIPT
    session = next(f for f in nurse.effects if isinstance(f, e.Commit)).session
    assert [p.number for p in session.photos] == [1, 2]
    assert session.patient == PATIENT
    assert session.consent.decision is Decision.PERMIT
    assert session.consent.permits(Purpose.TEACHING)
    assert not session.consent.permits(Purpose.RESEARCH)


def test_every_event_in_every_state_is_answered() -> None:
    for flow in reachable():
        for event in EVENTS:
            after, effects = step(flow, event)
            assert isinstance(after, Flow)
            assert all(isinstance(effect, e.Effect) for effect in effects)


def test_every_event_class_is_in_the_walk() -> None:
    classes = {
        c for _, c in inspect.getmembers(e, inspect.isclass) if issubclass(c, e.Event) and c is not e.Event
    }
    assert classes - {type(event) for event in EVENTS} == {e.ConsentRecorded}


def test_states_change_only_as_the_table_says() -> None:
    for flow in reachable():
        for event in EVENTS:
            after, _ = step(flow, event)
            if after.state is not flow.state:
                assert after.state in TABLE[flow.state, type(event)].to, (flow.state, event)


def test_every_state_can_be_reached() -> None:
    assert {flow.state for flow in reachable()} == set(State)


def test_every_state_has_a_time_out() -> None:
    assert set(SECONDS) == set(State)
    assert all((state, e.TimedOut) in TABLE for state in State)


def test_no_time_out_accepts_anything() -> None:
    for flow in reachable():
        after, effects = step(flow, e.TimedOut())
        if flow.sending:
            assert (after, effects) == (flow, ()), "the commit's own answer comes first"
            continue
        assert after.state is State.LOCKED
        assert {type(effect) for effect in effects} <= {e.Wipe}


def test_every_way_to_locked_wipes() -> None:
    for flow in reachable():
        for event in EVENTS:
            after, effects = step(flow, event)
            if after.state is State.LOCKED and flow.state is not State.LOCKED:
                assert any(isinstance(effect, e.Wipe) for effect in effects), (flow.state, event)
                assert after == Flow(STATION, busy=True, problem=after.problem), (
                    "something of the session stayed"
                )


def test_no_path_to_the_camera_around_consent() -> None:
    # FAULT goes back to work only with a recorded consent: the next test holds that.
    fault_free = {
        (rule.state, target)
        for rule in TABLE.values()
        for target in rule.to
        if State.FAULT not in (rule.state, target)
    }
    seen, todo = {State.LOCKED}, [State.LOCKED]
    while todo:
        state = todo.pop()
        for source, target in fault_free:
            if source is state and target not in seen and target is not State.CONSENT:
                seen.add(target)
                todo.append(target)
    assert not seen & {State.BODY_SITE, State.PREVIEW, State.REVIEW, State.SUMMARY, State.RECEIPT}


def test_camera_and_photographs_need_a_recorded_consent() -> None:
    needing = (e.OpenCamera, e.TakePhoto, e.SealPhoto, e.Commit)
    for flow in reachable():
        if flow.state in (State.PREVIEW, State.REVIEW, State.SUMMARY):
            assert flow.consent is not None
            assert flow.consent.decision is Decision.PERMIT
        for event in EVENTS:
            _, effects = step(flow, event)
            if any(isinstance(effect, needing) for effect in effects):
                assert flow.consent is not None or isinstance(event, e.ConsentRecorded)


def test_refusals_carry_no_photograph_and_no_signature() -> None:
    found = 0
    for flow in reachable():
        for event in EVENTS:
            _, effects = step(flow, event)
            for effect in effects:
                if isinstance(effect, e.CommitRefusal):
                    found += 1
                    assert effect.session.photos == ()
                    assert effect.session.consent.strokes == ()
                    assert effect.session.consent.decision is not Decision.PERMIT
                    assert not any(effect.session.consent.permits(p) for p in Purpose)
    assert found


def test_withdrawal_is_offered_everywhere_after_consent() -> None:
    for flow in reachable():
        gone = flow.problem is Problem.SESSION_GONE
        if flow.state in AFTER_CONSENT and flow.consent is not None and not gone and not flow.sending:
            asked, _ = step(flow, e.WithdrawAsked())
            assert asked.question is Question.WITHDRAW
            withdrawn, effects = step(asked, e.QuestionConfirmed(IDS[3], NOW))
            assert withdrawn.state is State.WITHDRAWN
            assert withdrawn.photos == ()
            assert withdrawn.question is None
            assert any(isinstance(effect, e.CommitRefusal) for effect in effects)


def test_consent_needs_every_choice_and_a_signature() -> None:
    nurse = Nurse().finds_patient().does(e.StrokeDrawn(STROKE), e.Agreed(IDS[1], NOW))
    assert nurse.flow.problem is Problem.CONSENT_CHOICE_MISSING
    nurse.does(e.ChoiceMade(Purpose.TEACHING, False), e.ChoiceMade(Purpose.RESEARCH, False))
    nurse.does(e.SignatureCleared(), e.Agreed(IDS[1], NOW))
    assert nurse.flow.problem is Problem.CONSENT_SIGNATURE_MISSING
    nurse.does(e.StrokeDrawn(((0.5, 0.5), (0.51, 0.5))), e.Agreed(IDS[1], NOW))
    assert nurse.flow.problem is Problem.CONSENT_SIGNATURE_MISSING, "a resting finger is no signature"
    assert nurse.flow.state is State.CONSENT


def test_nothing_is_preset_and_another_signer_signs_again() -> None:
    nurse = Nurse().finds_patient()
    assert nurse.flow.choices == ()
    nurse.does(e.StrokeDrawn(STROKE), e.SignerChosen(Signer.PARENT))
    assert nurse.flow.strokes == ()


def test_two_patients_for_one_identifier_is_a_hard_stop() -> None:
    nurse = Nurse(patients=(PATIENT, OTHER)).signs_in().does(e.Scanned("9991230009"))
    assert nurse.flow.state is State.IDENTIFY
    assert nurse.flow.problem is Problem.PATIENT_AMBIGUOUS
    assert nurse.flow.patient is None


def test_a_patient_from_the_list_is_confirmed_like_any_other() -> None:
    nurse = Nurse().signs_in().does(e.ListTouched())
    assert (nurse.flow.state, nurse.flow.visits) == (State.TODAY, LIST)
    nurse.does(e.VisitChosen("p1"))
    assert (nurse.flow.state, nurse.flow.patient) == (State.CONFIRM_PATIENT, EXPECTED)
    assert not any(isinstance(effect, e.FindPatient) for effect in nurse.effects)
    nurse.does(e.PatientConfirmed())
    assert nurse.flow.state is State.CONSENT
    assert nurse.effects[-1] == e.TellMatch(Match.LIST)


def test_the_list_is_nowhere_but_on_its_own_screen() -> None:
    for flow in reachable():
        assert flow.visits is None or flow.state is State.TODAY
    nurse = Nurse().signs_in().does(e.ListTouched(), e.BackTouched())
    assert (nurse.flow.state, nurse.flow.visits) == (State.IDENTIFY, None)
    nurse.does(e.VisitsListed(LIST), e.ListFailed(Problem.LIST_UNREACHABLE))
    assert (nurse.flow.visits, nurse.flow.problem) == (None, None), "what comes late is not shown elsewhere"


def test_a_station_without_a_place_has_no_list() -> None:
    signed_in = Nurse().signs_in().flow
    flow = dataclasses.replace(signed_in, station=dataclasses.replace(STATION, has_list=False))
    assert step(flow, e.ListTouched()) == (flow, ())


def test_a_scan_does_not_wait_for_the_list() -> None:
    asking, _ = step(Nurse().signs_in().flow, e.ListTouched())
    assert not asking.busy
    looking, effects = step(asking, e.Scanned("9991230009"))
    assert (looking.state, looking.busy) == (State.IDENTIFY, True)
    assert effects == (e.FindPatient("9991230009", False),)
    # The list that was given up must not end the look-up's waiting.
    assert step(looking, e.ListFailed(Problem.LIST_UNREACHABLE)) == (looking, ())
    unreadable, effects = step(asking, e.Scanned("----"))
    assert (unreadable.state, unreadable.problem, effects) == (State.IDENTIFY, Problem.SCAN_UNREADABLE, ())


def test_a_list_that_fails_can_be_asked_for_again() -> None:
    asking, _ = step(Nurse().signs_in().flow, e.ListTouched())
    assert step(asking, e.RetryTouched()) == (asking, ()), "it is on its way"
    failed, _ = step(asking, e.ListFailed(Problem.LIST_UNREACHABLE))
    assert (failed.state, failed.problem) == (State.TODAY, Problem.LIST_UNREACHABLE)
    again, effects = step(failed, e.RetryTouched())
    assert (again.problem, effects) == (None, (e.ListVisits(),))
    here, _ = step(again, e.VisitsListed(LIST))
    assert step(here, e.RetryTouched()) == (here, ())
    assert step(here, e.VisitChosen("somebody else")) == (here, ())


def test_how_a_patient_was_found_is_told_when_and_only_when_confirmed() -> None:
    for flow in reachable():
        for event in EVENTS:
            _, effects = step(flow, event)
            told = [effect for effect in effects if isinstance(effect, e.TellMatch)]
            confirmed = isinstance(event, e.PatientConfirmed) and flow.state is State.CONFIRM_PATIENT
            assert not told or confirmed
            if told and flow.patient is not None:
                assert told == [e.TellMatch(flow.patient.match)]


@pytest.mark.parametrize("text", ["", "   ", "\x00\x1b[31m", "9" * 65, "9" * 10_000, "é999", "----"])
def test_garbage_from_the_scanner_is_no_identifier(text: str) -> None:
    assert clean_identifier(text) is None
    nurse = Nurse().signs_in().does(e.Scanned(text))
    assert nurse.flow.state is State.IDENTIFY
    assert nurse.flow.problem is Problem.SCAN_UNREADABLE
    assert not any(isinstance(effect, e.FindPatient) for effect in nurse.effects)


def test_button_does_nothing_where_it_means_nothing() -> None:
    for flow in reachable():
        after, effects = step(flow, e.ShutterPressed(7, uuid4(), NOW))
        if flow.state not in (State.PREVIEW, State.REVIEW):
            assert (after, effects) == (flow, ())


def test_a_second_press_while_taking_is_ignored() -> None:
    nurse = Nurse().has_consent().does(e.SiteChosen(SITE))
    flow, effects = step(nurse.flow, e.ShutterPressed(7, IDS[1], NOW))
    assert len(effects) == 1
    again, effects = step(flow, e.ShutterPressed(8, IDS[2], NOW))
    assert (again, effects) == (flow, ())
    assert again.frozen == 7


def test_numbers_are_never_used_twice() -> None:
    nurse = Nurse().photographs(2).does(e.FinishTouched())
    nurse.does(
        e.RemoveTouched(nurse.flow.photos[1].id), e.MoreTouched(), e.ShutterPressed(9, IDS[3], NOW), e.Kept()
    )
    assert [p.number for p in nurse.flow.photos] == [1, 3]


def test_a_full_set_is_refused_before_the_photograph_and_can_be_sent() -> None:
    nurse = Nurse().photographs(PHOTOS_MAX)
    full, effects = step(nurse.flow, e.ShutterPressed(7, uuid4(), NOW))
    assert effects == ()
    assert (full.problem, full.busy, full.frozen) == (Problem.SESSION_FULL, False, None)
    nurse.does(e.FinishTouched(), e.RemoveTouched(nurse.flow.photos[0].id), e.MoreTouched())
    nurse.does(e.ShutterPressed(7, uuid4(), NOW), e.Kept(), e.FinishTouched(), e.SendTouched(NOW))
    assert nurse.flow.state is State.RECEIPT
    assert len(nurse.flow.photos) == PHOTOS_MAX


def test_removing_the_last_photograph_goes_back_to_the_camera() -> None:
    nurse = Nurse().photographs(1).does(e.FinishTouched())
    nurse.does(e.RemoveTouched(nurse.flow.photos[0].id))
    assert nurse.flow.state is State.PREVIEW
    assert nurse.flow.photos == ()


def test_camera_fault_keeps_what_was_kept_and_leads_back() -> None:
    nurse = Nurse().photographs(1).does(e.Failed(Problem.CAMERA_GONE, lasting=True))
    assert nurse.flow.state is State.FAULT
    assert len(nurse.flow.photos) == 1
    nurse.does(e.RetryTouched())
    assert nurse.flow.state is State.PREVIEW
    nurse.does(e.Failed(Problem.CAMERA_GONE, lasting=True), e.FinishTouched(), e.SendTouched(NOW))
    assert nurse.flow.state is State.RECEIPT


def test_nothing_stops_a_commit_that_is_out() -> None:
    """Between Send and its answer a promise to destroy could be false: the answer comes first."""
    flow = Nurse().photographs(1).does(e.FinishTouched()).flow
    sending, effects = step(flow, e.SendTouched(NOW))
    assert any(isinstance(effect, e.Commit) for effect in effects)
    for event in (e.WithdrawAsked(), e.LockAsked(), e.TimedOut(), e.QuestionConfirmed(IDS[3], NOW)):
        assert step(sending, event) == (sending, ())
    failed, _ = step(sending, e.Failed(Problem.COMMIT_FAILED))
    assert step(failed, e.WithdrawAsked())[0].question is Question.WITHDRAW
    asked, _ = step(flow, e.WithdrawAsked())
    refused, _ = step(asked, e.QuestionConfirmed(IDS[3], NOW))
    assert step(refused, e.TimedOut()) == (refused, ())


def test_a_refusal_that_cannot_be_recorded_is_said_on_the_lock_screen() -> None:
    flow = Nurse().has_consent().flow
    flow, _ = step(flow, e.WithdrawAsked())
    flow, _ = step(flow, e.QuestionConfirmed(IDS[3], NOW))
    late, _ = step(flow, e.Failed(Problem.CAMERA_HUNG, lasting=True))
    assert late == flow, "the camera's last word changes nothing"
    flow, _ = step(flow, e.Failed(Problem.COMMIT_FAILED))
    assert step(flow, e.RetryTouched())[1]
    for event in (e.TimedOut(), e.DoneTouched(), e.LockAsked()):
        assert step(flow, event)[0].problem is Problem.REFUSAL_NOT_RECORDED


def test_a_photograph_that_is_sealed_during_a_fault_still_counts() -> None:
    nurse = Nurse().has_consent().does(e.SiteChosen(SITE), e.ShutterPressed(7, IDS[2], NOW))
    flow, effects = step(nurse.flow, e.Kept())
    flow, _ = step(flow, e.Failed(Problem.CAMERA_GONE, lasting=True))
    sealed = next(f for f in effects if isinstance(f, e.SealPhoto)).photo
    flow, _ = step(flow, e.Sealed(sealed))
    flow, _ = step(flow, e.FinishTouched())
    _, effects = step(flow, e.SendTouched(NOW))
    assert [p.id for f in effects if isinstance(f, e.Commit) for p in f.session.photos] == [sealed.id]


def test_nothing_that_fails_after_the_commit_leads_back_to_the_camera() -> None:
    nurse = Nurse().photographs(1).does(e.FinishTouched(), e.SendTouched(NOW))
    nurse.does(e.Failed(Problem.CAMERA_GONE, lasting=True), e.RetryTouched(), e.FinishTouched())
    assert nurse.flow.state is State.RECEIPT
    nurse.does(e.Failed(Problem.SESSION_GONE, lasting=True))
    assert nurse.flow.problem is None, "what is committed is not 'destroyed, nothing was sent'"


def test_a_lost_session_cannot_be_sent() -> None:
    nurse = Nurse().photographs(1).does(e.Failed(Problem.SESSION_GONE, lasting=True))
    assert nurse.does(e.FinishTouched()).flow.state is State.FAULT
    assert nurse.does(e.RetryTouched()).flow.state is State.LOCKED


def test_locking_asks_only_where_something_would_be_lost() -> None:
    assert Nurse().signs_in().does(e.LockAsked()).flow.state is State.LOCKED
    nurse = Nurse().photographs(1).does(e.LockAsked())
    assert nurse.flow.question is Question.LOCK
    assert nurse.does(e.QuestionDismissed()).flow.state is State.PREVIEW
    assert nurse.does(e.LockAsked(), e.QuestionConfirmed(IDS[3], NOW)).flow.state is State.LOCKED


def test_an_open_question_stops_everything_else() -> None:
    nurse = Nurse().photographs(1).does(e.WithdrawAsked())
    before = nurse.flow
    nurse.does(e.FinishTouched(), e.ShutterPressed(8, IDS[1], NOW), e.ChangeSiteTouched(), e.BackTouched())
    assert nurse.flow == before


def test_idling_with_photographs_says_that_they_are_destroyed() -> None:
    assert Nurse().photographs(1).does(e.TimedOut()).flow.problem is Problem.IDLE_DESTROYED
    assert Nurse().signs_in().does(e.TimedOut()).flow.problem is Problem.IDLE


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(EVENTS), max_size=60))
def test_random_walks_keep_the_guarantees(walk: list[e.Event]) -> None:
    nurse = Nurse().photographs(1)
    for event in walk:
        before = nurse.flow
        nurse.does(event)
        if nurse.flow.state is State.PREVIEW:
            assert nurse.flow.consent is not None
        if nurse.flow.state is State.LOCKED and before.state is not State.LOCKED:
            assert nurse.flow.patient is None
            assert nurse.flow.photos == ()
        if nurse.flow.question is not None:
            assert nurse.flow.state is not State.LOCKED


YES = e.QuestionConfirmed(IDS[3], NOW)


def corrections(nurse: Nurse) -> list[Correction]:
    return [f.correction for f in nurse.effects if isinstance(f, e.CommitCorrection)]


def test_one_purpose_is_withdrawn_by_receipt_after_two_questions() -> None:
    nurse = Nurse().finds_receipt()
    assert nurse.flow.state is State.FOUND_RECEIPT
    assert nurse.flow.patient == PATIENT
    nurse.does(e.WithdrawalAsked((Purpose.TEACHING,)))
    assert nurse.flow.question is Question.CORRECT
    nurse.does(YES)
    assert nurse.flow.question is Question.CORRECT_SURE
    assert corrections(nurse) == []
    nurse.does(YES)
    assert nurse.flow.state is State.CORRECTION
    (made,) = corrections(nurse)
    assert (made.id, made.act, made.purposes) == (IDS[0], Act.WITHDRAW, (Purpose.TEACHING,))
    assert (made.operator, made.filed, made.at, made.retracts) == (NURSE, FILED, NOW, True)
    nurse.does(e.DeliveryChanged(Stage.PARKED, Problem.REJECTED))
    assert (nurse.flow.stage, nurse.flow.problem) == (Stage.PARKED, Problem.REJECTED)
    nurse.does(e.DoneTouched())
    assert nurse.flow == Flow(STATION)


def test_the_site_s_policy_is_sealed_into_the_withdrawal() -> None:
    nurse = Nurse()
    nurse.flow = Flow(dataclasses.replace(STATION, retracts=False))
    nurse.finds_receipt().does(e.WithdrawalAsked(FILED.permitted()), YES, YES)
    (made,) = corrections(nurse)
    assert (made.purposes, made.retracts) == ((Purpose.RECORD, Purpose.TEACHING), False)


@pytest.mark.parametrize(
    "purposes",
    [(), (Purpose.RECORD,), (Purpose.RESEARCH,), (Purpose.RECORD, Purpose.RESEARCH), tuple(Purpose)],
    ids=str,
)
def test_what_cannot_be_withdrawn_is_not_asked(purposes: tuple[Purpose, ...]) -> None:
    """The record purpose goes with all others; what was refused cannot be withdrawn."""
    nurse = Nurse().finds_receipt().does(e.WithdrawalAsked(purposes))
    assert nurse.flow.question is None


def test_each_question_can_be_answered_no() -> None:
    for first in (e.WithdrawalAsked((Purpose.TEACHING,)), e.WrongPatientAsked()):
        for steps in ((first,), (first, YES)):
            nurse = Nurse().finds_receipt().does(*steps, e.QuestionDismissed(), YES)
            assert (nurse.flow.state, nurse.flow.question) == (State.FOUND_RECEIPT, None)
            assert corrections(nurse) == []


def test_what_is_in_error_already_is_not_marked_again() -> None:
    nurse = Nurse().signs_in().does(e.FindReceiptTouched())
    nurse.does(e.ReceiptFound(dataclasses.replace(FILED, retracted=True)), e.WrongPatientAsked())
    assert nurse.flow.question is None


@pytest.mark.parametrize("text", ["", "9991230009", "R-7K4M-2QH", "\x00", "7" * 10_000])
def test_what_is_no_receipt_is_not_looked_up(text: str) -> None:
    nurse = Nurse().signs_in().does(e.FindReceiptTouched(), e.Scanned(text))
    assert nurse.flow.problem is Problem.RECEIPT_UNREADABLE
    assert not any(isinstance(effect, e.FindReceipt) for effect in nurse.effects)


def test_nobody_is_left_on_the_screen_when_one_goes_back() -> None:
    nurse = Nurse().finds_receipt().does(e.BackTouched())
    assert nurse.flow.state is State.FIND_RECEIPT
    assert (nurse.flow.patient, nurse.flow.filed) == (None, None)
    assert nurse.does(e.BackTouched()).flow == Nurse().signs_in().flow


def test_a_correction_that_could_not_be_sealed_is_asked_again() -> None:
    flow = Nurse().finds_receipt().does(e.WrongPatientAsked(), YES).flow
    sending, effects = step(flow, YES)
    assert [type(effect) for effect in effects] == [e.CommitCorrection]
    assert step(sending, e.TimedOut()) == (sending, ()), "the commit's own answer comes first"
    failed, _ = step(sending, e.Failed(Problem.COMMIT_FAILED))
    assert (failed.state, failed.busy, failed.problem) == (State.FOUND_RECEIPT, False, Problem.COMMIT_FAILED)
    assert step(failed, e.WrongPatientAsked())[0].question is Question.CORRECT


def test_no_question_of_a_receipt_outlives_its_screen() -> None:
    asked = Nurse().finds_receipt().does(e.WrongPatientAsked()).flow
    flow, _ = step(asked, e.Failed(Problem.SESSION_GONE, lasting=True))
    assert (flow.state, flow.question) == (State.FAULT, None)


def test_the_drawing_is_fresh() -> None:
    path = Path(__file__).parents[2] / "docs" / "workflow.md"
    assert path.read_text(encoding="utf-8") == markdown(), "stale: run `make docs`"


@cache
def reachable() -> list[Flow]:
    """Every kind of flow that good workers and any human lead to, plus each with its effects still out."""
    stories = [
        Nurse(),
        Nurse().signs_in(),
        Nurse().finds_patient(),
        Nurse().signs_in().does(e.FindReceiptTouched()),
        Nurse().finds_receipt(),
        Nurse().finds_receipt().does(e.WrongPatientAsked(), YES, YES),
        Nurse().has_consent(),
        Nurse().photographs(0),
        Nurse().photographs(1),
        Nurse().photographs(2).does(e.FinishTouched()),
        Nurse().photographs(1).does(e.FinishTouched(), e.SendTouched(NOW)),
    ]
    todo = [nurse.flow for nurse in stories]
    seen = {_shape(flow): flow for flow in todo}
    while todo:
        flow = todo.pop()
        for event in EVENTS:
            after, effects = step(flow, event)
            consents = [f.consent for f in effects if isinstance(f, e.RecordConsent)]
            for nxt in (after, *(step(after, e.ConsentRecorded(c))[0] for c in consents)):
                if _shape(nxt) not in seen:
                    seen[_shape(nxt)] = nxt
                    todo.append(nxt)
    return list(seen.values())


def _shape(flow: Flow) -> tuple[object, ...]:
    """Flows that differ only in names and numbers count as one."""
    return (
        flow.state,
        flow.busy,
        flow.sending,
        flow.question,
        bool(flow.photos),
        flow.consent is not None,
        flow.review is not None,
        flow.patient is not None,
        flow.visits is not None and len(flow.visits.visits),
        flow.session is not None,
        flow.site is not None,
        flow.problem,
        flow.resume,
        flow.camera_ready,
        len(flow.choices),
        bool(flow.strokes),
        flow.refusal is not None,
        flow.filed is not None,
        flow.act,
        flow.withdrawing,
    )
