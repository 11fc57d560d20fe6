"""A man in the middle that breaks things on purpose: HTTP/1.1, with TLS if wanted, in front of a real server.

    with FaultProxy(upstream_port) as proxy:
        proxy.add(Fault(Kind.CUT_AFTER_COMMIT, on="POST /fhir$", times=1))
        ...
        proxy.calm()

It listens on a free port of 127.0.0.1 and runs an event loop in a thread of its own. What no fault hits is
passed on unchanged. Each request goes upstream over a connection of its own.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType
from typing import Self

ENDLESS = 3 * 1024**3
"""Bytes of the answer that does not end."""
_PIECE = 64 * 1024


class Kind(Enum):
    """What goes wrong."""

    LATENCY = auto()
    """Wait `amount` seconds before the request is passed on."""
    CUT_BEFORE = auto()
    """Reset the connection when the head of the request is there, and pass nothing on."""
    CUT_IN_REQUEST = auto()
    """Reset the connection in the middle of the request's body, and pass nothing on."""
    CUT_AFTER_REQUEST = auto()
    """Take the whole request, pass nothing on, reset the connection."""
    CUT_AFTER_COMMIT = auto()
    """Pass the request on, and reset the connection instead of answering."""
    HALF_AN_ANSWER = auto()
    """Pass the request on, send half of the answer's body, reset the connection."""
    STATUS = auto()
    """Answer `amount` with an OperationOutcome and `headers`, and pass nothing on."""
    LOGIN_PAGE = auto()
    """Answer 200 with a page, and pass nothing on."""
    ENDLESS_ANSWER = auto()
    """Answer 200 with three gigabytes of JSON, as fast as they are taken."""
    WRONG_BYTES = auto()
    """Flip the bits of one byte in the middle of the answer's body."""
    DANGLING_URL = auto()
    """Change urn:uuid in attachment.url on its way up, so that the server does not know it and leaves it."""


@dataclass(slots=True)
class Fault:
    """One fault. `on`: a regular expression that `METHOD path` must hold; `times` None: until calm()."""

    kind: Kind
    amount: float = 0.0
    on: str = ""
    times: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    hits: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    head: bytes
    length: int | None
    """Bytes of the body; None: chunked."""


class Cut(Exception):
    """The connection is to be reset."""


class FaultProxy:
    """The proxy; a context manager. `sent`: bytes of answers that clients have taken from endless answers."""

    def __init__(self, upstream: int, tls: ssl.SSLContext | None = None) -> None:
        self._upstream = upstream
        self._tls = tls
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.requests: list[str] = []
        self.sent = 0

    # --- what a test says ------------------------------------------------------------------------

    def add(self, *faults: Fault) -> None:
        """From now on; of several that fit, the first one counts."""
        with self._lock:
            self._faults += faults

    def calm(self) -> None:
        """Forget every fault, and let connections in again."""
        with self._lock:
            self._faults.clear()
        self.network(up=True)

    def network(self, *, up: bool) -> None:
        """Down: refuse connections and reset those that there are."""
        asyncio.run_coroutine_threadsafe(self._network(up), self._loop).result(10)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._writers: set[asyncio.StreamWriter] = set()
        # Bound and never listening: keeps the port while the network is down.
        self._held = self._bind()
        self.port = self._held.getsockname()[1]
        self._server: asyncio.Server | None = None
        self.network(up=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._held.close()

    # --- inside the loop -------------------------------------------------------------------------

    def _bind(self) -> socket.socket:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", getattr(self, "port", 0)))
        return bound

    async def _network(self, up: bool) -> None:
        if up and self._server is None:
            self._server = await asyncio.start_server(self._serve, sock=self._bind(), ssl=self._tls)
        elif not up and self._server is not None:
            self._server.close()
            self._server = None
            for writer in list(self._writers):
                writer.transport.abort()

    async def _end(self) -> None:
        await self._network(False)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                await self._exchange(reader, writer)
        except Cut:
            _reset(writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # Cancelled only by _end, and asyncio would log it.
            writer.transport.abort()
        finally:
            self._writers.discard(writer)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _read_head(reader)
        self.requests.append(f"{request.method} {request.path}")
        fault = self._fault_for(request)
        kind = fault.kind if fault else None
        if kind is Kind.CUT_BEFORE:
            raise Cut
        if kind is Kind.CUT_IN_REQUEST:
            await reader.read(max((request.length or _PIECE) // 2, 1))
            raise Cut
        body = await _read_body(reader, request)
        if kind is Kind.CUT_AFTER_REQUEST:
            raise Cut
        if fault and kind is Kind.LATENCY:
            await asyncio.sleep(fault.amount)
        if kind is Kind.DANGLING_URL:
            body = _dangling(body)
        if fault and kind in _ANSWERED_HERE:
            await self._answer_here(fault, writer)
            return
        answer = await self._pass_on(request, body)
        if kind is Kind.CUT_AFTER_COMMIT:
            raise Cut
        head, _, content = answer.partition(b"\r\n\r\n")
        if kind is Kind.HALF_AN_ANSWER:
            writer.write(head + b"\r\n\r\n" + content[: len(content) // 2])
            await writer.drain()
            raise Cut
        if kind is Kind.WRONG_BYTES and content:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
        writer.write(head + b"\r\n\r\n" + content)
        await writer.drain()

    def _fault_for(self, request: Request) -> Fault | None:
        said = f"{request.method} {request.path}"
        with self._lock:
            for fault in self._faults:
                if (fault.times is None or fault.hits < fault.times) and re.search(fault.on, said):
                    fault.hits += 1
                    return fault
        return None

    async def _answer_here(self, fault: Fault, writer: asyncio.StreamWriter) -> None:
        if fault.kind is Kind.STATUS:
            issue = {"severity": "error", "code": "processing", "diagnostics": "by order"}
            content = json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode()
            status, content_type = int(fault.amount), "application/fhir+json"
        elif fault.kind is Kind.LOGIN_PAGE:
            content = b"<!DOCTYPE html><title>Sign in</title><form method=post></form>"
            status, content_type = 200, "text/html; charset=utf-8"
        else:
            await self._answer_endlessly(writer)
            return
        headers = {"Content-Type": content_type, "Content-Length": str(len(content)), **fault.headers}
        writer.write(_head(status, headers) + content)
        await writer.drain()

    async def _answer_endlessly(self, writer: asyncio.StreamWriter) -> None:
        headers = {"Content-Type": "application/fhir+json", "Content-Length": str(ENDLESS)}
        writer.write(_head(200, headers) + b'{"resourceType": "Bundle", "entry": [')
        piece = b"{}," * (_PIECE // 3)
        left = ENDLESS
        while left > 0:
            writer.write(piece)
            await writer.drain()
            self.sent += len(piece)
            left -= len(piece)
        raise Cut

    async def _pass_on(self, request: Request, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            kept = [line for line in request.head.split(b"\r\n") if not line.lower().startswith(_HOP_BY_HOP)]
            length = [b"Content-Length: %d" % len(body)] if body else []
            writer.write(b"\r\n".join([*kept, *length, b"Connection: close", b"", b""]) + body)
            await writer.drain()
            answer = await reader.read()
        finally:
            writer.transport.abort()
        # Upstream says that it closes; we do not.
        head, _, content = answer.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(_HOP_BY_HOP)]
        lines.append(b"Content-Length: %d" % len(content))
        return b"\r\n".join(lines) + b"\r\n\r\n" + content


_ANSWERED_HERE = (Kind.STATUS, Kind.LOGIN_PAGE, Kind.ENDLESS_ANSWER)
_HOP_BY_HOP = (b"connection:", b"keep-alive:", b"content-length:", b"transfer-encoding:", b"expect:")


async def _read_head(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
    method, path, _ = head.split(b"\r\n")[0].decode("ascii").split(" ")
    headers = dict(_headers(head))
    chunked = "chunked" in headers.get("transfer-encoding", "")
    length = None if chunked else int(headers.get("content-length", 0))
    return Request(method, path.partition("?")[0], head, length)


def _headers(head: bytes) -> Iterator[tuple[str, str]]:
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        yield name.strip().lower(), value.strip()


async def _read_body(reader: asyncio.StreamReader, request: Request) -> bytes:
    if request.length is not None:
        return await reader.readexactly(request.length)
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return bytes(body)


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("ascii")


def _dangling(body: bytes) -> bytes:
    return re.sub(rb'("url": ?"urn:uuid:)[0-9a-f]{8}', rb"\g<1>0badcafe", body)


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN: what a cable that is pulled and put back, or a dying server, looks like."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.transport.abort()
