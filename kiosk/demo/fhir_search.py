"""Search as the demo's FHIR server does it: R4 token, reference and string parameters on parsed JSON.

Pure functions. Source: HL7 FHIR R4 4.0.1, 3.1.1 (search), with the parameters that the kiosk and its tests
ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from kiosk.demo.fhir_rules import FhirError, Json

Params = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SearchParam:
    """Where a parameter looks. `kind`: token, reference, string or date; `target`: the only type found."""

    kind: str
    paths: tuple[str, ...]
    target: str = ""


_ID = SearchParam("token", ("id",))
_IDENTIFIER = SearchParam("token", ("identifier",))

SEARCH_PARAMS: Mapping[str, Mapping[str, SearchParam]] = {
    "Patient": {"_id": _ID, "identifier": _IDENTIFIER},
    "Practitioner": {"_id": _ID, "identifier": _IDENTIFIER},
    "RelatedPerson": {
        "_id": _ID,
        "identifier": _IDENTIFIER,
        "patient": SearchParam("reference", ("patient",), "Patient"),
    },
    "Device": {
        "_id": _ID,
        "identifier": _IDENTIFIER,
        "patient": SearchParam("reference", ("patient",), "Patient"),
    },
    "Consent": {
        "_id": _ID,
        "identifier": _IDENTIFIER,
        "patient": SearchParam("reference", ("patient",), "Patient"),
    },
    "DocumentReference": {
        "_id": _ID,
        "identifier": SearchParam("token", ("masterIdentifier", "identifier")),
        "patient": SearchParam("reference", ("subject",), "Patient"),
        "subject": SearchParam("reference", ("subject",)),
    },
    "Binary": {"_id": _ID},
    "Provenance": {
        "_id": _ID,
        "target": SearchParam("reference", ("target",)),
        "patient": SearchParam("reference", ("target",), "Patient"),
    },
    "AuditEvent": {
        "_id": _ID,
        "entity": SearchParam("reference", ("entity.what",)),
        "entity-name": SearchParam("string", ("entity.name",)),
        "patient": SearchParam("reference", ("agent.who", "entity.what"), "Patient"),
    },
    "Location": {"_id": _ID, "identifier": _IDENTIFIER},
    "Appointment": {
        "_id": _ID,
        "identifier": _IDENTIFIER,
        "status": SearchParam("token", ("status",)),
        "date": SearchParam("date", ("start",)),
        "location": SearchParam("reference", ("participant.actor",), "Location"),
        "patient": SearchParam("reference", ("participant.actor",), "Patient"),
    },
    "Encounter": {
        "_id": _ID,
        "identifier": _IDENTIFIER,
        "status": SearchParam("token", ("status",)),
        "location": SearchParam("reference", ("location.location",), "Location"),
        "patient": SearchParam("reference", ("subject",), "Patient"),
    },
}

INCLUDES: Mapping[str, tuple[str, ...]] = {"Appointment": ("patient",), "Encounter": ("patient",)}
"""What _include takes, by type: names of its reference parameters."""


@dataclass(frozen=True, slots=True)
class Query:
    """A checked search: what has to match, and which page of the matches is wanted."""

    criteria: tuple[tuple[str, str], ...]
    count: int | None = None
    offset: int = 0
    includes: tuple[str, ...] = ()


def parse_query(kind: str, params: Params, *, strict: bool) -> Query:
    """Check search parameters. Raises FhirError 400; unknown ones only when `strict` (Prefer: handling)."""
    known = SEARCH_PARAMS[kind]
    criteria: list[tuple[str, str]] = []
    paging: dict[str, int] = {}
    includes: list[str] = []
    for name, value in params:
        base, colon, _modifier = name.partition(":")
        if base in known and colon:
            raise FhirError(400, "not-supported", f"Modifiers of {base} are not supported.")
        if base in known and value:
            criteria.append((base, value))
        elif name == "_include" and value in [f"{kind}:{one}" for one in INCLUDES.get(kind, ())]:
            includes.append(value.partition(":")[2])
        elif name in ("_count", "_offset"):
            if not (value.isascii() and value.isdigit() and len(value) < 10):
                raise FhirError(400, "value", f"{name} must be a whole number.")
            paging[name] = int(value)
        elif strict and name != "_format":
            raise FhirError(
                400, "not-supported", f"Unknown or empty search parameter; {kind} knows {', '.join(known)}."
            )
    return Query(tuple(criteria), paging.get("_count"), paging.get("_offset", 0), tuple(includes))


def parse_if_none_exist(kind: str, text: str) -> Query:
    """Check the criteria of a conditional create: a query without `?`. Raises FhirError 400."""
    query = parse_query(kind, parse_qsl(text, keep_blank_values=True), strict=True)
    if not query.criteria or query.count is not None or query.offset:
        raise FhirError(
            400, "invalid", "A conditional create needs criteria such as identifier=system%7Cvalue."
        )
    return query


def matches(resource: Json, query: Query, base_url: str) -> bool:
    """Whether a resource meets every criterion; a comma inside one criterion means or."""
    known = SEARCH_PARAMS[resource["resourceType"]]
    for name, text in query.criteria:
        param = known[name]
        test = _TESTS[param.kind]
        found = [value for path in param.paths for value in _values(resource, path)]
        wanted = re.split(r"(?<!\\),", text)
        if not any(test(value, want, param.target, base_url) for value in found for want in wanted):
            return False
    return True


def included(resource: Json, query: Query, base_url: str) -> Iterator[str]:
    """`Type/id` of everything on this server that the query's _include leads to from one match."""
    for name in query.includes:
        param = SEARCH_PARAMS[resource["resourceType"]][name]
        for path in param.paths:
            for value in _values(resource, path):
                literal = value.get("reference") if isinstance(value, dict) else None
                local = local_reference(literal, base_url) if isinstance(literal, str) else None
                if local is not None and local.startswith(f"{param.target}/"):
                    yield local


def local_reference(reference: str, base_url: str) -> str | None:
    """Return `Type/id` of a reference to this server, without base and version; else None."""
    path = reference.removeprefix(base_url + "/") if base_url else reference
    match = re.fullmatch(r"([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(/_history/[A-Za-z0-9\-.]{1,64})?", path)
    return match[1] if match else None


def _values(node: Any, path: str) -> Iterator[Any]:
    first, _, rest = path.partition(".")
    found = node.get(first) if isinstance(node, dict) else None
    for value in found if isinstance(found, list) else [] if found is None else [found]:
        if rest:
            yield from _values(value, rest)
        else:
            yield value


def _token(value: Any, wanted: str, _target: str, _base_url: str) -> bool:
    if isinstance(value, str):
        return value == _plain(wanted)
    if not isinstance(value, dict):
        return False
    parts = [_plain(part) for part in re.split(r"(?<!\\)\|", wanted, maxsplit=1)]
    if len(parts) == 1:
        return bool(value.get("value") == parts[0])
    system_fits = value.get("system", "") == parts[0]
    return system_fits and (not parts[1] or value.get("value") == parts[1])


def _date(value: Any, wanted: str, _target: str, _base_url: str) -> bool:
    """R4, 3.1.1.4.6, for instants: `ge` and `lt`, which is what the kiosk asks with."""
    prefix, text = wanted[:2], wanted[2:]
    try:
        bound, at = datetime.fromisoformat(text), datetime.fromisoformat(str(value))
        return at >= bound if prefix == "ge" else at < bound if prefix == "lt" else False
    except (ValueError, TypeError):
        return False


def _reference(value: Any, wanted: str, target: str, base_url: str) -> bool:
    literal = value.get("reference") if isinstance(value, dict) else None
    if not isinstance(literal, str):
        return False
    here = local_reference(literal, base_url) or literal
    if target and not here.startswith(target + "/"):
        return False
    want = _plain(wanted)
    if "/" not in want:
        return here.partition("/")[2] == want
    return here == (local_reference(want, base_url) or want)


def _string(value: Any, wanted: str, _target: str, _base_url: str) -> bool:
    return isinstance(value, str) and value.casefold().startswith(_plain(wanted).casefold())


_TESTS = {"token": _token, "reference": _reference, "string": _string, "date": _date}


def _plain(text: str) -> str:
    return re.sub(r"\\([\\,|$])", r"\1", text)
