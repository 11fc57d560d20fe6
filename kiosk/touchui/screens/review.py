"""REVIEW: the photograph that was just taken. Keep it or take it again."""

from __future__ import annotations

from typing import ClassVar

from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.screens.base import Screen
from kiosk.touchui.screens.preview import verdict_rows
from kiosk.touchui.theme import Type
from kiosk.touchui.view import View
from kiosk.touchui.widgets import (
    ACTION,
    PRIMARY,
    SECONDARY,
    Button,
    Hint,
    IconText,
    Label,
    Rule,
    Viewport,
    Widget,
)


class Review(Screen):
    """The still, its verdicts, and two answers."""

    title: ClassVar[str] = "Check photo"
    step: ClassVar[int] = 3
    dark: ClassVar[bool] = True

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return the still and what to do with it."""
        inner = content.inset(v.dp(10))
        if v.layout.portrait:
            low, rest = inner.bottom_part(v.dp(76), v.dp(12))
            gates, rest = rest.bottom_part(v.dp(40), v.dp(10))
            head, still = rest.top_part(v.dp(52), v.dp(8))
            retake, keep = low.left_part(v.dp(150), v.dp(10))
        else:
            still, side = inner.left_part(inner.w - v.dp(283), v.dp(12))
            side = Box(side.x, side.y, side.w - v.dp(2), side.h)
            low, side = side.bottom_part(v.dp(150), v.dp(10))
            keep, retake = low.top_part(v.dp(76), v.dp(12))
            head, gates = side.top_part(v.dp(74), v.dp(12))
        widgets: list[Widget] = [
            Viewport(
                box=still,
                source="review",
                version=str(v.flow.review.id) if v.flow.review and "review" in v.ready else None,
                waiting="Loading the photograph…",
            ),
            *self._head(v, head),
            *(verdict_rows(v, gates, v.flow.review.verdicts) if v.flow.review else ()),
        ]
        if not v.layout.portrait:
            widgets.append(Rule(box=Box(gates.x, head.bottom + v.dp(4), gates.w, v.dp(1))))
        return [*widgets, *self._answers(v, keep, retake)]

    def _head(self, v: View, box: Box) -> list[Widget]:
        t = self.theme
        if v.flow.problem is not None:
            return [Hint(box=box, text=v.flow.problem.sentence)]
        upper, lower = box.rows(2)
        number = v.flow.review.number if v.flow.review else len(v.flow.photos) + 1
        site = v.flow.review.site.display() if v.flow.review else ""
        bad = failed(v)
        words = "Look closely: a check failed" if bad else "All checks are good"
        line: Widget = IconText(
            box=lower,
            icon="triangle-alert" if bad else "circle-check",
            text=words,
            colour=t.warn if bad else t.ok,
            kind=Type(theme.SEMIBOLD, 15),
            size=18,
        )
        title = f"Photo {number}: {site}" if site else f"Photo {number}"
        return [
            Label(box=upper, text=title, kind=theme.HEADING, colour=t.text, shrink=14, ellipsis=True),
            line,
        ]

    def _answers(self, v: View, keep: Box, retake: Box) -> list[Widget]:
        """Where a check failed, taking it again is the way on that stands out."""
        idle, again = not v.flow.busy, failed(v)
        return [
            Button(
                box=keep,
                key="keep",
                name="Keep",
                text="Keep" if idle else "Sealing…",
                icon="check" if idle else "hourglass",
                style=SECONDARY if again else PRIMARY,
                kind=theme.BUTTON_BIG,
                enabled=idle,
            ),
            Button(
                box=retake,
                key="retake",
                name="Retake",
                text="Retake",
                icon="rotate-ccw",
                style=ACTION if again else SECONDARY,
                enabled=idle,
            ),
        ]


def failed(v: View) -> bool:
    """Whether a gate found something wrong with the photograph."""
    return v.flow.review is not None and any(not w.good for w in v.flow.review.verdicts)
