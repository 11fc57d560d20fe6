"""Who has this number: the patient look-up, by identifier, on the server that will get the photographs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from kiosk.errors import DeliveryError, LookupFailed, NotLetIn, Problem
from kiosk.fhir.answers import Resource, is_id, objects, token
from kiosk.fhir.client import FhirClient
from kiosk.model import HumanName, Identifier, Match, Patient, Sex

MOST = 20
"""More patients than this are never returned: the screen offers none when there are two."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TEXT_MAX = 200
_NAME_ORDER = ("official", "usual", None, "temp", "nickname", "anonymous", "maiden", "old")


class PatientDirectory:
    """Patients of one server. `systems`: the identifier systems that wristbands carry, best first."""

    def __init__(self, client: FhirClient, systems: tuple[str, ...]) -> None:
        self._client = client
        self._systems = systems

    def find(self, identifier: str, match: Match) -> tuple[Patient, ...]:
        """Every living record with exactly this identifier, each once.

        Inactive and replaced records are left out: nothing may be filed there any more.
        Raises LookupFailed: LOOKUP_UNREACHABLE (retryable), or LOOKUP_REFUSED, also when not let in: somebody
        waits at the screen and has to call IT.
        """
        found: dict[str, Patient] = {}
        for system in self._systems:
            for resource in self._search(system, identifier):
                patient = _patient(resource, system, identifier, match)
                if patient is not None:
                    found.setdefault(patient.id, patient)
        return tuple(found.values())[:MOST]

    def _search(self, system: str, identifier: str) -> list[Resource]:
        try:
            return self._client.search("Patient", {"identifier": token(system, identifier)})
        except DeliveryError as e:
            silent = e.retryable and not isinstance(e, NotLetIn)
            problem = Problem.LOOKUP_UNREACHABLE if silent else Problem.LOOKUP_REFUSED
            failed = LookupFailed(e.detail, problem=problem)
            failed.retryable = silent
        raise failed


def _patient(resource: Resource, system: str, value: str, match: Match) -> Patient | None:
    """The patient, or None where this record must not be used or cannot be."""
    id = resource.get("id")
    if not is_id(id) or resource.get("active") is False or _is_replaced(resource):
        return None
    held = next((i for i in objects(resource, "identifier") if _is_this(i, system, value)), None)
    if held is None:
        return None
    return Patient(
        id=str(id),
        name=_name(resource),
        identifier=Identifier(system, str(held["value"])),
        birth_date=_birth_date(resource.get("birthDate")),
        sex=_sex(resource.get("gender")),
        match=match,
    )


def patient_of(resource: Resource, systems: Sequence[str], match: Match) -> Patient | None:
    """A patient that was read by its id, whatever has become of the record; None without a known number.

    systems: the identifier systems, best first.
    """
    id, held = resource.get("id"), objects(resource, "identifier")
    number = next(
        (i for system in systems for i in held if i.get("system") == system and i.get("value")), None
    )
    if not is_id(id) or number is None:
        return None
    return Patient(
        id=str(id),
        name=_name(resource),
        identifier=Identifier(str(number["system"]), line_of(number["value"])),
        birth_date=_birth_date(resource.get("birthDate")),
        sex=_sex(resource.get("gender")),
        match=match,
    )


def _is_replaced(resource: Resource) -> bool:
    return any(link.get("type") == "replaced-by" for link in objects(resource, "link"))


def _is_this(identifier: Mapping[str, Any], system: str, value: str) -> bool:
    """A server that ignored the parameter must not put a stranger on the screen."""
    held = identifier.get("value")
    return (
        identifier.get("system") == system
        and isinstance(held, str)
        and held.replace(" ", "").casefold() == value.replace(" ", "").casefold()
    )


def _name(resource: Resource) -> HumanName:
    names = objects(resource, "name")
    names.sort(key=lambda n: next((i for i, use in enumerate(_NAME_ORDER) if n.get("use") == use), 99))
    if not names:
        return HumanName("")
    best = names[0]
    family = line_of(best.get("family"))
    given, prefix = _joined(best.get("given")), _joined(best.get("prefix"))
    if not family and not given:
        return HumanName(line_of(best.get("text")))
    return HumanName(family, given, prefix)


def _joined(parts: object) -> str:
    return line_of(" ".join(p for p in parts if isinstance(p, str))) if isinstance(parts, list) else ""


def line_of(value: object) -> str:
    """One line of printable text, bounded."""
    if not isinstance(value, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())[:_TEXT_MAX]


def _birth_date(value: object) -> date | None:
    """A whole date; years and months alone are not a date of birth to check against."""
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def _sex(value: object) -> Sex:
    return next((s for s in Sex if s.value == value), Sex.UNKNOWN)
