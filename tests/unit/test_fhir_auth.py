"""Tokens: asked for once, renewed in time, never shown; and every way in which a token endpoint fails."""

from __future__ import annotations

import base64
import json
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwt
from joserfc.jwk import KeySet

from kiosk import errors
from kiosk.errors import Problem
from kiosk.fhir.assertion import SigningKey
from kiosk.fhir.auth import AssertionProof, Proof, SecretProof, TokenAuth
from kiosk.fhir.client import FhirClient
from tests.certificates import pem

SECRET = "MARKER-SECRET"
P384 = pem(ec.generate_private_key(ec.SECP384R1()))
RSA = pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))
FOUND = {"resourceType": "Bundle", "entry": []}


@dataclass
class Stub:
    """A FHIR base, its smart-configuration and its token endpoint, answering what they are told."""

    port: int = 0
    token: Callable[[], tuple[int, str, bytes]] = lambda: (0, "", b"")
    config: tuple[int, bytes] = (200, b"")
    date: str | None = None
    delay: float = 0.0
    fhir: list[int] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    given: int = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/fhir"

    @property
    def token_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/token"

    def give(self, **more: Any) -> None:
        """Answer with a new token each time."""

        def token() -> tuple[int, str, bytes]:
            self.given += 1
            answer = {
                "access_token": f"{SECRET}-{self.given}",
                "token_type": "Bearer",
                "expires_in": 300,
                **more,
            }
            return 200, "application/json", json.dumps(answer).encode()

        self.token = token

    def refuse(self, status: int, body: bytes = b"", kind: str = "application/json") -> None:
        self.token = lambda: (status, kind, body)

    def asked(self, path: str) -> int:
        return sum(1 for _, seen, _ in self.seen if seen == path)


class Handler(BaseHTTPRequestHandler):
    stub: Stub
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        stub = self.stub
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        stub.seen.append((self.command, self.path, self.headers.get("Authorization", "")))
        if self.path == "/token":
            stub.forms.append(dict(parse_qsl(body.decode(), strict_parsing=True)))
            time.sleep(stub.delay)
            self.reply(*stub.token())
        elif self.path.endswith("/.well-known/smart-configuration"):
            self.reply(stub.config[0], "application/json", stub.config[1])
        else:
            status = stub.fhir.pop(0) if stub.fhir else 200
            self.reply(status, "application/fhir+json", json.dumps(FOUND).encode())

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.stub.date or super().date_time_string(timestamp)

    def reply(self, status: int, kind: str, body: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Retry-After", "7")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Tests read `seen` instead."""


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Told", (Handler,), {"stub": stub})) as server:
        server.daemon_threads = True
        stub.port = server.server_address[1]
        stub.config = (200, json.dumps({"token_endpoint": stub.token_url}).encode())
        stub.give()
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()


def token_auth(stub: Stub, proof: Proof | None = None, **more: Any) -> TokenAuth:
    options: dict[str, Any] = {"base_url": stub.base, "token_url": None, "scopes": ("system/Patient.rs",)}
    return TokenAuth(proof or SecretProof("kiosk", SECRET), **{**options, **more})


def client(stub: Stub, auth: TokenAuth | None = None, read_s: float = 10.0) -> FhirClient:
    return FhirClient(stub.base, auth=auth or token_auth(stub), timeout=(10.0, read_s))


def search(client: FhirClient) -> object:
    return client.search("Patient", {"identifier": "urn:x|1"})


def refused(stub: Stub, auth: TokenAuth | None = None, read_s: float = 10.0) -> errors.DeliveryError:
    with client(stub, auth, read_s) as fhir, pytest.raises(errors.DeliveryError) as raised:
        search(fhir)
    text = "".join(traceback.format_exception(raised.value)) + repr(vars(raised.value))
    assert SECRET not in text
    assert "eyJ" not in text
    assert raised.value.__context__ is None
    assert raised.value.retryable
    assert stub.asked("/fhir/Patient/_search") == 0
    return raised.value


# --- one token --------------------------------------------------------------------------------


def test_one_token_for_many_requests(stub: Stub) -> None:
    with client(stub) as fhir:
        for _ in range(3):
            search(fhir)
    assert stub.asked("/token") == stub.asked("/fhir/.well-known/smart-configuration") == 1
    (form,) = stub.forms
    assert form == {"grant_type": "client_credentials", "scope": "system/Patient.rs"}
    shown = [a for _, path, a in stub.seen if path == "/fhir/Patient/_search"]
    assert shown == [f"Bearer {SECRET}-1"] * 3
    assert [a for _, path, a in stub.seen if path.endswith("smart-configuration")] == [""]


@pytest.mark.parametrize(
    ("expires", "kept", "renewed"),
    [
        (300, 269, 271),
        (40, 29, 31),
        ("300", 269, 271),
        (86400, 3569, 3571),
        (None, 44, 46),
        ("soon", 44, 46),
        (float("nan"), 44, 46),
    ],
)
def test_a_token_is_renewed_shortly_before_its_end(
    stub: Stub, expires: object, kept: float, renewed: float
) -> None:
    clock = [1000.0]
    stub.give(expires_in=expires)
    with client(stub, token_auth(stub, monotonic=lambda: clock[0])) as fhir:
        search(fhir)
        clock[0] = 1000.0 + kept
        search(fhir)
        assert stub.given == 1
        clock[0] = 1000.0 + renewed
        search(fhir)
        assert stub.given == 2


def test_a_token_that_has_ended_already_is_asked_again_each_time(stub: Stub) -> None:
    stub.give(expires_in=0)
    with client(stub) as fhir:
        search(fhir)
        search(fhir)
    assert stub.given == 2


# --- 401 in the middle -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        search,
        lambda fhir: fhir.read_digest("Binary/1", "application/fhir+json", 1000),
        lambda fhir: fhir.delete("Binary", "1"),
    ],
)
def test_what_is_safe_is_repeated_once_with_a_fresh_token(
    stub: Stub, call: Callable[[FhirClient], object]
) -> None:
    with client(stub) as fhir:
        search(fhir)
        stub.fhir = [401]
        call(fhir)
        assert stub.given == 2
        stub.fhir = [401, 401]
        with pytest.raises(errors.NotLetIn, match="401"):
            call(fhir)
    assert stub.given == 3


def test_a_transaction_is_not_repeated(stub: Stub) -> None:
    with client(stub) as fhir:
        search(fhir)
        stub.fhir = [401]
        with pytest.raises(errors.Unreachable, match="no longer accepted; not repeated"):
            fhir.transaction(b"{}")
        assert stub.asked("/fhir") == 1
        fhir.transaction(b"{}")
    assert stub.given == 2


def test_a_token_that_never_let_anything_in_is_not_followed_by_another(stub: Stub) -> None:
    stub.fhir = [401]
    with client(stub) as fhir, pytest.raises(errors.NotLetIn, match="401"):
        search(fhir)
    assert stub.given == 1


# --- client secrets ----------------------------------------------------------------------------


def test_a_secret_in_the_header_is_form_encoded_first(stub: Stub) -> None:
    with client(stub, token_auth(stub, SecretProof("a:b", "c d+%"), token_url=stub.token_url)) as fhir:
        search(fhir)
    expected = base64.b64encode(b"a%3Ab:c+d%2B%25").decode()
    assert stub.seen[0] == ("POST", "/token", f"Basic {expected}")
    assert "client_secret" not in stub.forms[0]


def test_a_secret_in_the_form(stub: Stub) -> None:
    proof = SecretProof("kiosk", SECRET, in_form=True)
    assert SECRET not in repr(proof)
    with client(stub, token_auth(stub, proof, scopes=())) as fhir:
        search(fhir)
    assert stub.forms == [{"grant_type": "client_credentials", "client_id": "kiosk", "client_secret": SECRET}]


# --- assertions --------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "algorithm"), [(P384, "ES384"), (RSA, "RS384")])
def test_an_assertion_is_what_smart_asks_for(stub: Stub, key: bytes, algorithm: str) -> None:
    signing = SigningKey(key, "key.pem", "kiosk-7")
    now = time.time()
    auth = token_auth(stub, AssertionProof("my id", signing), now=lambda: now)
    stub.give(expires_in=0)
    with client(stub, auth) as fhir:
        search(fhir)
        search(fhir)
    jtis = set()
    for form in stub.forms:
        assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        token = jwt.decode(
            form["client_assertion"],
            KeySet.import_key_set(signing.jwks()),
            algorithms=[algorithm],  # type: ignore[arg-type]
        )
        assert token.header == {"alg": algorithm, "kid": "kiosk-7", "typ": "JWT"}
        jtis.add(token.claims.pop("jti"))
        assert token.claims == {
            "iss": "my id",
            "sub": "my id",
            "aud": stub.token_url,
            "exp": int(now) + 240,
        }
    assert len(jtis) == 2
    assert "PRIVATE" not in repr(signing)


def test_the_public_key_alone_is_printed() -> None:
    first, second = SigningKey(P384, "a"), SigningKey(P384, "b", "mine")
    (key,) = first.jwks()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert key["kid"] == first.key_id != second.key_id == "mine"


@pytest.mark.parametrize(
    "key",
    [
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
        pem(ed25519.Ed25519PrivateKey.generate()),
        pem(ec.generate_private_key(ec.SECP384R1()), b"MARKER-SECRET"),
        b"MARKER-SECRET",
        b"",
    ],
)
def test_keys_that_smart_does_not_take(key: bytes) -> None:
    with pytest.raises(errors.ConfigError, match=r"key.pem: \[fhir\] key_file .* P-384") as raised:
        SigningKey(key, "key.pem")
    assert SECRET not in "".join(traceback.format_exception(raised.value))


# --- clocks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "status", "problem"),
    [
        (90, 401, Problem.CLOCK_DIFFERS),
        (-90, 400, Problem.CLOCK_DIFFERS),
        (30, 401, Problem.NOT_LET_IN),
        (90, 500, Problem.SERVER_BUSY),
    ],
)
def test_clocks_are_compared_when_an_assertion_is_refused(
    stub: Stub, ahead: int, status: int, problem: Problem
) -> None:
    stub.refuse(status, b'{"error": "invalid_client", "error_description": "MARKER-SECRET"}')
    stub.date = formatdate(time.time() - ahead, usegmt=True)
    error = refused(stub, token_auth(stub, AssertionProof("kiosk", SigningKey(P384, "a"))))
    assert error.problem is problem
    assert ("set the clock (NTP)" in error.detail) is (problem is Problem.CLOCK_DIFFERS)


def test_clocks_have_no_part_in_a_secret(stub: Stub) -> None:
    stub.refuse(401, b'{"error": "invalid_client"}')
    stub.date = formatdate(0, usegmt=True)
    assert refused(stub).problem is Problem.NOT_LET_IN


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 99 Nov 2026 10:00:00 GMT"])
def test_dates_that_say_nothing(stub: Stub, date: str) -> None:
    stub.refuse(401)
    stub.date = date or " "
    assert refused(stub, token_auth(stub, AssertionProof("k", SigningKey(P384, "a")))).problem is (
        Problem.NOT_LET_IN
    )


# --- token endpoints that fail -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (400, b'{"error": "invalid_client"}', "400 invalid_client"),
        (401, b'{"error": "invalid_client", "error_description": "MARKER-SECRET"}', "401 invalid_client"),
        (400, b'{"error": "invalid_scope"}', "400 invalid_scope"),
        (400, b'{"error": "MARKER-SECRET"}', "400"),
        (400, b'{"error": ["x"]}', "400"),
        (403, b"MARKER-SECRET", "403"),
        (404, b"", "404"),
        (409, b"", "409"),
        (302, b"", "302"),
        (200, b"<html>MARKER-SECRET</html>", "200 without a token"),
        (200, b"", "200 without a token"),
        (200, b'{"token_type": "Bearer"}', "200 without a token"),
        (200, b'{"access_token": "a b\\r\\nX: y", "token_type": "Bearer"}', "200 without a token"),
        (200, b'{"access_token": "abc", "token_type": "mac"}', "not a bearer token"),
        (200, b'{"access_token": "abc"}', "not a bearer token"),
        (200, b"x" * 300_000, "answer too long"),
    ],
)
def test_no_token(stub: Stub, status: int, body: bytes, says: str) -> None:
    stub.refuse(status, body)
    error = refused(stub)
    assert type(error) is errors.NotLetIn
    assert error.detail.endswith(says)
    assert error.detail.startswith("POST token: ")
    assert stub.asked("/token") == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_busy_token_endpoint(stub: Stub, status: int) -> None:
    stub.refuse(status, b"<html>", "text/html")
    error = refused(stub)
    assert isinstance(error, errors.ServerBusy)
    assert error.retry_after == 7


def test_a_slow_token_endpoint(stub: Stub) -> None:
    stub.delay = 1.0
    error = refused(stub, token_auth(stub, token_url=stub.token_url), 0.2)
    assert isinstance(error, errors.Unreachable)
    assert error.detail == "POST token: timed out"


@pytest.mark.parametrize(
    ("config", "kind", "says"),
    [
        ((404, b""), errors.NotLetIn, "404; set token_url"),
        ((200, b"<html>"), errors.NotLetIn, "without a token_endpoint"),
        ((200, b'{"token_endpoint": 7}'), errors.NotLetIn, "without a token_endpoint"),
        ((200, b'{"token_endpoint": "http://login.example.org/token"}'), errors.NotLetIn, "neither https"),
        ((200, b'{"token_endpoint": "https://u:p@login.example.org/t"}'), errors.NotLetIn, "neither https"),
        ((200, b'{"token_endpoint": "file:///etc/passwd"}'), errors.NotLetIn, "neither https"),
        ((503, b""), errors.ServerBusy, "503"),
    ],
)
def test_discovery_that_fails(
    stub: Stub, config: tuple[int, bytes], kind: type[errors.DeliveryError], says: str
) -> None:
    stub.config = config
    error = refused(stub)
    assert type(error) is kind
    assert says in error.detail
    assert stub.asked("/token") == 0


def test_an_algorithm_that_the_server_does_not_list(stub: Stub) -> None:
    listed = {
        "token_endpoint": stub.token_url,
        "token_endpoint_auth_signing_alg_values_supported": ["RS384"],
    }
    stub.config = (200, json.dumps(listed).encode())
    stub.refuse(401, b'{"error": "invalid_client"}')
    error = refused(stub, token_auth(stub, AssertionProof("kiosk", SigningKey(P384, "a"))))
    assert "does not list ES384" in error.detail


def test_nothing_of_the_environment(stub: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    proof = SecretProof("kiosk", SECRET, in_form=True)
    with client(stub, token_auth(stub, proof)) as fhir:
        search(fhir)
    assert [a for _, path, a in stub.seen if path == "/token"] == [""]
