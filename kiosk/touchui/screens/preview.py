"""PREVIEW: the camera's picture, what the gates say of it, and the shutter."""

from __future__ import annotations

from typing import ClassVar

from kiosk import events as e
from kiosk.model import Verdict
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.screens.base import Screen, Tools
from kiosk.touchui.theme import BIG, Layout, Type
from kiosk.touchui.view import View
from kiosk.touchui.widgets import (
    ACTION,
    SECONDARY,
    Brackets,
    Button,
    Card,
    Chip,
    IconButton,
    IconText,
    Rule,
    Shutter,
    Thumbnail,
    VerdictRow,
    Viewport,
    Widget,
    banner,
    bar,
)

GATES = {"focus": "Focus", "light": "Light", "exposure": "Light", "glare": "Glare"}
ADVICE = {
    "focus": "Hold still",
    "light": "Move to better light",
    "exposure": "Move to better light",
    "glare": "Tilt to lose the glare",
}
ROW = 26
SHAPE = 3 / 4
"""Height of a still by its width: upright, the picture's place is no higher, so that no bars surround it."""


def viewport_box(layout: Layout, *, second_row: bool = False) -> Box:
    """Return where the camera's picture is: ask the camera for this size and it needs no scaling."""
    portrait = layout.portrait
    heights = bar.PORTRAIT_BAR + banner.PORTRAIT_HEIGHT if portrait else bar.BAR + banner.HEIGHT
    top = layout.dp(bar.PORTRAIT_BAR if portrait else bar.BAR)
    if portrait and second_row:
        top = layout.dp(bar.PORTRAIT_BAR + bar.SECOND_ROW)
    top += layout.dp(heights - (bar.PORTRAIT_BAR if portrait else bar.BAR))
    return _boxes(layout, Box(0, top, layout.width, layout.height - top))[0]


def _boxes(layout: Layout, content: Box) -> tuple[Box, Box]:
    """Split into the picture and the controls beside or below it."""
    margin = layout.dp(10)
    inner = content.inset(margin)
    if layout.portrait:
        _, below = inner.top_part(layout.dp(62), margin)
        picture, controls = below.top_part(
            min(below.h - layout.dp(178), round(below.w * SHAPE)), layout.dp(6)
        )
        return picture, controls
    picture, controls = inner.left_part(inner.w - layout.dp(283), layout.dp(12))
    return picture, Box(controls.x, controls.y, controls.w - layout.dp(2), controls.h)


class Preview(Screen):
    """Dark, so that the picture is the brightest thing."""

    title: ClassVar[str] = "Photos"
    step: ClassVar[int] = 3
    dark: ClassVar[bool] = True

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return the picture and its controls."""
        picture, controls = _boxes(v.layout, content)
        widgets = self._picture(v, picture)
        if v.layout.portrait:
            card = content.inset(v.dp(10)).top_part(v.dp(62))[0]
            return [*widgets, self._card(v, card), *self._below(v, controls)]
        return [*widgets, *self._beside(v, controls)]

    # --- the picture -----------------------------------------------------------------------

    def _picture(self, v: View, box: Box) -> list[Widget]:
        live = v.flow.camera_ready and v.frame is not None
        widgets: list[Widget] = [
            Viewport(
                box=box,
                source="preview",
                version=v.frame if live else None,
                waiting="Camera starting…",
                grid=True,
            )
        ]
        if live:
            w, h = round(box.w * 0.64), round(box.h * 0.52)
            widgets.append(Brackets(box=box.centred(w, h)))
            frozen = v.flow.frozen is not None
            widgets.append(self._chip(v, box, "Held" if frozen else "Live"))
        note = self._note(v, box)
        return [*widgets, note] if note else widgets

    def _chip(self, v: View, box: Box, text: str) -> Widget:
        w = v.fonts.width(text, Type(theme.SEMIBOLD, 15)) + v.dp(32)
        return Chip(box=Box(box.x + v.dp(10), box.bottom - v.dp(40), w, v.dp(30)), text=text)

    def _note(self, v: View, box: Box) -> Widget | None:
        """What went wrong, what is going on, or how to make the picture better."""
        place = Box(box.x + v.dp(12), box.y + v.dp(10), box.w - v.dp(24), v.dp(36))
        if v.flow.problem is not None:
            tall = Box(place.x, place.y, place.w, v.dp(50))
            return Chip(box=tall, text=v.flow.problem.sentence, icon="triangle-alert", lines=2)
        if v.flow.busy:
            text, icon, colour = "Taking the photograph…", "hourglass", theme.DARK.accent
        else:
            bad = next((w for w in self._measured(v) if not w.good), None)
            if bad is None:
                return None
            text, icon, colour = ADVICE.get(bad.gate, bad.word), "triangle-alert", theme.DARK.warn
        w = v.fonts.width(text, Type(theme.SEMIBOLD, 15)) + v.dp(58)
        return Chip(box=place.centred(min(w, place.w), place.h), text=text, icon=icon, icon_colour=colour)

    # --- controls --------------------------------------------------------------------------

    def _measured(self, v: View) -> tuple[Verdict, ...]:
        """What the gates say of the picture that is shown; nothing where none is."""
        return v.verdicts if v.flow.camera_ready and v.frame is not None else ()

    def _card(self, v: View, box: Box) -> Widget:
        site = v.flow.site.display() if v.flow.site else "Not chosen"
        return Card(
            box=box,
            key="change-site",
            name="Body site",
            icon="person-standing",
            label="Body site",
            value=site,
            enabled=not v.flow.busy,
        )

    def _shutter(self, v: View, box: Box) -> Widget:
        ready = v.flow.camera_ready and v.frame is not None and not v.flow.busy
        return Shutter(box=box, key="shutter", name="Shutter", enabled=ready)

    def _light(self, v: View, box: Box) -> Widget:
        text = "Light on" if v.flow.light else "Light off"
        return IconButton(
            box=box,
            key="light",
            name="Light",
            icon="flashlight",
            text=text,
            lit=v.flow.light,
            enabled=not v.flow.busy,
        )

    def _thumbnail(self, v: View, box: Box) -> Widget:
        photos = v.flow.photos
        name = str(photos[-1].id) if photos else ""
        return Thumbnail(
            box=box,
            key="finish",
            name="Review",
            source=name,
            version=name if name in v.ready else None,
            text="Review",
            count=len(photos),
            enabled=bool(photos) and not v.flow.busy,
        )

    def _beside(self, v: View, box: Box) -> list[Widget]:
        card, rest = box.top_part(v.dp(62), v.dp(6))
        low, rest = rest.bottom_part(v.dp(62), v.dp(10))
        row, rest = rest.bottom_part(v.dp(BIG + 4), v.dp(8))
        widgets = [self._card(v, card), *verdict_rows(v, rest, self._measured(v))]
        widgets.append(Rule(box=Box(row.x, row.y - v.dp(7), row.w, v.dp(1))))
        middle = row.centred(v.dp(BIG), v.dp(BIG))
        small = Box(row.x, row.cy - v.dp(40), v.dp(72), v.dp(82))
        widgets += [
            self._light(v, small),
            self._shutter(v, middle),
            self._thumbnail(v, Box(row.right - v.dp(74), row.cy - v.dp(48), v.dp(74), v.dp(90))),
        ]
        back, finish = low.left_part(v.dp(98), v.dp(8))
        idle = not v.flow.busy
        widgets.append(
            Button(
                box=back,
                key="back",
                name="Back",
                text="Back",
                icon="arrow-left",
                style=SECONDARY,
                enabled=idle,
            )
        )
        widgets.append(
            Button(
                box=finish,
                key="finish",
                name="Finish",
                text="Finish",
                icon="arrow-right",
                icon_after=True,
                style=ACTION,
                kind=theme.BUTTON_BIG,
                enabled=idle and bool(v.flow.photos),
            )
        )
        return widgets

    def _below(self, v: View, box: Box) -> list[Widget]:
        controls, rows = box.bottom_part(v.dp(124), v.dp(8))
        widgets = verdict_rows(v, rows.inset(0, max(0, (rows.h - v.dp(48)) // 2)), self._measured(v))
        widgets.append(Rule(box=Box(0, controls.y, v.layout.width, v.dp(1))))
        row = Box(controls.x, controls.y + v.dp(8), controls.w, controls.h - v.dp(8))
        big = v.dp(BIG + 6)
        side = (row.w - big) // 2
        left, right = (
            Box(row.x, row.y, side, row.h).columns(2),
            Box(row.right - side, row.y, side, row.h).columns(2),
        )
        idle = not v.flow.busy

        def small(cell: Box, lift: int = 0) -> Box:
            return Box(cell.x, cell.cy - v.dp(41) - lift, cell.w, v.dp(84) + lift)

        return [
            *widgets,
            IconButton(
                box=small(left[0]), key="back", name="Back", icon="arrow-left", text="Back", enabled=idle
            ),
            self._light(v, small(left[1])),
            self._shutter(v, Box(row.x + side, row.cy - big // 2, big, big)),
            self._thumbnail(v, small(right[0], v.dp(8))),
            IconButton(
                box=small(right[1]),
                key="finish",
                name="Finish",
                icon="arrow-right",
                text="Finish",
                filled=True,
                enabled=idle and bool(v.flow.photos),
            ),
        ]

    def tap(self, key: str, v: View, tools: Tools) -> e.Event | None:
        """Turn a touch into an event; without a frame on the screen its number is -1."""
        if key == "shutter":
            return e.ShutterPressed(-1 if v.frame is None else v.frame, tools.mint(), tools.now())
        return super().tap(key, v, tools)


def verdict_rows(v: View, box: Box, verdicts: tuple[Verdict, ...]) -> list[Widget]:
    """Return what the gates say: rows in landscape, columns in portrait."""
    if not verdicts:
        return [
            IconText(
                box=Box(box.x, box.y, box.w, min(box.h, v.dp(30))),
                icon="clock",
                text="No measurement yet",
                colour=theme.DARK.secondary,
                kind=Type(theme.REGULAR, 15),
            )
        ]
    shown = verdicts[:4]
    if v.layout.portrait:
        cells = box.columns(len(shown))
    else:
        cells = [
            Box(box.x + v.dp(5), box.y + i * v.dp(ROW), box.w - v.dp(9), v.dp(ROW)) for i in range(len(shown))
        ]
    return [
        VerdictRow(
            box=cell,
            gate=GATES.get(verdict.gate, verdict.gate.capitalize()),
            word=verdict.word,
            good=verdict.good,
            stacked=v.layout.portrait,
        )
        for cell, verdict in zip(cells, shown, strict=True)
    ]
