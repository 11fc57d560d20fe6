"""The status bar at the top of every screen, and the countdown that covers it before a time-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from kiosk.model import QueueStatus
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import LEFT, Painter
from kiosk.touchui.theme import Colour
from kiosk.touchui.widgets.base import Tappable, Widget

STEPS = 5
BAR, SECOND_ROW = 36, 26
PORTRAIT_BAR = 40
TITLE_LEAST = 12.5
"""dp: a title that is still too wide is left out."""


class _Item(NamedTuple):
    """Icon, word and the icon's colour; `weight` says what is dropped last."""

    icon: str
    word: str
    colour: Colour


@dataclass(frozen=True, kw_only=True)
class StatusBar(Widget):
    """Progress, title, queue, network, operator. `lock_room`: pixels kept free at the right."""

    title: str
    step: int = 0
    status: QueueStatus
    operator: str = ""
    demo: bool = False
    in_ram: bool = True
    lock_room: int = 0

    @property
    def opaque(self) -> bool:
        """It fills its box."""
        return True

    def draw(self, p: Painter) -> None:
        """Draw it."""
        p.fill(self.box, p.theme.bar)
        p.fill(Box(self.box.x, self.box.bottom - p.dp(1), self.box.w, p.dp(1)), _line(p))
        portrait = p.layout.portrait
        first, second = self.box.top_part(p.dp(PORTRAIT_BAR if portrait else BAR))
        tags, queue = _tags(self.demo, self.in_ram, self.status), _queue(self.status)
        who = [_Item("circle-user", self.operator, p.theme.bar_secondary)] if self.operator else []
        if portrait:
            # The second row carries tags only; parked sets are among them.
            self._second(p, second.inset(p.dp(14), 0), tags, who)
            self._first(p, first, queue, [])
        else:
            self._first(p, first, [*tags, *queue], who)

    def _first(self, p: Painter, row: Box, items: list[_Item], who: list[_Item]) -> None:
        room = Box(row.x + p.dp(14), row.y, row.w - p.dp(14) - (self.lock_room or p.dp(14)), row.h)
        progress = p.dp(54 if p.layout.portrait else 78)
        left = progress + p.dp(10) if self.step else 0
        title = p.fonts.width(self.title, theme.TITLE) + p.dp(16)
        taken = _width(p, [*items, *who])
        if taken + left + title > room.w:
            who, taken = [], _width(p, items)
        start = self._items(p, room, [*items, *who], from_left=False)
        if self.step:
            _progress(p, Box(room.x, row.y, progress, row.h), self.step)
        free = Box(room.x + left, row.y, start - room.x - left - p.dp(16), row.h)
        if p.fonts.width(self.title, theme.TITLE._replace(size=TITLE_LEAST)) > free.w:
            return
        drawn = p.text(self.title, theme.TITLE, p.theme.bar_text, free, shrink=TITLE_LEAST)
        step = f"Step {self.step} of {STEPS}"
        rest = Box(drawn.right + p.dp(9), row.y, free.right - drawn.right - p.dp(9), row.h)
        if self.step and not p.layout.portrait and p.fonts.width(step, theme.LABEL) <= rest.w:
            p.text(step, theme.LABEL, p.theme.bar_secondary, rest)

    def _second(self, p: Painter, row: Box, tags: list[_Item], who: list[_Item]) -> None:
        if _width(p, tags) > row.w:
            tags = [t._replace(word=_SHORT.get(t.word, t.word)) for t in tags]
        if tags:
            self._items(p, row, [*tags, *who] if _width(p, [*tags, *who]) <= row.w else tags, from_left=True)

    def _items(self, p: Painter, room: Box, items: list[_Item], *, from_left: bool) -> int:
        x = room.x if from_left else room.right - _width(p, items)
        start = x
        for item in items:
            p.icon(item.icon, 17, item.colour, Box(x, room.y, p.dp(18), room.h))
            w = p.fonts.width(item.word, theme.STATUS)
            p.text(item.word, theme.STATUS, p.theme.bar_text, Box(x + p.dp(24), room.y, w, room.h), LEFT)
            x += p.dp(24) + w + p.dp(18)
        return start


_SHORT = {"Photos on disk": "On disk", "Clock not set": "No clock"}


def _width(p: Painter, items: list[_Item]) -> int:
    gaps = p.dp(18) * max(0, len(items) - 1)
    return sum(p.dp(24) + p.fonts.width(i.word, theme.STATUS) for i in items) + gaps


def _tags(demo: bool, in_ram: bool, status: QueueStatus) -> list[_Item]:
    tags = [_Item("flask-conical", "Demo", theme.BAR_INFO)] if demo else []
    if not in_ram:
        tags.append(_Item("hard-drive", "Photos on disk", theme.BAR_BAD))
    if not status.clock_set:
        tags.append(_Item("clock", "Clock not set", theme.BAR_WARN))
    if status.parked:
        verb = "needs" if status.parked == 1 else "need"
        tags.append(_Item("triangle-alert", f"{status.parked} {verb} IT", theme.BAR_BAD))
    return tags


def has_second_row(demo: bool, in_ram: bool, status: QueueStatus) -> bool:
    """Whether the portrait bar needs its second row."""
    return bool(_tags(demo, in_ram, status))


def _queue(status: QueueStatus) -> list[_Item]:
    items = []
    if status.waiting:
        items.append(_Item("cloud-upload", f"{status.waiting} to send", theme.BAR_WARN))
    if not status.uploader:
        items.append(_Item("refresh-cw", "Restarting", theme.BAR_WARN))
    elif status.online is None:
        items.append(_Item("wifi", "Checking", theme.BAR_INFO))
    elif status.online:
        items.append(_Item("wifi", "Online", theme.BAR_OK))
    else:
        items.append(_Item("wifi-off", "Offline", theme.BAR_WARN))
    return items


def _line(p: Painter) -> Colour:
    return p.theme.divider if p.theme.name == "dark" else p.theme.bar


def _progress(p: Painter, box: Box, step: int) -> None:
    x, h, gap = box.x, p.dp(6), p.dp(3 if p.layout.portrait else 4)
    now, other = (16, 6) if p.layout.portrait else (22, 10)
    for i in range(1, STEPS + 1):
        w = p.dp(now if i == step else other)
        colour = (
            theme.BAR_INFO if i <= step else theme.rgb("#35506f" if p.theme.name == "light" else "#36434e")
        )
        p.panel(Box(x, box.cy - h // 2, w, h), 3, colour)
        x += w + gap


@dataclass(frozen=True, kw_only=True)
class BarButton(Tappable):
    """'Lock' at the right end of the status bar; only its icon in portrait."""

    def draw(self, p: Painter) -> None:
        """Draw it."""
        rule = theme.rgb("#3a5375") if p.theme.name == "light" else p.theme.divider
        p.fill(Box(self.box.x, self.box.y + p.dp(9), p.dp(1), self.box.h - p.dp(18)), rule)
        if self.pressed:
            p.panel(self.box.inset(p.dp(3)), 6, theme.rgb("#ffffff", 40))
        if p.layout.portrait:
            p.icon("lock", 19, p.theme.bar_text, self.box)
            return
        p.pair("lock", self.name, theme.TITLE, p.theme.bar_text, self.box, size=16)


@dataclass(frozen=True, kw_only=True)
class Countdown(Tappable):
    """The last seconds before a time-out, over the status bar. A touch anywhere ends it."""

    seconds: int
    of: int
    text: str

    @property
    def opaque(self) -> bool:
        """It fills its box."""
        return True

    def draw(self, p: Painter) -> None:
        """Draw it."""
        amber, ink = theme.rgb("#ffb81c"), theme.rgb("#212b32")
        p.fill(self.box, amber)
        h = p.dp(4)
        p.fill(Box(self.box.x, self.box.bottom - h, self.box.w, h), theme.rgb("#7a5200"))
        left = round(self.box.w * self.seconds / max(1, self.of))
        p.fill(Box(self.box.x, self.box.bottom - h, left, h), ink)
        inner = Box(self.box.x, self.box.y, self.box.w, self.box.h - h).inset(p.dp(14), 0)
        p.pair("hourglass", self.text, theme.TITLE, ink, inner, gap=8, shrink=12)
