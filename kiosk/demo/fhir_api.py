"""The FHIR R4 REST interface of the demo server, from a request to an answer; sockets are elsewhere.

Source: HL7 FHIR R4 4.0.1, 3.1.0 (RESTful API). Every refusal is an OperationOutcome that
repeats nothing of what was sent.
"""

from __future__ import annotations

import copy
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import format_datetime
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlencode

from kiosk.demo.fhir_rules import TYPES, FhirError, Json, check_resource
from kiosk.demo.fhir_search import INCLUDES, SEARCH_PARAMS, Params, Query, included, parse_query
from kiosk.demo.fhir_store import FhirStore, Stored, Written

FHIR_JSON = "application/fhir+json"
_JSON_TYPES = (FHIR_JSON, "application/json")
_SHOWN_IN_BROWSER = ("image/jpeg", "image/png", "application/pdf")


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is below /fhir, without query; header names are lower-case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def media_type(self) -> str:
        """Content-Type without parameters, lower-case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def prefers(self, preference: str) -> bool:
        """Whether the Prefer header (RFC 7240) holds this preference."""
        words = self.headers.get("prefer", "").replace(";", ",").split(",")
        return preference in [word.strip().lower() for word in words]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. `wrote`: the request was a write that succeeded."""

    status: int
    body: bytes = b""
    content_type: str = FHIR_JSON
    headers: tuple[tuple[str, str], ...] = ()
    wrote: bool = False


def json_answer(status: int, body: Json, *headers: tuple[str, str], wrote: bool = False) -> Answer:
    """An answer in FHIR JSON."""
    return Answer(status, json.dumps(body).encode("ascii"), FHIR_JSON + "; charset=utf-8", headers, wrote)


def error_answer(error: FhirError, *headers: tuple[str, str]) -> Answer:
    """An OperationOutcome."""
    return json_answer(error.status, error.outcome(), *headers)


def flip_bytes(data: bytes) -> bytes:
    """Return as many bytes, of which one in the middle is another."""
    middle = len(data) // 2
    return data[:middle] + bytes(b ^ 0xFF for b in data[middle : middle + 1]) + data[middle + 1 :]


class FhirApi:
    """Answers FHIR requests from a store."""

    def __init__(self, store: FhirStore, *, signed: bool = False) -> None:
        self._store = store
        self._key = secrets.token_bytes(32) if signed else None

    def answer(
        self, request: Request, *, corrupt: bool = False, leave: frozenset[str] = frozenset()
    ) -> Answer:
        """Answer one request. `corrupt` and `leave` are faults: see FaultKind."""
        try:
            return self._route(request, corrupt, leave)
        except FhirError as e:
            return error_answer(e, *([("Allow", "GET, HEAD, POST, PUT, DELETE")] if e.status == 405 else []))

    def _route(self, request: Request, corrupt: bool, leave: frozenset[str]) -> Answer:
        reads = request.method in ("GET", "HEAD")
        match [part for part in request.path.split("/") if part]:
            case [] if request.method == "POST":
                return self._transaction(request, leave)
            case ["metadata"] if reads:
                self._check_accept(request)
                return json_answer(200, self.capability_statement())
            case [kind, *_] if kind not in TYPES:
                raise FhirError(404, "not-supported", f"This server stores only {', '.join(TYPES)}.")
            case [kind] if reads:
                return self._search(request, kind, [])
            case [kind, "_search"] if request.method == "POST":
                return self._search(request, kind, _form(request))
            case [kind] if request.method == "POST":
                return self._create(request, kind)
            case [kind, id_] if request.method == "PUT":
                return self._update(request, kind, id_)
            case [kind, id_] if request.method == "DELETE":
                self._store.delete(kind, id_)
                return Answer(204, wrote=True)
            case [kind, id_] if reads:
                return self._read(request, kind, id_, None, corrupt)
            case [kind, id_, "_history", version] if reads:
                return self._read(request, kind, id_, version, corrupt)
            case [] | [_] | [_, _]:
                raise FhirError(405, "not-supported", "This method is not supported here.")
            case _:
                raise FhirError(404, "not-found", "There is nothing at this address.")

    def _read(self, request: Request, kind: str, id_: str, version: str | None, corrupt: bool) -> Answer:
        stored = self._store.read(kind, id_, version)
        if corrupt and stored.data:
            stored = replace(stored, data=flip_bytes(stored.data))
        if kind != "Binary" or _accepts_fhir(request):
            self._check_accept(request)
            return json_answer(200, self._shown(stored.full()), *_version_headers(stored))
        content_type = str(stored.resource["contentType"])
        headers = [*_version_headers(stored), ("X-Content-Type-Options", "nosniff")]
        if content_type.partition(";")[0].strip().lower() not in _SHOWN_IN_BROWSER:
            headers.append(("Content-Security-Policy", "sandbox; default-src 'none'"))
        return Answer(200, stored.data or b"", content_type, tuple(headers))

    def storage(self, id_: str, signature: str) -> Answer:
        """What a signed address gives, to anybody who has it."""
        if self._key is None or not hmac.compare_digest(self._sign(id_), signature):
            return error_answer(FhirError(403, "forbidden", "The signature is wrong."))
        stored = self._store.read("Binary", id_)
        return Answer(200, stored.data or b"", str(stored.resource["contentType"]))

    def _sign(self, id_: str) -> str:
        return hmac.new(self._key or b"", id_.encode(), "sha256").hexdigest()

    def _shown(self, resource: Json) -> Json:
        """As it is given back: where addresses are signed, with these in place of references to a Binary."""
        if self._key is None or resource["resourceType"] != "DocumentReference":
            return resource
        shown = copy.deepcopy(resource)
        for content in shown["content"]:
            kind, _, id_ = content["attachment"].get("url", "").partition("/")
            if kind == "Binary":
                origin = self._store.base_url.removesuffix("/fhir")
                content["attachment"]["url"] = f"{origin}/storage/{id_}?Signature={self._sign(id_)}"
        return shown

    def _create(self, request: Request, kind: str) -> Answer:
        condition = request.headers.get("if-none-exist")
        if kind == "Binary" and request.media_type not in _JSON_TYPES:
            written = self._store.create_checked(_raw_binary(request), request.body, condition)
        else:
            written = self._store.create(_parse(request), kind, condition)
        return self._written(request, written)

    def _update(self, request: Request, kind: str, id_: str) -> Answer:
        if_match = request.headers.get("if-match")
        if kind == "Binary" and request.media_type not in _JSON_TYPES:
            resource = {**_raw_binary(request), "id": id_}
            return self._written(
                request, self._store.update(resource, kind, id_, data=request.body, if_match=if_match)
            )
        return self._written(request, self._store.update(_parse(request), kind, id_, if_match=if_match))

    def _written(self, request: Request, written: Written) -> Answer:
        stored = written.stored
        headers = [("Location", f"{self._store.base_url}/{stored.location}"), *_version_headers(stored)]
        minimal = stored.key[0] == "Binary" and not request.prefers("return=representation")
        if minimal or request.prefers("return=minimal"):
            return Answer(written.status, headers=tuple(headers), wrote=True)
        return json_answer(written.status, stored.full(), *headers, wrote=True)

    def _search(self, request: Request, kind: str, form: Params) -> Answer:
        self._check_accept(request)
        params = [*parse_qsl(request.query, keep_blank_values=True), *form]
        query = parse_query(kind, params, strict=request.prefers("handling=strict"))
        found = self._store.search(kind, query)
        end = len(found) if query.count is None else query.offset + query.count
        page = found[query.offset : end]
        base = self._store.base_url
        used = list(query.criteria) + [("_include", f"{kind}:{name}") for name in query.includes]
        used += [] if query.count is None else [("_count", str(query.count))]
        links = [{"relation": "self", "url": f"{base}/{kind}?{urlencode(used)}"}]
        if query.count and end < len(found):
            links.append(
                {"relation": "next", "url": f"{base}/{kind}?{urlencode([*used, ('_offset', str(end))])}"}
            )
        bundle: Json = {"resourceType": "Bundle", "type": "searchset", "total": len(found), "link": links}
        if page:
            bundle["entry"] = [
                {
                    "fullUrl": f"{base}/{'/'.join(s.key)}",
                    "resource": self._shown(s.full()),
                    "search": {"mode": "match"},
                }
                for s in page
            ] + self._included(page, query)
        return json_answer(200, bundle)

    def _included(self, page: list[Stored], query: Query) -> list[Json]:
        """What _include adds to a page, each once; a reference to nothing adds nothing."""
        base = self._store.base_url
        places = dict.fromkeys(place for s in page for place in included(s.resource, query, base))
        return [
            {"fullUrl": f"{base}/{place}", "resource": found, "search": {"mode": "include"}}
            for place in places
            if (found := self._store.get(*place.split("/"))) is not None
        ]

    def _transaction(self, request: Request, leave: frozenset[str]) -> Answer:
        written = self._store.transaction(_parse(request), leave=leave)
        entries: list[Json] = []
        for one in written:
            response = {
                "status": f"{one.status} {'Created' if one.status == 201 else 'OK'}",
                "location": one.stored.location,
                "etag": f'W/"{one.stored.version}"',
                "lastModified": one.stored.updated,
            }
            entry: Json = {"response": response}
            if request.prefers("return=representation"):
                entry["resource"] = one.stored.full()
            entries.append(entry)
        bundle: Json = {"resourceType": "Bundle", "type": "transaction-response"}
        if entries:
            bundle["entry"] = entries
        return json_answer(200, bundle, wrote=True)

    def _check_accept(self, request: Request) -> None:
        accept = request.headers.get("accept", "*/*").lower()
        if not any(word in accept for word in ("*/*", "application/*", "json")):
            raise FhirError(406, "not-supported", "This server answers in JSON only.")

    def capability_statement(self) -> Json:
        """What this server does, and nothing else."""
        resources: list[Json] = []
        for kind in TYPES:
            interactions = ("read", "vread", "create", "update", "delete", "search-type")
            resources.append(
                {
                    "type": kind,
                    "interaction": [{"code": code} for code in interactions],
                    "versioning": "versioned-update",
                    "readHistory": True,
                    "updateCreate": self._store.update_create,
                    "conditionalCreate": True,
                    "conditionalUpdate": False,
                    "conditionalDelete": "not-supported",
                    "referencePolicy": ["literal", "enforced"],
                    "searchInclude": [f"{kind}:{name}" for name in INCLUDES.get(kind, ())],
                    "searchParam": [
                        {"name": name, "type": param.kind} for name, param in SEARCH_PARAMS[kind].items()
                    ],
                }
            )
        return {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": "2026-01-01",
            "kind": "instance",
            "software": {"name": "Lethe demo record server"},
            "implementation": {
                "description": "In-memory demonstration with synthetic data. Not for patients.",
                "url": self._store.base_url,
            },
            "fhirVersion": "4.0.1",
            "format": ["json"],
            "rest": [{"mode": "server", "resource": resources, "interaction": [{"code": "transaction"}]}],
        }


def _accepts_fhir(request: Request) -> bool:
    return FHIR_JSON in request.headers.get("accept", "").lower()


def _version_headers(stored: Stored) -> tuple[tuple[str, str], ...]:
    modified = format_datetime(datetime.fromisoformat(stored.updated), usegmt=True)
    return ("ETag", f'W/"{stored.version}"'), ("Last-Modified", modified)


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("not JSON")


def _parse(request: Request) -> Any:
    if request.media_type not in _JSON_TYPES:
        raise FhirError(415, "not-supported", f"Send {FHIR_JSON}.")
    try:
        return json.loads(request.body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        pass
    # Raised outside the except block: the parser's error holds what was sent.
    raise FhirError(400, "structure", "The body is not JSON.")


def _raw_binary(request: Request) -> Json:
    if not request.media_type:
        raise FhirError(415, "not-supported", "A raw Binary needs a Content-Type.")
    resource: Json = {"resourceType": "Binary", "contentType": request.headers["content-type"]}
    context = request.headers.get("x-security-context")
    if context:
        resource["securityContext"] = {"reference": context}
    check_resource(resource)
    return resource


def _form(request: Request) -> Params:
    if not request.body:
        return []
    if request.media_type != "application/x-www-form-urlencoded":
        raise FhirError(415, "not-supported", "Send application/x-www-form-urlencoded to _search.")
    try:
        return parse_qsl(request.body.decode("ascii"), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        pass
    raise FhirError(400, "structure", "The body is not a form.")
