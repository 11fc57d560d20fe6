"""Plays a story on both real processes and hands out what is left afterwards."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kiosk.demo.player import Player
from kiosk.demo.script import parse
from kiosk.demo.station import Options
from kiosk.demo.supervisor import Demo

SIGN_IN = """
wait LOCKED 30
badge BADGE-1001
pin 2468
wait IDENTIFY
"""
PATIENT = """
scan 9991230009
wait CONFIRM_PATIENT
expect "OKONKWO-SMITH, Adaeze (Ms)"
tap "Yes, this patient"
wait CONSENT
"""
CONSENT = """
tap "Teaching: Yes"
tap "Research or publication: No"
sign
tap "Agree, take photos"
wait BODY_SITE
"""
SITE = """
tap "Forearm"
tap "Left"
tap "Take photos"
wait PREVIEW
expect "Live"
"""
PHOTO = """
expect "Live"
press
wait REVIEW
tap "Keep"
wait sealed
wait PREVIEW
"""
SEND = """
tap "Finish"
wait SUMMARY
tap "Send to record"
wait RECEIPT
"""
PROOF = """
wait receipt 40
expect "In the record"
tap "Done"
wait LOCKED
"""
TO_PREVIEW = SIGN_IN + PATIENT + CONSENT + SITE
SMALL = "1280x960"
"""Stills of 1.2 MP where the story is not about photographs."""


@contextmanager
def kiosk(**options: Any) -> Iterator[Demo]:
    """A running kiosk; photographs are small unless the story says otherwise."""
    with Demo(options=Options(**{"still": SMALL, **options})) as demo:
        yield demo


def play(demo: Demo, *parts: str, screens: Path | None = None) -> None:
    """Play the parts one after the other. Raises StepFailed that names the line."""
    text = "\n".join(textwrap.dedent(part).strip() for part in parts)
    Player(demo, screens).play(parse(text, "story"), "story")


def events(demo: Demo, name: str) -> list[dict[str, Any]]:
    """The journal's lines of one kind."""
    return [line for line in demo.events if line["event"] == name]


def photographs(demo: Demo) -> list[dict[str, Any]]:
    """DocumentReferences of photographs in the record, oldest first."""
    documents = demo.server.store.all("DocumentReference")
    return [d for d in documents if d["content"][0]["attachment"]["contentType"] == "image/jpeg"]


def spool_is_empty(demo: Demo) -> bool:
    """Whether no file of any session is left."""
    return not [p for p in (demo.directory / "spool").rglob("*") if p.is_file()]
