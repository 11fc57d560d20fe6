"""Today's list for one place, and the visit that a patient is here for: from Appointment and Encounter.

Everything is asked by POST. Source: R4 appointment.html, encounter.html and search.html (dates, _include).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from datetime import time as time_of_day

from kiosk.errors import (
    DeliveryError,
    LookupFailed,
    NotLetIn,
    NotProven,
    Problem,
    Rejected,
    Unreachable,
)
from kiosk.fhir.answers import Resource, is_id, objects, part
from kiosk.fhir.client import FhirClient
from kiosk.fhir.directory import surviving
from kiosk.fhir.people import own_identifier, patient_id, patient_noun, replacements
from kiosk.model import Match, Patient, Visit, VisitList

MOST = 100
"""Lines of the list."""
PAGE = 50
PAGES_MOST = 6
"""Pages of one search that are followed."""
READS_MOST = 20
"""Patients that are read one by one, where the server neither includes them nor searches them by id."""
WHOLE_S = 12.0
"""Seconds for the whole list: no request begins after that."""

BOOKED, PRESENT = ("booked", "arrived", "checked-in"), ("in-progress", "arrived")
"""Statuses of Appointments and of Encounters that are on the list."""
_GONE_FROM = ("completed", "planned", "reserved")
"""Statuses of a place inside an Encounter where the patient is not there."""


@dataclass(slots=True)
class _Entry:
    """What is known of one patient's day."""

    at: datetime | None = None
    here: bool = False
    booked: bool = False
    encounters: dict[str, str] = field(default_factory=dict)
    """Status by id."""


class Visits:
    """Who is at `location` ("Location/…"). `systems`: as for PatientDirectory.

    zone: the station's time zone; None: the machine's.  now: as datetime.now.
    clock: seconds, never going back.
    """

    def __init__(
        self,
        client: FhirClient,
        systems: tuple[str, ...],
        location: str,
        *,
        zone: tzinfo | None = None,
        now: Callable[[tzinfo | None], datetime] = datetime.now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._systems = systems
        self._location = location
        self._zone = zone
        self._now = now
        self._clock = clock
        self._until = 0.0

    def today(self) -> VisitList:
        """Today's list: booked and present patients, each once, in order of time, those without a time last.

        A server that has only one of Appointment and Encounter gives the half that it has. Raises
        LookupFailed: LIST_UNREACHABLE (retryable) when it is silent, slow or busy; LIST_REFUSED.
        """
        self._until = self._clock() + WHOLE_S
        failed: DeliveryError | None = None
        try:
            return self._today()
        except DeliveryError as e:
            failed = e
        silent = failed.retryable and not isinstance(failed, NotLetIn)
        error = LookupFailed(
            failed.detail, problem=Problem.LIST_UNREACHABLE if silent else Problem.LIST_REFUSED
        )
        error.retryable = silent
        # Raised out here, so that the client's error is not chained.
        raise error

    def placed(self, patient: Patient) -> Patient:
        """The patient with the one Encounter in progress at this place; with none or several, as before.

        It never fails: whose photographs they are does not depend on it.
        """
        wanted = [("patient", f"Patient/{patient.id}"), ("location", self._location)]
        try:
            found = objects(
                self._client.search_page("Encounter", [*wanted, ("status", "in-progress"), ("_count", "5")]),
                "entry",
            )
        except DeliveryError:
            return patient
        here = [r for r in (part(entry, "resource") for entry in found) if self._is_present(r)]
        ids = {
            str(r["id"])
            for r in here
            if r.get("status") == "in-progress" and self._subject(r) == patient.id and is_id(r.get("id"))
        }
        return replace(patient, encounter=f"Encounter/{ids.pop()}") if len(ids) == 1 else patient

    # --- the list ----------------------------------------------------------------------------

    def _today(self) -> VisitList:
        midnight = datetime.combine(self._now(self._zone).date(), time_of_day())
        # Each midnight with the offset that holds there: a day may have 23 or 25 hours.
        start, end = self._aware(midnight), self._aware(midnight + timedelta(days=1))
        entries: dict[str, _Entry] = {}
        patients: dict[str, Resource] = {}
        booked = [("date", f"ge{start.isoformat()}"), ("date", f"lt{end.isoformat()}")]
        half: DeliveryError | None = None
        cut = False
        answered = 0
        for kind, statuses, more in (("Appointment", BOOKED, booked), ("Encounter", PRESENT, [])):
            try:
                first = self._search(kind, [("status", ",".join(statuses)), *more])
            except (Rejected, NotLetIn) as e:
                # One that it does not have, or does not let us see.
                half = e
                continue
            answered += 1
            found, longer = self._followed(kind, first)
            cut = cut or longer
            for resource in found:
                if resource.get("resourceType") == "Patient" and is_id(resource.get("id")):
                    patients[str(resource["id"])] = resource
                elif kind == "Appointment" and resource.get("resourceType") == kind:
                    self._note_appointment(resource, start, end, entries)
                elif resource.get("resourceType") == kind and self._is_present(resource):
                    self._note_encounter(resource, start, entries)
        if half is not None and not answered:
            raise half
        self._fetch([id for id in entries if id not in patients], patients)
        visits, lost = self._visits(entries, patients)
        return VisitList(tuple(visits[:MOST]), cut or lost or len(visits) > MOST)

    def _search(self, kind: str, parameters: Sequence[tuple[str, str]]) -> Resource:
        """The first page of what is found here, with the patients where the server includes them."""
        asked = [("location", self._location), *parameters, ("_count", str(PAGE))]
        self._check_time()
        try:
            return self._client.search_page(kind, [*asked, ("_include", f"{kind}:patient")])
        except Rejected:
            self._check_time()
            return self._client.search_page(kind, asked)

    def _followed(self, kind: str, page: Resource) -> tuple[list[Resource], bool]:
        """Everything on this page and those after it, and whether there would have been more."""
        found: list[Resource] = []
        for _ in range(PAGES_MOST):
            found += [part(entry, "resource") for entry in objects(page, "entry")]
            self._check_time()
            try:
                further = self._client.next_page(page)
            except NotProven:
                # It leads to another server: not followed.
                return found, True
            if further is None:
                # A full page without a next one may be the end, or a server that does not page.
                matches = sum(r.get("resourceType") == kind for r in found)
                return found, matches > 0 and matches % PAGE == 0 and matches != page.get("total")
            page = further
        return found, True

    def _check_time(self) -> None:
        if self._clock() > self._until:
            raise Unreachable("the list took too long")

    def _aware(self, naive: datetime) -> datetime:
        return naive.astimezone() if self._zone is None else naive.replace(tzinfo=self._zone)

    def _note_appointment(
        self, resource: Resource, start: datetime, end: datetime, entries: dict[str, _Entry]
    ) -> None:
        at = _instant(resource.get("start"))
        actors = [
            self._client.local(str(part(p, "actor").get("reference")))
            for p in objects(resource, "participant")
        ]
        # A server that ignored a parameter must not put a stranger on the list.
        if resource.get("status") not in BOOKED or self._location not in actors:
            return
        if at is None or not start <= at < end:
            return
        for id in filter(None, map(patient_id, actors)):
            entry = entries.setdefault(id, _Entry())
            entry.at = at if entry.at is None or not entry.booked else min(entry.at, at)
            entry.booked = True
            entry.here = entry.here or resource.get("status") != "booked"

    def _note_encounter(self, resource: Resource, start: datetime, entries: dict[str, _Entry]) -> None:
        id = self._subject(resource)
        if id is None or not is_id(resource.get("id")):
            return
        entry = entries.setdefault(id, _Entry())
        entry.here = True
        entry.encounters[str(resource["id"])] = str(resource["status"])
        came = _instant(part(resource, "period").get("start"))
        # Who has been here since yesterday has no time of today.
        if not entry.booked and came is not None and came >= start:
            entry.at = came if entry.at is None else min(entry.at, came)

    def _subject(self, resource: Resource) -> str | None:
        return patient_id(self._client.local(str(part(resource, "subject").get("reference"))))

    def _is_present(self, resource: Resource) -> bool:
        places = [
            place
            for place in objects(resource, "location")
            if self._client.local(str(part(place, "location").get("reference"))) == self._location
        ]
        return resource.get("status") in PRESENT and any(p.get("status") not in _GONE_FROM for p in places)

    def _fetch(self, ids: Sequence[str], patients: dict[str, Resource]) -> None:
        """Those that were not included: many in one search, the rest one by one."""
        for first in range(0, len(ids), PAGE):
            some = ids[first : first + PAGE]
            self._check_time()
            try:
                found = self._client.search("Patient", {"_id": ",".join(some), "_count": str(PAGE)})
            except Rejected:
                break
            patients.update({str(r["id"]): r for r in found if r.get("id") in some})
        for id in [id for id in ids if id not in patients][:READS_MOST]:
            self._check_time()
            try:
                patients[id] = self._client.read("Patient", id)
            except Rejected:
                # Deleted since: nobody to photograph.
                continue

    def _visits(
        self, entries: Mapping[str, _Entry], patients: Mapping[str, Resource]
    ) -> tuple[list[Visit], bool]:
        """The lines in order, and whether one is missing because its patient could not be had."""
        visits: dict[str, Visit] = {}
        lost = False
        for id, entry in sorted(entries.items(), key=lambda item: (_seconds(item[1].at), item[0])):
            resource = patients.get(id)
            if resource is None:
                lost = True
                continue
            for patient in self._in_use(resource):
                # The visit of a record that was merged is still that record's.
                encounter = _the_one(entry.encounters) if patient.id == id else None
                visit = Visit(entry.at, entry.here, replace(patient, encounter=encounter))
                visits.setdefault(patient.id, visit)
        return list(visits.values()), lost

    def _in_use(self, resource: Resource) -> list[Patient]:
        """Nobody for a closed record, nor for one without a number: it could not be checked."""
        old = own_identifier(resource, self._systems)
        if not replacements(resource):
            usable = resource.get("active") is not False and old is not None
            return [patient_noun(resource, old, Match.LIST)] if usable and old is not None else []
        self._check_time()
        survivors = surviving(self._client, resource)[0]
        if len(survivors) != 1:
            return []
        number = own_identifier(survivors[0], self._systems)
        if number is None:
            return []
        return [replace(patient_noun(survivors[0], number, Match.LIST), merged_from=old)]


def _the_one(encounters: Mapping[str, str]) -> str | None:
    """The one in progress, else the one that was arrived for; among several none can be chosen."""
    for status in PRESENT:
        ids = [id for id, its in encounters.items() if its == status]
        if ids:
            return f"Encounter/{ids[0]}" if len(ids) == 1 else None
    return None


def _seconds(at: datetime | None) -> float:
    return math.inf if at is None else at.timestamp()


def _instant(value: object) -> datetime | None:
    """An aware time; a date alone says no time."""
    if not isinstance(value, str) or "T" not in value:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo else None
