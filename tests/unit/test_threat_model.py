"""The threat model names tests that are there, and has its measured table (tests/attack/thieves.py)."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/threat-model.md").read_text("utf-8")


def test_every_test_it_names_exists() -> None:
    named = set(re.findall(r"`((?:[a-z]+/)*test_[a-z_]+\.py)`", TEXT))
    assert len(named) > 10
    assert not [name for name in named if not (ROOT / "tests" / name).is_file()]


def test_the_measured_table_is_there_once() -> None:
    assert TEXT.count("<!-- thieves: begin") == TEXT.count("<!-- thieves: end -->") == 1
    assert "| keys in memfd_secret: /proc/PID/mem | refused | refused | refused |" in TEXT
