"""A screen's widgets and what lies over every screen: question, countdown, dimming, pressed looks."""

from __future__ import annotations

from dataclasses import replace

from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.patience import Patience, countdown
from kiosk.touchui.screens.base import Screen
from kiosk.touchui.screens.question import question
from kiosk.touchui.view import View
from kiosk.touchui.widgets import Countdown, Scrim, StatusBar, Tappable, Widget


def arrange(
    screen: Screen, view: View, pressed: frozenset[str], *, dimmed: bool, patience: Patience | None
) -> list[Widget]:
    """Return the screen's widgets, with the open question, the countdown and pressed looks."""
    widgets = screen.layout(view)
    if view.flow.question is not None:
        widgets += question(view, screen.theme)
    if view.seconds_left is not None and patience is not None:
        bar = next((w.box for w in widgets if isinstance(w, StatusBar)), Box(0, 0, 0, 0))
        widgets.append(
            Countdown(
                box=bar,
                key="stay",
                name="Stay",
                seconds=view.seconds_left,
                of=patience.warning(view.flow.state),
                text=countdown(view.flow, view.seconds_left),
            )
        )
    if dimmed:
        widgets.append(Scrim(box=view.layout.box, colour=theme.rgb("#000000", 205), blocks=False))
    if not pressed:
        return widgets
    return [
        replace(w, pressed=True) if isinstance(w, Tappable) and w.key in pressed and w.enabled else w
        for w in widgets
    ]
