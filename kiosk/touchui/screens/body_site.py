"""BODY_SITE: where on the body. The side is the patient's own; a figure shows what was chosen."""

from __future__ import annotations

from typing import ClassVar

from kiosk import events as e
from kiosk.model import Aspect, BodySite, Laterality, Region
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.screens.base import Screen, Tools, footer
from kiosk.touchui.theme import Type
from kiosk.touchui.view import View
from kiosk.touchui.widgets import PRIMARY, Button, Fill, Widget
from kiosk.touchui.widgets.figure import BodyFigure
from kiosk.touchui.widgets.options import Option, pair

ORDER = (
    Region.HEAD,
    Region.FACE,
    Region.NECK,
    Region.CHEST,
    Region.ABDOMEN,
    Region.SHOULDER,
    Region.UPPER_ARM,
    Region.ELBOW,
    Region.FOREARM,
    Region.HAND,
    Region.BACK,
    Region.SACRUM,
    Region.BUTTOCK,
    Region.HIP,
    Region.THIGH,
    Region.KNEE,
    Region.LOWER_LEG,
    Region.ANKLE,
    Region.HEEL,
    Region.FOOT,
)
"""Head and trunk, arm, back of the trunk, leg: neighbours on the body are neighbours here."""

LIMBS = frozenset(
    {
        Region.SHOULDER,
        Region.UPPER_ARM,
        Region.ELBOW,
        Region.FOREARM,
        Region.HAND,
        Region.THIGH,
        Region.KNEE,
        Region.LOWER_LEG,
        Region.ANKLE,
    }
)
"""Where front or back may be said."""


def region_name(region: Region) -> str:
    """'Lower leg'."""
    return region.value.replace("-", " ").capitalize()


class ChooseBodySite(Screen):
    """Region, then side where it has one, then front or back where it helps."""

    title: ClassVar[str] = "Body site"
    step: ClassVar[int] = 3

    def __init__(self) -> None:
        self._draft: BodySite | None = None

    def site(self, v: View) -> BodySite | None:
        """What is chosen so far; it starts with the site of the photographs before."""
        return self._draft or v.flow.site

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return the figure, the regions, the sides, and the way on."""
        widgets, low, content = footer(v, content, self.theme)
        return [*widgets, *(self._tall if v.layout.portrait else self._wide)(v, content, low)]

    def _wide(self, v: View, content: Box, low: Box) -> list[Widget]:
        left, right = content.left_part(max(v.dp(262), round(content.w * 0.32)))
        inner = Box(right.x + v.dp(14), right.y + v.dp(8), right.w - v.dp(28), right.h - v.dp(14))
        head, grid = inner.top_part(v.dp(36 if v.flow.problem is None else 50), v.dp(4))
        take, rest = low.right_part(v.dp(252), v.dp(14))
        side, aspect = rest.columns(2, v.dp(14))
        return [
            Fill(box=left, colour=self.theme.surface, rule=self.theme.divider, edge="right"),
            BodyFigure(box=left.inset(v.dp(12), v.dp(8)), site=self.site(v)),
            self._words(v, head),
            *self._sides(v, side, aspect),
            *self._regions(v, grid, 5, 4),
            self._take(v, take),
        ]

    def _tall(self, v: View, content: Box, low: Box) -> list[Widget]:
        inner = content.inset(v.dp(12), v.dp(10))
        row, inner = inner.bottom_part(v.dp(62), v.dp(10))
        side, aspect = row.columns(2, v.dp(12))
        grid, inner = inner.bottom_part(v.dp(4 * 50 + 3 * 6), v.dp(8))
        head, figure = inner.top_part(v.dp(36 if v.flow.problem is None else 58), v.dp(6))
        return [
            Fill(
                box=Box(content.x, content.y, content.w, figure.bottom - content.y + v.dp(4)),
                colour=self.theme.surface,
                rule=self.theme.divider,
                edge="bottom",
            ),
            self._words(v, head),
            BodyFigure(box=figure, site=self.site(v)),
            *self._sides(v, side, aspect),
            *self._regions(v, grid, 5, 4),
            self._take(v, low),
        ]

    # --- parts -----------------------------------------------------------------------------

    def _words(self, v: View, box: Box) -> Widget:
        """The choice in words, what is missing, or the question."""
        site = self.site(v)
        if site is None:
            return self.heading(v, box, "Where will you photograph?")
        if not complete(site):
            return self.heading(v, box, f"{region_name(site.region)}: the patient's left or right?")
        return self.heading(v, box, site.display())

    def _sides(self, v: View, side: Box, aspect: Box) -> list[Widget]:
        site = self.site(v)
        sided = site is not None and site.region.has_sides
        limb = site is not None and site.region in LIMBS
        idle = not v.flow.busy
        lr = site.laterality.value if site and site.laterality else ""
        fb = site.aspect.value if site and site.aspect else ""
        return [
            *pair(side, "side", (("left", "Left"), ("right", "Right")), lr, enabled=idle and sided),
            *pair(aspect, "aspect", (("front", "Front"), ("back", "Back")), fb, enabled=idle and limb),
        ]

    def _regions(self, v: View, box: Box, across: int, down: int) -> list[Widget]:
        gap = v.dp(6)
        size, room = 16.0, (box.w + gap) // across - gap - v.dp(10)
        while size > 13 and any(
            v.fonts.width(region_name(r), Type(theme.SEMIBOLD, size)) > room for r in ORDER
        ):
            size -= 0.5
        site, idle = self.site(v), not v.flow.busy
        cells = [cell for row in box.rows(down, gap) for cell in row.columns(across, gap)]
        return [
            Option(
                box=cell,
                key=f"region:{region.value}",
                name=region_name(region),
                text=region_name(region),
                size=size,
                chosen=site is not None and site.region is region,
                enabled=idle,
            )
            for cell, region in zip(cells, ORDER, strict=True)
        ]

    def _take(self, v: View, box: Box) -> Widget:
        idle = not v.flow.busy
        return Button(
            box=box,
            key="take",
            name="Take photos",
            text="Take photos" if idle else "Opening the camera…",
            icon="camera",
            icon_after=True,
            style=PRIMARY,
            kind=theme.BUTTON_BIG,
            enabled=idle and complete(self.site(v)),
        )

    # --- choosing --------------------------------------------------------------------------

    def tap(self, key: str, v: View, tools: Tools) -> e.Event | None:
        """Choices stay here until 'Take photos'."""
        site = self.site(v)
        match key.split(":", 1):
            case ["region", value]:
                self._draft = _with_region(site, Region(value))
            case ["side", value] if site is not None:
                self._draft = BodySite(site.region, Laterality(value), site.aspect)
            case ["aspect", value] if site is not None:
                chosen = Aspect(value)
                self._draft = BodySite(
                    site.region, site.laterality, None if site.aspect is chosen else chosen
                )
            case ["take"]:
                return e.SiteChosen(site) if site is not None and complete(site) else None
            case _:
                return super().tap(key, v, tools)
        return None


def complete(site: BodySite | None) -> bool:
    """Whether nothing that must be said is missing."""
    return site is not None and (site.laterality is not None or not site.region.has_sides)


def _with_region(site: BodySite | None, region: Region) -> BodySite:
    """Another region forgets the side: a side must be said for what it belongs to."""
    if site is not None and site.region is region:
        return site
    return BodySite(region)
