from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID

import pytest

from kiosk import errors
from kiosk.fhir.answers import creates_by_put, is_id, parse_retry_after, token
from kiosk.fhir.auth import BasicAuth
from kiosk.fhir.client import Digest, FhirClient

SECRET = "MARKER-SECRET"
FOUND = json.dumps(
    {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient", "id": "a"}}]}
).encode()


@dataclass
class Seen:
    """One request as the server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Stub:
    """A server that answers everything with what it is told."""

    port: int = 0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = FOUND
    drip: bool = False
    seen: list[Seen] = field(default_factory=list)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/fhir"


class Handler(BaseHTTPRequestHandler):
    stub: Stub

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        stub = self.stub
        stub.seen.append(Seen(self.command, self.path, dict(self.headers), body))
        self.send_response(stub.status)
        headers = {"Content-Type": "application/fhir+json", **stub.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(stub.body)))
        self.end_headers()
        try:
            for n in range(len(stub.body) if stub.drip else 0):
                self.wfile.write(stub.body[n : n + 1])
                time.sleep(0.02)
            if not stub.drip:
                self.wfile.write(stub.body)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, format: str, *args: object) -> None:
        """Tests read `seen` instead."""


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    handler = type("Told", (Handler,), {"stub": stub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        stub.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield stub
        server.shutdown()
        thread.join()


@pytest.fixture
def client(stub: Stub) -> Iterator[FhirClient]:
    with FhirClient(stub.base, timeout=(1.0, 2.0)) as client:
        yield client


def search(client: FhirClient) -> object:
    return client.search("Patient", {"identifier": f"urn:x|{SECRET}"})


def post(client: FhirClient) -> object:
    return client.transaction(f'{{"secret": "{SECRET}"}}'.encode())


def read(client: FhirClient) -> object:
    return client.read("Patient", SECRET)


def fetch(client: FhirClient) -> object:
    return client.read_digest(f"Binary/{SECRET}", "image/jpeg", 1000)


def about(client: FhirClient) -> object:
    return client.capabilities()


def delete(client: FhirClient) -> object:
    client.delete("Binary", SECRET)
    return None


def read_version(client: FhirClient) -> object:
    return client.read_version("Patient", "a")


def put(client: FhirClient) -> object:
    return client.write("Consent", f'{{"secret": "{SECRET}"}}'.encode(), id="c-1", if_match='W/"3"')


def create(client: FhirClient) -> object:
    return client.write(
        "Consent", f'{{"secret": "{SECRET}"}}'.encode(), if_none_exist=f"identifier=x%7C{SECRET}"
    )


WRITES = (put, create)
CALLS: list[Callable[[FhirClient], object]] = [
    search,
    post,
    read,
    fetch,
    about,
    delete,
    read_version,
    *WRITES,
]


def assert_silent(error: BaseException) -> None:
    text = "".join(traceback.format_exception(error)) + repr(vars(error))
    assert SECRET not in text
    assert error.__context__ is None


# --- addresses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://records.example.org/fhir",
        "http://10.0.0.5/fhir",
        "http://127.0.0.1.example.org/fhir",
        f"https://user:{SECRET}@records.example.org/fhir",
        f"https://records.example.org/fhir?token={SECRET}",
        "https://records.example.org/fhir#x",
        "ftp://127.0.0.1/fhir",
        "https:///fhir",
        "https://[bad/fhir",
        "https://host:port/fhir",
        "",
    ],
)
def test_only_safe_base_urls(url: str) -> None:
    with pytest.raises(errors.ConfigError) as raised:
        FhirClient(url)
    assert SECRET not in str(raised.value)
    assert len(raised.value.complaints) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://records.example.org/fhir/",
        "http://127.0.0.1:8080/fhir",
        "http://[::1]/fhir",
        "http://localhost/r4",
    ],
)
def test_good_base_urls(url: str) -> None:
    with FhirClient(url) as client:
        assert client.base_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example.org/fhir/Binary/1",
        "//evil.example.org/Binary/1",
        "/Binary/1",
        "../admin",
        "Binary/../../admin",
        "Binary/%2e%2e/%2e%2e/admin",
        "Binary%2F..%2Fadmin",
        "urn:uuid:4f1c2b7e-0000-4000-8000-000000000000",
        "Binary/1#fragment",
        "Binary/1\r\nX: y",
        "file:///etc/passwd",
        "",
        "\\\\evil\\x",
    ],
)
def test_bytes_come_from_below_the_base_only(client: FhirClient, stub: Stub, url: str) -> None:
    with pytest.raises(errors.NotProven):
        client.read_digest(url, "image/jpeg", 1000)
    assert stub.seen == []


def test_a_longer_base_is_another_server(client: FhirClient, stub: Stub) -> None:
    with pytest.raises(errors.NotProven):
        client.read_digest(f"{stub.base}-other/Binary/1", "image/jpeg", 1000)
    assert stub.seen == []


@pytest.mark.parametrize("form", ["Binary/7", "{base}/Binary/7", "Binary/7/_history/2"])
def test_bytes_raw(client: FhirClient, stub: Stub, form: str) -> None:
    stub.headers, stub.body = {"Content-Type": "image/jpeg"}, b"\xff\xd8pixels"
    assert client.read_digest(form.format(base=stub.base), "image/jpeg", 100) == Digest.of(b"\xff\xd8pixels")
    assert stub.seen[0].path.startswith("/fhir/Binary/7")
    assert stub.seen[0].headers["Accept"] == "image/jpeg"


def test_bytes_as_a_binary_resource(client: FhirClient, stub: Stub) -> None:
    data = base64.b64encode(b"\xff\xd8pixels").decode()
    stub.headers = {"Content-Type": "application/fhir+json;charset=utf-8"}
    stub.body = json.dumps({"resourceType": "Binary", "contentType": "image/jpeg", "data": data}).encode()
    assert client.read_digest("Binary/7", "image/jpeg", 100) == Digest.of(b"\xff\xd8pixels")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"resourceType": "Binary"}',
        b'{"resourceType": "Binary", "data": "%%%"}',
        b"<html>",
    ],
)
def test_bytes_that_are_none(client: FhirClient, stub: Stub, body: bytes) -> None:
    stub.body = body
    assert client.read_digest("Binary/7", "image/jpeg", 100) == Digest.of(b"")


def test_more_bytes_than_expected(client: FhirClient, stub: Stub) -> None:
    stub.headers, stub.body = {"Content-Type": "image/jpeg"}, bytes(101)
    with pytest.raises(errors.NotProven):
        client.read_digest("Binary/7", "image/jpeg", 100)
    stub.body = bytes(400_000)
    with pytest.raises(errors.NotProven, match="too long"):
        client.read_digest("Binary/7", "image/jpeg", 100)


@pytest.mark.parametrize("status", [404, 410])
def test_dangling(client: FhirClient, stub: Stub, status: int) -> None:
    stub.status = status
    with pytest.raises(errors.NotProven):
        fetch(client)


# --- what goes out ---------------------------------------------------------------------------


def test_a_search_hides_the_identifier_in_the_body(client: FhirClient, stub: Stub) -> None:
    assert search(client) == [{"resourceType": "Patient", "id": "a"}]
    seen = stub.seen[0]
    assert (seen.method, seen.path) == ("POST", "/fhir/Patient/_search")
    assert seen.body == b"identifier=urn%3Ax%7CMARKER-SECRET"
    assert seen.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert seen.headers["Prefer"] == "handling=strict"
    assert seen.headers["Cache-Control"] == "no-cache"


def test_every_attempt_has_its_own_request_id(client: FhirClient, stub: Stub) -> None:
    for _ in range(2):
        for call in (search, post):
            call(client)
    ids = [seen.headers["X-Request-Id"] for seen in stub.seen]
    assert len({UUID(id) for id in ids}) == 4


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_transaction_is_sent_as_it_is(client: FhirClient, stub: Stub, kind: type) -> None:
    body = b'{"resourceType": "Bundle"}' * 50_000
    client.transaction(kind(body))
    assert (stub.seen[0].method, stub.seen[0].path) == ("POST", "/fhir")
    assert stub.seen[0].body == body
    assert stub.seen[0].headers["Content-Type"] == "application/fhir+json"
    assert "Transfer-Encoding" not in stub.seen[0].headers


class Made:
    """A body of many pieces, each made when it is asked for."""

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces

    def __len__(self) -> int:
        return self.pieces * 76_000

    def __iter__(self) -> Iterator[bytes]:
        for number in range(self.pieces):
            yield bytes((number,)) * 76_000


def test_pieces_are_sent_one_after_the_other_and_again(client: FhirClient, stub: Stub) -> None:
    body = Made(5)
    for _ in range(2):
        client.transaction(body)
    assert [seen.body for seen in stub.seen] == [b"".join(body)] * 2
    assert stub.seen[0].headers["Content-Length"] == "380000"
    assert "Transfer-Encoding" not in stub.seen[0].headers


def test_a_slow_line_has_its_time_for_each_piece() -> None:
    """A socket's limit counts for one call: a photograph that goes out in one would be cut off."""
    # Longer than the buffers of both sockets together.
    body, limit, pause = Made(160), 0.8, 0.008
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)

        def read_slowly() -> None:
            connection, _ = server.accept()
            with connection:
                left = len(body)
                while left > 0 and (data := connection.recv(65536)):
                    left -= len(data)
                    time.sleep(pause)
                connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=read_slowly)
        thread.start()
        base, started = f"http://127.0.0.1:{server.getsockname()[1]}/fhir", time.monotonic()
        with FhirClient(base, timeout=(limit, 30.0)) as client, pytest.raises(errors.ServerBusy):
            client.transaction(body)
        assert time.monotonic() - started > limit
        thread.join()


def test_nothing_of_the_environment(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / ".netrc").write_text(f"machine 127.0.0.1 login x password {SECRET}\n")
    monkeypatch.setenv("HOME", str(home))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with FhirClient(stub.base) as client:
        search(client)
    assert "Authorization" not in stub.seen[0].headers


def test_basic_auth(stub: Stub) -> None:
    auth = BasicAuth("kiosk", "pässword")
    assert "pässword" not in repr(auth)
    with FhirClient(stub.base, auth=auth) as client:
        search(client)
    expected = base64.b64encode("kiosk:pässword".encode()).decode()
    assert stub.seen[0].headers["Authorization"] == f"Basic {expected}"


# --- what comes back -------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("status", "expected"),
    [(s, errors.ServerBusy) for s in (408, 425, 429, 500, 502, 503, 504)]
    + [(s, errors.Conflict) for s in (409, 412)]
    + [(s, errors.NotLetIn) for s in (401, 403, 407, 511, 301, 302, 303, 304, 307, 308)]
    + [(s, errors.Rejected) for s in (400, 405, 406, 413, 415, 422, 501, 505)],
)
def test_statuses(
    client: FhirClient,
    stub: Stub,
    call: Callable[[FhirClient], object],
    status: int,
    expected: type[errors.DeliveryError],
) -> None:
    stub.status = status
    stub.headers = {"Location": f"{stub.base}/elsewhere", "Retry-After": "12"}
    stub.body = b"" if status == 304 else f'{{"issue": "{SECRET}"}}'.encode()
    with pytest.raises(expected) as raised:
        call(client)
    assert_silent(raised.value)
    assert str(status) in raised.value.detail
    assert len(stub.seen) == 1, "retried or redirected"
    if isinstance(raised.value, errors.ServerBusy):
        assert raised.value.retry_after == 12


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (search, errors.NotLetIn),
        (post, errors.NotLetIn),
        (about, errors.NotLetIn),
        (read, errors.Rejected),
        (fetch, errors.NotProven),
        (read_version, errors.Rejected),
        (put, errors.Rejected),
        (create, errors.NotLetIn),
    ],
)
def test_404_means_a_wrong_address_where_every_server_has_something(
    client: FhirClient, stub: Stub, call: Callable[[FhirClient], object], expected: type[errors.DeliveryError]
) -> None:
    stub.status = 404
    with pytest.raises(expected) as raised:
        call(client)
    assert_silent(raised.value)


@pytest.mark.parametrize("status", [200, 202, 204, 404, 410])
def test_deleted(client: FhirClient, stub: Stub, status: int) -> None:
    stub.status, stub.body = status, b""
    client.delete("Binary", "b-1")
    assert (stub.seen[0].method, stub.seen[0].path) == ("DELETE", "/fhir/Binary/b-1")


def test_not_an_id_to_delete(client: FhirClient, stub: Stub) -> None:
    with pytest.raises(errors.Rejected):
        client.delete("Binary", "../Patient")
    with pytest.raises(errors.Rejected):
        client.read_version("Consent", "../Patient")
    with pytest.raises(errors.Rejected):
        client.write("Consent", b"{}", id="../Patient")
    assert stub.seen == []


def test_not_an_id_to_write(client: FhirClient, stub: Stub) -> None:
    with pytest.raises(errors.Rejected):
        client.write("AuditEvent", b"{}", id="../Patient")
    assert stub.seen == []


@pytest.mark.parametrize("etag", ['W/"3"', None])
def test_a_version_is_read_with_its_tag(client: FhirClient, stub: Stub, etag: str | None) -> None:
    stub.body = b'{"resourceType": "Patient", "id": "a"}'
    stub.headers = {"ETag": etag} if etag else {}
    read = client.read_version("Patient", "a")
    assert (read.resource["id"], read.etag) == ("a", etag)
    assert stub.seen[0].headers["Cache-Control"] == "no-cache"


def test_another_resource_than_was_asked_for(client: FhirClient, stub: Stub) -> None:
    stub.body = b'{"resourceType": "Patient", "id": "b"}'
    with pytest.raises(errors.NotLetIn):
        client.read_version("Patient", "a")


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_write_is_conditional_as_asked(client: FhirClient, stub: Stub, status: int) -> None:
    stub.status, stub.body = status, b""
    put(client)
    create(client)
    client.write("Provenance", b"{}")
    first, second, third = stub.seen
    assert (first.method, first.path, first.headers["If-Match"]) == ("PUT", "/fhir/Consent/c-1", 'W/"3"')
    assert "If-None-Exist" not in first.headers
    assert (second.method, second.path) == ("POST", "/fhir/Consent")
    assert second.headers["If-None-Exist"].startswith("identifier=x%7C")
    assert not {"If-Match", "If-None-Exist"} & set(third.headers)
    assert {s.headers["Content-Type"] for s in stub.seen} == {"application/fhir+json"}


@pytest.mark.parametrize("call", [fetch, delete, read_version, *WRITES])
@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/xhtml+xml"])
def test_a_sign_in_page_is_no_bytes(
    client: FhirClient, stub: Stub, call: Callable[[FhirClient], object], kind: str
) -> None:
    stub.headers, stub.body = {"Content-Type": kind}, b"<html>Sign in</html>"
    with pytest.raises(errors.NotLetIn) as raised:
        call(client)
    assert_silent(raised.value)


@pytest.mark.parametrize("call", [search, post, read, about])
@pytest.mark.parametrize(
    "body",
    [
        b"<html>Sign in</html>",
        b"",
        b"null",
        b"[]",
        b'{"resourceType": "OperationOutcome"}',
        b"{" * 100_000,
        b"\xff\xfe\x00",
    ],
)
def test_200_without_fhir(
    client: FhirClient, stub: Stub, call: Callable[[FhirClient], object], body: bytes
) -> None:
    stub.body = body
    with pytest.raises(errors.NotLetIn) as raised:
        call(client)
    assert_silent(raised.value)


@pytest.mark.parametrize(
    "entry", ["x", {}, [None, 1, {}, {"resource": 3}, {"resource": {"resourceType": "Basic"}}]]
)
def test_odd_bundles(client: FhirClient, stub: Stub, entry: object) -> None:
    stub.body = json.dumps({"resourceType": "Bundle", "entry": entry}).encode()
    assert search(client) == []


def test_an_endless_answer(client: FhirClient, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiosk.fhir.client.JSON_LIMIT", 1000)
    stub.body = bytes(200_000)
    with pytest.raises(errors.NotProven, match="too long"):
        search(client)


def test_a_dripping_answer(stub: Stub) -> None:
    stub.drip, stub.body = True, bytes(500)
    started = time.monotonic()
    with FhirClient(stub.base, deadline=0.2) as client, pytest.raises(errors.Unreachable, match="too long"):
        search(client)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("call", CALLS)
def test_nobody_there(call: Callable[[FhirClient], object]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{taken.getsockname()[1]}/fhir"
        with FhirClient(base) as client, pytest.raises(errors.Unreachable) as raised:
            call(client)
    assert_silent(raised.value)


@pytest.mark.parametrize("call", CALLS)
def test_nobody_answers(call: Callable[[FhirClient], object]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        base = f"http://127.0.0.1:{silent.getsockname()[1]}/fhir"
        with FhirClient(base, timeout=(1.0, 0.1)) as client, pytest.raises(errors.Unreachable) as raised:
            call(client)
    assert_silent(raised.value)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"nonsense\r\n\r\n",
        b"",
    ],
)
def test_broken_http(call: Callable[[FhirClient], object], answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=once)
        thread.start()
        base = f"http://127.0.0.1:{server.getsockname()[1]}/fhir"
        with FhirClient(base, timeout=(1.0, 1.0)) as client, pytest.raises(errors.Unreachable) as raised:
            call(client)
        thread.join()
    assert_silent(raised.value)


def test_not_an_id(client: FhirClient, stub: Stub) -> None:
    with pytest.raises(errors.Rejected):
        client.read("Patient", "../Patient")
    assert stub.seen == []
    assert is_id("a-B.9")
    assert not is_id("")
    assert not is_id("a/b")
    assert not is_id(None)


def test_capabilities(client: FhirClient, stub: Stub) -> None:
    stub.body = b'{"resourceType": "CapabilityStatement"}'
    assert client.capabilities()["resourceType"] == "CapabilityStatement"
    assert stub.seen[0].path == "/fhir/metadata"


# --- pieces ----------------------------------------------------------------------------------

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("30", 30.0),
        (" 0 ", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), 0.0),
        (format_datetime(NOW + timedelta(days=30), usegmt=True), 900.0),
        ("900", 900.0),
        ("901", 900.0),
        ("86400", 900.0),
        ("Mon, 23 Nov 2026 12:00:05 -0000", 5.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("9" * 400, 900.0),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW) == seconds


@pytest.mark.parametrize(
    ("statement", "kinds"),
    [
        ({}, set()),
        ({"rest": "x"}, set()),
        ({"rest": [None, {"mode": "server", "resource": [3, {}, {"updateCreate": False}]}]}, set()),
        ({"rest": [{"mode": "client", "resource": [{"type": "Binary", "updateCreate": True}]}]}, set()),
        ({"rest": [{"mode": "server", "resource": [{"type": "Binary", "updateCreate": "true"}]}]}, set()),
        (
            {
                "rest": [
                    {
                        "mode": "server",
                        "resource": [{"type": "Binary", "updateCreate": True}, {"type": "Provenance"}],
                    }
                ]
            },
            {"Binary"},
        ),
    ],
)
def test_who_may_choose_ids(statement: dict[str, object], kinds: set[str]) -> None:
    assert creates_by_put(statement) == kinds


def test_local_references(client: FhirClient, stub: Stub) -> None:
    assert client.local(f"{stub.base}/Binary/1/_history/2") == client.local("Binary/1") == "Binary/1"
    assert client.local("http://elsewhere.example/fhir/Binary/1") == "http://elsewhere.example/fhir/Binary/1"


def test_tokens_are_escaped() -> None:
    assert token("urn:x", "a,b|c$d\\e") == "urn:x|a\\,b\\|c\\$d\\\\e"


def test_a_chunked_answer() -> None:
    pieces = [FOUND[:7], FOUND[7:50], FOUND[50:]]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as request:
                # The whole request: closing with some of it unread would reset the connection.
                request.readline()
                headers = http.client.parse_headers(request)
                request.read(int(headers["Content-Length"]))
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for start in range(0, len(chunks), 5):
                    connection.sendall(chunks[start : start + 5])

        thread = threading.Thread(target=once)
        thread.start()
        with FhirClient(f"http://127.0.0.1:{server.getsockname()[1]}/fhir") as client:
            assert search(client) == [{"resourceType": "Patient", "id": "a"}]
        thread.join()


# --- bytes as they are ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "location", "body", "stored"),
    [
        ("mine", "", b"", "Binary/mine"),
        (None, "{base}/Binary/7/_history/1", b"", "Binary/7"),
        (None, "Binary/7", b"", "Binary/7"),
        (None, "", b'{"resourceType": "Binary", "id": "7"}', "Binary/7"),
    ],
)
def test_bytes_are_stored(
    client: FhirClient, stub: Stub, id: str | None, location: str, body: bytes, stored: str
) -> None:
    stub.status, stub.body = 201, body
    if location:
        stub.headers["Location"] = location.replace("{base}", stub.base)
    assert client.store_binary(bytearray(b"\xff\xd8"), "image/jpeg", "Patient/p1", id) == stored
    (seen,) = stub.seen
    assert (seen.method, seen.path) == (("PUT", "/fhir/Binary/mine") if id else ("POST", "/fhir/Binary"))
    assert (seen.body, seen.headers["Content-Type"]) == (b"\xff\xd8", "image/jpeg")
    assert seen.headers["X-Security-Context"] == "Patient/p1"


@pytest.mark.parametrize(
    ("status", "headers", "body", "error"),
    [
        (413, {}, b"", errors.Rejected),
        (503, {"Retry-After": "3"}, b"", errors.ServerBusy),
        (403, {}, b"", errors.NotLetIn),
        (200, {"Content-Type": "text/html"}, b"<form>", errors.NotLetIn),
        (201, {}, b"{}", errors.NotProven),
        (201, {"Location": "http://elsewhere.example/Binary/7"}, b"", errors.NotProven),
        (201, {"Location": "Binary/../Patient"}, b"", errors.NotProven),
    ],
)
def test_bytes_are_not_stored(
    client: FhirClient, stub: Stub, status: int, headers: dict[str, str], body: bytes, error: type[Exception]
) -> None:
    stub.status, stub.headers, stub.body = status, headers, body
    with pytest.raises(error) as raised:
        client.store_binary(SECRET.encode(), "image/jpeg", "Patient/p1", None)
    assert_silent(raised.value)
    assert getattr(raised.value, "status", 413) == 413
