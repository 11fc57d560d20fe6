"""A Patient resource as the noun that the kiosk works with; nothing of what a server said is trusted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from kiosk.fhir.answers import Resource, objects, part
from kiosk.model import HumanName, Identifier, Match, Patient, Sex

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_DATE_TIME = re.compile(r"\d{4}(-\d{2}(-\d{2}(T.{1,40})?)?)?")
_TEXT_MAX = 200
_NAME_ORDER = ("official", "usual", None, "temp", "nickname", "anonymous", "maiden", "old")
_PATIENT = re.compile(r"Patient/([A-Za-z0-9\-.]{1,64})")


def patient_noun(resource: Resource, identifier: Identifier, match: Match) -> Patient:
    """The noun of a usable record. `identifier`: the number that is shown."""
    deceased, died = _deceased(resource)
    return Patient(
        id=str(resource["id"]),
        name=_name(resource),
        identifier=identifier,
        birth_date=_whole_date(resource.get("birthDate")),
        sex=_sex(resource.get("gender")),
        match=match,
        deceased=deceased,
        died=died,
    )


def held_identifier(resource: Resource, system: str, value: str) -> Identifier | None:
    """The identifier that was asked for, as the record writes it.

    A server that ignored the parameter must not put a stranger on the screen.
    """
    wanted = value.replace(" ", "").casefold()
    for one in objects(resource, "identifier"):
        held = one.get("value")
        if not isinstance(held, str) or one.get("system") != system:
            continue
        if held.replace(" ", "").casefold() == wanted:
            return Identifier(system, held)
    return None


def own_identifier(resource: Resource, systems: Sequence[str]) -> Identifier | None:
    """The record's own number, of the best system that it has one of; an old one only for want of others."""
    numbers = [i for i in objects(resource, "identifier") if text_of(i.get("value"))]
    for old in (False, True):
        for system in systems:
            for one in numbers:
                if one.get("system") == system and (one.get("use") == "old") is old:
                    return Identifier(system, text_of(one.get("value")))
    return None


def patient_id(reference: str) -> str | None:
    """The logical id in a reference `Patient/...` to this server; None for anything else."""
    found = _PATIENT.fullmatch(reference)
    return found[1] if found else None


def replacements(resource: Resource) -> list[str]:
    """References of the records that are used in place of this one; other kinds of links are left alone.

    Source: R4 valueset-link-type, replaced-by: "must no longer be used".
    """
    links = [link for link in objects(resource, "link") if link.get("type") == "replaced-by"]
    return [str(part(link, "other").get("reference")) for link in links]


def _deceased(resource: Resource) -> tuple[bool, date | None]:
    """Whether the record says that the patient has died, and the day where it is known."""
    at = resource.get("deceasedDateTime")
    if isinstance(at, str) and _DATE_TIME.fullmatch(at):
        return True, _whole_date(at[:10])
    return resource.get("deceasedBoolean") is True, None


def _name(resource: Resource) -> HumanName:
    names = objects(resource, "name")
    names.sort(key=lambda n: next((i for i, use in enumerate(_NAME_ORDER) if n.get("use") == use), 99))
    if not names:
        return HumanName("")
    best = names[0]
    family = text_of(best.get("family"))
    given, prefix = _joined(best.get("given")), _joined(best.get("prefix"))
    if not family and not given:
        return HumanName(text_of(best.get("text")))
    return HumanName(family, given, prefix)


def _joined(parts: object) -> str:
    return text_of(" ".join(p for p in parts if isinstance(p, str))) if isinstance(parts, list) else ""


def text_of(value: object) -> str:
    """One line of printable text, bounded."""
    if not isinstance(value, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())[:_TEXT_MAX]


def _whole_date(value: object) -> date | None:
    """A whole date; years and months alone are not a date of birth to check against."""
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def _sex(value: object) -> Sex:
    return next((s for s in Sex if s.value == value), Sex.UNKNOWN)
