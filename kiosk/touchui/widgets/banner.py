"""The patient banner: who this is, on every screen that has to do with a patient.

Written as the NHS Common User Interface asks: FAMILY, Given (Title); Born dd-Mmm-yyyy (age);
values stronger than labels, no colons, "Not known" and never "?".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from kiosk.model import Identifier, Match, Patient, Sex
from kiosk.touchui import theme
from kiosk.touchui.geometry import Box
from kiosk.touchui.paint import CENTRE, Painter
from kiosk.touchui.theme import Type
from kiosk.touchui.widgets.base import Widget

HEIGHT, PORTRAIT_HEIGHT = 60, 92
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SEX = {Sex.FEMALE: "Female", Sex.MALE: "Male", Sex.OTHER: "Other", Sex.UNKNOWN: "Not known"}
MATCHED: Mapping[Match, tuple[str, str, str]] = {
    Match.WRISTBAND: ("scan-barcode", "Wristband matched", "Matched"),
    Match.TYPED: ("keyboard", "Number typed", "Typed"),
    Match.LIST: ("calendar-days", "From today's list", "From list"),
    Match.RECEIPT: ("file-check", "Found by receipt", "Receipt"),
}
"""Icon, words and short words for how a patient was found."""
BANNER_VALUE = Type(theme.ATKINSON_BOLD, 16)
BANNER_WORD = Type(theme.SEMIBOLD, 15)


def written_date(day: date | None) -> str:
    """dd-Mmm-yyyy, whatever the locale."""
    return "Not known" if day is None else f"{day.day:02d}-{_MONTHS[day.month - 1]}-{day.year:04d}"


def born(patient: Patient, today: date) -> str:
    """Birth date with the age: years, and months below two years."""
    age = patient.age(today)
    if age is None or patient.birth_date is None:
        return "Not known"
    birth = patient.birth_date
    months = (today.year - birth.year) * 12 + today.month - birth.month - (today.day < birth.day)
    return f"{written_date(birth)} ({age}y)" if age >= 2 else f"{written_date(birth)} ({months}m)"


def died(patient: Patient) -> str:
    """The day of death of a patient who is known to have died."""
    return written_date(patient.died) if patient.died else "Date not known"


def sex(patient: Patient) -> str:
    """Sex as a word."""
    return _SEX[patient.sex]


def number_label(identifier: Identifier) -> str:
    """What the patient's number is called."""
    return "NHS No." if "nhs-number" in identifier.system else "Hospital No."


@dataclass(frozen=True, kw_only=True)
class PatientBanner(Widget):
    """Name, birth date, sex and number. `room`: pixels kept free at the right end of the lower rows."""

    patient: Patient
    today: date
    room: int = 0

    @property
    def opaque(self) -> bool:
        """It fills its box."""
        return True

    def draw(self, p: Painter) -> None:
        """Draw it."""
        b = self.box
        p.fill(b, p.theme.surface)
        p.fill(Box(b.x, b.bottom - p.dp(1), b.w, p.dp(1)), p.theme.divider)
        p.fill(Box(b.x, b.y, p.dp(6), b.h), p.theme.accent)
        inner = Box(b.x + p.dp(20), b.y, b.w - p.dp(34), b.h)
        number = (number_label(self.patient.identifier), self.patient.identifier.display(), BANNER_VALUE)
        facts = [
            ("Born", born(self.patient, self.today), BANNER_VALUE),
            ("Sex", sex(self.patient), BANNER_WORD),
        ]
        if p.layout.portrait:
            name, rest = inner.top_part(p.dp(36))
            self._name(p, name.move(0, p.dp(3)))
            upper, lower = rest.top_part(p.dp(22))
            self._facts(p, upper, facts)
            self._facts(p, lower.top_part(p.dp(28))[0], [number])
        else:
            wide = Box(inner.x, inner.y, inner.w - self.room, inner.h)
            name, rest = wide.top_part(p.dp(32))
            self._name(p, name.move(0, p.dp(5)))
            self._facts(p, Box(rest.x, rest.y, rest.w, rest.h - p.dp(2)), [*facts, number])

    def _name(self, p: Painter, box: Box) -> None:
        if self.patient.deceased:
            w = p.fonts.width("Deceased", theme.CHIP) + p.dp(22)
            name = self.patient.name.display()
            used = min(p.fonts.width(name, theme.NAME), box.w - w - p.dp(10))
            pill = Box(box.x + used + p.dp(10), box.cy - p.dp(12), w, p.dp(24))
            p.panel(pill, 12, p.theme.danger)
            p.text("Deceased", theme.CHIP, p.theme.on_danger, pill, CENTRE)
            box = Box(box.x, box.y, used, box.h)
        p.text(self.patient.name.display(), theme.NAME, p.theme.text, box, shrink=16, ellipsis=True)

    def _facts(self, p: Painter, row: Box, facts: list[tuple[str, str, Type]]) -> None:
        x = row.x
        for label, value, kind in facts:
            w = p.fonts.width(label, theme.LABEL)
            p.text(label, theme.LABEL, p.theme.secondary, Box(x, row.y, w, row.h))
            x += w + p.dp(6)
            w = p.fonts.width(value, kind)
            p.text(value, kind, p.theme.text, Box(x, row.y, min(w, row.right - x), row.h), ellipsis=True)
            x += w + p.dp(17)


@dataclass(frozen=True, kw_only=True)
class Matched(Widget):
    """How the patient was found: a pill of icon and word."""

    match: Match
    short: bool

    @classmethod
    def words(cls, match: Match, *, short: bool) -> str:
        """What the pill says."""
        return MATCHED[match][2 if short else 1]

    def draw(self, p: Painter) -> None:
        """Draw it."""
        scanned = self.match is Match.WRISTBAND
        fill, ink = (p.theme.ok_soft, p.theme.ok) if scanned else (p.theme.action_soft, p.theme.action)
        p.panel(self.box, self.box.h / p.layout.scale / 2, fill)
        text = self.words(self.match, short=self.short)
        p.pair(MATCHED[self.match][0], text, theme.CHIP, ink, self.box, size=17, gap=5)
