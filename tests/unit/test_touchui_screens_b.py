"""What touches mean on the screens from the patient's number to the receipt, and what these screens claim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pygame
import pytest

from kiosk import events as e
from kiosk import workflow
from kiosk.errors import Problem
from kiosk.flow import Flow, State
from kiosk.model import Aspect, BodySite, Consent, Laterality, QueueStatus, Receipt, Region, Session, Stage
from kiosk.touchui.art import Art
from kiosk.touchui.display import Offscreen
from kiosk.touchui.geometry import Box
from kiosk.touchui.ink import Ink
from kiosk.touchui.paint import Painter
from kiosk.touchui.scenes import CONSENT, NOW, OPERATOR, PATIENT, SITE, STATION, WORDING, photo
from kiosk.touchui.screens import SCREENS
from kiosk.touchui.screens.base import Screen, Tools
from kiosk.touchui.screens.body_site import LIMBS, ORDER
from kiosk.touchui.screens.identify import grouped
from kiosk.touchui.screens.receipt import steps
from kiosk.touchui.screens.summary import consent_line
from kiosk.touchui.text import Fonts
from kiosk.touchui.theme import LIGHT, Layout
from kiosk.touchui.view import View
from kiosk.touchui.widgets import Hint, Tappable, Widget
from kiosk.touchui.widgets.base import reachable
from kiosk.touchui.widgets.figure import BodyFigure, site_field
from kiosk.touchui.widgets.outcome import Note, Outcome, Tone
from kiosk.touchui.written import count_of

SIZES = [(800, 480), (720, 1280)]
LATER = datetime(2026, 11, 23, 9, 45, tzinfo=UTC)
TOOLS = Tools(mint=lambda: UUID(int=77), now=lambda: LATER)
INSIDE = Flow(STATION, State.IDENTIFY, operator=OPERATOR, session=UUID(int=5))
FOUND = replace(INSIDE, state=State.CONFIRM_PATIENT, patient=PATIENT)
AGREED = replace(FOUND, state=State.BODY_SITE, consent=CONSENT)
KEPT = replace(AGREED, site=SITE, photos=(photo(1), photo(2)), taken=2)
SUMMARY = replace(KEPT, state=State.SUMMARY)
SENT = replace(KEPT, state=State.RECEIPT)
REFUSAL = Session(UUID(int=5), STATION.id, PATIENT, OPERATOR, CONSENT, (), NOW)
REFUSED = replace(FOUND, state=State.DECLINED)
FAULT = replace(KEPT, state=State.FAULT, problem=Problem.CAMERA_GONE)


class Hand:
    """A person at one screen: sees what can be touched, and touches it by its name."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._layout = Layout.of(*size)
        self._fonts = Fonts(self._layout.scale)
        self.flow = INSIDE
        self.screen: Screen = SCREENS[self.flow.state]()

    def at(self, flow: Flow) -> Hand:
        """Stand before the screen of this flow."""
        self.flow, self.screen = flow, SCREENS[flow.state]()
        return self

    def news(self, **changes: object) -> None:
        """The flow changed and the screen stayed."""
        self.flow = replace(self.flow, **changes)  # type: ignore[arg-type]

    @property
    def view(self) -> View:
        """What the screen is given."""
        return View(
            flow=self.flow,
            status=QueueStatus(online=True),
            layout=self._layout,
            fonts=self._fonts,
            today=NOW.date(),
            consent_text=WORDING,
        )

    @property
    def widgets(self) -> list[Widget]:
        """Everything on the screen."""
        return self.screen.layout(self.view)

    def find(self, name: str) -> Tappable | None:
        """The first thing of this name."""
        return next((w for w in reachable(self.widgets) if w.name == name), None)

    def can(self, name: str) -> bool:
        """Whether it is there and answers."""
        target = self.find(name)
        return target is not None and target.enabled

    def tap(self, name: str) -> e.Event | None:
        """Touch it."""
        target = next((w for w in reachable(self.widgets) if w.name == name and w.enabled), None)
        assert target is not None, f"{name} cannot be touched"
        return self.screen.tap(target.key, self.view, TOOLS)

    def type(self, text: str) -> None:
        """Touch one key after the other."""
        for character in text:
            assert self.tap(character) is None


@pytest.fixture(params=SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def hand(request: pytest.FixtureRequest) -> Iterator[Hand]:
    display = Offscreen(request.param)
    yield Hand(request.param)
    display.close()


# --- IDENTIFY ------------------------------------------------------------------------------


def test_number_is_typed_and_stays_for_correction(hand: Hand) -> None:
    assert not hand.can("Find patient")
    hand.type("99912300099")
    hand.tap("Delete")
    assert hand.tap("Find patient") == e.Typed("9991230009")
    hand.news(problem=Problem.PATIENT_UNKNOWN)
    hand.tap("Delete")
    hand.type("8")
    assert hand.tap("Find patient") == e.Typed("9991230008")


def test_letters_are_one_key_away_and_back_returns(hand: Hand) -> None:
    hand.type("7")
    hand.tap("ABC")
    hand.type("H1")
    assert hand.tap("Find patient") == e.Typed("7H1")
    assert hand.tap("Back") is None
    hand.tap("ABC")
    hand.tap("123")
    assert hand.find("Q") is None
    assert hand.tap("Back") == e.BackTouched()


def test_a_keyboard_types_too_but_not_while_looking_up(hand: Hand) -> None:
    hand.screen.typed("123", hand.view)
    hand.screen.erase(hand.view)
    hand.news(busy=True)
    hand.screen.typed("9", hand.view)
    hand.screen.erase(hand.view)
    assert hand.screen.enter(hand.view, TOOLS) is None
    assert not any(w.enabled for w in reachable(hand.widgets) if w.key != "lock")
    hand.news(busy=False)
    assert hand.screen.enter(hand.view, TOOLS) == e.Typed("12")


def test_two_patients_are_a_hard_stop(hand: Hand) -> None:
    hand.type("5")
    assert hand.tap("Find patient") == e.Typed("5")
    hand.news(problem=Problem.PATIENT_AMBIGUOUS)
    assert not hand.can("Find patient")
    assert hand.screen.enter(hand.view, TOOLS) is None
    assert any(isinstance(w, Hint) and w.bad for w in hand.widgets)
    hand.type("6")
    assert hand.can("Find patient")


def test_unreachable_list_can_be_asked_again(hand: Hand) -> None:
    hand.news(problem=Problem.LOOKUP_UNREACHABLE)
    assert hand.find("Try again") is None
    hand.type("42")
    assert hand.tap("Try again") == e.Typed("42")


def test_numbers_are_grouped_as_they_grow() -> None:
    assert [grouped(t) for t in ("", "999", "9991", "9991230009", "99912300091", "H100")] == [
        "",
        "999",
        "999 1",
        "999 123 0009",
        "99912300091",
        "H100",
    ]


# --- CONFIRM_PATIENT -----------------------------------------------------------------------


def test_patient_is_confirmed_or_not(hand: Hand) -> None:
    hand.at(FOUND)
    assert hand.tap("Yes, this patient") == e.PatientConfirmed()
    assert hand.tap("No, someone else") == e.PatientRejected()


# --- BODY_SITE -----------------------------------------------------------------------------


def test_limb_needs_a_side_and_may_have_an_aspect(hand: Hand) -> None:
    hand.at(AGREED)
    assert not hand.can("Take photos")
    assert not hand.can("Left")
    hand.tap("Forearm")
    assert not hand.can("Take photos")
    hand.tap("Left")
    assert hand.tap("Take photos") == e.SiteChosen(BodySite(Region.FOREARM, Laterality.LEFT))
    hand.tap("Front")
    assert hand.tap("Take photos") == e.SiteChosen(SITE)
    hand.tap("Front")
    assert hand.tap("Take photos") == e.SiteChosen(BodySite(Region.FOREARM, Laterality.LEFT))
    hand.tap("Back")
    chosen = hand.tap("Take photos")
    assert chosen == e.SiteChosen(BodySite(Region.FOREARM, Laterality.LEFT, Aspect.BACK))
    assert workflow.step(hand.flow, e.SiteChosen(SITE))[0].state is State.PREVIEW


def test_middle_of_the_body_has_no_side(hand: Hand) -> None:
    hand.at(AGREED)
    hand.tap("Back")
    assert not hand.can("Left")
    assert hand.tap("Take photos") == e.SiteChosen(BodySite(Region.BACK))


def test_another_region_forgets_the_side(hand: Hand) -> None:
    hand.at(AGREED)
    hand.tap("Knee")
    hand.tap("Right")
    hand.tap("Knee")
    assert hand.can("Take photos")
    hand.tap("Foot")
    assert not hand.can("Take photos")
    assert not hand.can("Front")


def test_site_of_the_photographs_before_is_offered(hand: Hand) -> None:
    hand.at(KEPT)
    assert hand.tap("Take photos") == e.SiteChosen(SITE)
    hand.tap("Right")
    expected = BodySite(Region.FOREARM, Laterality.RIGHT, Aspect.FRONT)
    assert hand.tap("Take photos") == e.SiteChosen(expected)


def test_every_region_can_be_chosen(hand: Hand) -> None:
    assert set(ORDER) == set(Region)
    assert all(region.has_sides for region in LIMBS)
    for region in Region:
        hand.at(AGREED)
        target = next(w for w in reachable(hand.widgets) if w.key == f"region:{region.value}")
        assert target.name == BodySite(region).display()
        hand.screen.tap(target.key, hand.view, TOOLS)
        if region.has_sides:
            hand.tap("Right")
        event = hand.tap("Take photos")
        assert event == e.SiteChosen(BodySite(region, Laterality.RIGHT if region.has_sides else None))


@pytest.mark.parametrize("region", list(Region), ids=lambda r: r.value)
def test_figure_shows_every_site_on_the_patients_side(region: Region) -> None:
    """The patient's left is on the right of the front view and on the left of the back view."""
    w, h, shown = 126, 256, 0
    for side in Laterality if region.has_sides else (None,):
        for back in (False, True):
            field = site_field(BodySite(region, side), w, h, back=back)
            if field is None:
                continue
            rows, columns = np.nonzero(field < -0.5)
            assert 20 < len(rows) < w * h / 8
            shown += 1
            if side is not None:
                assert (columns.min() >= w / 2 - 1) == ((side is Laterality.LEFT) is not back)
                assert (columns.max() <= w / 2) == ((side is Laterality.LEFT) is back)
    assert shown >= (2 if region.has_sides else 1)


def test_figure_shows_an_aspect_in_its_own_view_only() -> None:
    for aspect in Aspect:
        site = BodySite(Region.FOREARM, Laterality.LEFT, aspect)
        assert (site_field(site, 126, 256, back=False) is None) == (aspect is Aspect.BACK)
        assert (site_field(site, 126, 256, back=True) is None) == (aspect is Aspect.FRONT)


def test_figure_changes_with_the_choice() -> None:
    def drawn(site: BodySite | None) -> bytes:
        surface = pygame.Surface((260, 280), 0, 32)
        layout, fonts = Layout.of(800, 480), Fonts(1.0)
        painter = Painter(surface, layout, LIGHT, fonts, Art(), Ink(), lambda name: None)
        BodyFigure(box=Box(0, 0, 260, 280), site=site).draw(painter)
        return pygame.image.tobytes(surface, "RGB")

    sites = [None, BodySite(Region.KNEE), *(BodySite(Region.KNEE, side) for side in Laterality)]
    assert len({drawn(site) for site in sites}) == len(sites)


# --- SUMMARY -------------------------------------------------------------------------------


def test_send_and_more(hand: Hand) -> None:
    hand.at(SUMMARY)
    assert hand.tap("Send to record") == e.SendTouched(LATER)
    assert hand.tap("Take more") == e.MoreTouched()
    hand.news(busy=True)
    assert not hand.can("Send to record")
    assert not hand.can("Remove photo 1")


def test_removing_takes_two_touches_in_two_places(hand: Hand) -> None:
    hand.at(SUMMARY)
    asked = hand.find("Remove photo 2")
    assert hand.tap("Remove photo 2") is None
    keep, destroy = hand.find("Keep photo 2"), hand.find("Destroy photo 2")
    assert asked is not None
    assert keep is not None
    assert destroy is not None
    assert keep.area.contains(asked.area.cx, asked.area.cy)
    assert not destroy.area.contains(asked.area.cx, asked.area.cy)
    assert hand.tap("Keep photo 2") is None
    assert hand.find("Destroy photo 2") is None
    hand.tap("Remove photo 2")
    assert hand.tap("Destroy photo 2") == e.RemoveTouched(photo(2).id)
    assert hand.find("Destroy photo 2") is None


def test_all_photographs_are_within_reach(hand: Hand) -> None:
    hand.at(replace(SUMMARY, photos=tuple(photo(i) for i in range(1, 21))))
    seen: set[str] = set()
    while True:
        seen |= {w.name for w in reachable(hand.widgets) if w.name.startswith("Remove")}
        if not hand.can("Later"):
            break
        hand.tap("Later")
    assert seen == {f"Remove photo {i}" for i in range(1, 21)}
    hand.news(photos=(photo(1),))
    assert hand.can("Remove photo 1")
    assert hand.find("Earlier") is None


def test_consent_in_one_line() -> None:
    assert consent_line(CONSENT) == "Signed by the patient. Record yes, teaching yes, research no."
    nothing = Consent(CONSENT.id, CONSENT.decision, NOW, "t", "1", "en")
    assert consent_line(nothing) == "Signed by the patient. Record no, teaching no, research no."
    assert (count_of(1), count_of(2)) == ("1 photograph", "2 photographs")


# --- RECEIPT -------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", list(Stage), ids=lambda s: s.value)
def test_nothing_is_green_before_delivery(hand: Hand, stage: Stage) -> None:
    receipt = Receipt("R-7K4M-02", UUID(int=5), 2, "Hospital record", NOW)
    hand.at(replace(SENT, stage=stage, receipt=receipt if stage is Stage.DELIVERED else None))
    tones = [s.tone for s in steps(hand.flow)]
    tones += [w.tone for w in hand.widgets if isinstance(w, Outcome | Note)]
    if stage is Stage.DELIVERED:
        assert set(tones) == {Tone.GOOD}
    else:
        assert Tone.GOOD not in tones
        assert tones[3] is None
        assert not any(isinstance(w, Outcome) and w.title == "In the record" for w in hand.widgets)
    assert hand.tap("Done") == e.DoneTouched()


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (Problem.REJECTED, [Tone.CALM, Tone.BAD, None, None]),
        (Problem.NOT_PROVEN, [Tone.CALM, Tone.CALM, Tone.BAD, None]),
        (Problem.CONFLICT, [Tone.CALM, Tone.CALM, Tone.BAD, None]),
    ],
)
def test_parked_is_red_where_it_stopped(hand: Hand, problem: Problem, expected: list[Tone | None]) -> None:
    hand.at(replace(SENT, stage=Stage.PARKED, problem=problem))
    assert [s.tone for s in steps(hand.flow)] == expected
    assert [(w.text, w.bad) for w in hand.widgets if isinstance(w, Hint)] == [(problem.sentence, True)]


# --- DECLINED and WITHDRAWN ----------------------------------------------------------------


@pytest.mark.parametrize("state", [State.DECLINED, State.WITHDRAWN], ids=lambda s: s.value)
def test_refusal_is_tried_again_until_it_is_sealed(hand: Hand, state: State) -> None:
    hand.at(replace(REFUSED, state=state, busy=True, refusal=REFUSAL))
    assert not hand.can("Try again")
    assert not hand.can("Done")
    hand.news(busy=False, problem=Problem.COMMIT_FAILED)
    assert hand.tap("Try again") == e.RetryTouched()
    assert workflow.step(hand.flow, e.RetryTouched())[1] == (e.CommitRefusal(REFUSAL),)
    hand.news(refusal=None, problem=None)
    assert hand.find("Try again") is None
    assert hand.tap("Done") == e.DoneTouched()


def test_destruction_is_not_claimed_before_it_is_done(hand: Hand) -> None:
    def claimed() -> bool:
        return any(isinstance(w, Outcome) and "destroyed" in w.text for w in hand.widgets)

    hand.at(replace(REFUSED, state=State.WITHDRAWN, busy=True, refusal=REFUSAL))
    assert not claimed()
    hand.news(busy=False, problem=Problem.COMMIT_FAILED)
    assert not claimed()
    hand.news(refusal=None, problem=None)
    assert claimed()


@pytest.mark.parametrize("stage", list(Stage), ids=lambda s: s.value)
def test_refusal_is_green_only_in_the_record(hand: Hand, stage: Stage) -> None:
    hand.at(replace(REFUSED, stage=stage))
    (note,) = [w for w in hand.widgets if isinstance(w, Note)]
    assert (note.tone is Tone.GOOD) == (stage is Stage.DELIVERED)
    assert ("is recorded" in note.text) == (stage is Stage.DELIVERED)


# --- FAULT ---------------------------------------------------------------------------------


def test_fault_with_photographs_offers_three_ways(hand: Hand) -> None:
    hand.at(FAULT)
    assert hand.tap("Try again") == e.RetryTouched()
    assert hand.tap("Send what was kept") == e.FinishTouched()
    assert hand.tap("End session") == e.DoneTouched()
    (note,) = [w for w in hand.widgets if isinstance(w, Note)]
    assert note.text == "2 photographs are kept, sealed and safe."


def test_fault_without_photographs_has_nothing_to_send(hand: Hand) -> None:
    hand.at(replace(FAULT, photos=()))
    assert hand.can("Try again")
    assert hand.find("Send what was kept") is None
    assert not [w for w in hand.widgets if isinstance(w, Note)]


@pytest.mark.parametrize(
    "changes",
    [
        {"problem": Problem.SESSION_GONE},
        {"resume": State.RECEIPT},
        {"resume": State.WITHDRAWN, "consent": None, "photos": ()},
        {"resume": State.IDENTIFY, "consent": None, "patient": None, "site": None, "photos": ()},
    ],
    ids=["gone", "sent", "withdrawn", "early"],
)
def test_fault_that_ends_the_session_promises_nothing(hand: Hand, changes: dict[str, object]) -> None:
    hand.at(replace(FAULT, **changes))  # type: ignore[arg-type]
    assert hand.find("Try again") is None
    assert hand.find("Send what was kept") is None
    assert hand.can("End session")
    assert not any(isinstance(w, Note) and "safe" in w.text for w in hand.widgets)
