"""The demo store's one lock: between looking and storing, nobody else gets in."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from kiosk.demo import fhir_store
from kiosk.demo.fhir_store import FhirStore

DEVICE = {"resourceType": "Device", "identifier": [{"system": "s", "value": "same"}]}
CONDITION = "identifier=s%7Csame"


def create(store: FhirStore) -> int:
    return store.create(dict(DEVICE), "Device", CONDITION).status


def transact(store: FhirStore) -> int:
    request = {"method": "POST", "url": "Device", "ifNoneExist": CONDITION}
    entry = {"resource": dict(DEVICE), "request": request}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    return store.transaction(bundle)[0].status


@pytest.mark.parametrize("send", [create, transact])
def test_conditional_create_is_atomic(
    send: Callable[[FhirStore], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id is minted after the search and before the commit: both would meet there without the lock."""
    meeting = threading.Barrier(2)

    def mint() -> UUID:
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(timeout=0.3)
        return uuid4()

    store = FhirStore()
    monkeypatch.setattr(fhir_store, "uuid4", mint)
    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(send, [store, store]))
    assert statuses == [200, 201]
    assert store.count("Device") == 1
