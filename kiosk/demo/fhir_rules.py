"""What the demo's FHIR server asks of a resource, and how it says no. Pure functions on parsed JSON.

Source: HL7 FHIR R4 4.0.1. The checks are basic (JSON shape, required elements, required codes, dates); two
are stricter than R4 because the kiosk promises them: a Consent names its patient, a DocumentReference its
subject.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]

_DEEPEST = 60
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_URN_UUID = re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_TIME = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})"
_INSTANT = re.compile(_TIME)
_DATE_TIME = re.compile(rf"\d{{4}}(-\d{{2}}(-\d{{2}})?)?|{_TIME}")
_MIME = re.compile(r"[A-Za-z0-9.+_-]+/[A-Za-z0-9.+_-]+( *;[ -~]*)?")
_LINK_IN_NARRATIVE = re.compile(r"""((?:href|src)\s*=\s*["'])([^"']*)""")


class FhirError(Exception):
    """A request that is refused. `text` names elements and rules, and never what was sent."""

    def __init__(self, status: int, code: str, text: str) -> None:
        self.status = status
        self.code = code
        self.text = text
        super().__init__(f"{status} {code}: {text}")

    def outcome(self) -> Json:
        """The OperationOutcome that goes to the client."""
        return operation_outcome(self.code, self.text)


def operation_outcome(code: str, text: str) -> Json:
    """An OperationOutcome with one error; `code` is of http://hl7.org/fhir/issue-type."""
    issue = {"severity": "error", "code": code, "diagnostics": text}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


_GENDERS = frozenset({"male", "female", "other", "unknown"})

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "Patient": (),
    "Practitioner": (),
    "RelatedPerson": ("patient",),
    "Device": (),
    "Consent": (
        "status",
        "scope",
        "category",
        "patient",
        "provision.data.meaning",
        "provision.data.reference",
    ),
    "DocumentReference": (
        "status",
        "subject",
        "content",
        "content.attachment",
        "content.attachment.contentType",
        "relatesTo.code",
        "relatesTo.target",
    ),
    "Binary": ("contentType",),
    "Provenance": (
        "target",
        "recorded",
        "agent",
        "agent.who",
        "entity.role",
        "entity.what",
        "signature.type",
        "signature.when",
        "signature.who",
    ),
    "AuditEvent": ("type", "recorded", "agent", "agent.requestor", "source", "source.observer"),
    "Location": (),
    "Appointment": ("status", "participant", "participant.status"),
    "Encounter": ("status", "class", "location.location"),
}
TYPES = tuple(REQUIRED)

_CODES: Mapping[str, Mapping[str, frozenset[str]]] = {
    "Patient": {"gender": _GENDERS},
    "Practitioner": {"gender": _GENDERS},
    "RelatedPerson": {"gender": _GENDERS},
    "Device": {"status": frozenset({"active", "inactive", "entered-in-error", "unknown"})},
    "Consent": {
        "status": frozenset({"draft", "proposed", "active", "rejected", "inactive", "entered-in-error"}),
        "provision.type": frozenset({"deny", "permit"}),
        "provision.provision.type": frozenset({"deny", "permit"}),
    },
    "DocumentReference": {
        "status": frozenset({"current", "superseded", "entered-in-error"}),
        "docStatus": frozenset({"preliminary", "final", "amended", "entered-in-error"}),
        "relatesTo.code": frozenset({"replaces", "transforms", "signs", "appends"}),
    },
    "Provenance": {"entity.role": frozenset({"derivation", "revision", "quotation", "source", "removal"})},
    "Location": {"status": frozenset({"active", "suspended", "inactive"})},
    "Appointment": {
        "status": frozenset(
            ["proposed", "pending", "booked", "arrived", "fulfilled", "cancelled", "noshow"]
            + ["entered-in-error", "checked-in", "waitlist"]
        ),
        "participant.status": frozenset({"accepted", "declined", "tentative", "needs-action"}),
    },
    "Encounter": {
        "status": frozenset(
            ["planned", "arrived", "triaged", "in-progress", "onleave", "finished", "cancelled"]
            + ["entered-in-error", "unknown"]
        ),
        "location.status": frozenset({"planned", "active", "reserved", "completed"}),
    },
    "AuditEvent": {
        "action": frozenset({"C", "R", "U", "D", "E"}),
        "outcome": frozenset({"0", "4", "8", "12"}),
    },
}

_FORMATS: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "Patient": {"birthDate": _DATE},
    "Practitioner": {"birthDate": _DATE},
    "Consent": {"dateTime": _DATE_TIME},
    "DocumentReference": {
        "date": _INSTANT,
        "context.period.start": _DATE_TIME,
        "context.period.end": _DATE_TIME,
        "content.attachment.creation": _DATE_TIME,
        "content.attachment.contentType": _MIME,
    },
    "Binary": {"contentType": _MIME},
    "Provenance": {"recorded": _INSTANT, "signature.when": _INSTANT},
    "AuditEvent": {"recorded": _INSTANT},
    "Appointment": {"start": _INSTANT, "end": _INSTANT},
    "Encounter": {"period.start": _DATE_TIME, "period.end": _DATE_TIME},
}

_COMMON_ARRAYS = ("contained", "extension", "modifierExtension")
_ARRAYS: Mapping[str, tuple[str, ...]] = {
    "Patient": ("identifier", "name", "telecom", "address", "contact", "communication", "link"),
    "Practitioner": ("identifier", "name", "telecom", "address", "qualification"),
    "RelatedPerson": ("identifier", "relationship", "name", "telecom", "address", "photo", "communication"),
    "Device": ("identifier", "udiCarrier", "deviceName", "version", "property", "safety", "note"),
    "Consent": ("identifier", "category", "performer", "organization", "policy", "verification"),
    "DocumentReference": ("identifier", "category", "author", "relatesTo", "securityLabel", "content"),
    "Binary": (),
    "Provenance": ("target", "policy", "reason", "agent", "entity", "signature"),
    "AuditEvent": ("subtype", "purposeOfEvent", "agent", "entity"),
    "Location": ("identifier", "alias", "type", "telecom"),
    "Appointment": ("identifier", "serviceType", "slot", "participant", "requestedPeriod"),
    "Encounter": ("identifier", "statusHistory", "type", "participant", "appointment", "location"),
}

_MUST_POINT_AT: Mapping[str, Mapping[str, str]] = {
    "Consent": {"patient": "Patient"},
    "RelatedPerson": {"patient": "Patient"},
    "DocumentReference": {"subject": "Patient"},
}


def is_id(text: object) -> bool:
    """Whether this is an R4 id."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def is_urn_uuid(text: str) -> bool:
    """Whether this is urn:uuid: and a lower-case UUID (R4, datatype uuid)."""
    return _URN_UUID.fullmatch(text) is not None


def check_json(node: Any, depth: int = 0) -> None:
    """Refuse what FHIR JSON does not allow anywhere: null, empty values, endless depth (R4, 2.6.2)."""
    if depth > _DEEPEST:
        raise FhirError(400, "too-long", "The JSON is nested too deeply.")
    if node is None or node == "" or node == [] or node == {}:
        raise FhirError(400, "structure", "An element is null or empty, which FHIR JSON does not allow.")
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        check_json(child, depth + 1)


def check_resource(resource: Any, expected: str | None = None) -> str:
    """Return the type of an acceptable resource. Raises FhirError 400, or 404 for an unsupported type."""
    if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
        raise FhirError(400, "structure", "The body is not a FHIR resource: resourceType is missing.")
    kind: str = resource["resourceType"]
    if expected is not None and kind != expected:
        raise FhirError(400, "invalid", f"The resource is not a {expected}.")
    if kind not in REQUIRED:
        raise FhirError(404, "not-supported", f"This server stores only {', '.join(TYPES)}.")
    check_json(resource)
    if "id" in resource and not is_id(resource["id"]):
        raise FhirError(400, "value", f"{kind}.id is not an id.")
    for name in (*_ARRAYS[kind], *_COMMON_ARRAYS):
        if name in resource and not isinstance(resource[name], list):
            raise FhirError(400, "structure", f"{kind}.{name} must be an array.")
    for path in REQUIRED[kind]:
        for parent, last in _parents(resource, kind, path):
            if last not in parent:
                raise FhirError(400, "required", f"{kind}.{path} is missing.")
    for path, codes in _CODES.get(kind, {}).items():
        for parent, last in _parents(resource, kind, path):
            if last in parent and parent[last] not in codes:
                raise FhirError(
                    400, "code-invalid", f"{kind}.{path} is not one of {', '.join(sorted(codes))}."
                )
    for path, pattern in _FORMATS.get(kind, {}).items():
        for parent, last in _parents(resource, kind, path):
            value = parent.get(last)
            if last in parent and not (isinstance(value, str) and pattern.fullmatch(value)):
                raise FhirError(400, "value", f"{kind}.{path} does not have the form that R4 asks for.")
    for name, target in _MUST_POINT_AT.get(kind, {}).items():
        _check_points_at(resource[name], f"{kind}.{name}", target)
    if kind == "Consent" and not ("policy" in resource or "policyRule" in resource):
        raise FhirError(400, "invariant", "Consent needs policy or policyRule (ppc-1).")
    if kind == "DocumentReference":
        for content in resource["content"]:
            _check_attachment(content["attachment"])
    return kind


def _parents(resource: Json, kind: str, path: str) -> Iterator[tuple[Json, str]]:
    """Yield every object that may hold the last element of a dotted path; arrays are walked through."""
    *way, last = path.split(".")
    nodes: list[Any] = [resource]
    for name in way:
        found: list[Any] = []
        for node in nodes:
            value = node.get(name)
            found.extend(value if isinstance(value, list) else [] if value is None else [value])
        if not all(isinstance(node, dict) for node in found):
            raise FhirError(400, "structure", f"{kind}.{path} is not where R4 puts it.")
        nodes = found
    for node in nodes:
        yield node, last


def _check_points_at(reference: Any, where: str, target: str) -> None:
    if not isinstance(reference, dict) or not ("reference" in reference or "identifier" in reference):
        raise FhirError(400, "structure", f"{where} must be a Reference.")
    literal = reference.get("reference", "")
    if not isinstance(literal, str):
        raise FhirError(400, "structure", f"{where}.reference must be a string.")
    if literal and not literal.startswith(("#", "urn:")) and f"{target}/" not in literal:
        raise FhirError(400, "value", f"{where} must refer to a {target}.")


def _check_attachment(attachment: Json) -> None:
    where = "DocumentReference.content.attachment"
    if not ("url" in attachment or "data" in attachment):
        raise FhirError(400, "required", f"{where} has neither url nor data.")
    if "data" in attachment:
        decode_base64(attachment["data"], f"{where}.data")
    if "hash" in attachment and len(decode_base64(attachment["hash"], f"{where}.hash")) != 20:
        raise FhirError(400, "value", f"{where}.hash is not the base64 of a SHA-1.")
    size = attachment.get("size", 0)
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise FhirError(400, "value", f"{where}.size is not an unsigned integer.")


def decode_base64(text: Any, where: str) -> bytes:
    """Decode an R4 base64Binary. Raises FhirError 400 that names `where`."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise FhirError(400, "value", f"{where} is not base64.") from None


def references(node: Any) -> Iterator[str]:
    """Yield every literal Reference.reference below a node."""
    if isinstance(node, list):
        for child in node:
            yield from references(child)
    elif isinstance(node, dict):
        for key, child in node.items():
            if key == "reference" and isinstance(child, str):
                yield child
            else:
                yield from references(child)


_URI_ELEMENTS = frozenset(
    ["reference", "url", "uri", "system", "source", "profile", "implicitRules", "authority", "policy"]
    + ["issuer", "jurisdiction", "valueUri", "valueUrl", "valueCanonical", "valueOid", "valueUuid"]
)


def rewrite_links(node: Any, ids: Mapping[str, str], *, leave: frozenset[str] = frozenset()) -> Any:
    """Return a copy in which links to an entry's fullUrl point at the id that it got.

    R4, 3.1.0.11.2: references, elements of type uri, url, oid, uuid, and href and src in the narrative.
    Strings such as Identifier.value stay. `leave`: element names that are not rewritten (a fault).
    """
    if isinstance(node, list):
        return [rewrite_links(child, ids, leave=leave) for child in node]
    if not isinstance(node, dict):
        return node
    copy: Json = {}
    for key, child in node.items():
        if key in _URI_ELEMENTS and key not in leave and isinstance(child, str):
            copy[key] = ids.get(child, child)
        elif key in _URI_ELEMENTS and key not in leave and _all_strings(child):
            copy[key] = [ids.get(one, one) for one in child]
        elif key == "div" and isinstance(child, str):
            copy[key] = _LINK_IN_NARRATIVE.sub(lambda m: m[1] + ids.get(m[2], m[2]), child)
        else:
            copy[key] = rewrite_links(child, ids, leave=leave)
    return copy


def _all_strings(node: Any) -> bool:
    return isinstance(node, list) and all(isinstance(one, str) for one in node)
