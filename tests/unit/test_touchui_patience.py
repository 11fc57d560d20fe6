"""Time-outs and the frame log."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from kiosk.flow import SECONDS, State
from kiosk.touchui.frames import KEPT, FrameLog
from kiosk.touchui.patience import Patience, countdown
from kiosk.touchui.scenes import scenes


def test_spent_once_until_renewed() -> None:
    patience = Patience(SECONDS, 100.0)
    assert not patience.spent(State.SIGN_IN, 129.9)
    assert patience.spent(State.SIGN_IN, 130.0)
    assert not patience.spent(State.SIGN_IN, 500.0)
    patience.renew(500.0)
    assert not patience.spent(State.SIGN_IN, 529.0)
    assert patience.spent(State.SIGN_IN, 530.0)


def test_countdown_shows_in_the_last_fifteen_seconds() -> None:
    patience = Patience(SECONDS, 0.0)
    assert patience.left(State.PREVIEW, 164.9) is None
    assert patience.left(State.PREVIEW, 165.0) == 15
    assert patience.left(State.PREVIEW, 179.5) == 1
    assert patience.left(State.LOCKED, 119.0) is None


def test_a_short_state_counts_down_in_its_second_half() -> None:
    patience = Patience({**SECONDS, State.DECLINED: 20}, 0.0)
    assert patience.left(State.DECLINED, 9.0) is None
    assert patience.left(State.DECLINED, 10.0) == 10


def test_the_countdown_says_what_would_be_lost() -> None:
    flows = {s.name: s.flow for s in scenes()}
    assert "photographs not sent will be destroyed" in countdown(flows["preview"], 12)
    assert "destroyed" not in countdown(flows["sign-in"], 12)
    assert countdown(flows["withdrawn"], 8) == "Closing in 8 s"


def frame(n: int) -> SimpleNamespace:
    return SimpleNamespace(sequence=n, timestamp=0.0, pixels=np.zeros((1, 1, 3), np.uint8))


def test_the_frame_of_a_moment() -> None:
    log = FrameLog()
    assert log.at(5.0) == -1
    for n, at in ((7, 1.0), (8, 1.1), (9, 1.2)):
        log.presented(frame(n), at)
    assert log.at(0.5) == -1
    assert log.at(1.05) == 7
    assert log.at(1.1) == 8
    assert log.at(9.9) == 9
    found = log.find(8)
    assert found is not None
    assert found.sequence == 8
    assert log.find(99) is None


def test_the_log_is_bounded() -> None:
    log = FrameLog()
    for n in range(1000):
        log.presented(frame(n), float(n))
    assert log.find(1000 - KEPT) is not None
    assert log.find(1000 - KEPT - 1) is None
    log.clear()
    assert log.at(5000.0) == -1
