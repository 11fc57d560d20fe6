"""Streaming audit entries to the hospital's syslog collector: RFC 5424 messages over TLS (RFC 5425).

A message is framed by its length in octets. PRI is 85, as DICOM PS3.15 A.6 and IHE ATNA ask of audit messages
(facility 10, security; severity 5, notice). HOSTNAME is the station, PROCID the boot, MSGID the action, MSG
the entry's line as it is in the log. A time that is not to be trusted is left out (NILVALUE).

Syslog has no acknowledgement: what was under way when the collector vanished may be lost there. The chain
shows that, and the log on the kiosk still has it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kiosk.audit import parse
from kiosk.errors import ConfigError
from kiosk.schedule import Backoff

QUEUE_MAX = 4096
"""Entries that wait for the collector: about 2 MB. What comes when it is full is dropped, and counted."""
_PRI = 10 * 8 + 5
_CONNECT_S = 10.0
_SEND_S = 20.0
_GOODBYE_S = 1.0
"""Not every collector answers TLS's goodbye."""
_SETTLE_S = 0.3
"""TLS 1.3 tells a client only after the handshake that its certificate was refused."""
_STEADY_S = 10.0
"""A connection that held so long ends the backoff."""


def message(line: bytes) -> bytes:
    """One RFC 5424 message, framed by octet counting (RFC 5425, 4.3). Raises ValueError for no entry."""
    entry = parse(line)
    if entry is None:
        raise ValueError("not an audit entry")
    time = entry["wall"] if entry["wall_trusted"] else "-"
    header = f"<{_PRI}>1 {time} {entry['station']} lethe {entry['boot']} {entry['action']} - "
    body = header.encode("ascii") + line
    return b"%d %s" % (len(body), body)


def tls_context(ca_file: Path, cert_file: Path | None = None, key_file: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later to a collector whose certificate comes from `ca_file` (PEM) and nowhere else.

    cert_file, key_file: the kiosk's own certificate and key (PEM), where the collector asks for them.
    Raises ConfigError that names the file.
    """
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ca_file))
    except (OSError, ssl.SSLError):
        raise ConfigError((_unusable("syslog_ca_file", ca_file, "CA certificates"),)) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file is not None:
        try:
            # An empty password, so that an encrypted key is refused and nobody is asked on a terminal.
            context.load_cert_chain(cert_file, key_file, password="")
        except (OSError, ssl.SSLError, ValueError):
            what = "a certificate and its unencrypted key"
            raise ConfigError((_unusable("syslog_cert_file, syslog_key_file", cert_file, what),)) from None
    return context


def _unusable(key: str, path: Path, allowed: str) -> str:
    return f"{path}: [audit] {key} cannot be used; allowed: a PEM file with {allowed}"


class SyslogStream:
    """Sends what `offer` is given, in order, while `run` runs. Never waits, never raises for the network.

    on_line: told the state of the connection when it changes: True, or False with a code that says why.
    on_dropped: told how many entries were dropped, once some can be sent again.
    """

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        *,
        on_line: Callable[[bool, str], None],
        on_dropped: Callable[[int], None],
        backoff: Backoff,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._on_line = on_line
        self._on_dropped = on_dropped
        self._backoff = backoff
        self._queue_max = queue_max
        self._queue: deque[bytes] = deque()
        self._dropped = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._more = asyncio.Event()
        self._said: tuple[bool, str] | None = None

    def offer(self, line: bytes) -> None:
        """Queue one entry's line, or count it as dropped. May be called in any thread."""
        if len(self._queue) >= self._queue_max:
            self._dropped += 1
            return
        self._queue.append(message(line))
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._more.set)

    async def run(self) -> None:
        """Connect, send, connect again, until cancelled."""
        self._loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = self._loop.time()
            self._say(False, await self._connected())
            failures = 0 if self._loop.time() - began > _STEADY_S else failures + 1
            await asyncio.sleep(self._backoff.after(failures - 1 if failures else 0))

    async def _connected(self) -> str:
        """One connection from its start to its end. Returns why it ended, as a code."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._context)
        except ssl.SSLCertVerificationError:
            return "certificate-refused"
        except ssl.SSLError:
            return "tls-failed"
        except (OSError, TimeoutError, ValueError):
            # ValueError: a host that is no name, such as one with a label of 70 letters.
            return "unreachable"
        try:
            raw = writer.get_extra_info("socket")
            # A collector that lost its power says nothing: data it does not confirm ends the connection.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_SEND_S * 1000))
            return await self._send_until_lost(reader, writer)
        finally:
            await _close(writer)

    async def _send_until_lost(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        lost = asyncio.ensure_future(_until_closed(reader))
        try:
            await asyncio.wait((lost,), timeout=_SETTLE_S)
            while not lost.done():
                self._say(True, "ok")
                self._more.clear()
                while self._queue and not lost.done():
                    writer.write(self._queue[0])
                    async with asyncio.timeout(_SEND_S):
                        await writer.drain()
                    # Only now: what could not be handed to the socket waits for the next connection.
                    self._queue.popleft()
                    self._tell_dropped()
                    # A chance for the news that the connection is gone.
                    await asyncio.sleep(0)
                more = asyncio.ensure_future(self._more.wait())
                await asyncio.wait((lost, more), return_when=asyncio.FIRST_COMPLETED)
                more.cancel()
            return "closed"
        except (OSError, TimeoutError):
            return "closed"
        finally:
            lost.cancel()

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._on_dropped(dropped)

    def _say(self, up: bool, why: str) -> None:
        if self._said != (up, why):
            self._said = (up, why)
            self._on_line(up, why)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Say goodbye as TLS does, and hang up when it is not returned."""
    writer.close()
    try:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                await writer.wait_closed()
    finally:
        writer.transport.abort()
        # The loop closes the socket in its next turn.
        await asyncio.sleep(0)


async def _until_closed(reader: asyncio.StreamReader) -> None:
    """A collector has nothing to say: whatever comes is dropped, until it hangs up."""
    with suppress(OSError):
        while await reader.read(4096):
            pass
