"""What the demo's remote hand may do to a running ui: only what a person, a scanner or a cable could do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kiosk.errors import LinkError
from kiosk.touchui.input import post_finger, post_keys

if TYPE_CHECKING:
    from kiosk.wiring.ui import Ui


class UiHands:
    """Implements demo.remote.Hands. Called on the remote's thread."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui

    def finger(self, kind: str, x: float, y: float) -> None:
        """Post a finger event."""
        post_finger("move" if kind == "motion" else kind, x, y)

    def scan(self, text: str, last: bool) -> None:
        """Post the keys of a scan, with Enter at its end."""
        post_keys(text, enter=last)

    def button(self, down: bool) -> None:
        """Drive the mock pin."""
        self._ui.button(down)

    def camera(self, fault: str) -> None:
        """Set the simulated camera's fault."""
        try:
            self._ui.camera.set_fault(fault)
        except ValueError as e:
            raise LinkError(str(e)) from None

    def describe(self) -> Mapping[str, Any]:
        """Texts and boxes of the screen."""
        shown = self._ui.app.describe()
        return {
            "texts": [item["text"] for item in shown if "text" in item],
            "boxes": [item for item in shown if "label" in item],
        }

    def shot(self, path: Path) -> None:
        """Write the screen to a PNG file."""
        if not self._ui.app.shot(path):
            raise LinkError("the screen was not drawn in time")
