"""A patient, large: the same facts as the banner, for comparing with a wristband and a face."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from kiosk.model import Match, Patient
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE, Painter
from kiosk.touchui.theme import Colour, Type
from kiosk.touchui.widgets.banner import MATCHED, born, died, number_label, sex
from kiosk.touchui.widgets.base import Widget

VALUE, WORD = Type(theme.ATKINSON_BOLD, 26), Type(theme.SEMIBOLD, 24)


@dataclass(frozen=True, kw_only=True)
class PatientCard(Widget):
    """Name, birth date with age, sex, number, and how the patient was matched."""

    patient: Patient
    today: date

    def draw(self, p: Painter) -> None:
        """Draw it."""
        t, portrait = p.theme, p.layout.portrait
        dead = self.patient.deceased
        p.panel(self.box, 12, t.surface, t.danger if dead else t.divider, 3 if dead else 1.25)
        inner = self.box.inset(p.dp(22), p.dp(14))
        edge = t.danger if dead else t.accent
        p.panel(Box(self.box.x, self.box.y + p.dp(12), p.dp(6), self.box.h - p.dp(24)), 3, edge)
        name, rest = inner.top_part(p.dp(76 if portrait else 48), p.dp(10))
        if dead and not portrait:
            name = self._deceased(p, name)
        kind = Type(theme.BOLD, 32)
        text = self.patient.name.display()
        while kind.size > 16 and any(p.fonts.width(word, kind) > name.w for word in text.split()):
            kind = kind._replace(size=kind.size - 1)
        p.text(text, kind, t.text, name, lines=2 if portrait else 1, shrink=16, ellipsis=True)
        facts = [
            ("Born", born(self.patient, self.today), VALUE, t.text),
            *([("Died", died(self.patient), VALUE, t.danger)] if dead else []),
            ("Sex", sex(self.patient), WORD, t.text),
            (number_label(self.patient.identifier), self.patient.identifier.display(), VALUE, t.text),
        ]
        if portrait:
            cells = rest.rows(len(facts) + 1, p.dp(6))
        else:
            upper, lower = rest.rows(2, p.dp(8))
            cells = [*upper.columns(len(facts) - 1, p.dp(12)), *lower.columns(2, p.dp(12))]
        if dead and portrait:
            self._deceased(p, cells[1].bottom_part(p.dp(40))[0])
        for cell, fact in zip(cells, facts, strict=False):
            self._fact(p, cell, *fact)
        self._matched(p, cells[-1])

    def _deceased(self, p: Painter, box: Box) -> Box:
        """The word, on red at the end of a line; what is left of the line."""
        kind = Type(theme.BOLD, 20)
        w = p.fonts.width("Deceased", kind) + p.dp(32)
        place, name = box.right_part(w, p.dp(12))
        place = place.centred(w, p.dp(40))
        p.panel(place, 20, p.theme.danger)
        p.text("Deceased", kind, p.theme.on_danger, place, CENTRE)
        return name

    def _fact(self, p: Painter, box: Box, label: str, value: str, kind: Type, ink: Colour) -> None:
        low, high = box.bottom_part(p.dp(34))
        p.text(label, Type(theme.REGULAR, 15), p.theme.secondary, high.bottom_part(p.dp(20))[0])
        p.text(value, kind, ink, low, shrink=16, ellipsis=True)

    def _matched(self, p: Painter, box: Box) -> None:
        t = p.theme
        scanned = self.patient.match is Match.WRISTBAND
        icon, word, _ = MATCHED[self.patient.match]
        face, ink = (t.ok_soft, t.ok) if scanned else (t.action_soft, t.action)
        kind = Type(theme.SEMIBOLD, 16)
        w = min(box.w, p.fonts.width(word, kind) + p.dp(58))
        pill = Box(box.x, box.bottom - p.dp(38), w, p.dp(38))
        p.panel(pill, 19, face)
        p.pair(icon, word, kind, ink, pill, size=20, gap=8, shrink=12)
