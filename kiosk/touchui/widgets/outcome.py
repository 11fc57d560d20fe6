"""Parts of the screens that say how something ended: the head line and the stepper."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE, Painter
from kiosk.touchui.theme import Colour, Theme, Type
from kiosk.touchui.widgets.base import Widget


class Tone(Enum):
    """How a thing stands. Green is GOOD alone, amber is PENDING alone."""

    CALM = "calm"
    MOVING = "moving"
    PENDING = "pending"
    GOOD = "good"
    BAD = "bad"

    def colours(self, t: Theme) -> tuple[Colour, Colour]:
        """Return a soft face and an ink that can be read on it."""
        return {
            Tone.CALM: (t.segment, t.secondary),
            Tone.MOVING: (t.action_soft, t.action),
            Tone.PENDING: (t.warn_soft, t.warn),
            Tone.GOOD: (t.ok_soft, t.ok),
            Tone.BAD: (t.danger_soft, t.danger),
        }[self]


@dataclass(frozen=True, kw_only=True)
class Outcome(Widget):
    """An emblem, a headline and a sentence; `centred`: stacked, for portrait and quiet screens."""

    icon: str
    title: str
    text: str
    tone: Tone
    centred: bool = False
    size: float = 68

    def draw(self, p: Painter) -> None:
        """Draw it."""
        face, ink = self.tone.colours(p.theme)
        d = p.dp(self.size)
        if self.centred:
            disc, words = self.box.top_part(d, p.dp(12))
            disc = disc.centred(d, d)
        else:
            disc, words = self.box.left_part(d, p.dp(18))
            disc = disc.centred(d, d)
        p.panel(disc, self.size / 2, face)
        p.icon(self.icon, self.size * 0.5, ink, disc, 2)
        align = CENTRE if self.centred else "left"
        title, text = Type(theme.BOLD, 26), Type(theme.REGULAR, 17)
        size = title.size
        while size > 18 and len(p.fonts.wrap(self.title, title, words.w)) > 2:
            size -= 1
            title = title._replace(size=size)
        head_lines = len(p.fonts.wrap(self.title, title, words.w))
        text_lines = len(p.fonts.wrap(self.text, text, words.w)) if self.text else 0
        even_head, even_text = (_even(p, s, k, words.w) for s, k in ((self.title, title), (self.text, text)))
        head_h, text_h = head_lines * p.fonts.line(title), text_lines * p.fonts.line(text)
        gap = p.dp(2) if text_lines else 0
        whole = words if self.centred else words.centred(words.w, min(words.h, head_h + gap + text_h))
        head, rest = whole.top_part(head_h, gap)
        head, rest = _narrowed(head, even_head, align), _narrowed(rest, even_text, align)
        p.text(self.title, title, p.theme.text, head, align, lines=max(1, head_lines))
        if self.text:
            room = max(1, rest.h // p.fonts.line(text)) if self.centred else text_lines
            p.text(self.text, text, p.theme.secondary, rest, align, lines=room, shrink=14, top=True)


def _even(p: Painter, text: str, kind: Type, width: int) -> int:
    """The least width that needs no more lines: lines of one length look calmer."""
    lines = len(p.fonts.wrap(text, kind, width))
    low, high = width // 2, width
    while lines > 1 and high - low > 2:
        middle = (low + high) // 2
        if len(p.fonts.wrap(text, kind, middle)) > lines:
            low = middle
        else:
            high = middle
    return high


def _narrowed(box: Box, width: int, align: str) -> Box:
    return box.centred(width, box.h) if align == CENTRE else Box(box.x, box.y, width, box.h)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stop of the stepper. `tone` None: not reached yet."""

    word: str
    icon: str
    tone: Tone | None = None


@dataclass(frozen=True, kw_only=True)
class Stepper(Widget):
    """Stops on a line, with what has been reached in colour."""

    steps: tuple[Step, ...]

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        cells = self.box.columns(len(self.steps))
        d = p.dp(36)
        y = self.box.y
        for left, right, step in zip(cells, cells[1:], self.steps[1:], strict=False):
            x0, x1 = left.cx + d // 2 + p.dp(5), right.cx - d // 2 - p.dp(5)
            reached = step.tone is not None
            colour = _solid(step.tone, t) if step.tone is not None else t.divider
            line = p.dp(4 if reached else 3)
            p.panel(Box(x0, y + d // 2 - line // 2, x1 - x0, line), 2, colour)
        for cell, step in zip(cells, self.steps, strict=True):
            disc = Box(cell.cx - d // 2, y, d, d)
            word = Box(cell.x, disc.bottom + p.dp(4), cell.w, self.box.bottom - disc.bottom - p.dp(4))
            if step.tone is None:
                p.panel(disc, 18, t.surface, t.border, 1.5)
                p.icon(step.icon, 18, t.secondary, disc)
                p.text(step.word, theme.LABEL, t.secondary, word, CENTRE, shrink=12)
                continue
            face, ink = step.tone.colours(t)
            if step.tone in (Tone.PENDING, Tone.MOVING):
                p.panel(disc, 18, face, ink, 2)
                p.icon(step.icon, 20, ink, disc)
            else:
                p.panel(disc, 18, _solid(step.tone, t))
                p.icon(step.icon, 20, t.on_action, disc, 2.5)
            p.text(step.word, theme.LABEL_STRONG, t.text, word, CENTRE, shrink=12)


def _solid(tone: Tone, t: Theme) -> Colour:
    return {
        Tone.CALM: t.action,
        Tone.MOVING: t.action,
        Tone.PENDING: t.warn,
        Tone.GOOD: t.primary,
        Tone.BAD: t.danger,
    }[tone]


@dataclass(frozen=True, kw_only=True)
class Fact(Widget):
    """A small label over a strong value; identifiers are set in their own typeface."""

    label: str
    value: str
    kind: Type = theme.ROW

    def draw(self, p: Painter) -> None:
        """Draw it."""
        upper, lower = self.box.top_part(p.dp(20), p.dp(1))
        p.text(self.label, theme.LABEL, p.theme.secondary, upper)
        p.text(self.value, self.kind, p.theme.text, lower, shrink=13)


@dataclass(frozen=True, kw_only=True)
class Note(Widget):
    """One sentence with an icon, on the colour of how the thing stands."""

    icon: str
    text: str
    tone: Tone

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        face, ink = self.tone.colours(t)
        p.panel(self.box, 10, face, ink, 1.5)
        icon, words = self.box.inset(p.dp(16), p.dp(4)).left_part(p.dp(24), p.dp(12))
        p.icon(self.icon, 24, ink, icon)
        kind = Type(theme.SEMIBOLD, 17)
        lines = max(1, words.h // p.fonts.line(kind))
        p.text(self.text, kind, t.text, words, lines=lines, shrink=13)
