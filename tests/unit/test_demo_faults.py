"""The faults of the demo's FHIR server: their words, and what a client meets when they strike."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from kiosk.demo.faults import Fault, FaultKind, Faults, parse_fault
from kiosk.demo.fhir_http import HttpServer
from kiosk.demo.fhir_server import DemoFhirServer

JPEG = b"\xff\xd8\xff\xe0 not quite a picture \x00\xff\xd9"
DEVICE = {"resourceType": "Device"}


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def port_of(server: DemoFhirServer) -> int:
    return int(server.gallery_url.rsplit(":", 1)[1].rstrip("/"))


def call(server: DemoFhirServer, method: str, path: str, body: Any = None) -> Reply:
    headers = {"Accept": "*/*"}
    if isinstance(body, dict):
        body, headers["Content-Type"] = json.dumps(body).encode(), "application/fhir+json"
    elif body is not None:
        headers["Content-Type"] = "image/jpeg"
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())


def photo() -> dict[str, Any]:
    url = uuid4().urn
    data = base64.b64encode(JPEG).decode()
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": "Patient/demo-patient-1"},
        "content": [{"attachment": {"contentType": "image/jpeg", "url": url}}],
    }
    picture: dict[str, Any] = {"resourceType": "Binary", "contentType": "image/jpeg", "data": data}
    resources = (picture, document)
    entries = [
        {"fullUrl": full_url, "resource": one, "request": {"method": "POST", "url": one["resourceType"]}}
        for full_url, one in zip((url, uuid4().urn), resources, strict=True)
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


@pytest.fixture
def server() -> Iterator[DemoFhirServer]:
    with DemoFhirServer() as running:
        yield running
    assert running.crashes == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("delay 0.5", Fault(FaultKind.DELAY, 0.5)),
        ("status 503 times=2", Fault(FaultKind.STATUS, 503, 2)),
        ("retry-after 7 on=POST:/fhir", Fault(FaultKind.RETRY_AFTER, 7, None, "POST", "/fhir")),
        ("drop-before on=*:/fhir$ times=1", Fault(FaultKind.DROP_BEFORE, 0, 1, "*", "/fhir", True)),
        ("drop-after-commit", Fault(FaultKind.DROP_AFTER_COMMIT)),
        ("corrupt-readback", Fault(FaultKind.CORRUPT_READBACK)),
        ("delay-readback 2", Fault(FaultKind.DELAY_READBACK, 2)),
        ("dangling-url", Fault(FaultKind.DANGLING_URL)),
        ("login-page", Fault(FaultKind.LOGIN_PAGE)),
        ("none", None),
    ],
)
def test_words_of_a_fault(text: str, fault: Fault | None) -> None:
    parsed = parse_fault(text)
    assert parsed == fault
    assert parsed is None or parse_fault(parsed.text()) == parsed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "allowed are: none, delay SECONDS, status CODE"),
        ("explode", "unknown fault 'explode'; allowed are"),
        ("none now", "stands alone"),
        ("delay", "needs SECONDS"),
        ("delay soon", "0 to 3600"),
        ("delay nan", "0 to 3600"),
        ("delay -1", "0 to 3600"),
        ("status", "needs CODE"),
        ("status 200", "400 to 599"),
        ("status 404.5", "400 to 599"),
        ("retry-after 1.5", "whole SECONDS"),
        ("drop-before 3", "only times=N and on=METHOD:PATHPREFIX"),
        ("drop-before times=0", "times= must be"),
        ("drop-before times=x", "times= must be"),
        ("drop-before times=1 times=2", "given twice"),
        ("drop-before on=/fhir", "on= must be METHOD:PATHPREFIX"),
        ("drop-before on=PATCH:/fhir", "on= must be METHOD:PATHPREFIX"),
        ("drop-before on=GET:fhir", "on= must be METHOD:PATHPREFIX"),
    ],
)
def test_a_wrong_fault_says_what_is_allowed(text: str, says: str) -> None:
    faults = Faults()
    with pytest.raises(ValueError, match=re.escape(says)):
        faults.set(text)
    assert faults.active == ()


def test_filter_by_method_and_path() -> None:
    prefix = parse_fault("login-page on=GET:/fhir/Binary")
    exact = parse_fault("login-page on=*:/fhir$")
    assert prefix is not None
    assert exact is not None
    assert prefix.hits("GET", "/fhir/Binary")
    assert prefix.hits("GET", "/fhir/Binary/1")
    assert not prefix.hits("GET", "/fhir/BinaryX")
    assert not prefix.hits("POST", "/fhir/Binary")
    assert exact.hits("POST", "/fhir")
    assert not exact.hits("POST", "/fhir/Binary")


def test_turns_are_used_up_once_each_by_many_threads() -> None:
    faults = Faults()
    faults.set("drop-before times=50")
    taken: list[Fault] = []

    def take() -> None:
        for _ in range(20):
            fault = faults.take("GET", "/fhir", [FaultKind.DROP_BEFORE])
            if fault is not None:
                taken.append(fault)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 50
    assert faults.active == ()
    assert faults.revision == 51


def test_none_clears_everything() -> None:
    faults = Faults()
    faults.set("delay 1")
    faults.set("login-page times=1")
    assert [fault.text() for fault in faults.active] == ["delay 1", "login-page times=1"]
    faults.set("none")
    assert faults.take("GET", "/fhir", FaultKind) is None


def test_status_and_retry_after_do_nothing_else(server: DemoFhirServer) -> None:
    server.faults.set("status 500 times=1 on=POST:/fhir")
    server.faults.set("retry-after 7 times=1 on=POST:/fhir")
    assert call(server, "GET", "/fhir/metadata").status == 200
    failed, later, done = (call(server, "POST", "/fhir/Device", DEVICE) for _ in range(3))
    assert (failed.status, failed.json["resourceType"]) == (500, "OperationOutcome")
    assert (later.status, later.headers["Retry-After"]) == (429, "7")
    assert (done.status, server.store.count("Device")) == (201, 1)
    assert [r.status for r in server.requests] == [200, 500, 429, 201]


def test_login_page(server: DemoFhirServer) -> None:
    server.faults.set("login-page times=1")
    page = call(server, "POST", "/fhir/Device", DEVICE)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"Sign in" in page.body
    assert server.store.count("Device") == 0


def test_drop_before_and_after_the_commit(server: DemoFhirServer) -> None:
    for fault, kept in (("drop-before times=1", 0), ("drop-after-commit times=1", 1)):
        server.faults.set(fault)
        with pytest.raises(ConnectionError):
            call(server, "POST", "/fhir", photo())
        assert server.store.count("DocumentReference") == kept
    assert [r.status for r in server.requests] == [0, 0]
    assert server.faults.active == ()


def test_drop_after_commit_waits_for_a_commit(server: DemoFhirServer) -> None:
    server.faults.set("drop-after-commit times=1")
    assert call(server, "GET", "/fhir/metadata").status == 200
    assert call(server, "POST", "/fhir/Device", {"resourceType": "Patient"}).status == 400
    with pytest.raises(ConnectionError):
        call(server, "POST", "/fhir/Device", DEVICE)


def test_delays(server: DemoFhirServer) -> None:
    call(server, "POST", "/fhir", photo())
    binary = f"/fhir/Binary/{server.store.all('Binary')[0]['id']}"
    for fault, path in (("delay 0.3 times=1", "/fhir/metadata"), ("delay-readback 0.3 times=1", binary)):
        server.faults.set(fault)
        start = time.monotonic()
        assert call(server, "GET", path).status == 200
        assert time.monotonic() - start >= 0.3
        assert server.faults.active == ()
    server.faults.set("delay-readback 600")
    assert call(server, "GET", "/fhir/DocumentReference").status == 200


def test_corrupt_readback_changes_what_is_read_and_not_what_is_kept(server: DemoFhirServer) -> None:
    call(server, "POST", "/fhir", photo())
    id_ = server.store.all("Binary")[0]["id"]
    server.faults.set("corrupt-readback times=1")
    wrong, right = (call(server, "GET", f"/fhir/Binary/{id_}").body for _ in range(2))
    assert len(wrong) == len(JPEG)
    assert wrong != JPEG
    assert right == JPEG == server.store.binary_bytes(id_)


def test_dangling_url(server: DemoFhirServer) -> None:
    server.faults.set("dangling-url times=1")
    assert call(server, "POST", "/fhir", {"resourceType": "Bundle", "type": "transaction"}).status == 200
    links = []
    for _ in range(2):
        assert call(server, "POST", "/fhir", photo()).status == 200
        links.append(server.store.all("DocumentReference")[-1]["content"][0]["attachment"]["url"])
    assert links[0].startswith("urn:uuid:")
    assert links[1].startswith("Binary/")


def test_network_down_and_up_again(server: DemoFhirServer) -> None:
    address = server.base_url
    port = port_of(server)
    call(server, "POST", "/fhir", photo())
    live = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(live):
        live.request("GET", "/fhir/metadata")
        live.getresponse().read()
        server.set_network(False)
        server.set_network(False)
        assert live.sock is not None
        with pytest.raises(ConnectionError):
            # The reset is there already: the empty read of an orderly close would be no error.
            live.sock.recv(1)
    assert not server.network_up
    with pytest.raises(ConnectionRefusedError):
        call(server, "GET", "/fhir/metadata")
    server.set_network(True)
    assert server.base_url == address
    assert call(server, "GET", "/fhir/DocumentReference").json["total"] == 1


def test_the_port_is_never_free_while_the_server_lives(
    server: DemoFhirServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or an outgoing connection of anybody takes it before the network comes back."""
    port = port_of(server)
    halt = HttpServer.halt

    def taken() -> bool:
        with socket.socket() as thief:
            try:
                thief.bind(("127.0.0.1", port))
            except OSError:
                return True
        return False

    def halt_and_look(http_server: HttpServer) -> None:
        halt(http_server)
        assert taken()

    monkeypatch.setattr(HttpServer, "halt", halt_and_look)
    for _ in range(3):
        server.set_network(False)
        assert taken()
        server.set_network(True)
        assert call(server, "GET", "/fhir/metadata").status == 200


def test_stop_ends_threads_and_frees_the_port() -> None:
    before = threading.active_count()
    with DemoFhirServer() as server:
        port = port_of(server)
        server.faults.set("delay 600")
        with socket.create_connection(("127.0.0.1", port)) as waiting:
            waiting.sendall(b"GET /fhir/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with socket.create_connection(("127.0.0.1", port)):
                server.set_network(False)
        with pytest.raises(RuntimeError):
            server.start()
    server.stop()
    assert threading.active_count() == before
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
    with pytest.raises(RuntimeError):
        server.set_network(True)
