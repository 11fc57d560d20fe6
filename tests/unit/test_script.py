"""The player's language: every wrong line is named, with what is allowed."""

from __future__ import annotations

import re
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk.demo import script
from kiosk.demo.script import Step, parse
from kiosk.errors import ConfigError


def test_steps_keep_their_lines() -> None:
    steps = parse('# a story\n\nbadge B-1\ntap "Yes, this patient"  # touch\nwait RECEIPT 30\npress\n', "s")
    assert steps == [
        Step(3, "badge", "B-1"),
        Step(4, "tap", "Yes, this patient"),
        Step(5, "wait", "RECEIPT", 30.0),
        Step(6, "press"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "fly",
        "tap",
        "tap one two",
        "camera upside-down",
        "network maybe",
        "kill -9",
        "wait NOWHERE",
        "wait RECEIPT soon",
        "pause",
        "pause -1",
        "pause inf",
        "sign here",
        'tap "unclosed',
        "server explode",
    ],
)
def test_wrong_lines_are_named(line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"wait LOCKED\n{line}\npress\n", "story.txt")
    assert len(caught.value.complaints) == 1
    assert caught.value.complaints[0].startswith("story.txt:2: ")


def test_all_wrong_lines_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("fly\nswim\nwait LOCKED\nrun\n", "s")
    assert [c.split(":")[1] for c in caught.value.complaints] == ["1", "2", "4"]


def test_an_empty_script_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="no steps"):
        parse("# nothing\n", "s")


def test_every_verb_is_described() -> None:
    described = set(re.findall(r"^ *(\w+)|\| (\w+) ", script.__doc__ or "", re.MULTILINE))
    assert set(script.VERBS) <= {a or b for a, b in described}


def test_the_shipped_scripts_are_right() -> None:
    folder = resources.files("kiosk.demo").joinpath("scripts")
    names = [entry.name for entry in folder.iterdir()]
    assert "happy.txt" in names
    for name in names:
        assert parse(folder.joinpath(name).read_text(encoding="utf-8"), name)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_steps_or_complaints(text: str) -> None:
    try:
        parse(text, "s")
    except ConfigError as e:
        lines = e.complaints
    else:
        lines = ("good",)
    assert lines
