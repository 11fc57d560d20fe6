"""TLS against real sockets: what is wrong with a certificate is said in plain words, and nothing is sent."""

from __future__ import annotations

import ast
import json
import re
import socket
import ssl
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kiosk import errors
from kiosk.config import Fhir
from kiosk.errors import Problem
from kiosk.fhir.client import FhirClient
from kiosk.fhir.tls import ClientCertificate, context
from tests.certificates import Authority, Files, pem

QUESTION = "urn:x|MARKER"
PACKAGE = Path(errors.__file__).parent


class Handler(BaseHTTPRequestHandler):
    """Answers like a FHIR server that knows nothing."""

    seen: list[str]
    page: bytes | None = None

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(self.path)
        body = self.page or json.dumps({"resourceType": "Bundle", "entry": []}).encode()
        self.send_response(400 if self.page else 200)
        self.send_header("Content-Type", "text/html" if self.page else "application/fhir+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Tests read `seen` instead."""


class Server(ThreadingHTTPServer):
    tls: ssl.SSLContext
    daemon_threads = True

    def get_request(self) -> tuple[Any, Any]:
        # The handshake in the connection's own thread, with its first read.
        connection, address = super().get_request()
        return self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that broke off is what these tests want."""


@contextmanager
def serving(
    files: Files,
    *,
    clients: Path | None = None,
    newest: ssl.TLSVersion | None = None,
    page: bytes | None = None,
) -> Iterator[tuple[str, list[str]]]:
    """A FHIR base, and the paths that were asked. clients: the authority whose certificates it demands."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(files.cert, files.key)
    if clients:
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_verify_locations(clients)
    if newest:
        tls.maximum_version = newest
    seen: list[str] = []
    with Server(("127.0.0.1", 0), type("Told", (Handler,), {"seen": seen, "page": page})) as server:
        server.tls = tls
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}/fhir", seen
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def ask(base: str, ca: Path | None, client: Files | None = None) -> object:
    ours = ClientCertificate(str(client.cert), str(client.key)) if client else None
    with FhirClient(
        base, timeout=(5.0, 5.0), ca_file=str(ca) if ca else None, client_certificate=ours
    ) as fhir:
        return fhir.search("Patient", {"identifier": QUESTION})


def refused(base: str, ca: Path | None, client: Files | None = None) -> errors.NotLetIn:
    with pytest.raises(errors.NotLetIn) as raised:
        ask(base, ca, client)
    assert raised.value.retryable
    assert raised.value.__context__ is None
    text = "".join(traceback.format_exception(raised.value))
    assert "MARKER" not in text
    assert base not in text
    return raised.value


def test_a_private_authority_is_enough(authority: Authority) -> None:
    with serving(authority.issue()) as (base, seen):
        assert ask(base, authority.file) == []
    assert seen == ["/fhir/Patient/_search"]


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (
            {"first": -20, "last": -1},
            r"has expired, by this kiosk's clock \(20\d\d-\d\d-\d\d \d\d:\d\d UTC\)",
        ),
        ({"first": 2, "last": 20}, r"is not valid yet, by this kiosk's clock \(20"),
        ({"name": "records.example.org"}, "is for another (name|address)"),
        ({"own": True}, "is self-signed"),
    ],
)
def test_bad_certificates_are_named(authority: Authority, made: dict[str, Any], says: str) -> None:
    with serving(authority.issue(**made)) as (base, seen):
        error = refused(base, authority.file)
    assert error.problem is Problem.CERTIFICATE
    assert re.search(f"the server's certificate {says}", error.detail), error.detail
    assert seen == []


def test_an_unknown_issuer(authority: Authority, tmp_path: Path) -> None:
    with serving(authority.issue()) as (base, seen):
        for trusted in (Authority(tmp_path, "Other CA").file, None):
            error = refused(base, trusted)
            assert error.problem is Problem.CERTIFICATE
            assert "issuer that is not trusted here" in error.detail
            assert "ca_file" in error.detail
    assert seen == []


def test_the_private_authority_replaces_the_public_ones(authority: Authority) -> None:
    made = context(str(authority.file))
    assert made.cert_store_stats()["x509_ca"] == 1
    assert context().cert_store_stats()["x509_ca"] == 0


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_mutual_tls(authority: Authority, tmp_path: Path, newest: ssl.TLSVersion) -> None:
    others = Authority(tmp_path, "Other CA")
    with serving(authority.issue(), clients=authority.file, newest=newest) as (base, seen):
        assert ask(base, authority.file, authority.issue("kiosk")) == []
        for wrong in (None, others.issue("kiosk"), authority.issue("kiosk", last=-1, first=-9)):
            error = refused(base, authority.file, wrong)
            assert "certificate" in error.detail
            if wrong or newest is ssl.TLSVersion.TLSv1_3:
                assert error.problem is Problem.CLIENT_CERTIFICATE, error.detail
    assert seen == ["/fhir/Patient/_search"]


def test_nginx_says_400_about_certificates(authority: Authority) -> None:
    page = b"<html><title>400 No required SSL certificate was sent</title></html>"
    with serving(authority.issue(), page=page) as (base, _):
        assert refused(base, authority.file).problem is Problem.CLIENT_CERTIFICATE


def test_old_tls_is_not_spoken(authority: Authority) -> None:
    tls = context(str(authority.file))
    assert tls.minimum_version is ssl.TLSVersion.TLSv1_2
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname is True
    hello = first_flight(tls)
    # RFC 8446, 4.2.1: the versions that a client offers are in its first message.
    assert b"\x03\x04\x03\x03" in hello
    assert b"\x03\x03\x03\x02" not in hello


def first_flight(tls: ssl.SSLContext) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        tls.wrap_bio(incoming, outgoing, server_hostname="records.example.org").do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        # RFC 8446, 6: a fatal alert (2) protocol_version (70), in a record of TLS 1.0.
        (b"\x15\x03\x01\x00\x02\x02\x46", "must offer 1.2 or 1.3"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS on this port"),
        # handshake_failure (40)
        (b"\x15\x03\x03\x00\x02\x02\x28", "broke off"),
    ],
)
def test_servers_without_tls_are_named(reply: bytes, says: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(reply)

        thread = threading.Thread(target=once)
        thread.start()
        error = refused(f"https://127.0.0.1:{listener.getsockname()[1]}/fhir", None)
        thread.join()
    assert says in error.detail


def test_files_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    mine, other = authority.issue("kiosk"), authority.issue("kiosk")
    junk, secret = tmp_path / "junk.pem", tmp_path / "locked.pem"
    junk.write_text("MARKER")
    secret.write_bytes(pem(ec.generate_private_key(ec.SECP256R1()), b"MARKER"))
    for ca in (junk, tmp_path / "none.pem", tmp_path):
        with pytest.raises(errors.ConfigError, match=r"ca_file cannot be used; allowed: .*PEM") as raised:
            FhirClient("https://records.example.org/r4", ca_file=str(ca))
        assert "MARKER" not in str(raised.value)
    for cert, key, says in [
        (mine.cert, other.key, "do not belong together"),
        (mine.cert, junk, "cannot be used"),
        (mine.cert, secret, "without a passphrase"),
        (mine.cert, tmp_path / "none.pem", "cannot be used"),
        (junk, mine.key, "cannot be used"),
    ]:
        with pytest.raises(errors.ConfigError, match=says) as raised:
            context(None, ClientCertificate(str(cert), str(key)))
        assert "MARKER" not in str(raised.value)
        assert raised.value.__context__ is None


def test_nothing_of_the_environment(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(authority.file))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(authority.issue()) as (base, _):
        assert ask(base, authority.file) == []
        refused(base, None)
    assert not keys.exists()


# --- no switch -------------------------------------------------------------------------------


def test_no_key_of_the_configuration_turns_verification_off() -> None:
    words = ("verif", "insecure", "check", "trust", "skip", "ignore", "hostname", "unsafe", "self_signed")
    assert [key for key in Fhir.model_fields if any(word in key for word in words)] == []
    assert [
        k for k, f in Fhir.model_fields.items() if f.annotation is bool or f.annotation == bool | None
    ] == []


def test_no_code_turns_verification_off() -> None:
    names = {
        "CERT_NONE",
        "CERT_OPTIONAL",
        "_create_unverified_context",
        "disable_warnings",
        "assert_hostname",
    }
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)) if (
                    name in names
                ):
                    found.append((path.name, name))
                case ast.Assign(targets=[ast.Attribute(attr="verify")], value=value):
                    if ast.unparse(value) != "ca_file or True":
                        found.append((path.name, "verify"))
                case ast.Assign(targets=[ast.Attribute(attr="check_hostname" | "verify_mode")]):
                    found.append((path.name, "check_hostname"))
                case ast.keyword(arg="verify" | "check_hostname" | "cert_reqs" | "verify_mode"):
                    found.append((path.name, "keyword"))
    assert found == []
