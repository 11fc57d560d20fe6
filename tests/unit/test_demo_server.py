"""The demo's FHIR server as a client sees it: over sockets, with the standard library's HTTP client."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import uuid4

import pytest
import requests
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from fhir.resources.R4B.operationoutcome import OperationOutcome

from kiosk.demo.fhir_rules import TYPES
from kiosk.demo.fhir_server import DemoFhirServer
from kiosk.demo.patients import LOCAL_MRN, NHS_NUMBER, SHARED_NHS_NUMBER, demo_patients

JSON = {"Content-Type": "application/fhir+json"}
PATIENT = {"reference": "Patient/demo-patient-1"}
JPEG = b"\xff\xd8\xff\xe0 not quite a picture \x00\xff\xd9"
SYSTEM = "https://kiosk.example/Id/photo"
MARKER = "MARKER-9991230009"


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(server: DemoFhirServer, method: str, path: str, body: Any = None, **headers: str) -> Reply:
    """One request on a connection of its own; underscores in header names stand for dashes."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, dict):
        body, sent = json.dumps(body).encode(), {**JSON, **sent}
    port = int(server.gallery_url.rsplit(":", 1)[1].rstrip("/"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers=sent)
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())


@pytest.fixture
def server() -> Iterator[DemoFhirServer]:
    with DemoFhirServer() as running:
        yield running
    assert running.crashes == []


def entry(resource: dict[str, Any], full_url: str = "", condition: str = "") -> dict[str, Any]:
    request = {"method": "POST", "url": resource["resourceType"]}
    if condition:
        request["ifNoneExist"] = condition
    return {**({"fullUrl": full_url} if full_url else {}), "resource": resource, "request": request}


def transaction(*entries: dict[str, Any], kind: str = "transaction") -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def binary() -> dict[str, Any]:
    data = base64.b64encode(JPEG).decode()
    return {"resourceType": "Binary", "contentType": "image/jpeg", "securityContext": PATIENT, "data": data}


def document(url: str, value: str = "1") -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference",
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": url},
        "identifier": [{"system": SYSTEM, "value": value}],
        "status": "current",
        "subject": PATIENT,
        "content": [{"attachment": {"contentType": "image/jpeg", "url": url, "size": len(JPEG)}}],
    }


def photo(value: str = "1") -> dict[str, Any]:
    url = uuid4().urn
    condition = f"identifier={quote(f'{SYSTEM}|{value}', safe='')}"
    return transaction(entry(binary(), url), entry(document(url, value), uuid4().urn, condition))


def consent(**changes: Any) -> dict[str, Any]:
    made = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"text": "privacy"},
        "category": [{"text": "photographs"}],
        "patient": PATIENT,
        "policyRule": {"text": "wording 1"},
        "dateTime": "2026-01-02T10:11:12+00:00",
        "provision": {"type": "permit"},
    }
    return {k: v for k, v in {**made, **changes}.items() if v is not None}


def is_outcome(reply: Reply, status: int, code: str) -> bool:
    issue = reply.json["issue"][0]
    return (
        (reply.status, issue["code"]) == (status, code)
        and reply.json["resourceType"] == "OperationOutcome"
        and reply.headers["Content-Type"].startswith("application/fhir+json")
        and MARKER.encode() not in reply.body
    )


def test_binds_to_loopback_only() -> None:
    for host in ("0.0.0.0", "192.168.1.4", "::"):
        with pytest.raises(ValueError, match="loopback"):
            DemoFhirServer(host=host)
    with DemoFhirServer(host="localhost") as server:
        assert server.base_url.startswith("http://127.0.0.1:")


def test_capability_statement_says_what_the_client_relies_on(server: DemoFhirServer) -> None:
    statement = call(server, "GET", "/fhir/metadata").json
    rest = statement["rest"][0]
    assert statement["fhirVersion"] == "4.0.1"
    assert rest["interaction"] == [{"code": "transaction"}]
    assert [r["type"] for r in rest["resource"]] == list(TYPES)
    photographs = next(r for r in rest["resource"] if r["type"] == "DocumentReference")
    assert photographs["conditionalCreate"] is photographs["updateCreate"] is True
    assert "identifier" in [p["name"] for p in photographs["searchParam"]]


def test_seeded_patients(server: DemoFhirServer) -> None:
    assert server.store.count("Patient") == len(demo_patients()) == 10
    assert len(server.store.patients_by_identifier(SHARED_NHS_NUMBER, NHS_NUMBER)) == 2
    assert server.store.patients_by_identifier(SHARED_NHS_NUMBER, LOCAL_MRN) == []
    for patient in demo_patients():
        number = patient["identifier"][0]["value"]
        assert number.startswith("999")
        check = 11 - sum(int(digit) * (10 - i) for i, digit in enumerate(number[:9])) % 11
        assert check % 11 == int(number[9])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"identifier={NHS_NUMBER}%7C9991230009", 1),
        ("identifier=9991230009", 1),
        ("identifier=%7C9991230009", 0),
        (f"identifier={NHS_NUMBER}%7C", 10),
        (f"identifier={LOCAL_MRN}%7C9991230009", 0),
        ("identifier=9991230009,D100202", 2),
        ("identifier=9991230009&identifier=D100202", 0),
        (f"identifier={NHS_NUMBER}%7C{SHARED_NHS_NUMBER}", 2),
        ("_id=demo-patient-3", 1),
        ("unknown=1", 10),
    ],
)
def test_search_by_get_and_by_post(server: DemoFhirServer, query: str, found: int) -> None:
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    by_get = call(server, "GET", f"/fhir/Patient?{query}").json
    by_post = call(server, "POST", "/fhir/Patient/_search", query.encode(), **form).json
    for bundle in (by_get, by_post):
        assert bundle["type"] == "searchset"
        assert bundle["total"] == len(bundle.get("entry", [])) == found


def test_strict_search_refuses_what_it_does_not_know(server: DemoFhirServer) -> None:
    strict = {"Prefer": "return=minimal, handling=strict"}
    assert is_outcome(call(server, "GET", f"/fhir/Patient?{MARKER}=1", **strict), 400, "not-supported")
    assert call(server, "GET", "/fhir/Patient?identifier=D100202", **strict).json["total"] == 1
    assert is_outcome(call(server, "GET", "/fhir/Patient?identifier:exact=1"), 400, "not-supported")


def test_pages_of_a_search(server: DemoFhirServer) -> None:
    first = call(server, "GET", "/fhir/Patient?_count=4").json
    links = {link["relation"]: link["url"] for link in first["link"]}
    second = call(server, "GET", links["next"].removeprefix(server.base_url.removesuffix("/fhir"))).json
    assert (first["total"], len(first["entry"]), len(second["entry"])) == (10, 4, 4)
    links = {link["relation"]: link["url"] for link in second["link"]}
    third = call(server, "GET", links["next"].removeprefix(server.base_url.removesuffix("/fhir"))).json
    assert len(third["entry"]) == 2
    assert {link["relation"] for link in third["link"]} == {"self"}
    assert "entry" not in call(server, "GET", "/fhir/Patient?_count=0").json


def test_create_read_update_and_versions(server: DemoFhirServer) -> None:
    made = call(server, "POST", "/fhir/Consent", consent(id="ignored"))
    path = made.headers["Location"].removeprefix(server.base_url.removesuffix("/fhir"))
    assert (made.status, made.headers["ETag"]) == (201, 'W/"1"')
    assert path == f"/fhir/Consent/{made.json['id']}/_history/1"
    here = path.removesuffix("/_history/1")
    ended = {**made.json, "status": "inactive"}
    assert call(server, "PUT", here, ended, If_Match='W/"9"').status == 412
    updated = call(server, "PUT", here, ended, If_Match='W/"1"', Prefer="return=minimal")
    assert (updated.status, updated.body, updated.headers["ETag"]) == (200, b"", 'W/"2"')
    assert call(server, "GET", here).json["status"] == "inactive"
    assert call(server, "GET", path).json["status"] == "active"
    assert call(server, "GET", f"/fhir/Consent?patient={PATIENT['reference']}").json["total"] == 1
    assert call(server, "GET", "/fhir/Consent?patient=demo-patient-2").json["total"] == 0
    fresh = call(server, "PUT", "/fhir/Device/kiosk-1", {"resourceType": "Device", "id": "kiosk-1"})
    assert fresh.status == 201
    assert call(server, "HEAD", "/fhir/Device/kiosk-1").body == b""


def put(resource: dict[str, Any], full_url: str = "") -> dict[str, Any]:
    request = {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"}
    return {**({"fullUrl": full_url} if full_url else {}), "resource": resource, "request": request}


def test_a_put_in_a_transaction_is_one_however_often_it_comes(server: DemoFhirServer) -> None:
    id = str(uuid4())
    gate = threading.Barrier(10)
    bundle = photo()
    bundle["entry"][0] = put({**binary(), "id": id}, f"urn:uuid:{id}")
    bundle["entry"][1]["resource"]["content"][0]["attachment"]["url"] = f"urn:uuid:{id}"

    def send(_: int) -> list[str]:
        gate.wait(timeout=10)
        reply = call(server, "POST", "/fhir", bundle)
        return [e["response"]["status"][:3] for e in reply.json["entry"]]

    with ThreadPoolExecutor(10) as pool:
        statuses = sorted(pool.map(send, range(10)))
    assert statuses == [["200", "200"]] * 9 + [["201", "201"]]
    assert (server.store.count("Binary"), server.store.count("DocumentReference")) == (1, 1)
    assert server.store.all("Binary")[0]["meta"]["versionId"] == "10"
    assert server.store.all("DocumentReference")[0]["content"][0]["attachment"]["url"] == f"Binary/{id}"
    assert server.store.binary_bytes(id) == JPEG


def test_a_server_that_chooses_ids_itself() -> None:
    with DemoFhirServer(update_create=False) as server:
        statement = call(server, "GET", "/fhir/metadata").json
        assert {r["updateCreate"] for r in statement["rest"][0]["resource"]} == {False}
        mine = {**binary(), "id": "mine"}
        assert is_outcome(call(server, "PUT", "/fhir/Binary/mine", mine), 405, "not-supported")
        assert is_outcome(call(server, "POST", "/fhir", transaction(put(mine))), 405, "not-supported")
        assert server.store.count("Binary") == 0
        made = server.store.create(binary(), "Binary").stored.resource
        again = call(server, "PUT", f"/fhir/Binary/{made['id']}", {**binary(), "id": made["id"]})
        assert (again.status, again.headers["ETag"]) == (200, 'W/"2"')


def test_delete(server: DemoFhirServer) -> None:
    call(server, "PUT", "/fhir/Binary/b", {**binary(), "id": "b"})
    before = server.store.revision
    gone = call(server, "DELETE", "/fhir/Binary/b")
    assert (gone.status, gone.body, gone.headers["Content-Length"]) == (204, b"", None)
    assert server.store.count("Binary") == 0
    assert server.store.revision > before
    for path in ("/fhir/Binary/b", "/fhir/Binary/b/_history/1"):
        assert is_outcome(call(server, "GET", path), 410, "deleted")
    assert call(server, "DELETE", "/fhir/Binary/b").status == 204
    assert call(server, "DELETE", "/fhir/Binary/never").status == 204
    assert is_outcome(call(server, "GET", "/fhir/Binary/never"), 404, "not-found")
    anew = call(server, "PUT", "/fhir/Binary/b", {**binary(), "id": "b"})
    assert (anew.status, anew.headers["ETag"]) == (201, 'W/"2"'), "version ids are never used again"
    assert call(server, "GET", "/fhir/Binary/b").status == 200


def test_what_others_refer_to_is_not_deleted() -> None:
    with DemoFhirServer(visits=()) as server:
        made = call(server, "POST", "/fhir/Consent", consent()).json
        assert is_outcome(call(server, "DELETE", "/fhir/Patient/demo-patient-1"), 409, "conflict")
        assert server.store.get("Patient", "demo-patient-1")
        assert call(server, "DELETE", f"/fhir/Consent/{made['id']}").status == 204
        assert call(server, "DELETE", "/fhir/Patient/demo-patient-1").status == 204


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("location=Location/demo-wound-clinic", [1, 2, 3, 4, 6, 7]),
        ("location=Location/demo-wound-clinic&status=booked,arrived", [1, 2, 3, 6, 7]),
        ("location=Location/demo-dermatology", [5]),
        ("patient=demo-patient-2", [2]),
        ("date=ge2000-01-01T00:00:00Z&date=lt2000-01-02T00:00:00Z", []),
        ("date=lt2000-01-01T00:00:00Z", []),
        ("date=ge2000-01-01T00:00:00Z", [1, 2, 3, 4, 5, 6, 7]),
        ("date=nonsense", []),
    ],
)
def test_search_of_visits(server: DemoFhirServer, query: str, found: list[int]) -> None:
    bundle = call(server, "GET", f"/fhir/Appointment?{query}").json
    ids = [entry["resource"]["id"] for entry in bundle.get("entry", [])]
    assert ids == [f"demo-appointment-{n}" for n in found]


def test_includes_come_once_and_do_not_count(server: DemoFhirServer) -> None:
    where = "location=Location/demo-wound-clinic&_include=Appointment:patient&_count=2"
    bundle = call(server, "GET", f"/fhir/Appointment?{where}").json
    modes = [(e["search"]["mode"], e["resource"]["resourceType"]) for e in bundle["entry"]]
    assert modes == [("match", "Appointment")] * 2 + [("include", "Patient")] * 2
    assert bundle["total"] == 6
    assert all("_include=Appointment%3Apatient" in link["url"] for link in bundle["link"])
    strict = {"Prefer": "handling=strict"}
    unknown = call(server, "GET", "/fhir/Appointment?_include=Appointment:slot", **strict)
    assert is_outcome(unknown, 400, "not-supported")


def test_conditional_create(server: DemoFhirServer) -> None:
    device = {"resourceType": "Device", "identifier": [{"system": "s", "value": "a b|c"}]}
    condition = {"If_None_Exist": "identifier=s%7Ca%20b%5C%7Cc"}
    first = call(server, "POST", "/fhir/Device", device, **condition)
    again = call(server, "POST", "/fhir/Device", device, **condition)
    assert (first.status, again.status, server.store.count("Device")) == (201, 200, 1)
    assert again.headers["Location"] == first.headers["Location"]
    assert call(server, "POST", "/fhir/Device", device).status == 201
    assert is_outcome(call(server, "POST", "/fhir/Device", device, **condition), 412, "multiple-matches")
    for bad in ("", "colour=red", "Device?identifier=x", "_count=1"):
        assert call(server, "POST", "/fhir/Device", device, If_None_Exist=bad).status == 400, bad


@pytest.mark.parametrize("way", ["transaction", "create"])
def test_twenty_conditional_creates_at_once_make_one(server: DemoFhirServer, way: str) -> None:
    gate = threading.Barrier(20)
    device = {"resourceType": "Device", "identifier": [{"system": SYSTEM, "value": "same"}]}

    def send(_: int) -> int:
        gate.wait(timeout=10)
        if way == "transaction":
            return call(server, "POST", "/fhir", photo("same")).status
        return call(server, "POST", "/fhir/Device", device, If_None_Exist="identifier=same").status

    with ThreadPoolExecutor(20) as pool:
        statuses = sorted(pool.map(send, range(20)))
    assert statuses == [200] * 19 + [200 if way == "transaction" else 201]
    assert server.store.count("DocumentReference" if way == "transaction" else "Device") == 1


def test_transaction_resolves_links(server: DemoFhirServer) -> None:
    bundle = photo()
    kiosk = uuid4().urn
    device = {"resourceType": "Device", "identifier": [{"system": "s", "value": "kiosk"}]}
    bundle["entry"][1]["resource"]["author"] = [{"reference": kiosk}]
    bundle["entry"].append(entry(device, kiosk, "identifier=s%7Ckiosk"))
    reply = call(server, "POST", "/fhir", bundle).json
    responses = [e["response"] for e in reply["entry"]]
    assert reply["type"] == "transaction-response"
    assert [r["status"][:3] for r in responses] == ["201", "201", "201"]
    assert [r["location"].split("/")[0] for r in responses] == ["Binary", "DocumentReference", "Device"]
    assert all(r["etag"] == 'W/"1"' and r["lastModified"].endswith("Z") for r in responses)
    stored = server.store.all("DocumentReference")[0]
    link = stored["content"][0]["attachment"]["url"]
    assert f"{link}/_history/1" == responses[0]["location"]
    assert stored["author"] == [{"reference": responses[2]["location"].removesuffix("/_history/1")}]
    assert stored["masterIdentifier"]["value"].startswith("urn:uuid:"), "an identifier is not a link"
    assert server.store.binary_bytes(link.removeprefix("Binary/")) == JPEG


def test_transaction_reuses_what_is_there(server: DemoFhirServer) -> None:
    kiosk, twin = uuid4().urn, uuid4().urn
    device = {"resourceType": "Device", "identifier": [{"system": "s", "value": "kiosk"}]}
    condition = "identifier=s%7Ckiosk"
    for first_status in ("201", "200"):
        note = document("https://elsewhere.example/x", first_status)
        note["author"] = [{"reference": kiosk}, {"reference": twin}]
        bundle = transaction(entry(note), entry(device, kiosk, condition), entry(device, twin, condition))
        entries = call(server, "POST", "/fhir", bundle).json["entry"]
        assert [e["response"]["status"][:3] for e in entries] == ["201", first_status, "200"]
    assert server.store.count("Device") == 1
    authors = [a["reference"] for d in server.store.all("DocumentReference") for a in d["author"]]
    assert set(authors) == {f"Device/{server.store.all('Device')[0]['id']}"}


def bad_last_entry() -> list[tuple[dict[str, Any], int]]:
    twice = transaction(entry(binary(), "urn:uuid:" + "0" * 8 + "-0000-0000-0000-" + "0" * 12)) | {}
    twice["entry"] *= 2
    put = {"resource": {"resourceType": "Device", "id": "d"}, "request": {"method": "PUT", "url": "Device/d"}}
    return [
        (
            transaction(
                entry(binary()), entry(document("urn:uuid:x") | {"subject": {"reference": "Patient/no"}})
            ),
            400,
        ),
        (transaction(entry(binary()), entry(consent(patient={"reference": uuid4().urn}))), 400),
        (transaction(entry(binary()), entry({"resourceType": "Media"})), 404),
        (transaction(entry(binary()), entry(consent(status=None))), 400),
        (transaction(entry(binary()), entry(binary(), MARKER)), 400),
        (transaction(entry(binary()), {"resource": binary()}), 400),
        (
            transaction(entry(binary()), {"request": {"method": "DELETE", "url": "Patient/demo-patient-1"}}),
            400,
        ),
        (transaction(entry(binary()), entry(demo_patients()[4], "", f"identifier={SHARED_NHS_NUMBER}")), 412),
        (transaction(entry(binary()), put, put), 409),
        (transaction(entry(binary()), kind="batch"), 400),
        (twice, 400),
    ]


@pytest.mark.parametrize(("bundle", "status"), bad_last_entry())
def test_transaction_is_all_or_nothing(server: DemoFhirServer, bundle: dict[str, Any], status: int) -> None:
    before = server.store.revision
    reply = call(server, "POST", "/fhir", bundle)
    assert (reply.status, reply.json["resourceType"]) == (status, "OperationOutcome")
    assert MARKER.encode() not in reply.body
    assert server.store.revision == before
    assert server.store.count("Binary") == 0


def test_binary_raw_and_as_resource(server: DemoFhirServer) -> None:
    context = {"X_Security_Context": "Patient/demo-patient-1"}
    raw = call(server, "POST", "/fhir/Binary", JPEG, Content_Type="image/jpeg", **context)
    wrapped = call(server, "POST", "/fhir/Binary", binary())
    assert (raw.status, raw.body, wrapped.status) == (201, b"", 201)
    for made in (raw, wrapped):
        path = "/fhir/" + "/".join(made.headers["Location"].split("/")[-4:-2])
        plain = call(server, "GET", path, Accept="*/*")
        assert (plain.body, plain.headers["Content-Type"]) == (JPEG, "image/jpeg")
        resource = call(server, "GET", path, Accept="application/fhir+json").json
        assert base64.b64decode(resource["data"]) == JPEG
        assert (resource["contentType"], resource["securityContext"]) == ("image/jpeg", PATIENT)
        head = call(server, "HEAD", path)
        assert (head.body, head.headers["Content-Length"]) == (b"", str(len(JPEG)))
    put = call(server, "PUT", "/fhir/Binary/mine", JPEG, Content_Type="image/jpeg")
    assert (put.status, server.store.binary_bytes("mine")) == (201, JPEG)
    nobody = call(
        server, "POST", "/fhir/Binary", JPEG, Content_Type="image/jpeg", X_Security_Context="Patient/x"
    )
    assert nobody.status == 400


def test_stored_pages_cannot_run_in_the_gallery_origin(server: DemoFhirServer) -> None:
    made = call(server, "PUT", "/fhir/Binary/page", b"<script>1</script>", Content_Type="text/html")
    policy = call(server, "GET", "/fhir/Binary/page").headers["Content-Security-Policy"]
    assert (made.status, policy) == (201, "sandbox; default-src 'none'")
    split = {"resourceType": "Binary", "contentType": "text/html\r\nSet-Cookie: a=b"}
    assert call(server, "POST", "/fhir/Binary", split).status == 400


@pytest.mark.parametrize(
    "resource",
    [
        consent(status=None),
        consent(status="banana"),
        consent(patient=None),
        consent(patient={"reference": "Device/x"}),
        consent(policyRule=None),
        consent(category={"text": "not an array"}),
        consent(dateTime="yesterday"),
        consent(provision={"type": "maybe"}),
        consent(language=""),
        document("u") | {"content": [{"attachment": {"contentType": "image/jpeg"}}]},
        document("u")
        | {"content": [{"attachment": {"contentType": "image/jpeg", "url": "u", "hash": "AAAA"}}]},
        document("u") | {"content": ["text"]},
        {"resourceType": "Binary", "contentType": "image/jpeg", "data": "*"},
        {
            "resourceType": "Provenance",
            "target": [PATIENT],
            "recorded": "2026-01-02T10:11:12",
            "agent": [{"who": PATIENT}],
        },
        {
            "resourceType": "Provenance",
            "target": [PATIENT],
            "recorded": "2026-01-02T10:11:12Z",
            "agent": [{}],
        },
        {"resourceType": "AuditEvent", "type": {"code": "rest"}, "recorded": "2026-01-02T10:11:12Z"},
        {"resourceType": "Patient", "gender": MARKER},
        {"resourceType": "Device", "patient": {"reference": f"Patient/{MARKER}"}},
        {"resourceType": "Device", "patient": {"reference": "Patient?identifier=1"}},
        {"resourceType": "Device", "note": [{"text": None}]},
    ],
)
def test_bad_resources_are_refused(server: DemoFhirServer, resource: dict[str, Any]) -> None:
    reply = call(server, "POST", f"/fhir/{resource['resourceType']}", resource)
    assert (reply.status, reply.json["resourceType"]) == (400, "OperationOutcome")
    assert MARKER.encode() not in reply.body
    assert server.store.count(resource["resourceType"]) == (
        10 if resource["resourceType"] == "Patient" else 0
    )


def test_answers_are_valid_r4_by_a_library_that_is_not_ours(server: DemoFhirServer) -> None:
    CapabilityStatement.model_validate(call(server, "GET", "/fhir/metadata").json)
    Bundle.model_validate(call(server, "POST", "/fhir", photo()).json)
    found = Bundle.model_validate(call(server, "GET", "/fhir/Patient?_count=2").json)
    assert len(found.entry or ()) == 2
    for kind, count in (("Appointment", 7), ("Encounter", 2), ("Location", 2), ("Practitioner", 1)):
        included = f"?_include={kind}:patient" if kind in ("Appointment", "Encounter") else ""
        visits = Bundle.model_validate(call(server, "GET", f"/fhir/{kind}{included}").json)
        assert visits.total == count
    OperationOutcome.model_validate(call(server, "GET", "/fhir/Patient/x").json)


def test_bad_requests_are_refused_without_echo(server: DemoFhirServer) -> None:
    deep = b"[" * 100_000
    marker = f'{{"{MARKER}'.encode()
    assert is_outcome(call(server, "POST", "/fhir/Device", marker, **JSON), 400, "structure")
    assert is_outcome(call(server, "POST", "/fhir/Device", deep, **JSON), 400, "structure")
    assert is_outcome(call(server, "POST", "/fhir/Device", b"\xff", **JSON), 400, "structure")
    assert is_outcome(call(server, "POST", "/fhir/Device", b"NaN", **JSON), 400, "structure")
    assert is_outcome(
        call(server, "POST", "/fhir/Device", b"<a/>", Content_Type="text/xml"), 415, "not-supported"
    )
    assert is_outcome(
        call(server, "POST", "/fhir/Device", b"{}", Content_Encoding="gzip"), 415, "not-supported"
    )
    assert is_outcome(call(server, "POST", "/fhir/Device", consent()), 400, "invalid")
    assert is_outcome(
        call(server, "PUT", "/fhir/Device/a", {"resourceType": "Device", "id": "b"}), 400, "value"
    )
    assert is_outcome(call(server, "GET", f"/fhir/Patient/{MARKER}"), 404, "not-found")
    assert is_outcome(call(server, "GET", f"/fhir/{MARKER}"), 404, "not-supported")
    assert is_outcome(call(server, "GET", "/fhir/Patient/x/y/z"), 404, "not-found")
    assert is_outcome(call(server, "PATCH", "/fhir/Patient/demo-patient-1"), 405, "not-supported")
    assert is_outcome(call(server, "DELETE", "/fhir/Patient"), 405, "not-supported")
    assert is_outcome(
        call(server, "GET", "/fhir/Patient", Accept="application/fhir+xml"), 406, "not-supported"
    )
    assert is_outcome(call(server, "GET", "/fhir/metadata", Host=f"{MARKER}.example"), 421, "forbidden")
    assert is_outcome(call(server, MARKER, "/fhir/metadata"), 501, "structure")
    assert is_outcome(call(server, "POST", "/fhir", Transfer_Encoding="chunked"), 411, "not-supported")


def test_too_large_a_body_is_refused_and_the_limit_is_inclusive() -> None:
    with DemoFhirServer(max_body=100_000) as server:
        fits = call(server, "POST", "/fhir/Binary", bytes(100_000), Content_Type="image/jpeg")
        large = call(server, "POST", "/fhir/Binary", bytes(5_000_000), Content_Type="image/jpeg")
        assert fits.status == 201
        assert is_outcome(large, 413, "too-long")
        assert server.store.count("Binary") == 1


def test_one_connection_serves_many_requests(server: DemoFhirServer) -> None:
    port = int(server.gallery_url.rsplit(":", 1)[1].rstrip("/"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.connect()
        first = connection.sock
        for path, status in (("/fhir/metadata", 200), ("/fhir/Foo", 404), ("/fhir/Patient", 200)) * 3:
            connection.request("GET", path, headers={"X-Request-Id": "r-1"})
            response = connection.getresponse()
            response.read()
            assert response.status == status
            assert connection.sock is first
    assert server.requests[0] == ("GET", "/fhir/metadata", 200, "r-1", False)
    assert len(server.requests) == 9


def test_requests_are_noted_without_their_query(server: DemoFhirServer) -> None:
    call(server, "GET", f"/fhir/Patient?identifier={MARKER}", X_Request_Id="abc")
    call(server, "GET", "/")
    assert server.requests == [("GET", "/fhir/Patient", 200, "abc", False)]


@pytest.mark.parametrize(("length", "status"), [(75, 200), (78, 400)])
def test_base64_that_is_too_long_for_the_server(length: int, status: int) -> None:
    """R4 sets no limit; servers do, apart from the one for bodies."""
    with DemoFhirServer([], max_data=100) as server:
        data = base64.b64encode(bytes(length)).decode()
        bundle = {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "resource": {"resourceType": "Binary", "contentType": "image/jpeg", "data": data},
                    "request": {"method": "POST", "url": "Binary"},
                }
            ],
        }
        answer = requests.post(
            server.base_url, json=bundle, headers={"Content-Type": "application/fhir+json"}, timeout=5
        )
        assert answer.status_code == status
        raw = requests.post(
            f"{server.base_url}/Binary", data=bytes(500), headers={"Content-Type": "image/jpeg"}, timeout=5
        )
        assert raw.status_code == 201
        assert server.store.count("Binary") == (2 if status == 200 else 1)
