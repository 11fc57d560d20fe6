"""The server that nobody here wrote is one: what the contract suite and the stories rest on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from kiosk.demo.patients import NHS_NUMBER, demo_patients
from tests.peers.real_server import Json, RealFhirServer

FHIR = "application/fhir+json"
URN = "urn:uuid:a0010b42-02ea-411c-a314-9ec144f6c2b8"


def photo_bundle(status: str | None = "current", condition: str | None = None) -> Json:
    document = {
        "resourceType": "DocumentReference",
        "status": status,
        "identifier": [{"system": "urn:x", "value": "1"}],
        "content": [{"attachment": {"contentType": "text/plain", "url": URN}}],
    }
    request = {
        "method": "POST",
        "url": "DocumentReference",
        **({"ifNoneExist": condition} if condition else {}),
    }
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": URN,
                "resource": {"resourceType": "Binary", "contentType": "text/plain", "data": "QUJD"},
                "request": {"method": "POST", "url": "Binary"},
            },
            {"resource": {k: v for k, v in document.items() if v is not None}, "request": request},
        ],
    }


def test_it_is_medplums_router(real_fhir: RealFhirServer) -> None:
    server = real_fhir.repository(demo_patients())
    statement = server.get("metadata")
    assert statement["software"]["name"] == "@medplum/fhir-router"
    assert statement["software"]["version"].startswith("5.2.13")
    assert statement["fhirVersion"] == "4.0.1"


def test_it_searches_for_real(real_fhir: RealFhirServer) -> None:
    server = real_fhir.repository(demo_patients())
    found = requests.post(
        f"{server.base}/Patient/_search",
        data={"identifier": f"{NHS_NUMBER}|9991230009"},
        timeout=20,
    ).json()
    assert [e["resource"]["id"] for e in found["entry"]] == ["demo-patient-1"]
    assert server.get("Patient", identifier=f"{NHS_NUMBER}|9999999999")["total"] == 0
    assert server.get("Patient", family="Fenwick")["total"] == 2


@pytest.mark.parametrize(("transactions", "left"), [(True, 0), (False, 1)])
def test_a_transaction_that_fails_halfway(real_fhir: RealFhirServer, transactions: bool, left: int) -> None:
    server = real_fhir.repository([], transactions=transactions)
    answer = requests.post(server.base, json=photo_bundle(status=None), timeout=20)
    if transactions:
        assert answer.status_code == 400
        assert answer.json()["resourceType"] == "OperationOutcome"
    else:
        assert answer.status_code == 200
        assert [e["response"]["status"] for e in answer.json()["entry"]] == ["201", "400"]
    assert server.count("Binary") == left


def test_binary_bytes_by_transaction_and_raw(real_fhir: RealFhirServer) -> None:
    server = real_fhir.repository(demo_patients())
    for _ in range(2):
        answer = requests.post(server.base, json=photo_bundle(condition="identifier=urn:x%7C1"), timeout=20)
        assert answer.status_code == 200
    (document,) = server.all("DocumentReference")
    url = document["content"][0]["attachment"]["url"]
    assert url.startswith("Binary/")
    assert server.bytes_of(url) == b"ABC"
    assert server.count("Binary") == 2, "a Binary is made anew by each attempt"
    headers = {"Content-Type": "image/jpeg", "X-Security-Context": "Patient/demo-patient-1"}
    made = requests.post(f"{server.base}/Binary", data=b"\xff\xd8\xff", headers=headers, timeout=20)
    assert made.status_code == 201
    assert made.headers["location"] == f"{server.base}/Binary/{made.json()['id']}"
    read = requests.get(made.headers["location"], headers={"Accept": "image/jpeg"}, timeout=20)
    assert (read.content, read.headers["content-type"]) == (b"\xff\xd8\xff", "image/jpeg")
    as_json = server.get(f"Binary/{made.json()['id']}")
    assert as_json["data"] == "/9j/"
    assert as_json["securityContext"] == {"reference": "Patient/demo-patient-1"}


@pytest.mark.parametrize(("update_create", "status"), [(True, 200), (False, 404)])
def test_who_chooses_ids(real_fhir: RealFhirServer, update_create: bool, status: int) -> None:
    server = real_fhir.repository([], updateCreate=update_create)
    resource = {"resourceType": "Patient", "id": "mine"}
    answer = requests.put(f"{server.base}/Patient/mine", json=resource, timeout=20)
    assert answer.status_code == status
    kinds = server.get("metadata")["rest"][0]["resource"]
    assert {kind["updateCreate"] for kind in kinds} == {update_create}


def test_signed_addresses(real_fhir: RealFhirServer) -> None:
    server = real_fhir.repository([], signed=True)
    requests.post(server.base, json=photo_bundle(), timeout=20)
    (document,) = server.all("DocumentReference")
    url = document["content"][0]["attachment"]["url"]
    assert "/storage/" in url
    assert server.bytes_of(url) == b"ABC"
    assert requests.get(url[:-1] + ("A" if url[-1] != "A" else "B"), timeout=20).status_code == 403
    server.put(document)
    assert server.all("DocumentReference")[0]["content"][0]["attachment"]["url"].startswith(
        url.partition("?")[0]
    )


@pytest.mark.parametrize(
    ("options", "headers", "status"),
    [
        ({"token": "t"}, {}, 401),
        ({"token": "t"}, {"Authorization": "Bearer t"}, 201),
        ({"maxJson": 20}, {}, 400),
        ({}, {}, 201),
    ],
)
def test_refusals_are_outcomes(
    real_fhir: RealFhirServer, options: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    server = real_fhir.repository([], **options)
    answer = requests.post(
        f"{server.base}/Patient", json={"resourceType": "Patient"}, headers=headers, timeout=20
    )
    assert answer.status_code == status
    assert answer.json()["resourceType"] == ("Patient" if status == 201 else "OperationOutcome")


def test_it_ends_when_the_test_run_is_killed(tmp_path: Path) -> None:
    code = (
        "import time\n"
        "from tests.peers.real_server import RealFhirServer\n"
        "with RealFhirServer() as server:\n"
        "    print(server.process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        assert b"server.mjs" in Path(f"/proc/{pid}/cmdline").read_bytes()
        os.kill(run.pid, signal.SIGKILL)
        run.wait(20)
    deadline = time.monotonic() + 20
    while _alive(pid):
        assert time.monotonic() < deadline, "the server outlived the test run"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    """Whether it runs; one that ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
