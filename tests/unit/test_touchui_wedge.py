"""Scanner bursts, typed keys, garbage."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from kiosk.touchui.wedge import MOST, PAUSE, Enter, Keys, Scan, Wedge


def feed(wedge: Wedge, text: str, gap: float, start: float = 10.0) -> tuple[list[object], float]:
    out: list[object] = []
    at = start
    for character in text:
        out += wedge.characters(character, at)
        at += gap
    return out, at


def test_a_fast_burst_with_enter_is_a_scan() -> None:
    wedge = Wedge()
    out, at = feed(wedge, "STAFF-1001", 0.007)
    assert out == []
    assert wedge.enter(at) == [Scan("STAFF-1001")]
    assert not wedge.busy


def test_a_batch_that_arrives_in_one_round_is_a_scan() -> None:
    wedge = Wedge()
    assert wedge.characters("9991230009", 5.0) == []
    assert wedge.enter(5.0) == [Scan("9991230009")]


def test_five_characters_are_too_few() -> None:
    wedge = Wedge()
    _, at = feed(wedge, "12345", 0.005)
    assert wedge.enter(at) == [Keys("12345"), Enter()]


def test_slow_keys_are_typed_one_after_the_other() -> None:
    wedge = Wedge()
    out, at = feed(wedge, "1234567", 0.15)
    assert out == [Keys(c) for c in "123456"]
    assert wedge.enter(at) == [Keys("7"), Enter()]


def test_a_burst_without_enter_is_let_go_after_a_pause() -> None:
    wedge = Wedge()
    _, at = feed(wedge, "ABCDEFGH", 0.005)
    assert wedge.poll(at + PAUSE / 2) == []
    assert wedge.poll(at + PAUSE + 0.01) == [Keys("ABCDEFGH")]
    assert wedge.enter(at + 1) == [Enter()]


def test_ten_thousand_characters_are_one_capped_scan() -> None:
    wedge = Wedge()
    for i in range(10_000):
        assert wedge.characters("x", 1 + i * 0.001) == []
        assert len(wedge._kept) <= MOST
    assert sys.getsizeof(wedge._kept) < 10 * MOST
    decided = wedge.enter(11.0)
    assert decided == [Scan("x" * MOST)]
    assert not wedge.busy


def test_the_next_scan_is_clean_after_a_huge_one() -> None:
    wedge = Wedge()
    wedge.characters("y" * 10_000, 1.0)
    wedge.enter(1.0)
    wedge.characters("STAFF-1001", 2.0)
    assert wedge.enter(2.0) == [Scan("STAFF-1001")]


@given(st.lists(st.tuples(st.text(max_size=30), st.floats(0, 0.5), st.booleans()), max_size=20))
def test_nothing_is_lost_or_invented(strokes: list[tuple[str, float, bool]]) -> None:
    wedge, at, out = Wedge(), 1.0, []
    for text, gap, enter in strokes:
        at += gap
        out += wedge.characters(text, at)
        if enter:
            out += wedge.enter(at)
    out += wedge.poll(at + 1)
    heard = "".join(o.text for o in out if isinstance(o, Keys | Scan))
    assert heard == "".join(text for text, _, _ in strokes)
    assert not wedge.busy
