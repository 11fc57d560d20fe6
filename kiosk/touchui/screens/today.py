"""TODAY: who is expected here, to choose a patient from. A wristband can be scanned at any moment."""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable
from typing import ClassVar

from kiosk import events as e
from kiosk.errors import Problem
from kiosk.flow import Flow
from kiosk.model import Visit
from kiosk.touchui import theme
from kiosk.touchui.draft import TextDraft
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE
from kiosk.touchui.screens.base import Screen, Tools, back_button, footer, hint, prompt
from kiosk.touchui.view import View
from kiosk.touchui.widgets import ACTION, SECONDARY, Button, Label, TextField, Widget, keyboard
from kiosk.touchui.widgets.outcome import Outcome, Tone
from kiosk.touchui.widgets.visit_row import VisitRow
from kiosk.touchui.written import time_of

FILTER_MOST = 24
ROW, TALL_ROW = 62, 84
"""dp: the least height of a row."""


class Today(Screen):
    """Rows, a few to a page, and a keyboard to make them fewer."""

    title: ClassVar[str] = "Patient"
    step: ClassVar[int] = 1
    banner: ClassVar[bool] = False

    def __init__(self) -> None:
        self._filter = TextDraft(FILTER_MOST)
        self._typing = False
        self._page = 0

    def page(self, flow: Flow) -> Hashable:
        """Each page of rows counts: no finger may fire on a row that has just come."""
        return (flow.state, flow.question, flow.visits is None, self._typing, self._page)

    def body(self, v: View, content: Box) -> list[Widget]:
        """Return the rows, the keyboard, or what there is to say in their place."""
        return self._keyboard_page(v, content) if self._typing else self._list_page(v, content)

    # --- rows ------------------------------------------------------------------------------

    def _list_page(self, v: View, content: Box) -> list[Widget]:
        widgets, low, content = footer(v, content, self.theme)
        back, low = back_button(v, low)
        widgets.append(back)
        area = content.inset(v.dp(14), v.dp(10))
        head, area = area.top_part(v.dp(56 if v.layout.portrait else 40), v.dp(8))
        if v.flow.visits is None or not v.flow.visits.visits:
            if v.flow.problem is not None:
                head, area = Box(head.x, head.y, head.w, v.dp(56)), area.bottom_part(area.h - v.dp(20))[0]
            return [*widgets, *self._instead(v, head, area, low)]
        found = self._found(v)
        rows = self._rows(v, area)
        pages = max(1, -(-len(found) // len(rows)))
        page = min(self._page, pages - 1)
        shown = found[page * len(rows) : (page + 1) * len(rows)]
        widgets.append(self.heading(v, head, self._count(v, len(found))))
        widgets += [
            VisitRow(
                box=box,
                key=f"visit:{visit.patient.id}",
                name=visit.patient.name.display(),
                visit=visit,
                time=time_of(visit.at) if visit.at else "No time",
                today=v.today,
            )
            for box, visit in zip(rows, shown, strict=False)
        ]
        if not found:
            widgets.append(_said(area, "search", "Nobody matches", "Change what is typed.", Tone.CALM))
        return [*widgets, *self._controls(v, low, page, pages)]

    def _rows(self, v: View, area: Box) -> list[Box]:
        gap, least = v.dp(8), v.dp(TALL_ROW if v.layout.portrait else ROW)
        return area.rows(max(1, (area.h + gap) // (least + gap)), gap)

    def _count(self, v: View, found: int) -> str:
        visits = v.flow.visits
        whole = len(visits.visits) if visits is not None else 0
        if self._filter.text.strip():
            return f"Today's list: {found} of {whole} match"
        if visits is not None and visits.cut:
            return f"Today's list: the first {whole}. Scan those who are not on it."
        return f"Today's list: {whole} patient{'' if whole == 1 else 's'}"

    def _controls(self, v: View, low: Box, page: int, pages: int) -> list[Widget]:
        """The filter, and a way through the pages where there are several."""
        on, rest = low.right_part(v.dp(66))
        middle, rest = rest.right_part(v.dp(64 if v.layout.portrait else 90))
        before, rest = rest.right_part(v.dp(66))
        wide = low if pages == 1 else Box(rest.x, rest.y, rest.w - v.dp(10), rest.h)
        search, _ = wide.left_part(min(wide.w, v.dp(300)))
        typed = self._filter.text.strip()
        text = f"\u201c{typed}\u201d" if typed else "Find" if v.layout.portrait else "Find a name"
        widgets: list[Widget] = [
            Button(box=search, key="filter", name="Find a name", text=text, icon="search", style=SECONDARY)
        ]
        if pages == 1:
            return widgets
        return [
            *widgets,
            Button(box=before, key="page:back", name="Earlier", icon="chevron-left", enabled=page > 0),
            Label(
                box=middle,
                text=f"{page + 1} of {pages}",
                kind=theme.BODY_STRONG,
                colour=self.theme.text,
                align=CENTRE,
                shrink=12,
            ),
            Button(box=on, key="page:on", name="Later", icon="chevron-right", enabled=page < pages - 1),
        ]

    def _instead(self, v: View, head: Box, area: Box, low: Box) -> list[Widget]:
        """No rows: on their way, none today, or not to be had."""
        problem = hint(v, head)
        if problem is not None:
            text = "Scan the wristband, or go back and type the number."
            said = _said(area, "server-off", "No list", text, Tone.PENDING)
            again = Button(
                box=low.right_part(min(low.w, v.dp(300)))[0],
                key="retry",
                name="Try again",
                text="Try again",
                icon="refresh-cw",
                style=ACTION,
                kind=theme.BUTTON_BIG,
            )
            here = v.flow.visits is not None or v.flow.problem is Problem.LIST_REFUSED
            return [problem, said] if here else [problem, said, again]
        title = self.heading(v, head, "Today's list")
        if v.flow.visits is None:
            text = "A wristband can be scanned meanwhile."
            return [title, _said(area, "hourglass", "Asking for today's list\u2026", text, Tone.MOVING)]
        text = "Scan the wristband, or go back and type the number."
        return [title, _said(area, "calendar-days", "Nobody is on today's list", text, Tone.CALM)]

    # --- keyboard --------------------------------------------------------------------------

    def _keyboard_page(self, v: View, content: Box) -> list[Widget]:
        portrait = v.layout.portrait
        widgets: list[Widget] = []
        if portrait:
            widgets, low, content = footer(v, content, self.theme)
            widgets.append(back_button(v, low)[0])
        area = content.inset(v.dp(14), v.dp(10))
        keys, area = area.bottom_part(v.dp(400) if portrait else min(v.dp(330), area.h - v.dp(124)), v.dp(10))
        row, area = area.bottom_part(v.dp(62), v.dp(8))
        if not portrait:
            back, row = back_button(v, row)
            widgets.append(back)
        above, _ = area.bottom_part(min(area.h, v.dp(56 if portrait else 48)))
        found = len(self._found(v))
        widgets.append(hint(v, above) or prompt(v, above, self._count(v, found)))
        field = TextField(
            box=row,
            key="field",
            name="Part of a name or number",
            text=self._filter.text,
            placeholder="Part of a name or number",
            icon="search",
        )
        ready = f"Show {found}" if found else "Show"
        abc = self._filter.abc
        return [*widgets, field, *keyboard(v.layout, keys, abc=abc, ok=found > 0, ok_text=ready)]

    def _found(self, v: View) -> tuple[Visit, ...]:
        visits = v.flow.visits.visits if v.flow.visits is not None else ()
        words = _plain(self._filter.text).split()
        return tuple(visit for visit in visits if all(word in _searched(visit) for word in words))

    # --- touches ---------------------------------------------------------------------------

    def tap(self, key: str, v: View, tools: Tools) -> e.Event | None:
        """A row chooses; everything else stays on this screen."""
        match key.split(":", 1):
            case ["visit", patient]:
                return e.VisitChosen(patient)
            case ["filter"]:
                self._typing = True
            case ["type", "ok"]:
                self._typing = False
            case ["back"] if self._typing:
                self._typing = False
            case ["type", name]:
                self._filter.key(name)
                self._page = 0
            case ["page", way]:
                last = max(0, len(self._found(v)) - 1)
                self._page = min(max(0, self._page + (1 if way == "on" else -1)), last)
            case _:
                return super().tap(key, v, tools)
        return None

    def typed(self, text: str, v: View) -> None:
        """A keyboard filters at once."""
        self._filter.add(text)
        self._page = 0

    def erase(self, v: View) -> None:
        """Backspace."""
        self._filter.erase()
        self._page = 0

    def enter(self, v: View, tools: Tools) -> e.Event | None:
        """Enter shows the rows; it never chooses one."""
        self._typing = False
        return None


def _said(box: Box, icon: str, title: str, text: str, tone: Tone) -> Widget:
    middle = box.centred(box.w, min(box.h, box.h * 3 // 4))
    return Outcome(box=middle, icon=icon, title=title, text=text, tone=tone, centred=True)


def _plain(text: str) -> str:
    """Without case and accents: the keyboard on the screen has neither."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in parts if not unicodedata.combining(c))


def _searched(visit: Visit) -> str:
    patient = visit.patient
    number = patient.identifier
    return _plain(f"{patient.name.display()} {number.display()} {number.value}")
