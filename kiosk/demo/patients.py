"""The synthetic patients that the demo's record server knows at start.

NHS numbers are of the range 999, which is reserved for tests and never issued to a person. All
have a valid modulus-11 check digit (NHS Data Dictionary, "NHS NUMBER").
"""

from __future__ import annotations

from typing import Any

NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
LOCAL_MRN = "https://demo-hospital.example/Id/mrn"
MERGED_NHS_NUMBER = "9992223332"
DECEASED_NHS_NUMBER = "9994445553"
CLOSED_NHS_NUMBER = "9995556669"
SHARED_NHS_NUMBER = "9991112227"
"""Carried by two different patients (FENWICK, Rosalind and FENWICK, Rosemary): the ambiguous case."""


def demo_patients() -> list[dict[str, Any]]:
    """Return new R4 Patient resources, with ids that the server keeps.

    OKONKWO-SMITH, Adaeze (9991230009); ABERNATHY, Callum, male;
    LINDQVIST, Saga, a child; VANTERPOOL, Desmond, birth date unknown; the two
    FENWICKs who share SHARED_NHS_NUMBER; HOLT, Ines (MERGED_NHS_NUMBER), whose record was merged into
    NAKAMURA-HOLT's; TREGENZA, Wilfred (DECEASED_NHS_NUMBER), who has died; and ASHDOWN, Petra
    (CLOSED_NHS_NUMBER), whose record is inactive.
    """
    merged = _patient(7, MERGED_NHS_NUMBER, ("HOLT", "Ines", "Mrs"), "female", "1971-09-04")
    merged["active"] = False
    merged["link"] = [{"other": {"reference": "Patient/demo-patient-8"}, "type": "replaced-by"}]
    survivor = _patient(8, "9993334448", ("NAKAMURA-HOLT", "Ines", "Mrs"), "female", "1971-09-04")
    survivor["link"] = [{"other": {"reference": "Patient/demo-patient-7"}, "type": "replaces"}]
    deceased = _patient(9, DECEASED_NHS_NUMBER, ("TREGENZA", "Wilfred", "Mr"), "male", "1938-05-17")
    deceased["deceasedDateTime"] = "2026-02-03"
    closed = _patient(10, CLOSED_NHS_NUMBER, ("ASHDOWN", "Petra", "Ms"), "female", "1990-12-01")
    closed["active"] = False
    return [
        _patient(1, "9991230009", ("OKONKWO-SMITH", "Adaeze", "Ms"), "female", "1945-07-14"),
        _patient(2, "9994561235", ("ABERNATHY", "Callum", "Mr"), "male", "1968-03-02"),
        _patient(3, "9990123454", ("LINDQVIST", "Saga", ""), "female", "2019-11-23"),
        _patient(4, "9993456780", ("VANTERPOOL", "Desmond", "Mr"), "male", None),
        _patient(5, SHARED_NHS_NUMBER, ("FENWICK", "Rosalind", "Mrs"), "female", "1957-01-30"),
        _patient(6, SHARED_NHS_NUMBER, ("FENWICK", "Rosemary", "Dr"), "female", "1957-01-30"),
        merged,
        survivor,
        deceased,
        closed,
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
