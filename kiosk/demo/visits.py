"""The demo's wound clinic today: a Location, Appointments and Encounters of the synthetic patients.

Times are of the day on which the server starts, in the machine's own time zone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

CLINIC = "Location/demo-wound-clinic"
ELSEWHERE = "Location/demo-dermatology"
ENCOUNTER = "Encounter/demo-encounter-1"
"""The visit of OKONKWO-SMITH, Adaeze, in progress at the clinic."""
STAFF = "https://demo-hospital.example/Id/staff"


def demo_visits(now: Callable[[], datetime] = datetime.now) -> list[dict[str, Any]]:
    """Return new R4 resources: two places, a practitioner, and who is expected or present where."""
    return [
        _location(CLINIC, "Wound clinic"),
        _location(ELSEWHERE, "Dermatology"),
        _practitioner(),
        _appointment(1, now(), 1, "arrived", (9, 0), CLINIC),
        _appointment(2, now(), 2, "booked", (9, 30), CLINIC),
        _appointment(3, now(), 3, "booked", (10, 15), CLINIC),
        _appointment(4, now(), 4, "cancelled", (10, 30), CLINIC),
        _appointment(5, now(), 5, "booked", (11, 0), ELSEWHERE),
        _appointment(6, now() + timedelta(days=1), 6, "booked", (9, 0), CLINIC),
        _appointment(7, now(), 7, "booked", (11, 30), CLINIC),
        _encounter(1, now(), 1, "in-progress", (9, 5)),
        _encounter(2, now() - timedelta(days=3), 9, "in-progress", (16, 0)),
    ]


def _location(reference: str, name: str) -> dict[str, Any]:
    return {"resourceType": "Location", "id": reference.split("/")[1], "status": "active", "name": name}


def _practitioner() -> dict[str, Any]:
    return {
        "resourceType": "Practitioner",
        "id": "demo-practitioner-1",
        "identifier": [{"system": STAFF, "value": "1001"}],
        "active": True,
        "name": [{"family": "PATEL", "given": ["A."]}],
    }


def _at(day: datetime, hour: int, minute: int) -> str:
    """An instant of this day; naive days are of the machine's zone."""
    return day.replace(hour=hour, minute=minute, second=0, microsecond=0).astimezone().isoformat()


def _appointment(
    number: int, day: datetime, patient: int, status: str, at: tuple[int, int], place: str
) -> dict[str, Any]:
    start = day.replace(hour=at[0], minute=at[1])
    end = start + timedelta(minutes=20)
    return {
        "resourceType": "Appointment",
        "id": f"demo-appointment-{number}",
        "status": status,
        "start": _at(day, *at),
        "end": _at(end, end.hour, end.minute),
        "participant": [
            {"actor": {"reference": f"Patient/demo-patient-{patient}"}, "status": "accepted"},
            {"actor": {"reference": place}, "status": "accepted"},
        ],
    }


def _encounter(number: int, day: datetime, patient: int, status: str, at: tuple[int, int]) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "id": f"demo-encounter-{number}",
        "status": status,
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": f"Patient/demo-patient-{patient}"},
        "period": {"start": _at(day, *at)},
        "location": [{"location": {"reference": CLINIC}, "status": "active"}],
    }
