"""Codes are pinned here with their displays: public code mislabels several of them."""

from __future__ import annotations

import pytest

from kiosk.fhir import codes
from kiosk.fhir.codes import Coding
from kiosk.model import Aspect, BodySite, Laterality, Purpose, Region

TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
PINNED = {
    "PHOTOGRAPH": ("http://loinc.org", "72170-4", "Photographic image"),
    "PATIENT_CONSENT": ("http://loinc.org", "59284-0", "Patient Consent"),
    "CONSENT_FORM": ("http://loinc.org", "57016-8", "Privacy policy acknowledgement Document"),
    "PHOTOGRAPHS": (f"{TERMINOLOGY}/v2-0496", "097", "Photographs"),
    "PHOTOGRAPHS_RESEARCH": (f"{TERMINOLOGY}/v2-0496", "099", "Photographs - Medical Research"),
    "PRIVACY": (f"{TERMINOLOGY}/consentscope", "patient-privacy", "Privacy Consent"),
    "TREATMENT": (f"{TERMINOLOGY}/v3-ActReason", "TREAT", "treatment"),
    "TRAINING": (f"{TERMINOLOGY}/v3-ActReason", "TRAIN", "training"),
    "RESEARCH": (f"{TERMINOLOGY}/v3-ActReason", "HRESCH", "healthcare research"),
    "CONSENT_SIGNATURE": ("urn:iso-astm:E1762-95:2013", "1.2.840.10065.1.12.1.7", "Consent Signature"),
    "CONSENT_WITNESS": (
        "urn:iso-astm:E1762-95:2013",
        "1.2.840.10065.1.12.1.11",
        "Consent Witness Signature",
    ),
    "CREATE": (f"{TERMINOLOGY}/v3-DataOperation", "CREATE", "create"),
    "UPDATE": (f"{TERMINOLOGY}/v3-DataOperation", "UPDATE", "revise"),
    "NULLIFY": (f"{TERMINOLOGY}/v3-DataOperation", "NULLIFY", "nullify"),
    "PARENT": (f"{TERMINOLOGY}/v3-RoleCode", "PRN", "parent"),
    "GUARDIAN": (f"{TERMINOLOGY}/v3-RoleCode", "GUARD", "guardian"),
    "CARER": (f"{TERMINOLOGY}/v2-0063", "CGV", "Care giver"),
    "AUTHOR": (f"{TERMINOLOGY}/provenance-participant-type", "author", "Author"),
    "ENTERER": (f"{TERMINOLOGY}/provenance-participant-type", "enterer", "Enterer"),
    "ASSEMBLER": (f"{TERMINOLOGY}/provenance-participant-type", "assembler", "Assembler"),
    "NORMAL": (f"{TERMINOLOGY}/v3-Confidentiality", "N", "normal"),
    "IMAGES": ("urn:oid:1.3.6.1.4.1.19376.1.2.6.1", "IMAGES", "Images"),
    "MIME_TYPE_SUFFICIENT": (
        "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
        "urn:ihe:iti:xds:2017:mimeTypeSufficient",
        "mimeType Sufficient",
    ),
}
MIDLINE = {
    "head": ("69536005", "Head structure"),
    "face": ("89545001", "Face structure"),
    "neck": ("45048000", "Neck structure"),
    "chest": ("51185008", "Thoracic structure"),
    "abdomen": ("818983003", "Abdomen"),
    "back": ("77568009", "Structure of back of trunk"),
    "sacrum": ("699698002", "Structure of sacral vertebral column"),
}
SIDED = {
    "shoulder": ("91775009", "91774008"),
    "upper-arm": ("368208006", "368209003"),
    "elbow": ("368148009", "368149001"),
    "forearm": ("66480008", "64262003"),
    "hand": ("85151006", "78791008"),
    "buttock": ("723979003", "723980000"),
    "hip": ("287679003", "287579007"),
    "thigh": ("61396006", "11207009"),
    "knee": ("82169009", "6757004"),
    "lower-leg": ("48979004", "32696007"),
    "ankle": ("51636004", "6685009"),
    "heel": ("723606006", "723607002"),
    "foot": ("22335008", "7769000"),
}
_DIHEDRAL = (
    "0123456789",
    "1234067895",
    "2340178956",
    "3401289567",
    "4012395678",
    "5987604321",
    "6598710432",
    "7659821043",
    "8765932104",
    "9876543210",
)
_FIRST = "1576283094"


def verhoeff(number: str) -> bool:
    """Whether the check digit of an SCTID is right (SNOMED CT Release File Specification, 6.5)."""
    row = [list(map(int, "0123456789"))]
    for _ in range(7):
        row.append([row[-1][int(c)] for c in _FIRST])
    check = 0
    for place, digit in enumerate(reversed(number)):
        check = int(_DIHEDRAL[check][row[place % 8][int(digit)]])
    return check == 0


def test_every_code_is_pinned() -> None:
    found = {name: tuple(value) for name, value in vars(codes).items() if isinstance(value, Coding)}
    assert found == PINNED


def test_purposes() -> None:
    assert {p: c.code for p, c in codes.PURPOSES.items()} == {
        Purpose.RECORD: "TREAT",
        Purpose.TEACHING: "TRAIN",
        Purpose.RESEARCH: "HRESCH",
    }


def test_body_sites_are_pinned() -> None:
    assert {r.value: (c.code, c.display) for r, c in codes.MIDLINE.items()} == MIDLINE
    pairs = {
        r.value: tuple(codes.SIDED[r, side].code for side in (Laterality.LEFT, Laterality.RIGHT))
        for r in Region
        if r.has_sides
    }
    assert pairs == SIDED
    assert len(codes.SIDED) == 2 * len(SIDED)
    for (_, side), coding in codes.SIDED.items():
        assert side.value in coding.display.lower().split()


@pytest.mark.parametrize("region", list(Region))
def test_every_region_has_a_code(region: Region) -> None:
    for side in Laterality if region.has_sides else (None,):
        concept = codes.body_site(BodySite(region, side, Aspect.FRONT))
        (coding,) = concept["coding"]
        assert coding["system"] == "http://snomed.info/sct"
        assert concept["text"] == BodySite(region, side, Aspect.FRONT).display()


def test_check_digits() -> None:
    all_codes = [c.code for c in (*codes.MIDLINE.values(), *codes.SIDED.values())]
    assert len(set(all_codes)) == len(all_codes) == 33
    assert [code for code in all_codes if not verhoeff(code)] == []
    assert not verhoeff("66480009")


def test_a_side_that_is_missing_is_not_guessed() -> None:
    assert codes.body_site(BodySite(Region.HAND)) == {"text": "Hand"}
