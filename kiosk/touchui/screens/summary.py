"""SUMMARY: what will be sent, once more, with a way to take out and a way to take more."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar
from uuid import UUID

from kiosk import events as e
from kiosk.flow import Flow
from kiosk.model import Consent, Photo, Purpose, Signer
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE
from kiosk.touchui.screens.base import Screen, Tools, footer
from kiosk.touchui.theme import Type
from kiosk.touchui.view import View
from kiosk.touchui.widgets import (
    DANGER,
    DANGER_OUTLINE,
    PRIMARY,
    SECONDARY,
    Button,
    IconText,
    Label,
    Widget,
)
from kiosk.touchui.widgets.tiles import PhotoTile
from kiosk.touchui.written import count_of, time_of

TILE_MOST = 230
"""dp: no tile is higher."""


class Summary(Screen):
    """Tiles, a few to a page; removing one asks on the tile itself."""

    title: ClassVar[str] = "Check and send"
    step: ClassVar[int] = 4

    def __init__(self) -> None:
        self._page = 0
        self._asked: UUID | None = None

    def page(self, flow: Flow) -> Hashable:
        """Each page of tiles counts, and so does the tile that asks."""
        return (flow.state, flow.question, self._page, self._asked)

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return the heading, one page of tiles, the consent in one line, and the way on."""
        widgets, low, content = footer(v, content, self.theme)
        area = content.inset(v.dp(14), v.dp(10))
        across, down = tiles_of(v)
        each, pages = across * down, pages_of(v)
        head, area = area.top_part(v.dp(56 if v.layout.portrait else 48), v.dp(8))
        facts, area = area.bottom_part(v.dp(44 if v.layout.portrait else 24), v.dp(10))
        page = min(self._page, pages - 1)
        shown = v.flow.photos[page * each : (page + 1) * each]
        widgets += self._head(v, head, page, pages)
        gap = v.dp(8)
        most = v.dp(TILE_MOST) if v.layout.portrait else area.h
        cells = [cell for row in _rows(area, down, most, gap) for cell in row.columns(across, gap)]
        for cell, photo in zip(cells, shown, strict=False):
            widgets += self._tile(v, cell, photo)
        widgets += self._consent(v, facts)
        return [*widgets, *self._buttons(v, low)]

    def _head(self, v: View, box: Box, page: int, pages: int) -> list[Widget]:
        count = len(v.flow.photos)
        if pages == 1:
            return [self.heading(v, box, f"Ready to send: {count_of(count)}")]
        pager, words = box.right_part(v.dp(190), v.dp(12))
        back, rest = pager.left_part(v.dp(62))
        on, middle = rest.right_part(v.dp(62))
        idle = not v.flow.busy
        return [
            self.heading(v, words, f"Ready to send: {count if v.layout.portrait else count_of(count)}"),
            Button(box=back, key="page:back", name="Earlier", icon="chevron-left", enabled=idle and page > 0),
            Label(
                box=middle,
                text=f"{page + 1} of {pages}",
                kind=theme.BODY_STRONG,
                colour=self.theme.text,
                align=CENTRE,
            ),
            Button(
                box=on,
                key="page:on",
                name="Later",
                icon="chevron-right",
                enabled=idle and page < pages - 1,
            ),
        ]

    def _tile(self, v: View, box: Box, photo: Photo) -> list[Widget]:
        idle, name = not v.flow.busy, str(photo.id)
        asking = self._asked == photo.id and idle
        tile = PhotoTile(
            box=box,
            source=name,
            version=name if name in v.ready else None,
            number=photo.number,
            site=photo.site.display(),
            time=time_of(photo.taken_at),
            asking=asking,
        )
        low = tile.control(v.layout)
        if asking:
            low = tile.answers(v.layout)
            # 'Keep' lies where 'Remove' was: a second touch in haste destroys nothing.
            destroy, keep = low.columns(2, v.dp(6))
            return [
                tile,
                Button(
                    box=keep,
                    key="remove:no",
                    name=f"Keep photo {photo.number}",
                    text="Keep",
                    kind=theme.LABEL_STRONG,
                    style=SECONDARY,
                ),
                Button(
                    box=destroy,
                    key=f"destroy:{name}",
                    name=f"Destroy photo {photo.number}",
                    text="Destroy",
                    kind=theme.LABEL_STRONG,
                    style=DANGER,
                ),
            ]
        return [
            tile,
            Button(
                box=low,
                key=f"remove:{name}",
                name=f"Remove photo {photo.number}",
                icon="trash-2",
                style=DANGER_OUTLINE,
                radius=8,
                enabled=idle,
            ),
        ]

    def _consent(self, v: View, box: Box) -> list[Widget]:
        if v.flow.consent is None:
            return []
        return [
            IconText(
                box=box,
                icon="shield-check",
                text=consent_line(v.flow.consent),
                colour=self.theme.text,
                icon_colour=self.theme.ok,
                kind=Type(theme.MEDIUM, 15),
                lines=2 if v.layout.portrait else 1,
            )
        ]

    def _buttons(self, v: View, box: Box) -> list[Widget]:
        idle, portrait = not v.flow.busy, v.layout.portrait
        more, rest = box.left_part(v.dp(150 if portrait else 190), v.dp(10))
        send = rest if portrait else rest.right_part(min(rest.w, v.dp(366)))[0]
        return [
            Button(
                box=more,
                key="more",
                name="Take more",
                text="Take more",
                icon="camera",
                style=SECONDARY,
                enabled=idle,
            ),
            Button(
                box=send,
                key="send",
                name="Send to record",
                text="Send to record" if idle else "Sealing…",
                icon="send" if idle else "hourglass",
                icon_after=idle,
                style=PRIMARY,
                kind=theme.BUTTON_BIG,
                enabled=idle and bool(v.flow.photos),
            ),
        ]

    def tap(self, key: str, v: View, tools: Tools) -> e.Event | None:
        """Turn a touch into an event; removing takes two touches."""
        match key.split(":", 1):
            case ["send"]:
                return e.SendTouched(tools.now())
            case ["page", way]:
                last = pages_of(v) - 1
                self._page = min(max(0, min(self._page, last) + (1 if way == "on" else -1)), last)
                self._asked = None
            case ["remove", "no"]:
                self._asked = None
            case ["remove", name]:
                self._asked = UUID(name)
            case ["destroy", name]:
                self._asked = None
                return e.RemoveTouched(UUID(name))
            case _:
                return super().tap(key, v, tools)
        return None


def tiles_of(v: View) -> tuple[int, int]:
    """Tiles across and down on one page: as large as their number allows."""
    n = len(v.flow.photos)
    if v.layout.portrait:
        return 2, 2
    return (3, 1) if n <= 3 else (3, 2)


def pages_of(v: View) -> int:
    """How many pages the tiles need."""
    across, down = tiles_of(v)
    return max(1, -(-len(v.flow.photos) // (across * down)))


def _rows(area: Box, down: int, most: int, gap: int) -> list[Box]:
    """Rows no higher than `most`, from the top."""
    height = min(area.h, down * most + (down - 1) * gap)
    return area.top_part(height)[0].rows(down, gap)


_SIGNED = {
    Signer.PATIENT: "patient",
    Signer.PARENT: "parent",
    Signer.GUARDIAN: "guardian",
    Signer.CARER: "carer",
}


def consent_line(consent: Consent) -> str:
    """Who signed and what was allowed, in one line."""
    answers = [
        f"{word} {'yes' if consent.permits(purpose) else 'no'}"
        for purpose, word in (
            (Purpose.RECORD, "Record"),
            (Purpose.TEACHING, "teaching"),
            (Purpose.RESEARCH, "research"),
        )
    ]
    return f"Signed by the {_SIGNED[consent.signer]}. {', '.join(answers)}."
