"""What touches mean on today's list, and what is left of the list afterwards."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import pytest

from kiosk import events as e
from kiosk.errors import Problem
from kiosk.flow import State
from kiosk.model import VisitList
from kiosk.touchui.app import App, UiSettings
from kiosk.touchui.display import Offscreen
from kiosk.touchui.scenes import DECEASED, MERGED, NOW, OPERATOR, PATIENT, STATION, WORDING, visits
from kiosk.touchui.screens.confirm_patient import notes_on
from kiosk.touchui.widgets.visit_row import VisitRow
from tests.unit.test_touchui_screens_b import INSIDE, TOOLS, Hand

OFFERED = replace(INSIDE, station=replace(STATION, has_list=True))
ASKING = replace(OFFERED, state=State.TODAY)
LISTED = replace(ASKING, visits=visits())
JUERGEN = "M\u00dcLLER, J\u00fcrgen (Dr)"


@pytest.fixture(params=[(800, 480), (720, 1280)], ids=lambda s: f"{s[0]}x{s[1]}")
def hand(request: pytest.FixtureRequest) -> Iterator[Hand]:
    display = Offscreen(request.param)
    yield Hand(request.param)
    display.close()


def rows(hand: Hand) -> list[str]:
    return [w.name for w in hand.widgets if isinstance(w, VisitRow)]


def test_the_list_is_offered_where_there_is_one(hand: Hand) -> None:
    assert hand.at(OFFERED).tap("Today's list") == e.ListTouched()
    assert hand.at(INSIDE).find("Today's list") is None
    assert not hand.at(replace(OFFERED, busy=True)).can("Today's list")
    stopped = hand.at(replace(OFFERED, problem=Problem.PATIENT_AMBIGUOUS))
    assert stopped.find("Today's list") is None, "a hard stop is no moment to pick somebody else"


def test_every_line_is_on_exactly_one_page_and_choosing_names_the_patient(hand: Hand) -> None:
    hand.at(LISTED)
    seen = rows(hand)
    while hand.can("Later"):
        assert hand.tap("Later") is None
        seen += rows(hand)
    assert seen == [v.patient.name.display() for v in visits().visits]
    assert hand.tap(seen[-1]) == e.VisitChosen("v8")
    while hand.can("Earlier"):
        hand.tap("Earlier")
    assert hand.tap(seen[0]) == e.VisitChosen("v0")
    assert hand.tap("Back") == e.BackTouched()


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("MULLER", [JUERGEN]),
        ("m\u00fcller", [JUERGEN]),
        ("jur mul", [JUERGEN]),
        ("127 0004", [JUERGEN]),
        ("9991270004", [JUERGEN]),
        ("FEN", ["FENWICK, Rosalind (Mrs)", "FENWICK, Rosemary (Dr)"]),
        ("fen rosem", ["FENWICK, Rosemary (Dr)"]),
        ("zz", []),
    ],
)
def test_what_is_typed_makes_the_list_shorter(hand: Hand, typed: str, found: list[str]) -> None:
    hand.at(LISTED)
    hand.tap("Later")
    hand.screen.typed(typed, hand.view)
    assert rows(hand) == found
    for _ in typed:
        hand.screen.erase(hand.view)
    assert len(rows(hand)) > 2, "from the first page again"


def test_the_keyboard_of_the_screen_filters_too_and_back_leaves_it(hand: Hand) -> None:
    hand.at(LISTED).tap("Find a name")
    hand.type("FEN")
    assert rows(hand) == []
    assert hand.tap("Show 2") is None
    assert len(rows(hand)) == 2
    hand.tap("Find a name")
    hand.type("Z")
    assert not hand.can("Show")
    assert hand.tap("Back") is None
    assert hand.tap("Back") == e.BackTouched()


def test_enter_never_chooses(hand: Hand) -> None:
    hand.at(LISTED).screen.typed("rosemary", hand.view)
    assert hand.screen.enter(hand.view, TOOLS) is None


def test_trying_again_where_it_can_help(hand: Hand) -> None:
    assert hand.at(ASKING).find("Try again") is None
    assert hand.at(replace(ASKING, problem=Problem.LIST_UNREACHABLE)).tap("Try again") == e.RetryTouched()
    assert hand.at(replace(ASKING, problem=Problem.LIST_REFUSED)).find("Try again") is None
    assert hand.at(replace(ASKING, visits=VisitList())).find("Try again") is None


def test_what_is_said_of_a_merged_and_of_a_deceased_patient() -> None:
    assert [text for _, text, _ in notes_on(PATIENT)] == [
        "Ask the patient to say their full name and date of birth."
    ]
    merged, ask = notes_on(MERGED)
    assert merged[1] == "Number 999 222 3332 on the wristband was merged into this record."
    assert "Ask the patient" in ask[1]
    (dead,) = notes_on(DECEASED)
    assert "has died" in dead[1], "nobody is asked to let a dead patient say their name"


def test_nothing_of_the_list_stays_when_a_patient_was_chosen() -> None:
    display = Offscreen((800, 480))
    inbox: queue.SimpleQueue[e.Event] = queue.SimpleQueue()
    app = App(
        display=display,
        station=STATION,
        settings=UiSettings.default(),
        perform=lambda effect: None,
        inbox=inbox,  # type: ignore[arg-type]
        preview=lambda: None,
        review_image=lambda: None,
        thumbnails=lambda photo: None,
        consent_text=WORDING,
        clock=lambda: 0.0,
        now=lambda: NOW,
        mint=lambda: UUID(int=1),
        flow=replace(LISTED, operator=OPERATOR),
    )
    app.tick()
    assert "ABERNATHY" in repr(vars(app._fonts))
    inbox.put(e.VisitChosen("v1"))
    app.tick()
    app.tick()
    assert app.flow.state is State.CONFIRM_PATIENT
    left = repr((vars(app._fonts), app.flow, app._screen, app._drawn, app._stage.shown, app._steps))
    assert "OKONKWO-SMITH" in left
    for other in ("ABERNATHY", "Abernathy", "LINDQVIST", "FEATHERSTONEHAUGH"):
        assert other not in left
    display.close()
