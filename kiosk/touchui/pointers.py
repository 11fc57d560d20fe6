"""Fingers and the mouse as one: who is down, where, and what each of them landed on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from kiosk.model import Point, Stroke
from kiosk.touchui.geometry import Box

PALM_FINGERS, PALM_SECONDS = 3, 0.08
MOST_POINTS = 4000


@dataclass(slots=True)
class Finger:
    """One finger or the mouse button: the widget it landed on, and whether it counts."""

    key: str | None
    x: float
    y: float
    live: bool = True
    over: bool = True


@dataclass(slots=True)
class Drawing:
    """A stroke that is being drawn: whose finger, on which pad."""

    finger: int
    pad: Box
    step: float
    points: list[Point] = field(default_factory=list)

    def add(self, x: float, y: float) -> None:
        """Keep the point where it is far enough from the last one; outside the pad is its edge."""
        px = min(1.0, max(0.0, (x - self.pad.x) / self.pad.w))
        py = min(1.0, max(0.0, (y - self.pad.y) / self.pad.h))
        if self.points:
            dx, dy = (px - self.points[-1][0]) * self.pad.w, (py - self.points[-1][1]) * self.pad.h
            if dx * dx + dy * dy < self.step * self.step:
                return
        if len(self.points) < MOST_POINTS:
            self.points.append((round(px, 5), round(py, 5)))

    @property
    def stroke(self) -> Stroke:
        """What was drawn so far."""
        return tuple(self.points)


@dataclass(slots=True)
class Pointers:
    """All fingers. After `gate` nothing counts until every finger has been lifted."""

    fingers: dict[int, Finger] = field(default_factory=dict)
    drawing: Drawing | None = None
    gated: bool = False
    _landed: deque[float] = field(default_factory=lambda: deque(maxlen=PALM_FINGERS))

    def gate(self) -> None:
        """A new screen: whatever is down now belongs to the old one."""
        self.drawing = None
        self.gated = bool(self.fingers)
        for finger in self.fingers.values():
            finger.live = False

    @property
    def pressed(self) -> frozenset[str]:
        """Keys of the widgets that are held down."""
        return frozenset(f.key for f in self.fingers.values() if f.live and f.over and f.key is not None)

    def down(self, finger: int, x: float, y: float, key: str | None, at: float) -> bool:
        """A finger landed. Returns whether it counts."""
        self._landed.append(at)
        known = Finger(key, x, y)
        self.fingers[finger] = known
        palm = len(self._landed) == PALM_FINGERS and at - self._landed[0] < PALM_SECONDS
        if palm and len(self.fingers) >= PALM_FINGERS:
            # A palm: none of its contacts counts, and a stroke that it opened is dropped.
            self.drawing = None
            for each in self.fingers.values():
                each.live = False
        known.live = known.live and not self.gated and self.drawing is None
        return known.live

    def draw(self, finger: int, pad: Box, step: float, x: float, y: float) -> None:
        """The finger landed on the pad, and owns it until it leaves."""
        self.drawing = Drawing(finger, pad, step)
        self.drawing.add(x, y)

    def move(self, finger: int, x: float, y: float, key_at: Callable[[float, float], str | None]) -> bool:
        """A finger moved. Returns whether something has to be drawn again."""
        known = self.fingers.get(finger)
        if known is None:
            return False
        known.x, known.y = x, y
        if self.drawing is not None:
            if self.drawing.finger != finger:
                return False
            self.drawing.add(x, y)
            return True
        if not known.live or known.key is None:
            return False
        over = key_at(x, y) == known.key
        changed, known.over = over != known.over, over
        return changed

    def up(self, finger: int) -> tuple[str | None, Stroke | None]:
        """A finger left. Returns the key it held (if it still counts) and the stroke it finished."""
        known = self.fingers.pop(finger, None)
        if not self.fingers:
            self.gated = False
        if self.drawing is not None and self.drawing.finger == finger:
            stroke = self.drawing.stroke
            self.drawing = None
            return None, stroke if known is not None and known.live else None
        if known is None or not known.live or not known.over or self.drawing is not None:
            return None, None
        return known.key, None
