"""The main job, played through fingers and scanner on both real processes, into a server nobody here wrote.

What arrived is read over plain HTTP, without the kiosk's client.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections import Counter
from importlib import resources
from itertools import chain
from pathlib import Path

import pytest
from PIL import Image

from kiosk.demo.patients import demo_patients
from kiosk.demo.player import Player
from kiosk.demo.script import parse
from kiosk.demo.station import Options
from kiosk.demo.supervisor import Demo
from tests.flow.story import PATIENT, SIGN_IN, SMALL, events, play, spool_is_empty
from tests.flow.test_demo_command import demo as kiosk_demo
from tests.peers.real_server import RealFhirServer, Repository
from tests.peers.validators import start

MODES = {
    "transactions": {"transactions": True, "updateCreate": True},
    "batch-server-chooses-ids": {"transactions": False, "updateCreate": False},
}
SENT = ("Consent", "DocumentReference", "Binary", "Provenance")


@pytest.fixture(params=MODES.values(), ids=MODES)
def server(request: pytest.FixtureRequest, real_fhir: RealFhirServer) -> Repository:
    return real_fhir.repository(demo_patients(), **request.param)


def counts(server: Repository) -> dict[str, int]:
    return {kind: server.count(kind) for kind in SENT}


def assert_valid(server: Repository) -> None:
    """What is stored gives neither an error nor a warning."""
    validators = start()
    try:
        for resource in chain.from_iterable(server.all(kind) for kind in SENT):
            for by, validator in validators.items():
                assert validator.issues(resource) == [], (by, resource["resourceType"])
    finally:
        for validator in validators.values():
            validator.close()


def test_the_happy_path(server: Repository) -> None:
    text = resources.files("kiosk.demo").joinpath("scripts", "happy.txt").read_text(encoding="utf-8")
    with Demo(options=Options(still=SMALL), fhir=server.base) as demo:
        Player(demo, None).play(parse(text, "happy.txt"), "happy.txt")
        receipt = events(demo, "receipt")[-1]
        assert receipt["photos"] == 2
        assert spool_is_empty(demo)
    assert counts(server) == {"Consent": 3, "DocumentReference": 3, "Binary": 2, "Provenance": 1}
    photographs = 0
    for document in server.all("DocumentReference"):
        attachment = document["content"][0]["attachment"]
        assert document["subject"]["reference"] == "Patient/demo-patient-1"
        identifier, by_receipt = document["identifier"]
        assert (by_receipt["system"], by_receipt["value"]) == ("urn:lethe:receipt", receipt["receipt"])
        master = document["masterIdentifier"]["value"]
        assert master == f"urn:uuid:{identifier['value']}", "rewritten like a reference"
        if attachment["contentType"] == "image/jpeg":
            data = server.bytes_of(attachment["url"])
            with Image.open(io.BytesIO(data)) as picture:
                assert f"{picture.size[0]}x{picture.size[1]}" == SMALL
            related = [r["reference"] for r in document["context"]["related"]]
            assert sorted(related) == sorted(f"Consent/{c['id']}" for c in server.all("Consent"))
            photographs += 1
        else:
            data = base64.b64decode(attachment["data"])
            assert data.startswith(b"%PDF-")
            form = f"DocumentReference/{document['id']}"
        assert attachment["size"] == len(data)
        assert base64.b64decode(attachment["hash"]) == hashlib.sha1(data, usedforsecurity=False).digest()
    assert photographs == 2
    for consent in server.all("Consent"):
        assert consent["sourceReference"] == {"reference": form}
        assert consent["patient"]["reference"] == "Patient/demo-patient-1"
    (provenance,) = server.all("Provenance")
    assert len(provenance["target"]) == 4
    assert "urn:uuid" not in json.dumps([provenance["target"], server.all("Consent")])
    for binary in server.all("Binary"):
        assert binary["securityContext"] == {"reference": "Patient/demo-patient-1"}
    assert not [a for a in server.requests() if "999123" in json.dumps(a)], "an identifier in an address"
    assert_valid(server)


def test_the_patient_declines(server: Repository) -> None:
    with Demo(options=Options(still=SMALL), fhir=server.base) as demo:
        play(demo, SIGN_IN, PATIENT)
        play(demo, 'tap "Patient declines"', 'tap "Record the refusal"', "wait DECLINED", "wait receipt 30")
        play(demo, 'expect "No photographs"', 'tap "Done"', "wait LOCKED")
        assert spool_is_empty(demo)
    assert counts(server) == {"Consent": 3, "DocumentReference": 1, "Binary": 0, "Provenance": 1}
    verdicts = Counter(consent["provision"]["type"] for consent in server.all("Consent"))
    assert verdicts == {"deny": 3}
    assert_valid(server)


def test_the_command_delivers_to_it(real_fhir: RealFhirServer, tmp_path: Path) -> None:
    """`kiosk demo --fhir URL`, as people call it: photographs of 12 megapixels."""
    server = real_fhir.repository(demo_patients())
    done = kiosk_demo("--headless", "--fhir", server.base, tmp_path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert counts(server)["Binary"] == 2
