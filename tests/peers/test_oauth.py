"""The real client signs on at an authorization server that nobody here wrote (oidc-provider)."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from PIL import Image

from kiosk import children as children_module
from kiosk import errors
from kiosk.__main__ import main
from kiosk.children import Children
from kiosk.config import SCOPES, Fhir
from kiosk.demo.fhir_server import DemoFhirServer
from kiosk.destinations.fhir import FhirDestination
from kiosk.errors import Problem
from kiosk.fhir.assertion import SigningKey
from kiosk.fhir.auth import AssertionProof, TokenAuth
from kiosk.fhir.client import FhirClient
from kiosk.fhir.directory import PatientDirectory
from kiosk.fhir.resources import Filing
from kiosk.heads import SignedHead
from kiosk.link import Caller
from kiosk.model import Match, Photo, Session
from kiosk.wiring.record import open_client
from tests import nouns
from tests.certificates import Authority, pem
from tests.nouns import AT, NHS, SITE
from tests.peers.oauth_server import Front, OAuthServer

PASSWORD = "s3cret & more: 100%/+x"
KEYS = {
    "es": pem(ec.generate_private_key(ec.SECP384R1())),
    "rs": pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    "stranger": pem(ec.generate_private_key(ec.SECP384R1())),
}
V1 = ("system/*.read", "system/*.write")


def clients() -> list[dict[str, Any]]:
    jwt = {"token_endpoint_auth_method": "private_key_jwt"}
    return [
        {"client_id": "kiosk-es", **jwt, "jwks": SigningKey(KEYS["es"], "es").jwks()},
        {"client_id": "kiosk-rs", **jwt, "jwks": SigningKey(KEYS["rs"], "rs", "kiosk-7").jwks()},
        {"client_id": "kiosk:basic", "client_secret": PASSWORD},
        {
            "client_id": "kiosk-post",
            "client_secret": PASSWORD,
            "token_endpoint_auth_method": "client_secret_post",
        },
    ]


@pytest.fixture(scope="module")
def oauth() -> Iterator[OAuthServer]:
    with OAuthServer(clients(), scopes=(*SCOPES, *V1)) as server:
        yield server


@pytest.fixture
def record() -> Iterator[DemoFhirServer]:
    with DemoFhirServer() as server:
        yield server
        assert server.crashes == []


@pytest.fixture
def front(oauth: OAuthServer, record: DemoFhirServer) -> Iterator[Front]:
    with Front(oauth, record.base_url) as front:
        yield front


def secret(directory: Path, content: bytes) -> str:
    path = directory / f"secret-{uuid4()}"
    path.write_bytes(content)
    path.chmod(0o400)
    return str(path)


def settings(base: str, **keys: Any) -> Fhir:
    return Fhir(url=base, patient_systems=(NHS,), **keys)


def smart(base: str, directory: Path, kind: str = "es", **keys: Any) -> Fhir:
    if kind == "rs":
        keys["key_id"] = "kiosk-7"
    file = keys.pop("key_file", None) or secret(directory, KEYS[kind])
    return settings(base, auth="smart", client_id=f"kiosk-{kind}", key_file=file, **keys)


def photograph(number: int) -> tuple[Photo, bytes]:
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(stream, "JPEG")
    jpeg = stream.getvalue()
    photo = Photo(uuid4(), number, AT, SITE, number, 64, 64, len(jpeg), hashlib.sha256(jpeg).hexdigest())
    return photo, jpeg


def a_session(client: FhirClient) -> tuple[Session, dict[Any, bytes]]:
    """A session of two photographs for a patient whom the record knows."""
    (patient,) = PatientDirectory(client, (NHS,)).find("9991230009", Match.WRISTBAND)
    taken = [photograph(1), photograph(2)]
    given = nouns.consent(id=uuid4())
    made = nouns.session(given, [photo for photo, _ in taken], id=uuid4(), patient=patient)
    return made, {photo.id: jpeg for photo, jpeg in taken}


def deliver(client: FhirClient, session: Session, jpegs: dict[Any, bytes]) -> None:
    destination = FhirDestination(client, Filing("urn:lethe:photo", "Test"))
    receipt = destination.deliver(session, lambda p: bytearray(jpegs[p.id]), lambda stage: None)
    assert receipt.photos == 2


def photographs(record: DemoFhirServer) -> int:
    return sum(
        1
        for found in record.store.all("DocumentReference")
        if found["content"][0]["attachment"]["contentType"] == "image/jpeg"
    )


@pytest.mark.parametrize("how", ["es", "rs", "rs-token-url", "basic", "post", "v1"])
def test_a_session_is_delivered(
    how: str, front: Front, record: DemoFhirServer, oauth: OAuthServer, tmp_path: Path
) -> None:
    file = secret(tmp_path, PASSWORD.encode() + b"\n")
    ways = {
        "es": lambda: smart(front.base, tmp_path),
        "rs": lambda: smart(front.base, tmp_path, "rs"),
        "rs-token-url": lambda: smart(front.base, tmp_path, "rs", token_url=oauth.token_url),
        "v1": lambda: smart(front.base, tmp_path, scopes=V1),
        "basic": lambda: settings(
            front.base, auth="client-secret", client_id="kiosk:basic", client_secret_file=file
        ),
        "post": lambda: settings(
            front.base,
            auth="client-secret",
            client_id="kiosk-post",
            client_secret_file=file,
            client_secret_method="post",
        ),
    }
    with open_client(ways[how]()) as client:
        deliver(client, *a_session(client))
    assert photographs(record) == 2
    assert len(front.tokens) == 1, "one token for the whole process"
    asked = [path for _, path, _ in front.seen].count("/fhir/.well-known/smart-configuration")
    assert asked == (0 if how == "rs-token-url" else 1)


def test_a_narrowed_scope_shows_when_writing(front: Front, tmp_path: Path) -> None:
    with open_client(smart(front.base, tmp_path, scopes=("system/Patient.rs",))) as client:
        session = a_session(client)
        with pytest.raises(errors.NotLetIn, match="403"):
            deliver(client, *session)


def test_a_replayed_assertion_is_refused(oauth: OAuthServer) -> None:
    """So the server looks at jti, and the other tests show that ours are unique."""

    class Again:
        algorithm = "ES384"
        kept: str | None = None

        def assertion(self, client_id: str, token_url: str, now: float) -> str:
            self.kept = self.kept or SigningKey(KEYS["es"], "es").assertion(client_id, token_url, now)
            return self.kept

    key = Again()
    base = f"http://127.0.0.1:{oauth.port}/fhir"
    for n in range(2):
        auth = TokenAuth(
            AssertionProof("kiosk-es", key), base_url=base, token_url=oauth.token_url, scopes=SCOPES
        )
        with FhirClient(base, auth=auth) as client, pytest.raises(errors.DeliveryError) as raised:
            client.capabilities()
        # There is no FHIR behind it: 404 says that the token was had.
        assert ("404" if n == 0 else "invalid_client") in raised.value.detail


def test_a_strangers_key_is_refused(front: Front, tmp_path: Path) -> None:
    fhir = smart(front.base, tmp_path, key_file=secret(tmp_path, KEYS["stranger"]))
    with open_client(fhir) as client, pytest.raises(errors.NotLetIn) as raised:
        client.capabilities()
    assert raised.value.detail == "POST token: 401 invalid_client"
    assert raised.value.problem is Problem.NOT_LET_IN


@pytest.mark.parametrize(("wrong_by", "way"), [(3600, "ahead of"), (-3600, "behind")])
def test_a_wrong_clock_is_named(
    front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong_by: int, way: str
) -> None:
    real = time.time
    with open_client(smart(front.base, tmp_path)) as client:
        client._auth._now = lambda: real() + wrong_by  # type: ignore[attr-defined]
        with pytest.raises(errors.NotLetIn) as raised:
            client.capabilities()
    assert raised.value.problem is Problem.CLOCK_DIFFERS
    assert f"s {way} the server's: set the clock" in raised.value.detail


def test_a_token_ends_between_two_photographs(record: DemoFhirServer, tmp_path: Path) -> None:
    """It is renewed before its end, so that the record server never sees an old one."""
    with (
        OAuthServer(clients(), scopes=SCOPES, ttl=2) as oauth,
        Front(oauth, record.base_url) as front,
        open_client(smart(front.base, tmp_path)) as client,
    ):
        session, jpegs = a_session(client)

        class Slow(dict[Any, bytes]):
            def __getitem__(self, id: Any) -> bytes:
                time.sleep(2.2)
                return super().__getitem__(id)

        deliver(client, session, Slow(jpegs))
        assert len(front.tokens) >= 3
        assert [status for _, _, status in front.seen if status == 401] == []
    assert photographs(record) == 2


def revoke_once(front: Front, wanted: str) -> None:
    """Take the token away just before the second request to `wanted` (method and end of the path)."""
    left = [2]

    def before(method: str, path: str, token: str) -> None:
        if f"{method} {path}".endswith(wanted):
            left[0] -= 1
            if left[0] == 0:
                front.oauth.ask("/token/revocation", token=token)

    front.before = before


def test_a_token_taken_away_before_a_question(front: Front, record: DemoFhirServer, tmp_path: Path) -> None:
    revoke_once(front, "DocumentReference/_search")
    with open_client(smart(front.base, tmp_path)) as client:
        deliver(client, *a_session(client))
    assert photographs(record) == 2
    assert [status for _, _, status in front.seen].count(401) == 1
    assert len(front.tokens) == 2


def test_a_token_taken_away_before_a_photograph(front: Front, record: DemoFhirServer, tmp_path: Path) -> None:
    """A transaction is not repeated blindly: the attempt ends, and the next one asks first."""
    revoke_once(front, "POST /fhir")
    with open_client(smart(front.base, tmp_path)) as client:
        session, jpegs = a_session(client)
        with pytest.raises(errors.Unreachable, match="401, the token was no longer accepted"):
            deliver(client, session, jpegs)
        assert photographs(record) == 0
    with open_client(smart(front.base, tmp_path)) as client:
        deliver(client, session, jpegs)
    assert photographs(record) == 2


def test_a_token_by_certificate(record: DemoFhirServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, kiosk, other = authority.issue(), authority.issue("kiosk-7"), authority.issue("kiosk-8")
    registered = {
        "client_id": "kiosk-7",
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": "kiosk-7",
    }
    tls = {
        "key": server.key.read_text(),
        "cert": server.cert.read_text(),
        "ca": authority.file.read_text(),
    }
    with OAuthServer([registered], scopes=SCOPES, tls=tls) as oauth:
        base = f"https://127.0.0.1:{oauth.port}/fhir"
        common: dict[str, Any] = {
            "auth": "mtls",
            "client_id": "kiosk-7",
            "ca_file": str(authority.file),
            "token_url": oauth.token_url,
        }
        for files, says in ((kiosk, "404"), (other, "invalid_client")):
            fhir = settings(base, client_cert_file=str(files.cert), client_key_file=str(files.key), **common)
            with open_client(fhir) as client, pytest.raises(errors.DeliveryError) as raised:
                client.capabilities()
            assert says in raised.value.detail


def config_file(directory: Path, base: str, key_file: str) -> Path:
    path = directory / "kiosk.toml"
    path.write_text(
        f'[station]\nid = "k"\nname = "K"\ndemo = true\n[fhir]\nurl = "{base}"\n'
        f'patient_systems = ["{NHS}"]\nauth = "smart"\nclient_id = "kiosk-rs"\n'
        f'key_file = "{key_file}"\nkey_id = "kiosk-7"\n'
    )
    return path


def no_head() -> SignedHead:
    """Look-ups anchor nothing."""
    raise AssertionError


def test_a_real_look_up_process_signs_on_by_a_credential(
    front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key's name travels, the key does not: not as an argument and not in the environment."""
    (tmp_path / "fhir-key").write_bytes(KEYS["rs"])
    (tmp_path / "fhir-key").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    children = Children(config_file(tmp_path, front.base, "fhir-key"), attempt_s=60, head=no_head)
    shown = b""

    async def look_up() -> dict[str, Any]:
        nonlocal shown
        fd, process = await children.directory()
        with socket.socket(fileno=fd) as sock:
            caller = Caller(sock)
            found = await asyncio.to_thread(
                caller.ask, "find", timeout=30.0, identifier="9991230009", typed=False
            )
            # A hardened process hides its own environment: this is what it was given.
            given = json.dumps(children_module._environment()).encode()
            shown = Path(f"/proc/{process._process.pid}/cmdline").read_bytes() + given
            sock.shutdown(socket.SHUT_RDWR)
        await process.end()
        return dict(found)

    (patient,) = asyncio.run(look_up())["patients"]
    assert patient["value"] == "9991230009"
    (token,) = front.tokens
    assert str(tmp_path).encode() in shown
    for hidden in (token.encode(), b"PRIVATE KEY", KEYS["rs"].splitlines()[3]):
        assert hidden not in shown


def test_the_printed_jwks_is_what_the_server_needs(
    front: Front, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_file(tmp_path, front.base, secret(tmp_path, KEYS["rs"]))
    assert main(["fhir", "jwks", "--config", str(config)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == clients()[1]["jwks"]
    (key,) = printed["keys"]
    assert (key["kid"], key["alg"], key["kty"], key["use"]) == ("kiosk-7", "RS384", "RSA", "sig")
    assert not {"d", "p", "q", "dp", "dq", "qi"} & set(key)
