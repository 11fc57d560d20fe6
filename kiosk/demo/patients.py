"""The synthetic patients that the demo's record server knows at start.

NHS numbers are of the range 999, which is reserved for tests and never issued to a person. All
have a valid modulus-11 check digit (NHS Data Dictionary, "NHS NUMBER").
"""

from __future__ import annotations

from typing import Any

NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
LOCAL_MRN = "https://demo-hospital.example/Id/mrn"
SHARED_NHS_NUMBER = "9991112227"
"""Carried by two different patients (FENWICK, Rosalind and FENWICK, Rosemary): the ambiguous case."""


def demo_patients() -> list[dict[str, Any]]:
    """Return new R4 Patient resources, with ids that the server keeps.

    OKONKWO-SMITH, Adaeze (9991230009); ABERNATHY, Callum, male;
    LINDQVIST, Saga, a child; VANTERPOOL, Desmond, birth date unknown; and the two
    FENWICKs who share SHARED_NHS_NUMBER.
    """
    return [
        _patient(1, "9991230009", ("OKONKWO-SMITH", "Adaeze", "Ms"), "female", "1945-07-14"),
        _patient(2, "9994561235", ("ABERNATHY", "Callum", "Mr"), "male", "1968-03-02"),
        _patient(3, "9990123454", ("LINDQVIST", "Saga", ""), "female", "2019-11-23"),
        _patient(4, "9993456780", ("VANTERPOOL", "Desmond", "Mr"), "male", None),
        _patient(5, SHARED_NHS_NUMBER, ("FENWICK", "Rosalind", "Mrs"), "female", "1957-01-30"),
        _patient(6, SHARED_NHS_NUMBER, ("FENWICK", "Rosemary", "Dr"), "female", "1957-01-30"),
    ]


def _patient(
    number: int, nhs: str, name: tuple[str, str, str], gender: str, born: str | None
) -> dict[str, Any]:
    family, given, prefix = name
    human: dict[str, Any] = {"use": "official", "family": family, "given": [given]}
    if prefix:
        human["prefix"] = [prefix]
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "id": f"demo-patient-{number}",
        "identifier": [
            {"use": "official", "system": NHS_NUMBER, "value": nhs},
            {"use": "usual", "system": LOCAL_MRN, "value": f"D{100200 + number}"},
        ],
        "active": True,
        "name": [human],
        "gender": gender,
    }
    if born is not None:
        patient["birthDate"] = born
    return patient
