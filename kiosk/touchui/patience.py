"""Time-outs: how long the screen waits for a person, and what it says in the last seconds."""

from __future__ import annotations

from collections.abc import Mapping

from kiosk.flow import Flow, State

WARNING = 15
"""Seconds before a time-out from which a countdown is shown."""
_CLOSING = (State.RECEIPT, State.DECLINED, State.WITHDRAWN, State.CORRECTION)


class Patience:
    """Counts the seconds since a person last did something, or since the state changed."""

    def __init__(self, seconds: Mapping[State, int], at: float) -> None:
        self._seconds = seconds
        self._since = at
        self._spent = False

    def renew(self, at: float) -> None:
        """A person did something, or the state changed."""
        self._since, self._spent = at, False

    def spent(self, state: State, at: float) -> bool:
        """Whether the time of this state is over; says so once until renewed."""
        if self._spent or at - self._since < self._seconds[state]:
            return False
        self._spent = True
        return True

    def left(self, state: State, at: float) -> int | None:
        """Whole seconds left once the countdown shows, else None. The lock screen has none."""
        if state is State.LOCKED or self._spent:
            return None
        left = self._seconds[state] - (at - self._since)
        return max(1, -int(-left // 1)) if left <= self.warning(state) else None

    def warning(self, state: State) -> int:
        """Length of the countdown in seconds: at most half of the state's time."""
        return min(WARNING, self._seconds[state] // 2)


def countdown(flow: Flow, seconds: int) -> str:
    """What the countdown says: what will happen, and what would be lost."""
    if flow.state in _CLOSING:
        return f"Closing in {seconds} s"
    if flow.photos or flow.review is not None:
        return f"Locking in {seconds} s \u2013 photographs not sent will be destroyed"
    return f"Locking in {seconds} s \u2013 touch the screen to stay"
