"""The real server in the place of kiosk.demo's: what the contract suite asks of a DemoFhirServer, by HTTP."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from kiosk.demo.faults import FaultKind, parse_fault
from tests.peers.fault_proxy import Fault, FaultProxy, Kind
from tests.peers.real_server import Json, RealFhirServer, Repository

_KINDS = {
    FaultKind.DELAY: Kind.LATENCY,
    FaultKind.STATUS: Kind.STATUS,
    FaultKind.RETRY_AFTER: Kind.STATUS,
    FaultKind.DROP_BEFORE: Kind.CUT_BEFORE,
    FaultKind.DROP_AFTER_COMMIT: Kind.CUT_AFTER_COMMIT,
    FaultKind.LOGIN_PAGE: Kind.LOGIN_PAGE,
    FaultKind.DANGLING_URL: Kind.DANGLING_URL,
    FaultKind.CORRUPT_READBACK: Kind.WRONG_BYTES,
    FaultKind.DELAY_READBACK: Kind.LATENCY,
}


class Store:
    """The store, as the suite looks into it and changes it behind the client's back."""

    def __init__(self, repository: Repository, update_create: bool) -> None:
        self._repository = repository
        self.update_create = update_create

    def count(self, kind: str) -> int:
        return self._repository.count(kind)

    def all(self, kind: str) -> list[Json]:
        return self._repository.all(kind)

    def binary_bytes(self, id: str) -> bytes:
        return self._repository.bytes_of(f"Binary/{id}")

    def create(self, resource: Json, kind: str) -> Any:
        made = self._repository.post(resource)
        assert made["resourceType"] == kind
        return SimpleNamespace(stored=SimpleNamespace(resource=made))

    def update(self, resource: Json, kind: str, id: str) -> None:
        assert (resource["resourceType"], resource["id"]) == (kind, id)
        self._repository.put(resource)


class Faults:
    """The words of kiosk.demo.faults, carried out by the proxy."""

    def __init__(self, proxy: FaultProxy, base: str) -> None:
        self._proxy = proxy
        self._base = base

    def set(self, text: str) -> None:
        fault = parse_fault(text)
        assert fault is not None
        amount, headers = fault.amount, {}
        if fault.kind is FaultKind.RETRY_AFTER:
            amount, headers = 429, {"Retry-After": f"{fault.amount:g}"}
        method = r"\S+" if fault.method == "*" else fault.method
        on = f"^{method} {self._base}{re.escape(fault.path.removeprefix('/fhir'))}"
        if fault.exact:
            on += "$"
        if fault.kind is FaultKind.DROP_AFTER_COMMIT and not fault.path:
            on = f"^(POST|PUT|DELETE) {self._base}"
        if fault.kind in (FaultKind.CORRUPT_READBACK, FaultKind.DELAY_READBACK):
            on = f"^GET {self._base}/Binary/"
        if fault.kind is FaultKind.DANGLING_URL:
            on = f"^POST {self._base}$"
        self._proxy.add(Fault(_KINDS[fault.kind], amount, on, fault.times, headers))

    def clear(self) -> None:
        self._proxy.calm()


class StandIn:
    """One repository of the real server behind a fault proxy."""

    def __init__(self, server: RealFhirServer, patients: list[Json], **options: Any) -> None:
        self._server = server
        self._patients = patients
        self._options = options
        self.crashes: list[str] = []

    def __enter__(self) -> StandIn:
        self._proxy = FaultProxy(self._server.port).__enter__()
        origin = f"http://127.0.0.1:{self._proxy.port}"
        self.repository = self._server.repository(self._patients, origin=origin, **self._options)
        self.base_url = origin + self.repository.path
        self.storage_url = f"{origin}/{self.repository.number}/storage"
        self.store = Store(self.repository, self._options.get("updateCreate", True))
        self.faults = Faults(self._proxy, self.repository.path)
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.__exit__(None, None, None)
        self.repository.forget()

    def set_network(self, up: bool) -> None:
        self._proxy.network(up=up)

    @property
    def requests(self) -> list[Any]:
        """What reached the server."""
        asked = self.repository.requests()
        return [
            SimpleNamespace(
                method=a["method"], path=a["path"].rstrip("/") + a["search"], signed_in=a["signedIn"]
            )
            for a in asked
        ]
