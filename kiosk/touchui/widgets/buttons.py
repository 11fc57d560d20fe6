"""Buttons: what they say is text or icon and text; what they look like is one of a few styles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE, Painter
from kiosk.touchui.theme import Colour, Theme, Type
from kiosk.touchui.widgets.base import Tappable, Widget

PRIMARY, ACTION, SECONDARY = "primary", "action", "secondary"
DANGER, DANGER_OUTLINE = "danger", "danger-outline"
BACK = "Back"


def _darker(colour: Colour, by: float = 0.82) -> Colour:
    return round(colour[0] * by), round(colour[1] * by), round(colour[2] * by), colour[3]


@dataclass(frozen=True, kw_only=True)
class Button(Tappable):
    """A button with text, an icon, or both. Without text it is called `name`."""

    text: str = ""
    icon: str = ""
    icon_after: bool = False
    style: str = SECONDARY
    kind: Type = theme.BUTTON
    radius: float = 9

    def draw(self, p: Painter) -> None:
        """Draw it."""
        face, ink, border = self._colours(p.theme)
        box = self.box
        if self.style == PRIMARY and self.enabled and not self.pressed:
            p.panel(box, self.radius, p.theme.primary_edge)
            box = Box(box.x, box.y, box.w, box.h - p.dp(3))
        p.panel(box, self.radius, face, border, 2 if border else 0)
        self._content(p, box.inset(p.dp(10), 0), ink)

    def _colours(self, t: Theme) -> tuple[Colour, Colour, Colour | None]:
        if not self.enabled:
            return t.disabled, t.on_disabled, None
        face, ink, border = {
            PRIMARY: (t.primary, t.on_primary, None),
            ACTION: (t.action, t.on_action, None),
            DANGER: (t.danger, t.on_danger, None),
            DANGER_OUTLINE: (t.surface, t.danger, t.danger),
            SECONDARY: (t.surface, t.text, t.border),
        }[self.style]
        if self.pressed:
            face = {DANGER_OUTLINE: t.danger_soft, SECONDARY: t.segment}.get(self.style, _darker(face))
        return face, ink, border

    def _content(self, p: Painter, box: Box, ink: Colour) -> None:
        size = self.kind.size * 1.2
        if not self.text:
            p.icon(self.icon, 24, ink, box)
            return
        if not self.icon:
            p.text(self.text, self.kind, ink, box, CENTRE, shrink=13)
            return
        p.pair(self.icon, self.text, self.kind, ink, box, size=size, gap=9, after=self.icon_after, shrink=13)


@dataclass(frozen=True, kw_only=True)
class LinkButton(Tappable):
    """A quiet control: icon and text, with an outline where `outline`."""

    text: str
    icon: str
    colour: Colour
    outline: bool = False
    kind: Type = theme.CHIP

    def draw(self, p: Painter) -> None:
        """Draw it."""
        ink = self.colour if self.enabled else p.theme.on_disabled
        if self.outline or self.pressed:
            face = p.theme.segment if self.pressed else None
            p.panel(self.box, 8, face, p.theme.border if self.outline else None, 1.25 if self.outline else 0)
        p.pair(self.icon, self.text, self.kind, ink, self.box, size=17, shrink=12)


@dataclass(frozen=True, kw_only=True)
class Choice(Tappable):
    """One half of a Yes/No pair. `side`: "l" or "r"."""

    text: str
    icon: str
    chosen: bool
    side: str

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        face = t.action if self.chosen else t.segment if self.pressed else t.surface
        border = t.action if self.chosen else t.border if self.enabled else t.divider
        ink = t.on_action if self.chosen else t.text if self.enabled else t.on_disabled
        p.panel(self.box, 8, face, border, 1.5, corners=self.side)
        if self.chosen:
            p.pair(self.icon, self.text, theme.BODY_STRONG, ink, self.box, stroke=2.5)
        else:
            p.text(self.text, theme.BODY_STRONG, ink, self.box, CENTRE)


def yes_no(
    box: Box, key: str, question: str, answer: bool | None, *, enabled: bool = True, overlap: int = 1
) -> list[Widget]:
    """Return an explicit Yes and an explicit No; keys are `key:yes` and `key:no`. Nothing is preset."""
    left, right = box.columns(2)
    left = Box(left.x, left.y, left.w + overlap, left.h)
    yes = Choice(
        box=left,
        key=f"{key}:yes",
        name=f"{question}: Yes",
        text="Yes",
        icon="check",
        chosen=answer is True,
        side="l",
        enabled=enabled,
    )
    no = Choice(
        box=right,
        key=f"{key}:no",
        name=f"{question}: No",
        text="No",
        icon="x",
        chosen=answer is False,
        side="r",
        enabled=enabled,
    )
    return [no, yes] if answer is True else [yes, no]


@dataclass(frozen=True, kw_only=True)
class Track(Widget):
    """The trough of a segmented control."""

    def draw(self, p: Painter) -> None:
        """Draw it."""
        p.panel(self.box, 10, p.theme.segment)


@dataclass(frozen=True, kw_only=True)
class Segment(Tappable):
    """One part of a segmented control."""

    text: str
    chosen: bool

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        thumb = self.box.inset(p.dp(4))  # room for its shadow
        if self.chosen:
            p.shadow(thumb, 7, 3, theme.rgb("#0b2545", 70))
            p.panel(thumb, 7, t.segment_thumb)
        elif self.pressed:
            p.panel(thumb, 7, t.divider)
        ink = (t.action if self.chosen else t.secondary) if self.enabled else t.on_disabled
        kind = theme.BODY_STRONG if self.chosen else Type(theme.MEDIUM, 16)
        p.text(self.text, kind, ink, thumb, CENTRE, shrink=13)


def segmented(
    box: Box, key: str, options: Sequence[tuple[str, str]], chosen: str, *, enabled: bool = True
) -> list[Widget]:
    """Return a segmented control. `options`: (value, text); keys are `key:value`."""
    inner = box.inset(1)
    parts: list[Widget] = [Track(box=box)]
    for part, (value, text) in zip(inner.columns(len(options)), options, strict=True):
        parts.append(
            Segment(
                box=part,
                key=f"{key}:{value}",
                name=text,
                text=text,
                chosen=value == chosen,
                enabled=enabled,
            )
        )
    return parts


@dataclass(frozen=True, kw_only=True)
class Shutter(Tappable):
    """The round shutter button, 20 mm where there is room. It answers when the finger lands."""

    on_down: bool = True

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        b = self.box.centred(min(self.box.w, self.box.h), min(self.box.w, self.box.h))
        r = b.w / p.layout.scale / 2
        rim = t.text if self.enabled else t.border
        face = t.text if self.enabled else t.disabled
        if self.pressed:
            face = _darker(face)
        p.panel(b, r, t.page, rim, 3.5)
        inner = b.inset(p.dp(7))
        p.panel(inner, inner.w / p.layout.scale / 2, face)
        p.icon("camera", 34, theme.rgb("#0e2038") if self.enabled else t.on_disabled, inner)


@dataclass(frozen=True, kw_only=True)
class IconButton(Tappable):
    """A round button with a caption below. `lit`: switched on; `filled`: the way forward."""

    icon: str
    text: str
    lit: bool = False
    filled: bool = False
    diameter: float = 62

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t = p.theme
        d = p.dp(self.diameter)
        circle = Box(self.box.cx - d // 2, self.box.y, d, d)
        if not self.enabled:
            face, ink, border = t.disabled, t.on_disabled, None
        elif self.filled:
            face, ink, border = t.action, t.on_action, None
        elif self.lit:
            face, ink, border = t.action_soft, t.action, t.action
        else:
            face, ink, border = t.surface, t.text, t.border
        if self.pressed:
            face = t.segment if not self.filled else _darker(face)
        p.panel(circle, self.diameter / 2, face, border, 2.5 if self.lit else 1.5)
        p.icon(self.icon, 24, ink, circle)
        caption = Box(
            self.box.x, circle.bottom + p.dp(3), self.box.w, self.box.bottom - circle.bottom - p.dp(3)
        )
        p.text(
            self.text,
            theme.Type(theme.MEDIUM, 13),
            t.text if self.enabled else t.on_disabled,
            caption,
            CENTRE,
        )
