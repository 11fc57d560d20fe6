"""What a screen is given to lay itself out, and the shapes of what others hand in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from kiosk.errors import Problem
from kiosk.flow import Flow
from kiosk.model import Purpose, QueueStatus, Stroke, Verdict
from kiosk.touchui.art import Pixels
from kiosk.touchui.text import Fonts
from kiosk.touchui.theme import Layout


class PreviewLike(Protocol):
    """A preview frame. Its pixels must not change after it was handed out."""

    @property
    def sequence(self) -> int:
        """Number of the frame."""

    @property
    def timestamp(self) -> float:
        """When the sensor took it, monotonic seconds."""

    @property
    def pixels(self) -> Pixels:
        """(rows, columns, 3), RGB."""


class ConsentTextLike(Protocol):
    """The wording that the patient agrees to."""

    @property
    def title(self) -> str:
        """Heading."""

    @property
    def body(self) -> str:
        """What is asked, in plain words."""

    @property
    def purposes(self) -> Mapping[Purpose, tuple[str, str]]:
        """Label and explanation of each purpose."""


@dataclass(frozen=True, slots=True)
class View:
    """Everything a screen may know.

    frame: number of the preview frame to show.  ready: names of stills that can be shown
    ("review", or a photo's id as text).  live: the stroke being drawn, 0..1.  seconds_left: until the
    time-out, only in its last part.
    """

    flow: Flow
    status: QueueStatus
    layout: Layout
    fonts: Fonts
    today: date
    consent_text: ConsentTextLike
    demo: bool = False
    in_ram: bool = True
    notice: Problem | None = None
    verdicts: tuple[Verdict, ...] = ()
    frame: int | None = None
    ready: frozenset[str] = frozenset()
    live: Stroke = ()
    seconds_left: int | None = None

    def dp(self, n: float) -> int:
        """Pixels of n dp."""
        return self.layout.dp(n)
