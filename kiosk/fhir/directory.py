"""Who has this number: the patient look-up, by identifier, on the server that will get the photographs."""

from __future__ import annotations

from dataclasses import replace

from kiosk.errors import DeliveryError, LookupFailed, NotLetIn, NotProven, Problem, Rejected
from kiosk.fhir.answers import Resource, is_id, token
from kiosk.fhir.client import FhirClient
from kiosk.fhir.people import held_identifier, own_identifier, patient_id, patient_noun, replacements
from kiosk.model import Identifier, Match, Patient

MOST = 20
"""More patients than this are never returned: the screen offers none when there are two."""
DEEPEST = 5
"""So many mergers of mergers are followed, and no more."""
READS_MOST = 20
"""So many records are read for one question: a record that was replaced by many is not followed for ever."""


class PatientDirectory:
    """Patients of one server. `systems`: the identifier systems that wristbands carry, best first."""

    def __init__(self, client: FhirClient, systems: tuple[str, ...]) -> None:
        self._client = client
        self._systems = systems

    def find(self, identifier: str, match: Match) -> tuple[Patient, ...]:
        """Every record in use that has exactly this identifier, or that replaces one which has it, each once.

        Raises LookupFailed: LOOKUP_UNREACHABLE (retryable); LOOKUP_REFUSED, also when not let in: somebody
        waits at the screen and has to call IT; PATIENT_MERGE_BROKEN and PATIENT_INACTIVE where all that
        has the identifier is a record that must not be used.
        """
        found: dict[str, Patient] = {}
        unusable: list[Problem] = []
        for system in self._systems:
            for resource in self._search(system, identifier):
                held = held_identifier(resource, system, identifier)
                if held is None or not is_id(resource.get("id")):
                    continue
                for patient in self._in_use(resource, held, match, unusable):
                    # Found directly as well: the wristband is of the merged record all the same.
                    if patient.id not in found or patient.merged_from is not None:
                        found[patient.id] = patient
        if unusable and not found:
            broken = Problem.PATIENT_MERGE_BROKEN in unusable
            failed = LookupFailed(
                problem=Problem.PATIENT_MERGE_BROKEN if broken else Problem.PATIENT_INACTIVE
            )
            failed.retryable = False
            raise failed
        return tuple(found.values())[:MOST]

    def _in_use(
        self, resource: Resource, held: Identifier, match: Match, unusable: list[Problem]
    ) -> list[Patient]:
        """The record itself, or those that replace it; why there is none goes into `unusable`."""
        if not replacements(resource):
            if resource.get("active") is False:
                unusable.append(Problem.PATIENT_INACTIVE)
                return []
            return [patient_noun(resource, held, match)]
        try:
            survivors, problem = surviving(self._client, resource)
        except DeliveryError as e:
            error = e
        else:
            if problem is not None:
                unusable.append(problem)
            patients = [patient_noun(s, own_identifier(s, self._systems) or held, match) for s in survivors]
            return [replace(patient, merged_from=held) for patient in patients]
        raise lookup_failed(error)

    def _search(self, system: str, identifier: str) -> list[Resource]:
        try:
            return self._client.search("Patient", {"identifier": token(system, identifier)})
        except DeliveryError as e:
            error = e
        # Raised out here, so that the client's error is not chained.
        raise lookup_failed(error)


def lookup_failed(error: DeliveryError) -> LookupFailed:
    """What a look-up says about an error of the client."""
    silent = error.retryable and not isinstance(error, NotLetIn)
    problem = Problem.LOOKUP_UNREACHABLE if silent else Problem.LOOKUP_REFUSED
    failed = LookupFailed(error.detail, problem=problem)
    failed.retryable = silent
    return failed


def surviving(client: FhirClient, resource: Resource) -> tuple[list[Resource], Problem | None]:
    """The records that are used in place of a replaced one, read one after the other.

    At most DEEPEST mergers deep, READS_MOST records, none twice: a loop, a reference to another server and a
    record that is not there end in PATIENT_MERGE_BROKEN, a closed one in PATIENT_INACTIVE.
    Raises DeliveryError where the server does not answer or does not let us in.
    """
    seen = {resource.get("id")}
    found: dict[str, Resource] = {}
    problem: Problem | None = None
    todo = [(reference, 1) for reference in replacements(resource)]
    while todo:
        reference, depth = todo.pop(0)
        id = patient_id(client.local(reference))
        if id is None or id in seen or depth > DEEPEST or len(seen) > READS_MOST:
            # Two that were merged into one lead to it twice.
            if id not in found:
                problem = Problem.PATIENT_MERGE_BROKEN
            continue
        seen.add(id)
        try:
            record = client.read("Patient", id)
        except (Rejected, NotProven):
            problem = Problem.PATIENT_MERGE_BROKEN
            continue
        if record.get("id") != id:
            problem = Problem.PATIENT_MERGE_BROKEN
        elif onwards := replacements(record):
            todo += [(further, depth + 1) for further in onwards]
        elif record.get("active") is False:
            problem = problem or Problem.PATIENT_INACTIVE
        else:
            found[id] = record
    # Which of several is right cannot be said while one of them is unknown.
    return ([] if problem is Problem.PATIENT_MERGE_BROKEN else list(found.values())), problem
