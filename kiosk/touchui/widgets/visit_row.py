"""One line of today's list: when, who in the banner's format, and whether the patient is here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from kiosk.model import Visit
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE, LEFT, Painter
from kiosk.touchui.theme import Type
from kiosk.touchui.widgets.banner import BANNER_VALUE, born, number_label
from kiosk.touchui.widgets.base import Tappable

TIME, NAME = Type(theme.ATKINSON_BOLD, 21), Type(theme.BOLD, 19)


@dataclass(frozen=True, kw_only=True)
class VisitRow(Tappable):
    """A row to touch. `time`: as it is written, local."""

    visit: Visit
    time: str
    today: date

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t, portrait, visit = p.theme, p.layout.portrait, self.visit
        p.panel(self.box, 9, t.segment if self.pressed else t.surface, t.border, 1.25)
        inner = self.box.inset(p.dp(12), p.dp(7))
        when, rest = inner.left_part(p.dp(78), p.dp(10))
        chevron, words = rest.right_part(p.dp(20), p.dp(8))
        p.icon("chevron-right", 22, t.secondary, chevron)
        upper, lower = when.centred(when.w, min(when.h, p.dp(52))).rows(2)
        p.text(self.time, TIME, t.text, upper, shrink=14)
        icon, word, ink = ("circle-check", "Here", t.ok) if visit.here else ("clock", "Booked", t.secondary)
        p.pair(icon, word, theme.LABEL_STRONG, ink, lower, LEFT, size=15, gap=4, shrink=11)
        patient = visit.patient
        number = (number_label(patient.identifier), patient.identifier.display())
        facts = [("Born", born(patient, self.today)), number]
        if portrait:
            name, first, second = words.rows(3)
            self._facts(p, first, facts[:1])
            self._facts(p, second, facts[1:])
        else:
            name, low = words.rows(2)
            self._facts(p, low, facts)
        if patient.deceased:
            name = self._deceased(p, name)
        p.text(patient.name.display(), NAME, t.text, name, shrink=15, ellipsis=True)

    def _deceased(self, p: Painter, box: Box) -> Box:
        w = p.fonts.width("Deceased", theme.LABEL_STRONG) + p.dp(18)
        place, name = box.right_part(w, p.dp(8))
        p.panel(place.centred(w, min(place.h, p.dp(22))), 11, p.theme.danger)
        p.text("Deceased", theme.LABEL_STRONG, p.theme.on_danger, place, CENTRE)
        return name

    def _facts(self, p: Painter, row: Box, facts: list[tuple[str, str]]) -> None:
        x = row.x
        for label, value in facts:
            w = p.fonts.width(label, theme.LABEL)
            p.text(label, theme.LABEL, p.theme.secondary, Box(x, row.y, w, row.h))
            x += w + p.dp(6)
            room = max(0, min(p.fonts.width(value, BANNER_VALUE), row.right - x))
            p.text(value, BANNER_VALUE, p.theme.text, Box(x, row.y, room, row.h), ellipsis=True)
            x += room + p.dp(17)
