"""Signature ink: smooth, incremental, deterministic."""

from __future__ import annotations

from itertools import pairwise
from math import cos, hypot, pi, sin

import pygame
import pytest

from kiosk.model import Stroke
from kiosk.touchui.geometry import Box
from kiosk.touchui.ink import MAX_WIDTH, MIN_WIDTH, Ink, Pen
from kiosk.touchui.scenes import signature
from kiosk.touchui.widgets import SignaturePad

Lines = tuple[tuple[Stroke, ...], Stroke]
INK = (11, 23, 72, 255)
SIZE = (296, 170)
CIRCLE: Stroke = tuple(
    (0.5 + 0.3 * cos(t / 20 * 2 * pi), 0.5 + 0.3 * sin(t / 20 * 2 * pi)) for t in range(21)
)


def bytes_of(surface: pygame.Surface) -> bytes:
    return pygame.image.tobytes(surface, "RGBA")


def covered(surface: pygame.Surface) -> int:
    return sum(1 for a in bytes_of(surface)[3::4] if a > 100)


def test_drawn_live_looks_like_drawn_again() -> None:
    live = Ink()
    for n in range(1, len(CIRCLE) + 1):
        live.picture(SIZE, 1.0, INK, (), CIRCLE[:n])
    after = bytes_of(live.picture(SIZE, 1.0, INK, (CIRCLE,), ()))
    assert after == bytes_of(Ink().picture(SIZE, 1.0, INK, (CIRCLE,), ()))


def test_the_line_reaches_its_last_point() -> None:
    picture = Ink().picture(SIZE, 1.0, INK, (CIRCLE,), ())
    x, y = CIRCLE[-1][0] * SIZE[0], CIRCLE[-1][1] * SIZE[1]
    assert picture.get_at((int(x), int(y)))[3] > 200
    for px, py in CIRCLE:
        assert picture.get_at((int(px * SIZE[0]), int(py * SIZE[1])))[3] > 100


def test_widths_stay_in_their_range_and_thin_out_with_speed() -> None:
    def widths(step: float) -> list[float]:
        pen, out = Pen(), []
        for i in range(12):
            out += [r for _, _, r in pen.add((i * step, 0))]
        return out + [r for _, _, r in pen.finish()]

    slow, fast = widths(5), widths(60)
    assert all(MIN_WIDTH <= r <= MAX_WIDTH for r in slow + fast)
    assert slow[-1] > 1.5 > fast[-1]


def test_the_curve_is_smooth() -> None:
    pen, stamps = Pen(), []
    for x, y in CIRCLE:
        stamps += list(pen.add((x * 300, y * 300)))
    stamps += list(pen.finish())
    gaps = [hypot(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(stamps)]
    assert max(gaps) < 1.0
    radii = [hypot(x - 150, y - 150) for x, y, _ in stamps]
    assert max(radii) - min(radii) < 4, "the curve follows the circle between the points"


def test_clearing_starts_anew() -> None:
    ink = Ink()
    ink.picture(SIZE, 1.0, INK, (CIRCLE,), ())
    assert covered(ink.picture(SIZE, 1.0, INK, (), ())) == 0
    dot = ((0.2, 0.2),)
    assert 4 < covered(ink.picture(SIZE, 1.0, INK, (dot,), ())) < 60


def test_a_dot_is_visible_and_a_signature_is_more() -> None:
    assert covered(Ink().picture(SIZE, 1.0, INK, signature(), ())) > 800


@pytest.mark.parametrize("n", range(1, len(CIRCLE) + 1))
def test_damage_covers_what_changes(n: int) -> None:
    """Outside the reported box, two consecutive pictures are the same."""
    pad = Box(40, 30, *SIZE)

    def widget(done: tuple[Stroke, ...], live: Stroke) -> SignaturePad:
        return SignaturePad(box=pad, key="pad", strokes=done, live=live, signer="Ms A. Okonkwo-Smith")

    before: Lines = ((), CIRCLE[: n - 1])
    after: Lines = ((), CIRCLE[:n])
    if n == len(CIRCLE):
        before, after = ((), CIRCLE), ((CIRCLE,), ())
    damage = widget(*after).damage(widget(*before))
    one = Ink().picture(SIZE, 1.0, INK, *before).copy()
    two = Ink().picture(SIZE, 1.0, INK, *after).copy()
    for surface in (one, two):
        surface.fill((0, 0, 0, 0), damage.move(-pad.x, -pad.y))
    assert bytes_of(one) == bytes_of(two)
    assert damage.w * damage.h < SIZE[0] * SIZE[1]
