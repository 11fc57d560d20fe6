"""Which preview frame was on the screen when: so that the frame at the press is the frame that is saved."""

from __future__ import annotations

from collections import deque

from kiosk.touchui.view import PreviewLike

KEPT = 8


class FrameLog:
    """The last frames that were presented, with the time of each presentation (monotonic seconds)."""

    def __init__(self) -> None:
        self._shown: deque[tuple[float, PreviewLike]] = deque(maxlen=KEPT)

    def presented(self, frame: PreviewLike, at: float) -> None:
        """The frame is on the screen from now on."""
        if not self._shown or self._shown[-1][1] is not frame:
            self._shown.append((at, frame))

    def at(self, moment: float) -> int:
        """Number of the frame that was on the screen at this moment; -1 where there was none."""
        return next((f.sequence for since, f in reversed(self._shown) if since <= moment), -1)

    def find(self, sequence: int) -> PreviewLike | None:
        """Return the frame with this number if it was shown a moment ago."""
        return next((f for _, f in reversed(self._shown) if f.sequence == sequence), None)

    def clear(self) -> None:
        """Let go of all frames."""
        self._shown.clear()
