"""Plays a script through the kiosk's real inputs: fingers, scanner and button. It never calls a screen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from kiosk.demo.remote import RemoteHand
from kiosk.demo.script import Step
from kiosk.errors import KioskError, LinkError

APPEAR_S = 6.0
"""How long a label or a text may take to appear."""
WAIT_S = 20.0
"""How long `wait` waits when it is not told."""
TOUCH_S = 0.06
"""How long a tap holds the finger down."""


class Stage(Protocol):
    """What the player plays on (demo.supervisor.Demo)."""

    def hand(self) -> RemoteHand:
        """The hand at the ui that runs now."""
        ...

    def wait_for(self, name: str, seconds: float) -> bool:
        """Wait for a state or for the next event of this name. Returns whether it came."""
        ...

    def kill(self, name: str) -> None:
        """Kill -9 of a process."""
        ...

    def set_network(self, up: bool) -> None:
        """Of the built-in server."""
        ...

    def set_fault(self, fault: str) -> None:
        """Of the built-in server."""
        ...

    def state(self) -> str:
        """The state the screen shows, in capitals."""
        ...

    def hint(self) -> str:
        """The last problem that the screen showed, in brackets, or nothing."""
        ...


class StepFailed(Exception):
    """A step could not be done. The text names the line and what was there instead; no patient data."""


class Player:
    """Plays steps one after the other."""

    def __init__(
        self, stage: Stage, screens: Path | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stage = stage
        self._screens = screens
        self._clock = clock

    def play(self, steps: list[Step], source: str) -> None:
        """Play all steps. Raises StepFailed at the first that cannot be done."""
        for step in steps:
            try:
                self._play(step)
            except (StepFailed, KioskError) as e:
                where = f"{source}:{step.line}: {step.verb} failed in {self._stage.state()}"
                raise StepFailed(f"{where}{self._stage.hint()}: {e}") from e

    def _play(self, step: Step) -> None:
        match step.verb:
            case "badge" | "scan":
                self._stage.hand().scan(step.text)
            case "pin":
                # The staff-number keyboard has digits too: only the PIN pad has an OK.
                self._box("OK", enabled=False)
                for digit in step.text:
                    self._tap(digit)
                self._tap("OK")
            case "type":
                for character in step.text:
                    self._tap("Space" if character == " " else character)
            case "tap":
                self._tap(step.text)
            case "sign":
                self._sign()
            case "press":
                hand = self._stage.hand()
                hand.button(True)
                time.sleep(step.seconds if step.seconds is not None else 0.12)
                hand.button(False)
            case "camera":
                self._stage.hand().camera(step.text)
            case "network":
                self._stage.set_network(step.text == "up")
            case "server":
                self._stage.set_fault(step.text)
            case "wait":
                self._wait(step)
            case "expect":
                self._expect(step.text)
            case "absent":
                if self._shows(step.text):
                    raise StepFailed("the text is on the screen")
            case "shot":
                self._shot(step.text)
            case "pause":
                time.sleep(step.seconds or 0.0)
            case "kill":
                self._stage.kill(step.text)

    def _wait(self, step: Step) -> None:
        seconds = WAIT_S if step.seconds is None else step.seconds
        if not self._stage.wait_for(step.text, seconds):
            raise StepFailed(f"{step.text} did not come within {seconds:g} s")

    def _expect(self, text: str) -> None:
        deadline = self._clock() + APPEAR_S
        while not self._shows(text):
            if self._clock() > deadline:
                raise StepFailed("the text is not on the screen")
            time.sleep(0.05)

    def _shows(self, text: str) -> bool:
        shown = " ".join(" ".join(self._describe()["texts"]).split())
        return text.casefold() in shown.casefold()

    def _describe(self) -> dict[str, Any]:
        """What the screen shows; a ui that is just replacing itself is asked again."""
        deadline = self._clock() + APPEAR_S
        while True:
            try:
                return self._stage.hand().describe()
            except LinkError:
                if self._clock() > deadline:
                    raise
                time.sleep(0.1)

    def _box(self, label: str, *, enabled: bool = True) -> dict[str, Any]:
        deadline = self._clock() + APPEAR_S
        while True:
            boxes = self._describe()["boxes"]
            # The full name first: a text field that shows "9" is not the key 9.
            for called in ("name", "label"):
                for box in boxes:
                    if str(box[called]).casefold() == label.casefold() and (box["enabled"] or not enabled):
                        return dict(box)
            if self._clock() > deadline:
                there = ", ".join(repr(b["name"]) for b in boxes if b["enabled"])
                raise StepFailed(f"nothing to touch is called {label!r}; there are: {there}")
            time.sleep(0.05)

    def _tap(self, label: str) -> None:
        box = self._box(label)
        hand = self._stage.hand()
        hand.finger("down", box["x"], box["y"])
        time.sleep(TOUCH_S)
        hand.finger("up", box["x"], box["y"])

    def _sign(self) -> None:
        box = self._box("Signature")
        hand = self._stage.hand()
        points = [
            (
                box["x"] + box["w"] * (-0.32 + 0.64 * t / 40),
                box["y"] + box["h"] * (0.02 + 0.16 * math.sin(t * 0.9) * math.cos(t * 0.13)),
            )
            for t in range(41)
        ]
        hand.finger("down", *points[0])
        for point in points[1:]:
            time.sleep(0.008)
            hand.finger("motion", *point)
        hand.finger("up", *points[-1])

    def _shot(self, name: str) -> None:
        if self._screens is None:
            return
        self._screens.mkdir(parents=True, exist_ok=True)
        self._stage.hand().shot(self._screens.resolve() / f"{Path(name).name}.png")
