"""Fingers: palm rejection, one owner of the pad, release before accept."""

from __future__ import annotations

from kiosk.touchui.geometry import Box
from kiosk.touchui.pointers import MOST_POINTS, Pointers

PAD = Box(100, 100, 200, 100)


def signing() -> Pointers:
    pointers = Pointers()
    assert pointers.down(1, 110, 110, None, 1.0)
    pointers.draw(1, PAD, 4, 110, 110)
    return pointers


def test_tap_counts_when_the_finger_leaves_where_it_landed() -> None:
    pointers = Pointers()
    assert pointers.down(1, 5, 5, "keep", 1.0)
    assert pointers.pressed == {"keep"}
    assert pointers.up(1) == ("keep", None)
    assert pointers.pressed == frozenset()


def test_sliding_off_is_no_tap_and_sliding_back_is_one() -> None:
    pointers = Pointers()
    pointers.down(1, 5, 5, "keep", 1.0)
    assert pointers.move(1, 50, 5, lambda x, y: "retake")
    assert pointers.pressed == frozenset()
    assert pointers.move(1, 5, 5, lambda x, y: "keep")
    assert pointers.up(1) == ("keep", None)
    pointers.down(1, 5, 5, "keep", 2.0)
    pointers.move(1, 50, 5, lambda x, y: None)
    assert pointers.up(1) == (None, None)


def test_two_thumbs_roll_over() -> None:
    pointers = Pointers()
    assert pointers.down(1, 5, 5, "digit:1", 1.0)
    assert pointers.down(2, 50, 5, "digit:2", 1.1)
    assert pointers.up(1) == ("digit:1", None)
    assert pointers.up(2) == ("digit:2", None)


def test_a_new_screen_waits_for_every_finger() -> None:
    pointers = Pointers()
    pointers.down(1, 5, 5, "a", 1.0)
    pointers.down(2, 50, 5, "b", 1.2)
    pointers.gate()
    assert pointers.up(1) == (None, None)
    assert not pointers.down(3, 5, 5, "a", 1.5), "finger 2 is still down"
    assert pointers.up(3) == (None, None)
    assert pointers.up(2) == (None, None)
    assert pointers.down(4, 5, 5, "a", 2.0)
    assert pointers.up(4) == ("a", None)


def test_gate_without_fingers_is_open() -> None:
    pointers = Pointers()
    pointers.gate()
    assert pointers.down(1, 5, 5, "a", 1.0)


def test_first_finger_owns_the_pad_and_buttons_wait() -> None:
    pointers = signing()
    assert not pointers.down(2, 20, 20, "agree", 1.5)
    assert not pointers.move(2, 150, 150, lambda x, y: None)
    assert pointers.move(1, 150, 150, lambda x, y: None)
    assert pointers.up(2) == (None, None)
    key, stroke = pointers.up(1)
    assert key is None
    assert stroke == ((0.05, 0.1), (0.25, 0.5))


def test_three_contacts_at_once_are_a_palm() -> None:
    pointers = signing()
    pointers.down(2, 120, 120, None, 1.03)
    pointers.down(3, 130, 130, None, 1.06)
    assert pointers.drawing is None
    assert [pointers.up(n) for n in (1, 2, 3)] == [(None, None)] * 3
    assert pointers.down(4, 5, 5, "agree", 2.0)
    assert pointers.up(4) == ("agree", None)


def test_three_contacts_slowly_are_no_palm() -> None:
    pointers = signing()
    pointers.down(2, 120, 120, None, 1.2)
    pointers.down(3, 130, 130, None, 1.4)
    assert pointers.drawing is not None


def test_three_fast_taps_one_after_the_other_are_no_palm() -> None:
    pointers = Pointers()
    for n, at in enumerate((1.0, 1.02, 1.04)):
        assert pointers.down(n, 5, 5, "digit:1", at)
        assert pointers.up(n) == ("digit:1", None)


def test_points_stay_on_the_pad_and_are_bounded() -> None:
    pointers = signing()
    pointers.move(1, -500, 9999, lambda x, y: None)
    assert pointers.drawing is not None
    assert pointers.drawing.points[-1] == (0.0, 1.0)
    for i in range(2 * MOST_POINTS):
        pointers.move(1, 100 + (i % 2) * 200, 100, lambda x, y: None)
    _, stroke = pointers.up(1)
    assert stroke is not None
    assert len(stroke) == MOST_POINTS


def test_unknown_fingers_are_ignored() -> None:
    pointers = Pointers()
    assert not pointers.move(9, 1, 1, lambda x, y: None)
    assert pointers.up(9) == (None, None)
