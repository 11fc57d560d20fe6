"""Reading what a FHIR server answered: statuses, headers and JSON, none of it trusted.

Sources: FHIR R4 http.html, bundle.html and capabilitystatement.html; RFC 9110, 10.2.3 (Retry-After) and
15.5 (client errors); RFC 6585, 6 (511, a network's sign-in page).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from kiosk.errors import Conflict, DeliveryError, NotLetIn, Rejected, ServerBusy

Resource = dict[str, Any]
"""A FHIR resource as parsed JSON."""

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONFLICT = frozenset({409, 412})
_NOT_LET_IN = frozenset({401, 403, 407, 511})
RETRY_AFTER_MAX = 900.0
"""Seconds: a server that asks for a longer wait is asked again all the same."""

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


def is_id(text: object) -> bool:
    """Whether this is a FHIR logical id (R4 datatypes, `id`)."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def error_for_status(status: int, detail: str, retry_after: float | None = None) -> DeliveryError:
    """The error that a status of 300 or more means, for a whole answer or one entry of a Bundle.

    Who is not let in, or is sent elsewhere, was not judged by its content: NotLetIn, to be tried again.
    """
    if status in _BUSY:
        return ServerBusy(detail, retry_after=retry_after)
    if status in _CONFLICT:
        return Conflict(detail)
    if status in _NOT_LET_IN:
        return NotLetIn(detail)
    if 300 <= status < 400:
        return NotLetIn(f"{detail} redirect")
    refused = Rejected(detail)
    refused.status = status
    return refused


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from a Retry-After header, given as seconds or as a date, at most RETRY_AFTER_MAX."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), RETRY_AFTER_MAX)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return min(max(0.0, (when - now).total_seconds()), RETRY_AFTER_MAX)


def part(resource: Resource, key: str) -> Resource:
    """The object below `key`, or an empty one."""
    found = resource.get(key)
    return found if isinstance(found, dict) else {}


def objects(resource: Resource, key: str) -> list[Resource]:
    """The objects in the list below `key`; what is not an object is dropped."""
    found = resource.get(key)
    return [o for o in found if isinstance(o, dict)] if isinstance(found, list) else []


def token(system: str, value: str) -> str:
    """A search token `system|value`, escaped as R4's search.html asks (3.1.1.4.0.1)."""
    return "|".join(re.sub(r"([\\$,|])", r"\\\1", text) for text in (system, value))


def has_identifier(resource: Resource, system: str, value: str) -> bool:
    """Whether the resource really carries this identifier: some servers ignore what they cannot search."""
    return any(i.get("system") == system and i.get("value") == value for i in objects(resource, "identifier"))


def creates_by_put(statement: Resource) -> frozenset[str]:
    """The resource types for which a CapabilityStatement offers updateCreate: a PUT may make a new one."""
    servers = (rest for rest in objects(statement, "rest") if rest.get("mode") == "server")
    kinds = (kind for rest in servers for kind in objects(rest, "resource"))
    return frozenset(str(kind.get("type")) for kind in kinds if kind.get("updateCreate") is True)


def parse_json(body: bytes | bytearray) -> Resource | None:
    """The JSON object in `body`, or None."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def binary_data(resource: Resource | None) -> bytearray:
    """The bytes in a Binary resource that came as JSON."""
    data = resource.get("data") if resource and resource.get("resourceType") == "Binary" else None
    try:
        return bytearray(base64.b64decode(data, validate=True)) if isinstance(data, str) else bytearray()
    except binascii.Error:
        return bytearray()
