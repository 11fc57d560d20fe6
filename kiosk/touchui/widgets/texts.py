"""Widgets that say something: labels, paragraphs, hints, pills, rows, cards and text fields."""

from __future__ import annotations

from dataclasses import dataclass

from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE, LEFT, RIGHT, Painter
from kiosk.touchui.theme import Colour, Type
from kiosk.touchui.widgets.base import Tappable, Widget


@dataclass(frozen=True, kw_only=True)
class Label(Widget):
    """One line of text, or several where `lines` allows it. `ellipsis`: long names may be cut."""

    text: str
    kind: Type = theme.BODY
    colour: Colour
    align: str = LEFT
    lines: int = 1
    shrink: float = 0
    top: bool = False
    ellipsis: bool = False

    def draw(self, p: Painter) -> None:
        """Draw it."""
        p.text(
            self.text,
            self.kind,
            self.colour,
            self.box,
            self.align,
            lines=self.lines,
            shrink=self.shrink,
            top=self.top,
            ellipsis=self.ellipsis,
        )


@dataclass(frozen=True, kw_only=True)
class Paragraph(Widget):
    """Wrapped text from the top of its box; it shrinks to no less than 14 dp."""

    text: str
    colour: Colour
    kind: Type = theme.BODY

    def draw(self, p: Painter) -> None:
        """Draw it."""
        kind = self.kind
        while kind.size > 14 and p.fonts.height(self.text, kind, self.box.w) > self.box.h:
            kind = kind._replace(size=kind.size - 0.5)
        room = max(1, self.box.h // p.fonts.line(kind))
        p.text(self.text, kind, self.colour, self.box, lines=room, top=True)


@dataclass(frozen=True, kw_only=True)
class IconText(Widget):
    """An icon and words beside it. `align`: where the pair stands in its box."""

    icon: str
    text: str
    colour: Colour
    icon_colour: Colour | None = None
    kind: Type = theme.BODY_STRONG
    align: str = LEFT
    size: float = 20
    lines: int = 1

    def draw(self, p: Painter) -> None:
        """Draw it."""
        p.pair(
            self.icon,
            self.text,
            self.kind,
            self.colour,
            self.box,
            self.align,
            size=self.size,
            gap=8,
            icon_ink=self.icon_colour,
            shrink=12,
            lines=self.lines,
        )


@dataclass(frozen=True, kw_only=True)
class Hint(Widget):
    """What went wrong and what to do: icon and sentence on amber (`bad`: on red)."""

    text: str
    bad: bool = False
    icon: str = "triangle-alert"

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        face, ink, edge = (
            (t.danger_soft, t.danger, t.danger) if self.bad else (t.warn_soft, t.on_warn, t.warn)
        )
        p.panel(self.box, 8, face, edge, 1.5)
        icon, word = self.box.inset(p.dp(12), p.dp(2)).left_part(p.dp(20), p.dp(10))
        p.icon(self.icon, 20, edge, icon)
        words = t.text if self.bad else ink
        lines = max(1, word.h // round(p.layout.scale * 17))
        p.text(self.text, Type(theme.MEDIUM, 15), words, word, lines=lines, shrink=12)


@dataclass(frozen=True, kw_only=True)
class Pill(Widget):
    """A rounded tag of icon and word."""

    icon: str
    text: str
    face: Colour
    ink: Colour

    def draw(self, p: Painter) -> None:
        """Draw it."""
        p.panel(self.box, self.box.h / p.layout.scale / 2, self.face)
        if self.icon:
            p.pair(self.icon, self.text, theme.CHIP, self.ink, self.box, size=17)
        else:
            p.text(self.text, theme.CHIP, self.ink, self.box, CENTRE)


@dataclass(frozen=True, kw_only=True)
class Rule(Widget):
    """A divider."""

    def draw(self, p: Painter) -> None:
        """Draw it."""
        p.fill(self.box, p.theme.divider)


@dataclass(frozen=True, kw_only=True)
class VerdictRow(Widget):
    """One quality gate: icon, gate, word. `stacked`: the word below the gate, for portrait."""

    gate: str
    word: str
    good: bool
    stacked: bool = False

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        icon = "circle-check" if self.good else "triangle-alert"
        mark = t.ok if self.good else t.warn
        ink = t.text if self.good else t.warn
        if self.stacked:
            gate_w = max(
                p.fonts.width(self.gate, theme.LABEL),
                p.fonts.width(self.word, theme.LABEL_STRONG),
            )
            whole = self.box.centred(min(self.box.w, gate_w + p.dp(20) + p.dp(7)), self.box.h)
            left, words = whole.left_part(p.dp(20), p.dp(7))
            p.icon(icon, 20, mark, left)
            upper, lower = words.rows(2)
            p.text(self.gate, theme.LABEL, t.secondary, upper.move(0, p.dp(1)))
            p.text(self.word, theme.LABEL_STRONG, ink, lower.move(0, -p.dp(1)), shrink=12)
            return
        left, words = self.box.left_part(p.dp(20), p.dp(10))
        p.icon(icon, 20, mark, left)
        w = p.fonts.width(self.gate, Type(theme.REGULAR, 15))
        gate, word = words.left_part(w, p.dp(8))
        p.text(self.gate, Type(theme.REGULAR, 15), t.secondary, gate)
        p.text(self.word, Type(theme.SEMIBOLD, 15), ink, word, RIGHT, shrink=12)


@dataclass(frozen=True, kw_only=True)
class Card(Tappable):
    """A row with icon, small label, strong value and a chevron: touch to change it."""

    icon: str
    label: str
    value: str

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        p.panel(self.box, 8, t.segment if self.pressed else t.surface, t.border, 1.25)
        inner = self.box.inset(p.dp(12), p.dp(6))
        icon, rest = inner.left_part(p.dp(24), p.dp(10))
        chevron, words = rest.right_part(p.dp(20), p.dp(6))
        p.icon(self.icon, 22, t.action, icon)
        p.icon("chevron-right", 20, t.secondary, chevron)
        upper, lower = words.rows(2)
        p.text(self.label, theme.SMALL, t.secondary, upper.move(0, p.dp(1)))
        p.text(self.value, theme.ROW, t.text, lower.move(0, -p.dp(1)), shrink=13, ellipsis=True)


@dataclass(frozen=True, kw_only=True)
class TextField(Tappable):
    """What has been typed, in the typeface for identifiers; `secret` shows nothing but dots."""

    text: str
    placeholder: str
    icon: str = ""
    focused: bool = True

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        p.panel(self.box, 8, t.surface, t.action if self.focused else t.border, 2)
        inner = self.box.inset(p.dp(14), 0)
        if self.icon:
            icon, inner = inner.left_part(p.dp(22), p.dp(10))
            p.icon(self.icon, 20, t.secondary, icon)
        if self.text:
            kind = Type(theme.ATKINSON_BOLD, 24)
            shown = self.text
            while p.fonts.width(shown, kind) > inner.w - p.dp(6) and len(shown) > 1:
                shown = shown[1:]
            glyphs = p.text(shown, kind, t.text, inner)
            x = glyphs.right + p.dp(4)
        else:
            p.text(self.placeholder, theme.BODY, t.secondary, inner, shrink=13)
            x = inner.x - p.dp(4)
        if self.focused:
            h = p.dp(26)
            p.fill(Box(x, self.box.cy - h // 2, p.dp(2), h), t.action)


@dataclass(frozen=True, kw_only=True)
class Dots(Widget):
    """How many digits of a PIN were typed: never which, and never how many there are to come."""

    count: int
    least: int = 4

    def draw(self, p: Painter) -> None:
        """Draw it."""
        shown = max(self.least, self.count)
        pitch = min(p.dp(34), self.box.w // shown)
        d = min(p.dp(20), pitch - p.dp(6))
        x = self.box.x
        for i in range(shown):
            dot = Box(x, self.box.cy - d // 2, d, d)
            filled = i < self.count
            p.panel(
                dot, d, p.theme.action if filled else None, p.theme.action if filled else p.theme.border, 2
            )
            x += pitch
