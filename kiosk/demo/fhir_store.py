"""The demo server's memory: versioned resources, conditional creates, atomic transactions, deletes.

One lock is held for the whole of every operation, so a conditional create is atomic. Nothing is written
to disk.
"""

from __future__ import annotations

import base64
import copy
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from kiosk.demo.fhir_rules import (
    TYPES,
    FhirError,
    Json,
    check_json,
    check_resource,
    decode_base64,
    is_id,
    is_urn_uuid,
    references,
    rewrite_links,
)
from kiosk.demo.fhir_search import Query, local_reference, matches, parse_if_none_exist

Key = tuple[str, str]
"""Resource type and id."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of a resource, never changed once stored. `data`: the bytes of a Binary."""

    resource: Json
    data: bytes | None = None

    @property
    def key(self) -> Key:
        """Type and id."""
        return self.resource["resourceType"], self.resource["id"]

    @property
    def version(self) -> str:
        """meta.versionId."""
        return str(self.resource["meta"]["versionId"])

    @property
    def updated(self) -> str:
        """meta.lastUpdated, an instant."""
        return str(self.resource["meta"]["lastUpdated"])

    @property
    def location(self) -> str:
        """`Type/id/_history/version`, relative to the base."""
        return f"{'/'.join(self.key)}/_history/{self.version}"

    def full(self) -> Json:
        """The resource as a client sees it: a Binary with its data as base64."""
        if not self.data:
            return self.resource
        return {**self.resource, "data": base64.b64encode(self.data).decode("ascii")}


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of a write: 201 created, 200 updated or already there."""

    status: int
    stored: Stored


@dataclass(slots=True)
class _Plan:
    """One entry of a transaction on its way to the commit. `twin`: the entry that it resolves to."""

    resource: Json
    key: Key
    status: int
    data: bytes | None = None
    existing: Stored | None = None
    twin: _Plan | None = None

    @property
    def writes(self) -> bool:
        return self.existing is None and self.twin is None


class FhirStore:
    """Everything that has arrived. `base_url` is what absolute references to this server start with.

    patients, others: what is there from the start.

    update_create: whether a PUT to an id that is not there yet creates the resource (R4, 3.1.0.4.1).
    max_data: characters of base64 that a Binary may hold; None: any number.
    """

    def __init__(
        self,
        patients: Iterable[Json] = (),
        base_url: str = "",
        *,
        others: Iterable[Json] = (),
        update_create: bool = True,
        max_data: int | None = None,
    ) -> None:
        self.base_url = base_url
        self.update_create = update_create
        self._max_data = max_data
        self._lock = threading.RLock()
        self._versions: dict[str, dict[str, list[Stored]]] = {kind: {} for kind in TYPES}
        self._deleted: dict[Key, int] = {}
        self._revision = 0
        for patient in patients:
            check_resource(patient, "Patient")
            self._commit(copy.deepcopy(patient), str(patient.get("id") or uuid4()), None)
        for other in others:
            check_resource(other)
            self._commit(copy.deepcopy(other), str(other.get("id") or uuid4()), None)

    # For tests and the gallery page.

    @property
    def revision(self) -> int:
        """A number that grows with every commit."""
        with self._lock:
            return self._revision

    def count(self, kind: str) -> int:
        """How many resources of a type there are."""
        with self._lock:
            return len(self._versions[kind])

    def all(self, kind: str) -> list[Json]:
        """Copies of the current versions of a type in order of arrival; Binary without its data."""
        with self._lock:
            return [copy.deepcopy(versions[-1].resource) for versions in self._versions[kind].values()]

    def get(self, kind: str, id_: str) -> Json | None:
        """A copy of the current version, or None; Binary without its data."""
        with self._lock:
            versions = self._versions[kind].get(id_)
            return copy.deepcopy(versions[-1].resource) if versions else None

    def binary_bytes(self, id_: str) -> bytes:
        """What a Binary holds. Raises KeyError."""
        with self._lock:
            return self._versions["Binary"][id_][-1].data or b""

    def patients_by_identifier(self, value: str, system: str | None = None) -> list[Json]:
        """The patients that carry this identifier, in any system or in the given one."""
        text = value if system is None else f"{system}|{value}"
        with self._lock:
            return [
                copy.deepcopy(s.resource) for s in self._search("Patient", Query((("identifier", text),)))
            ]

    # What HTTP asks for.

    def read(self, kind: str, id_: str, version: str | None = None) -> Stored:
        """The current or one named version. Raises FhirError 404, 410."""
        with self._lock:
            versions = self._versions[kind].get(id_, [])
            wanted = [s for s in versions if version is None or s.version == version]
            gone = not versions and (kind, id_) in self._deleted
        if gone:
            raise FhirError(410, "deleted", f"This {kind} was deleted.")
        if not wanted:
            raise FhirError(404, "not-found", f"There is no such {kind}.")
        return wanted[-1]

    def search(self, kind: str, query: Query) -> list[Stored]:
        """Every match, in order of arrival."""
        with self._lock:
            return self._search(kind, query)

    def create(self, resource: Any, kind: str, if_none_exist: str | None = None) -> Written:
        """Store a new resource, unless the criteria find one. Raises FhirError 400, 404, 412."""
        check_resource(resource, kind)
        resource, data = self._split(resource)
        return self.create_checked(resource, data, if_none_exist)

    def create_checked(self, resource: Json, data: bytes | None, if_none_exist: str | None = None) -> Written:
        """As `create`, for a resource that is known to be well formed and bytes that are at hand."""
        kind = resource["resourceType"]
        with self._lock:
            if if_none_exist is not None:
                found = self._search(kind, parse_if_none_exist(kind, if_none_exist))
                if found:
                    return Written(200, _only(found))
            self._check_references(resource, frozenset())
            return Written(201, self._commit(resource, str(uuid4()), data))

    def update(
        self, resource: Any, kind: str, id_: str, *, data: bytes | None = None, if_match: str | None = None
    ) -> Written:
        """Store a new version, or the first one under this id. Raises FhirError 400, 404, 405, 412."""
        check_resource(resource, kind)
        if not is_id(id_) or resource.get("id") != id_:
            raise FhirError(400, "value", "The resource's id is not the id in the address.")
        if data is None:
            resource, data = self._split(resource)
        with self._lock:
            versions = self._versions[kind].get(id_)
            self._check_may_put(versions)
            _check_if_match(versions, if_match)
            self._check_references(resource, frozenset({(kind, id_)}))
            return Written(200 if versions else 201, self._commit(resource, id_, data))

    def delete(self, kind: str, id_: str) -> None:
        """Forget a resource with its history; one that is not there is no error (R4, 3.1.0.7).

        Raises FhirError 409 when another resource refers to it.
        """
        with self._lock:
            versions = self._versions[kind].get(id_)
            if versions is None:
                return
            others = (held[-1] for kinds in self._versions.values() for held in kinds.values())
            if any(self._refers_to(s.resource, (kind, id_)) for s in others if s.key != (kind, id_)):
                raise FhirError(409, "conflict", f"Another resource refers to this {kind}.")
            del self._versions[kind][id_]
            self._deleted[kind, id_] = int(versions[-1].version)
            self._revision += 1

    def transaction(self, bundle: Any, *, leave: frozenset[str] = frozenset()) -> list[Written]:
        """Store all entries or none; the outcomes are in the order of the entries.

        `leave`: elements whose links stay as they came (a fault). Raises FhirError 400, 404, 405, 409, 412.
        """
        entries = _entries(bundle)
        with self._lock:
            ids: dict[str, str] = {}
            plans: list[_Plan] = []
            for number, entry in enumerate(entries):
                try:
                    plan = self._plan(entry, plans)
                    _note_full_url(entry, plan, ids)
                except FhirError as e:
                    raise FhirError(e.status, e.code, f"Bundle.entry[{number}]: {e.text}") from None
                plans.append(plan)
            new = frozenset(plan.key for plan in plans if plan.writes)
            for number, plan in enumerate(plans):
                plan.resource = rewrite_links(plan.resource, ids, leave=leave)
                try:
                    if plan.writes:
                        self._check_references(plan.resource, new)
                except FhirError as e:
                    raise FhirError(e.status, e.code, f"Bundle.entry[{number}]: {e.text}") from None
            for plan in plans:
                if plan.writes:
                    plan.existing = self._commit(plan.resource, plan.key[1], plan.data)
            return [Written(plan.status, _stored(plan)) for plan in plans]

    # Inside, with the lock held.

    def _search(self, kind: str, query: Query) -> list[Stored]:
        current = [versions[-1] for versions in self._versions[kind].values()]
        return [s for s in current if matches(s.resource, query, self.base_url)]

    def _plan(self, entry: Json, before: list[_Plan]) -> _Plan:
        request = entry.get("request")
        if not isinstance(request, dict) or not all(isinstance(v, str) for v in request.values()):
            raise FhirError(400, "structure", "request is missing or malformed.")
        method, url = request.get("method"), request.get("url")
        if method not in ("POST", "PUT"):
            raise FhirError(400, "not-supported", "request.method must be POST or PUT on this server.")
        kind = check_resource(entry.get("resource"))
        resource, data = self._split(entry["resource"])
        if method == "PUT":
            return self._plan_update(resource, data, request, before)
        if url != kind:
            raise FhirError(400, "invalid", "request.url of a POST must be the resource type.")
        if "ifNoneExist" in request:
            query = parse_if_none_exist(kind, request["ifNoneExist"])
            found = self._search(kind, query)
            twins = [
                plan
                for plan in before
                if plan.writes and plan.key[0] == kind and matches(plan.resource, query, self.base_url)
            ]
            if len(found) + len(twins) > 1:
                raise _too_many()
            if found:
                return _Plan(resource, found[0].key, 200, existing=found[0])
            if twins:
                return _Plan(resource, twins[0].key, 200, twin=twins[0])
        return _Plan(resource, (kind, str(uuid4())), 201, data)

    def _plan_update(self, resource: Json, data: bytes | None, request: Json, before: list[_Plan]) -> _Plan:
        kind, id_ = resource["resourceType"], resource.get("id")
        if not isinstance(id_, str) or request.get("url") != f"{kind}/{id_}":
            raise FhirError(
                400, "invalid", "request.url of a PUT must be Type/id, with the resource's own id."
            )
        if any(plan.writes and plan.key == (kind, id_) for plan in before):
            raise FhirError(409, "conflict", "Two entries of the transaction touch the same resource.")
        versions = self._versions[kind].get(id_)
        self._check_may_put(versions)
        _check_if_match(versions, request.get("ifMatch"))
        return _Plan(resource, (kind, id_), 200 if versions else 201, data)

    def _check_may_put(self, versions: list[Stored] | None) -> None:
        if not versions and not self.update_create:
            raise FhirError(405, "not-supported", "This server chooses the ids of new resources itself.")

    def _split(self, resource: Json) -> tuple[Json, bytes | None]:
        """Take the bytes out of a Binary."""
        if resource["resourceType"] != "Binary":
            return resource, None
        text = resource.get("data", "")
        if self._max_data is not None and isinstance(text, str) and len(text) > self._max_data:
            raise FhirError(400, "too-long", "Binary.data is longer than this server takes.")
        data = decode_base64(text, "Binary.data")
        return {k: v for k, v in resource.items() if k != "data"}, data

    def _refers_to(self, resource: Json, key: Key) -> bool:
        """Whether a Reference points at `key`; an attachment's url is none, so it protects nothing."""
        return any(local_reference(to, self.base_url) == "/".join(key) for to in references(resource))

    def _check_references(self, resource: Json, new: frozenset[Key]) -> None:
        contained = {f"#{c.get('id')}" for c in resource.get("contained", ()) if isinstance(c, dict)}
        for reference in references(resource):
            if reference.startswith("#"):
                known = reference == "#" or reference in contained
            elif (local := local_reference(reference, self.base_url)) is not None:
                kind, _, id_ = local.partition("/")
                known = (kind, id_) in new or id_ in self._versions.get(kind, {})
            else:
                known = reference.startswith(("http://", "https://")) and not (
                    self.base_url and reference.startswith(self.base_url + "/")
                )
            if not known:
                raise FhirError(
                    400, "value", "A literal reference points at nothing on this server or in this bundle."
                )

    def _commit(self, resource: Json, id_: str, data: bytes | None) -> Stored:
        kind = resource["resourceType"]
        versions = self._versions[kind].setdefault(id_, [])
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        before = int(versions[-1].version) if versions else self._deleted.get((kind, id_), 0)
        meta = {**resource.get("meta", {}), "versionId": str(before + 1), "lastUpdated": now}
        rest = {k: v for k, v in resource.items() if k not in ("resourceType", "id", "meta")}
        stored = Stored({"resourceType": kind, "id": id_, "meta": meta, **rest}, data)
        versions.append(stored)
        self._revision += 1
        return stored


def _entries(bundle: Any) -> list[Json]:
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise FhirError(400, "structure", "The base address takes a Bundle.")
    if bundle.get("type") == "batch":
        raise FhirError(400, "not-supported", "Batch is not supported; send a transaction.")
    if bundle.get("type") != "transaction":
        raise FhirError(400, "invalid", "Bundle.type must be transaction.")
    check_json(bundle)
    entries = bundle.get("entry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FhirError(400, "structure", "Bundle.entry must be an array of objects.")
    return entries


def _note_full_url(entry: Json, plan: _Plan, ids: dict[str, str]) -> None:
    full_url = entry.get("fullUrl")
    if full_url is None:
        return
    if not isinstance(full_url, str) or not (is_urn_uuid(full_url) or full_url.startswith("http")):
        raise FhirError(400, "value", "fullUrl must be urn:uuid: with a lower-case UUID, or absolute.")
    if full_url in ids:
        raise FhirError(400, "duplicate", "Two entries have the same fullUrl.")
    ids[full_url] = "/".join(plan.key)


def _stored(plan: _Plan) -> Stored:
    while plan.twin is not None:
        plan = plan.twin
    if plan.existing is None:
        raise RuntimeError("a planned entry was not committed")
    return plan.existing


def _check_if_match(versions: list[Stored] | None, if_match: str | None) -> None:
    if if_match is None:
        return
    if not versions or if_match.removeprefix("W/").strip('"') != versions[-1].version:
        raise FhirError(412, "conflict", "If-Match names another version than the current one.")


def _only(found: list[Stored]) -> Stored:
    if len(found) > 1:
        raise _too_many()
    return found[0]


def _too_many() -> FhirError:
    return FhirError(
        412, "multiple-matches", "Several resources match the criteria of the conditional create."
    )
