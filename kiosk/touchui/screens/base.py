"""What every screen is, and the parts that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from kiosk import events as e
from kiosk.errors import Problem
from kiosk.flow import Flow, State
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE
from kiosk.touchui.theme import DARK, LIGHT, Theme
from kiosk.touchui.view import View
from kiosk.touchui.widgets import (
    SECONDARY,
    Button,
    Fill,
    Hint,
    IconText,
    Label,
    LinkButton,
    Matched,
    PatientBanner,
    StatusBar,
    Widget,
    banner,
    bar,
)

WITHDRAWABLE = (State.BODY_SITE, State.PREVIEW, State.REVIEW, State.SUMMARY, State.FAULT)
BAD = frozenset(
    {
        *(Problem.LOCKED_OUT, Problem.CLOCK_NOT_SET, Problem.SPOOL_FULL),
        *(Problem.PATIENT_AMBIGUOUS, Problem.PATIENT_INACTIVE, Problem.PATIENT_MERGE_BROKEN),
    }
)


@dataclass(frozen=True, slots=True)
class Tools:
    """What turning a touch into an event may need: new ids and the time."""

    mint: Callable[[], UUID]
    now: Callable[[], datetime]


class Screen:
    """Draws one state. An instance lives as long as the state; what is typed lives in it.

    title and step go into the status bar; `step` 0 shows no progress.
    """

    title: ClassVar[str] = ""
    step: ClassVar[int] = 0
    dark: ClassVar[bool] = False
    banner: ClassVar[bool] = True

    @property
    def theme(self) -> Theme:
        """Light, or dark for capture."""
        return DARK if self.dark else LIGHT

    def page(self, flow: Flow) -> Hashable:
        """What counts as one page: when it changes, fingers must be lifted before touches count."""
        return (flow.state, flow.question)

    def layout(self, v: View) -> list[Widget]:
        """Return all widgets, lowest first."""
        widgets, content = self.frame(v)
        return [*widgets, *self.body(v, content)]

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return the widgets below status bar and patient banner."""
        return []

    def tap(self, key: str, v: View, tools: Tools) -> e.Event | None:
        """A widget was touched: return the event, or None (what is typed may have changed)."""
        return COMMON.get(key)

    def typed(self, text: str, v: View) -> None:
        """Characters came from a keyboard."""

    def erase(self, v: View) -> None:
        """Backspace came from a keyboard."""

    def enter(self, v: View, tools: Tools) -> e.Event | None:
        """Enter came from a keyboard."""
        return None

    # --- shared parts ----------------------------------------------------------------------

    def frame(self, v: View) -> tuple[list[Widget], Box]:
        """Return page, status bar and patient banner, and the box that is left."""
        widgets: list[Widget] = [Fill(box=v.layout.box, colour=self.theme.page)]
        head, rest = self.status_bar(v)
        widgets += head
        if self.banner and v.flow.patient is not None:
            head, rest = patient_banner(v, rest, self.theme)
            widgets += head
        return widgets, rest

    def status_bar(self, v: View) -> tuple[list[Widget], Box]:
        """Return the status bar, with Lock where somebody is signed in, and the box below."""
        portrait = v.layout.portrait
        height = bar.PORTRAIT_BAR if portrait else bar.BAR
        if portrait and bar.has_second_row(v.demo, v.in_ram, v.status):
            height += bar.SECOND_ROW
        top, rest = v.layout.box.top_part(v.dp(height))
        lockable = v.flow.state is not State.LOCKED
        room = v.dp(60 if portrait else 90) if lockable else 0
        widgets: list[Widget] = [
            StatusBar(
                box=top,
                title=self.title or v.flow.station.name or v.flow.station.id,
                step=self.step,
                status=v.status,
                operator=v.flow.operator.name if v.flow.operator else "",
                demo=v.demo,
                in_ram=v.in_ram,
                lock_room=room + v.dp(14) if room else 0,
            )
        ]
        if lockable:
            first = Box(top.x, top.y, top.w, v.dp(bar.PORTRAIT_BAR if portrait else bar.BAR))
            widgets.append(bar.BarButton(box=first.right_part(room)[0], key="lock", name="Lock"))
        return widgets, rest

    def heading(self, v: View, box: Box, text: str) -> Widget:
        """Return the heading, or what went wrong in its place: a problem is never off the screen."""
        return hint(v, box) or Label(
            box=box, text=text, kind=theme.HEADING, colour=self.theme.text, shrink=16
        )


def hint(v: View, box: Box) -> Hint | None:
    """Return the sentence of the open problem, with the tries that are left, or None."""
    problem = v.flow.problem
    if problem is None:
        return None
    text = problem.sentence
    if problem is Problem.PIN_WRONG and v.flow.tries_left is not None:
        tries = "1 try" if v.flow.tries_left == 1 else f"{v.flow.tries_left} tries"
        text = f"{text} {tries} left."
    return Hint(box=box, text=text, bad=problem in BAD)


def prompt(v: View, box: Box, text: str) -> Widget:
    """Return what to do on a keyboard's page: beside an icon, or in portrait below the page's emblem."""
    if v.layout.portrait:
        return Label(
            box=box, text=text, kind=theme.HEADING, colour=LIGHT.text, align=CENTRE, lines=2, shrink=16
        )
    return IconText(
        box=box,
        icon="hourglass" if v.flow.busy else "id-card",
        text=text,
        colour=LIGHT.text,
        icon_colour=LIGHT.action,
        kind=theme.HEADING,
        size=26,
    )


def patient_banner(v: View, rest: Box, t: Theme) -> tuple[list[Widget], Box]:
    """Return the patient banner with how the patient was matched, and Withdraw once there is consent."""
    patient = v.flow.patient
    assert patient is not None  # noqa: S101 - callers ask first
    portrait = v.layout.portrait
    top, rest = rest.top_part(v.dp(banner.PORTRAIT_HEIGHT if portrait else banner.HEIGHT))
    lost = v.flow.problem is Problem.SESSION_GONE
    withdraw = v.flow.consent is not None and v.flow.state in WITHDRAWABLE and not lost
    short = portrait or withdraw
    pill_w = v.fonts.width(Matched.words(patient.match, short=short), theme.CHIP) + v.dp(42)
    lift = v.dp(34 if portrait else 45)
    pill = Box(top.right - v.dp(14) - pill_w, top.bottom - lift, pill_w, v.dp(30))
    taken = pill_w
    extra: list[Widget] = [Matched(box=pill, match=patient.match, short=short)]
    if withdraw:
        w = v.fonts.width("Withdraw", theme.CHIP) + v.dp(43)
        if portrait:
            place = Box(pill.x - v.dp(10) - w, pill.y, w, pill.h)
        else:
            place = Box(pill.x - v.dp(12) - w, top.y + v.dp(11), w, v.dp(38))
            taken += w + v.dp(12)
        extra.append(
            LinkButton(
                box=place,
                key="withdraw",
                name="Withdraw",
                text="Withdraw",
                icon="hand",
                colour=t.text,
                outline=True,
            )
        )
    head = PatientBanner(box=top, patient=patient, today=v.today, room=taken + v.dp(10))
    return [head, *extra], rest


def footer(v: View, content: Box, t: Theme) -> tuple[list[Widget], Box, Box]:
    """Cut the footer off: (its background, the box for its buttons, the content above)."""
    height = v.dp(91 if v.layout.portrait else 78)
    low, rest = content.bottom_part(height)
    back = Fill(box=low, colour=t.surface if t is LIGHT else t.page, rule=t.divider, edge="top")
    margin = v.dp(12 if v.layout.portrait else 14)
    return [back], Box(low.x + margin, low.y + v.dp(8), low.w - 2 * margin, height - v.dp(16)), rest


def back_button(v: View, box: Box, *, enabled: bool = True) -> tuple[Button, Box]:
    """Cut 'Back' off the left of the footer: (the button, the rest). Only its arrow in portrait."""
    w = v.dp(66 if v.layout.portrait else 112)
    place, rest = box.left_part(w, v.dp(10 if v.layout.portrait else 12))
    button = Button(
        box=place,
        key="back",
        name="Back",
        text="" if v.layout.portrait else "Back",
        icon="arrow-left",
        style=SECONDARY,
        enabled=enabled,
    )
    return button, rest


COMMON: dict[str, e.Event] = {
    "lock": e.LockAsked(),
    "withdraw": e.WithdrawAsked(),
    "back": e.BackTouched(),
    "done": e.DoneTouched(),
    "retry": e.RetryTouched(),
    "finish": e.FinishTouched(),
    "more": e.MoreTouched(),
    "confirm": e.PatientConfirmed(),
    "reject": e.PatientRejected(),
    "keep": e.Kept(),
    "retake": e.Retaken(),
    "light": e.LightToggled(),
    "change-site": e.ChangeSiteTouched(),
    "sign-in": e.SignInTouched(),
    "list": e.ListTouched(),
    "find-receipt": e.FindReceiptTouched(),
}
"""Keys that mean the same event on every screen."""
