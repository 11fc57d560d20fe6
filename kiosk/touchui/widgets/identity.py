"""A patient, large: the same facts as the banner, for comparing with a wristband and a face."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from kiosk.model import Match, Patient
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import Painter
from kiosk.touchui.theme import Type
from kiosk.touchui.widgets.banner import Matched, born, number_label, sex
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
        p.panel(self.box, 12, t.surface, t.divider, 1.25)
        inner = self.box.inset(p.dp(22), p.dp(14))
        p.panel(Box(self.box.x, self.box.y + p.dp(12), p.dp(6), self.box.h - p.dp(24)), 3, t.accent)
        name, rest = inner.top_part(p.dp(76 if portrait else 48), p.dp(10))
        kind = Type(theme.BOLD, 32)
        text = self.patient.name.display()
        while kind.size > 16 and any(p.fonts.width(word, kind) > name.w for word in text.split()):
            kind = kind._replace(size=kind.size - 1)
        p.text(text, kind, t.text, name, lines=2 if portrait else 1, shrink=16, ellipsis=True)
        facts = (
            ("Born", born(self.patient, self.today), VALUE),
            ("Sex", sex(self.patient), WORD),
            (number_label(self.patient.identifier), self.patient.identifier.display(), VALUE),
        )
        if portrait:
            cells = rest.rows(4, p.dp(6))
        else:
            upper, lower = rest.rows(2, p.dp(8))
            cells = [*upper.columns(2, p.dp(12)), *lower.columns(2, p.dp(12))]
        for cell, (label, value, face) in zip(cells, facts, strict=False):
            self._fact(p, cell, label, value, face)
        self._matched(p, cells[3])

    def _fact(self, p: Painter, box: Box, label: str, value: str, kind: Type) -> None:
        low, high = box.bottom_part(p.dp(34))
        p.text(label, Type(theme.REGULAR, 15), p.theme.secondary, high.bottom_part(p.dp(20))[0])
        p.text(value, kind, p.theme.text, low, shrink=16, ellipsis=True)

    def _matched(self, p: Painter, box: Box) -> None:
        t = p.theme
        scanned = self.patient.match is Match.WRISTBAND
        word = Matched.words(self.patient.match, short=False)
        face, ink = (t.ok_soft, t.ok) if scanned else (t.action_soft, t.action)
        kind = Type(theme.SEMIBOLD, 16)
        w = min(box.w, p.fonts.width(word, kind) + p.dp(58))
        pill = Box(box.x, box.bottom - p.dp(38), w, p.dp(38))
        p.panel(pill, 19, face)
        p.pair("scan-barcode" if scanned else "keyboard", word, kind, ink, pill, size=20, gap=8, shrink=12)
