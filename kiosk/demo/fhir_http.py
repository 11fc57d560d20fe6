"""The sockets of the demo record server: threads, keep-alive, dropped connections, faults in their order."""

from __future__ import annotations

import ipaddress
import re
import selectors
import socket
import struct
import sys
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from kiosk.demo.faults import FaultKind, Faults
from kiosk.demo.fhir_api import Answer, FhirApi, Request, error_answer, json_answer
from kiosk.demo.fhir_rules import FhirError, operation_outcome
from kiosk.demo.gallery import Gallery

_DRAIN_LIMIT = 256 * 1024 * 1024
_IDLE_SECONDS = 120.0
_JOIN_SECONDS = 1.0
_URN_IN_URL = re.compile(rb'"url"\s*:\s*"urn:uuid:')
_LOGIN_PAGE = b"<!doctype html><title>Sign in</title><h1>Sign in to the network</h1>"


class RequestRecord(NamedTuple):
    """One request. `path` has no query; `status` 0: dropped; `request_id`: X-Request-Id.

    signed_in: whether credentials came with it.
    """

    method: str
    path: str
    status: int
    request_id: str | None
    signed_in: bool = False


@dataclass(frozen=True, slots=True)
class Parts:
    """What a connection works with. `max_body` in bytes; `crashes`: types of errors that nobody expected."""

    api: FhirApi
    gallery: Gallery
    faults: Faults
    max_body: int
    records: deque[RequestRecord]
    crashes: deque[str]


class HttpServer(ThreadingHTTPServer):
    """Serves on a bound socket until `halt`; knows its live connections, so that it can drop them."""

    request_queue_size = 64
    daemon_threads = True

    def __init__(self, listener: socket.socket, parts: Parts) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.parts = parts
        self.gone = threading.Event()
        self._live: dict[socket.socket, threading.Thread] = {}
        self._live_lock = threading.Lock()
        self.server_activate()
        self._wake, self._waker = socket.socketpair()
        self._loop = threading.Thread(target=self._accept, name="demo-fhir", daemon=True)
        self._loop.start()

    def _accept(self) -> None:
        """Hand out connections until woken; unlike serve_forever it waits without polling."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while all(key.fileobj is not self._wake for key, _ in selector.select()):
                self.handle_request()

    def halt(self) -> None:
        """Close the listening socket, reset every connection, wait for every thread."""
        self.gone.set()
        self._waker.sendall(b"x")
        self._loop.join()
        for end in (self._wake, self._waker):
            end.close()
        self.server_close()
        with self._live_lock:
            live = dict(self._live)
        for connection in live:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        for connection, thread in live.items():
            thread.join(_JOIN_SECONDS)
            if thread.is_alive():
                with suppress(OSError):
                    # It writes to a client that does not read.
                    connection.shutdown(socket.SHUT_RDWR)
                thread.join(_JOIN_SECONDS)

    def shutdown_request(self, request: Any) -> None:
        """End a connection in good order, unless the network is being cut."""
        if self.gone.is_set():
            with suppress(OSError):
                # Linger 0 without a farewell: the close becomes a reset, as when a cable is cut.
                request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread of its own, and remember both."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._live_lock:
            self._live[request] = thread
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end."""
        super().process_request_thread(request, client_address)
        with self._live_lock:
            self._live.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Remember only that it happened: the standard library would print it."""
        self.parts.crashes.append(type(sys.exception()).__name__)


class _Handler(BaseHTTPRequestHandler):
    """One connection: reads requests, applies faults, writes answers."""

    protocol_version = "HTTP/1.1"
    server_version = "LetheDemo"
    sys_version = ""
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True
    server: HttpServer

    def handle(self) -> None:
        """Serve requests until the connection ends; a client that goes away is no error."""
        with suppress(OSError):
            super().handle()

    def finish(self) -> None:
        """Close the streams; a connection that was reset has nothing left to flush."""
        with suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: paths and queries may hold identifiers."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is not HTTP; the standard library's page would repeat what was sent."""
        self.close_connection = True
        # A request line that could not be read leaves these unset, and send_response needs them.
        self.request_version = getattr(self, "request_version", "") or "HTTP/1.1"
        self.command = getattr(self, "command", None) or "GET"
        text = f"The request is not acceptable HTTP ({HTTPStatus(code).phrase})."
        self._send(json_answer(code, operation_outcome("structure", text)))

    def do_GET(self) -> None:
        """Answer any method: what is not supported gets 405 from the API."""
        method, (path, _, query) = self.command, self.path.partition("?")
        if not _is_loopback_name(self.headers.get("Host", "")):
            self.close_connection = True
            self._send(
                error_answer(FhirError(421, "forbidden", "This server answers to loopback names only."))
            )
        elif path == "/fhir" or path.startswith("/fhir/"):
            self._fhir(method, path, query)
        elif method == "GET" and path.startswith("/storage/"):
            signature = query.removeprefix("Signature=")
            self._answer(
                method, path, self.server.parts.api.storage(path.removeprefix("/storage/"), signature)
            )
        else:
            self._page(method, path)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET

    def _page(self, method: str, path: str) -> None:
        try:
            if self._body() is None:
                self.close_connection = True
                return
        except FhirError as e:
            self._send(error_answer(e))
            return
        self._send(self.server.parts.gallery.answer(method, path, self.headers.get("If-None-Match")))

    def _fhir(self, method: str, path: str, query: str) -> None:
        faults = self.server.parts.faults
        if faults.take(method, path, [FaultKind.DROP_BEFORE]):
            return self._drop(method, path)
        try:
            body = self._body()
        except FhirError as e:
            return self._answer(method, path, error_answer(e))
        if body is None:
            return self._drop(method, path)
        reads_binary = method in ("GET", "HEAD") and path.startswith("/fhir/Binary/")
        delays = [FaultKind.DELAY, *([FaultKind.DELAY_READBACK] if reads_binary else [])]
        fault = faults.take(method, path, delays)
        if fault and self.server.gone.wait(fault.amount):
            return self._drop(method, path)
        fault = faults.take(method, path, [FaultKind.STATUS, FaultKind.RETRY_AFTER, FaultKind.LOGIN_PAGE])
        if fault:
            return self._answer(method, path, _misbehave(fault.kind, fault.amount))
        # Only a transaction with a link to leave behind uses up a turn of the fault.
        linked = method == "POST" and path.rstrip("/") == "/fhir" and _URN_IN_URL.search(body)
        dangling = linked and faults.take(method, path, [FaultKind.DANGLING_URL])
        corrupt = reads_binary and faults.take(method, path, [FaultKind.CORRUPT_READBACK])
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.parts.api.answer(
            Request(method, path.removeprefix("/fhir"), query, headers, body),
            corrupt=bool(corrupt),
            leave=frozenset({"url"}) if dangling else frozenset(),
        )
        if answer.wrote and faults.take(method, path, [FaultKind.DROP_AFTER_COMMIT]):
            return self._drop(method, path)
        return self._answer(method, path, answer)

    def _body(self) -> bytes | None:
        """Read the body; None when the client went away. Raises FhirError 400, 411, 413, 415."""
        if "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise FhirError(411, "not-supported", "Send a Content-Length.")
        length_text = self.headers.get("Content-Length", "0").strip()
        if not (length_text.isascii() and length_text.isdigit() and len(length_text) < 16):
            self.close_connection = True
            raise FhirError(400, "structure", "Content-Length is not a number.")
        length = int(length_text)
        if length > self.server.parts.max_body:
            self._drain(length)
            raise FhirError(413, "too-long", "The body is larger than this server takes.")
        body = self.rfile.read(length) if length else b""
        if len(body) < length:
            return None
        if self.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise FhirError(415, "not-supported", "Content-Encoding is not supported.")
        return body

    def _drain(self, length: int) -> None:
        """Read and forget what is too long: answering in the middle would look like a reset."""
        self.close_connection = True
        left = min(length, _DRAIN_LIMIT)
        while left > 0 and (chunk := self.rfile.read(min(left, 1 << 16))):
            left -= len(chunk)

    def _drop(self, method: str, path: str) -> None:
        self.close_connection = True
        self._note(method, path, 0)

    def _answer(self, method: str, path: str, answer: Answer) -> None:
        self._note(method, path, answer.status)
        self._send(answer)

    def _note(self, method: str, path: str, status: int) -> None:
        request_id = self.headers.get("X-Request-Id")
        signed_in = "Authorization" in self.headers
        self.server.parts.records.append(
            RequestRecord(method, path, status, request_id and request_id[:200], signed_in)
        )

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.body:
            self.send_header("Content-Type", answer.content_type)
        if answer.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            self.send_header("Content-Length", str(len(answer.body)))
        if not any(name == "Cache-Control" for name, _ in answer.headers):
            self.send_header("Cache-Control", "no-store")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD" and answer.body:
            self.wfile.write(answer.body)


def _is_loopback_name(host: str) -> bool:
    """Whether a Host header names this machine; another name is a web page playing DNS tricks."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _misbehave(kind: FaultKind, amount: float) -> Answer:
    if kind is FaultKind.LOGIN_PAGE:
        return Answer(200, _LOGIN_PAGE, "text/html; charset=utf-8")
    if kind is FaultKind.RETRY_AFTER:
        text = "Too many requests; come back later."
        return json_answer(429, operation_outcome("throttled", text), ("Retry-After", f"{amount:.0f}"))
    return json_answer(
        int(amount), operation_outcome("transient", "The demo server was told to answer this.")
    )
