"""Every scene at every size: texts whole, inside, apart from one another; hit areas large enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pygame
import pytest

from kiosk.errors import Problem
from kiosk.flow import State
from kiosk.touchui.display import Offscreen
from kiosk.touchui.gallery import SHEET, SHEET_TALL, SIZES, Drawn, Studio, contact_sheet, render_all
from kiosk.touchui.paint import TextRecord
from kiosk.touchui.scenes import Scene, scenes, troubled
from kiosk.touchui.screens.preview import viewport_box
from kiosk.touchui.theme import FLOOR, TARGET, Layout
from kiosk.touchui.widgets import Choice, Key, Scrim, SignaturePad, Tappable, Viewport, Widget
from kiosk.touchui.widgets.badge import TapArea
from kiosk.touchui.widgets.banner import born
from kiosk.touchui.widgets.bar import Countdown
from kiosk.touchui.widgets.base import reachable, touched

SCENES = scenes()
ALL_SIZES = [*SIZES, (1280, 800)]


@pytest.fixture(scope="module", params=ALL_SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def studio(request: pytest.FixtureRequest) -> Iterator[Studio]:
    display = Offscreen(request.param)
    yield Studio(request.param)
    display.close()


@pytest.fixture(scope="module")
def all_drawn(studio: Studio) -> list[Drawn]:
    """Every scene of one size, rendered once; the pictures themselves are let go."""
    return [replace(studio.draw(scene), surface=pygame.Surface((1, 1))) for scene in SCENES]


@pytest.fixture
def each(all_drawn: list[Drawn]) -> Callable[[Callable[[Drawn], None]], None]:
    """Run a check on every scene, and name all the scenes that fail it."""

    def run(check: Callable[[Drawn], None]) -> None:
        faults = []
        for drawn in all_drawn:
            try:
                check(drawn)
            except AssertionError as fault:
                faults.append(f"{drawn.scene.name}: {fault}")
        assert not faults, "\n".join(faults)

    return run


Each = Callable[[Callable[[Drawn], None]], None]


def visible(drawn: Drawn) -> list[tuple[Widget, TextRecord]]:
    widgets = drawn.shown.widgets
    covers = [i for i, w in enumerate(widgets) if isinstance(w, Scrim | Countdown)]
    rows: list[tuple[Widget, TextRecord]] = []
    for i, (widget, texts) in enumerate(zip(widgets, drawn.shown.texts, strict=True)):
        hidden = any(c > i and widgets[c].box.meets(widget.box) for c in covers)
        rows += [(widget, t) for t in texts if not hidden]
    return rows


def test_texts_are_whole_inside_and_apart(each: Each) -> None:
    def check(drawn: Drawn) -> None:
        panel = drawn.view.layout.box
        rows = visible(drawn)
        assert rows or drawn.scene.dimmed
        for widget, text in rows:
            assert not text.cut, f"cut: {text.text!r}"
            assert panel.covers(text.glyphs), f"off the panel: {text.text!r}"
            assert widget.box.covers(text.glyphs), (
                f"outside its widget: {text.text!r} {text.glyphs} {widget.box}"
            )
        for i, (_, one) in enumerate(rows):
            for _, other in rows[i + 1 :]:
                assert not one.glyphs.meets(other.glyphs), f"{one.text!r} lies on {other.text!r}"

    each(check)


def test_widgets_stay_on_the_panel(each: Each) -> None:
    def check(drawn: Drawn) -> None:
        for widget in drawn.shown.widgets:
            assert drawn.view.layout.box.covers(widget.box), widget

    each(check)


def reach(drawn: Drawn, target: Tappable, dx: int, dy: int) -> int:
    """Pixels from the centre of a target in one direction until a touch means something else."""
    layout, widgets, area = drawn.view.layout, drawn.shown.widgets, target.area
    x, y, n = area.cx, area.cy, 0
    most = layout.dp(TARGET)
    while n < most and layout.box.contains(x + dx * n, y + dy * n):
        hit = touched(widgets, x + dx * n, y + dy * n, layout)
        if hit is None or hit.key != target.key:
            break
        n += 2
    return n


def test_hit_areas_are_large_enough(each: Each) -> None:
    def check(drawn: Drawn) -> None:
        layout = drawn.view.layout
        over = [w.box for w in drawn.shown.widgets if isinstance(w, Countdown)]
        for target in reachable(drawn.shown.widgets):
            covered = any(box.meets(target.area) for box in over)
            if not target.enabled or covered or isinstance(target, TapArea):
                continue
            wide = reach(drawn, target, 1, 0) + reach(drawn, target, -1, 0)
            high = reach(drawn, target, 0, 1) + reach(drawn, target, 0, -1)
            assert high >= layout.dp(FLOOR), (target.name, high)
            assert wide >= layout.dp(FLOOR), (target.name, wide)
            if target.key in MAIN:
                assert min(wide, high) >= layout.dp(TARGET) - 2, (target.name, wide, high)

    each(check)


MAIN = {"agree", "decline", "back", "keep", "retake", "finish", "sign-in", "question:yes", "question:no"}


def test_pin_keys_and_shutter_are_large(studio: Studio) -> None:
    layout = studio.layout
    pin = studio.draw(next(s for s in SCENES if s.name == "pin"))
    keys = [w for w in pin.shown.widgets if isinstance(w, Key)]
    assert len(keys) == 12
    assert all(min(k.box.w, k.box.h) >= layout.dp(100) for k in keys)
    camera = studio.draw(next(s for s in SCENES if s.name == "preview"))
    shutter = next(w for w in reachable(camera.shown.widgets) if w.key == "shutter")
    assert min(shutter.box.w, shutter.box.h) >= layout.dp(104)


def test_every_number_can_be_typed(studio: Studio) -> None:
    """In portrait there are the alphabetical keys only: ten columns would be too narrow for a finger."""
    for name in ("sign-in", "sign-in-abc", "identify-letters"):
        scene = next(s for s in SCENES if s.name == name)
        keys = {w.key for w in studio.lay(scene).widgets if isinstance(w, Key)}
        assert {f"type:{c}" for c in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-"} <= keys
        assert {"type:space", "type:delete", "type:ok"} <= keys
        assert ("type:layout" in keys) != studio.layout.portrait


def test_problem_is_on_the_screen(each: Each) -> None:
    def check(drawn: Drawn) -> None:
        problem = drawn.scene.flow.problem
        if problem is not None and drawn.scene.flow.question is None:
            words = " ".join(t.text for _, t in visible(drawn))
            assert problem.sentence in words

    each(check)


def test_patient_is_on_every_patient_screen(each: Each) -> None:
    def check(drawn: Drawn) -> None:
        patient = drawn.scene.flow.patient
        words = [t.text for _, t in visible(drawn)]
        if drawn.scene.flow.visits is not None:
            assert drawn.scene.flow.state is State.TODAY
        elif patient is None:
            assert not any("OKONKWO" in w for w in words)
        else:
            assert patient.name.display() in words
            assert born(patient, drawn.view.today) in words
            assert patient.identifier.display() in words

    each(check)


def test_the_banner_writes_as_the_nhs_does(studio: Studio) -> None:
    drawn = studio.draw(next(s for s in SCENES if s.name == "consent"))
    words = [t.text for _, t in visible(drawn)]
    for text in (
        "OKONKWO-SMITH, Adaeze (Ms)",
        "Born",
        "14-Jul-1945 (81y)",
        "Female",
        "NHS No.",
        "999 123 0009",
    ):
        assert text in words


def test_withdraw_is_there_after_consent(each: Each) -> None:
    def check(drawn: Drawn) -> None:
        flow = drawn.scene.flow
        keys = {w.key for w in reachable(drawn.shown.widgets)}
        after = flow.state in (State.BODY_SITE, State.PREVIEW, State.REVIEW, State.SUMMARY, State.FAULT)
        there = after and flow.consent is not None and flow.problem is not Problem.SESSION_GONE
        assert ("withdraw" in keys) == (there and flow.question is None)

    each(check)


def test_nothing_is_preset_on_consent(studio: Studio) -> None:
    blank = studio.draw(next(s for s in SCENES if s.name == "consent"))
    assert [w.key for w in blank.shown.widgets if isinstance(w, Choice) and w.chosen] == []
    signed = studio.draw(next(s for s in SCENES if s.name == "consent-signed"))
    chosen = [w.key for w in signed.shown.widgets if isinstance(w, Choice) and w.chosen]
    assert sorted(chosen) == ["choice:research:no", "choice:teaching:yes"]


def test_pin_digits_are_never_drawn(studio: Studio) -> None:
    pin = studio.draw(next(s for s in SCENES if s.name == "pin"))
    other = [
        t.text
        for w, texts in zip(pin.shown.widgets, pin.shown.texts, strict=True)
        for t in texts
        if not isinstance(w, Key)
    ]
    assert not any(c.isdigit() for text in other for c in text if "to send" not in text)


def test_signature_is_ink_inside_the_pad(studio: Studio) -> None:
    signed = studio.draw(next(s for s in SCENES if s.name == "consent-signed"))
    blank = studio.draw(next(s for s in SCENES if s.name == "consent"))
    pad = next(w for w in signed.shown.widgets if isinstance(w, SignaturePad))
    empty = next(w for w in blank.shown.widgets if isinstance(w, SignaturePad))
    assert pad.box == empty.box

    def dark(surface: pygame.Surface) -> int:
        box = pad.box.inset(6)
        return sum(
            sum(surface.get_at((x, y))[:3]) < 200
            for x in range(box.x, box.right, 2)
            for y in range(box.y, box.bottom, 2)
        )

    assert dark(signed.surface) > dark(blank.surface) + 150


def test_every_state_has_scenes() -> None:
    assert {s.flow.state for s in scenes()} == set(State)


def test_scene_names_are_unique() -> None:
    names = [s.name for s in scenes()]
    assert len(names) == len(set(names))


def test_files_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few: tuple[Scene, ...] = tuple(s for s in scenes() if s.name in ("locked", "pin-wrong"))
    with monkeypatch.context() as patch:
        patch.setattr("kiosk.touchui.gallery.scenes", lambda: few)
        paths = render_all(tmp_path, [(800, 480), (720, 1280)])
    assert len(paths) == 4
    assert {pygame.image.load(p).get_size() for p in paths} == {(800, 480), (720, 1280)}
    sheet = contact_sheet(tmp_path / "docs" / "sheet.png")
    assert sheet.stat().st_size < 900_000
    assert pygame.image.load(sheet).get_width() > 4 * 420


def test_the_contact_sheet_has_every_state() -> None:
    by_name = {s.name: s for s in SCENES}
    assert {by_name[name].flow.state for name, _ in SHEET} == set(State)
    assert {by_name[name].flow.state for name, _ in SHEET_TALL} == {State.CONSENT, State.PREVIEW}


def test_every_sentence_fits_where_it_may_appear(studio: Studio) -> None:
    for problem in Problem:
        for scene in troubled(problem):
            texts = [t for row in studio.lay(scene).texts for t in row]
            assert problem.sentence in " ".join(t.text for t in texts), scene.name
            assert not [t for t in texts if t.cut], scene.name


def test_laid_out_texts_are_those_that_are_drawn(studio: Studio) -> None:
    for scene in SCENES[::7]:
        assert studio.lay(scene) == studio.draw(scene).shown


def test_scale_rule() -> None:
    assert Layout.of(800, 480).scale == 1.0
    assert Layout.of(720, 1280).scale == 1.6
    assert Layout.of(1280, 800).scale == 1.14
    assert Layout.of(1024, 600).scale == 1.25
    assert Layout.of(1080, 1920).scale == pytest.approx(2.4)
    assert Layout.of(1280, 800, px_per_mm=5.9).scale == pytest.approx(1.137, abs=0.001)


def test_no_widget_draws_outside_its_box(studio: Studio) -> None:
    """Only so can the app draw what changed and nothing else."""
    seen: set[Widget] = set()
    for scene in SCENES:
        drawn = studio.draw(scene)
        for widget in drawn.shown.widgets:
            if widget not in seen:
                seen.add(widget)
                assert not studio.strays(widget, drawn.screen.theme), (scene.name, widget)


def test_the_camera_can_be_asked_for_the_size_of_the_picture(studio: Studio) -> None:
    for scene, second_row in (("preview", False), ("preview-blurred", True)):
        drawn = studio.draw(next(s for s in SCENES if s.name == scene))
        shown = next(w.box for w in drawn.shown.widgets if isinstance(w, Viewport))
        assert viewport_box(studio.layout, second_row=second_row) == shown
