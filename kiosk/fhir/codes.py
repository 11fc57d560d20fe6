"""Every code that Lethe writes into a record, with its display and where it was confirmed.

Sources, by the short names used below:
  R4        HL7 FHIR R4 4.0.1 specification and its value sets
  THO       HL7 Terminology (terminology.hl7.org), as expanded in the R5-to-R4 cross-version package
  PCF       IHE Privacy Consent on FHIR
  MHD       IHE Mobile access to Health Documents, and IHE FormatCode
  PCS       IHE Paramedicine Care Summary, value sets of physical findings
  EU        HL7 Europe Imaging R4
  CID4031   DICOM PS3.16, CID 4031 Common Anatomic Regions
  BE        Belgian eHealth platform, value set be-vs-body-site
  VA        US Department of Veterans Affairs, concept map VF-VitalsBodySite
  NHS       the English school vaccination service
  ENUM      HAPI FHIR's generated enumerations of R4 value sets
  V2        HL7 v2 interface libraries, table 0063
  IPS       the International Patient Summary generator of HealthIntersections' FHIR server
A SNOMED CT code below was found with this display, or a plain short form of it, in the two places named.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from kiosk.model import BodySite, Laterality, Purpose, Region, Signer

SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
V2_0496 = "http://terminology.hl7.org/CodeSystem/v2-0496"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
DATA_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
ROLE_CODE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"


class Coding(NamedTuple):
    """A code of a code system, with the display of that system."""

    system: str
    code: str
    display: str

    def to_fhir(self) -> dict[str, str]:
        """As an R4 Coding."""
        return {"system": self.system, "code": self.code, "display": self.display}


def concept(*codings: Coding, text: str = "") -> dict[str, Any]:
    """An R4 CodeableConcept."""
    made: dict[str, Any] = {}
    if codings:
        made["coding"] = [c.to_fhir() for c in codings]
    if text:
        made["text"] = text
    return made


# LOINC; display as in a French ORU^R01 sample for wound photographs.
PHOTOGRAPH = Coding(LOINC, "72170-4", "Photographic image")
# R4 consent-category; display as in R4's expansion (LOINC's own short name is 'Consent Document').
PATIENT_CONSENT = Coding(LOINC, "59284-0", "Patient Consent")
# R4 consent-category; PCF gives it to the signed acknowledgement.
CONSENT_FORM = Coding(LOINC, "57016-8", "Privacy policy acknowledgement Document")
# THO, HL7 v2 table 0496 Consent Type.
PHOTOGRAPHS = Coding(V2_0496, "097", "Photographs")
PHOTOGRAPHS_RESEARCH = Coding(V2_0496, "099", "Photographs - Medical Research")
# R4 consent-scope.
PRIVACY = Coding("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy", "Privacy Consent")
# THO, v3 ActReason.
TREATMENT = Coding(ACT_REASON, "TREAT", "treatment")
TRAINING = Coding(ACT_REASON, "TRAIN", "training")
RESEARCH = Coding(ACT_REASON, "HRESCH", "healthcare research")
# R4 signature-type (ASTM E1762-95).
CONSENT_SIGNATURE = Coding("urn:iso-astm:E1762-95:2013", "1.2.840.10065.1.12.1.7", "Consent Signature")
CONSENT_WITNESS = Coding("urn:iso-astm:E1762-95:2013", "1.2.840.10065.1.12.1.11", "Consent Witness Signature")
# THO, v3 DataOperation; R4 provenance-activity-type (ENUM).
CREATE = Coding(DATA_OPERATION, "CREATE", "create")
UPDATE = Coding(DATA_OPERATION, "UPDATE", "revise")
NULLIFY = Coding(DATA_OPERATION, "NULLIFY", "nullify")
# THO, v3 RoleCode; R4 relatedperson-relationshiptype. It has no code for a carer.
PARENT = Coding(ROLE_CODE, "PRN", "parent")
GUARDIAN = Coding(ROLE_CODE, "GUARD", "guardian")
# THO, HL7 v2 table 0063 Relationship (V2).
CARER = Coding("http://terminology.hl7.org/CodeSystem/v2-0063", "CGV", "Care giver")
# R4 provenance-agent-type.
AUTHOR = Coding(PARTICIPANT, "author", "Author")
ENTERER = Coding(PARTICIPANT, "enterer", "Enterer")
ASSEMBLER = Coding(PARTICIPANT, "assembler", "Assembler")
# THO, v3 Confidentiality.
NORMAL = Coding("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "N", "normal")
# EU; the Dutch image exchange: the IHE XDS class codes.
IMAGES = Coding("urn:oid:1.3.6.1.4.1.19376.1.2.6.1", "IMAGES", "Images")
# MHD, IHE FormatCode.
MIME_TYPE_SUFFICIENT = Coding(
    "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
    "urn:ihe:iti:xds:2017:mimeTypeSufficient",
    "mimeType Sufficient",
)

BODY_SITE_EXTENSION = "http://hl7.org/fhir/5.0/StructureDefinition/extension-DocumentReference.bodySite"
"""R5's body site for R4's DocumentReference, which has none (EU; IHE RAD searches its `concept`)."""
URI_SYSTEM = "urn:ietf:rfc:3986"
"""The system of an identifier whose value is itself a URI (R4, identifier-registry)."""

PURPOSES: Mapping[Purpose, Coding] = MappingProxyType(
    {Purpose.RECORD: TREATMENT, Purpose.TEACHING: TRAINING, Purpose.RESEARCH: RESEARCH}
)

RELATIONSHIPS: Mapping[Signer, Coding] = MappingProxyType(
    {Signer.PARENT: PARENT, Signer.GUARDIAN: GUARDIAN, Signer.CARER: CARER}
)


def _sct(code: str, display: str) -> Coding:
    return Coding(SNOMED, code, display)


MIDLINE: Mapping[Region, Coding] = MappingProxyType(
    {
        # BE, VA.
        Region.HEAD: _sct("69536005", "Head structure"),
        # BE; CID4031 as 'Face'.
        Region.FACE: _sct("89545001", "Face structure"),
        # BE, VA.
        Region.NECK: _sct("45048000", "Neck structure"),
        # BE; CID4031 as 'Chest'.
        Region.CHEST: _sct("51185008", "Thoracic structure"),
        # VA, CID4031.
        Region.ABDOMEN: _sct("818983003", "Abdomen"),
        # CID4031 as 'Back'; a pain assessment guide gives the full name.
        Region.BACK: _sct("77568009", "Structure of back of trunk"),
        # BE; German oncology data set. For the skin over it no code could be confirmed.
        Region.SACRUM: _sct("699698002", "Structure of sacral vertebral column"),
    }
)

SIDED: Mapping[tuple[Region, Laterality], Coding] = MappingProxyType(
    {
        # PCS; a shoulder examination guide.
        (Region.SHOULDER, Laterality.LEFT): _sct("91775009", "Structure of left shoulder region"),
        (Region.SHOULDER, Laterality.RIGHT): _sct("91774008", "Structure of right shoulder region"),
        # PCS, NHS.
        (Region.UPPER_ARM, Laterality.LEFT): _sct("368208006", "Left upper arm structure"),
        (Region.UPPER_ARM, Laterality.RIGHT): _sct("368209003", "Right upper arm structure"),
        # PCS; an emergency care app.
        (Region.ELBOW, Laterality.LEFT): _sct("368148009", "Left elbow region structure"),
        (Region.ELBOW, Laterality.RIGHT): _sct("368149001", "Right elbow region structure"),
        # PCS, VA.
        (Region.FOREARM, Laterality.LEFT): _sct("66480008", "Structure of left forearm"),
        (Region.FOREARM, Laterality.RIGHT): _sct("64262003", "Structure of right forearm"),
        # R4's Media example (left); IPS (both).
        (Region.HAND, Laterality.LEFT): _sct("85151006", "Structure of left hand"),
        (Region.HAND, Laterality.RIGHT): _sct("78791008", "Structure of right hand"),
        # NHS; a medication instruction library.
        (Region.BUTTOCK, Laterality.LEFT): _sct("723979003", "Structure of left buttock"),
        (Region.BUTTOCK, Laterality.RIGHT): _sct("723980000", "Structure of right buttock"),
        # PCS, VA. (One Swiss example has the right one as the left.)
        (Region.HIP, Laterality.LEFT): _sct("287679003", "Left hip region structure"),
        (Region.HIP, Laterality.RIGHT): _sct("287579007", "Right hip region structure"),
        # PCS, NHS.
        (Region.THIGH, Laterality.LEFT): _sct("61396006", "Structure of left thigh"),
        (Region.THIGH, Laterality.RIGHT): _sct("11207009", "Structure of right thigh"),
        # PCS, VA.
        (Region.KNEE, Laterality.LEFT): _sct("82169009", "Structure of left knee region"),
        (Region.KNEE, Laterality.RIGHT): _sct("6757004", "Structure of right knee region"),
        # PCS, IPS.
        (Region.LOWER_LEG, Laterality.LEFT): _sct("48979004", "Structure of left lower leg"),
        (Region.LOWER_LEG, Laterality.RIGHT): _sct("32696007", "Structure of right lower leg"),
        # PCS, VA.
        (Region.ANKLE, Laterality.LEFT): _sct("51636004", "Structure of left ankle"),
        (Region.ANKLE, Laterality.RIGHT): _sct("6685009", "Structure of right ankle"),
        # A medication instruction library; a body map with the same codes.
        (Region.HEEL, Laterality.LEFT): _sct("723606006", "Structure of left heel"),
        (Region.HEEL, Laterality.RIGHT): _sct("723607002", "Structure of right heel"),
        # IPS; an emergency care app.
        (Region.FOOT, Laterality.LEFT): _sct("22335008", "Structure of left foot"),
        (Region.FOOT, Laterality.RIGHT): _sct("7769000", "Structure of right foot"),
    }
)


def body_site(site: BodySite) -> dict[str, Any]:
    """An R4 CodeableConcept: the coded structure with its side, and what the screen said as text.

    The face of a limb is in the text only. A sided region without a side is text alone.
    """
    coding = SIDED.get((site.region, site.laterality)) if site.laterality else MIDLINE.get(site.region)
    return concept(*((coding,) if coding else ()), text=site.display())
