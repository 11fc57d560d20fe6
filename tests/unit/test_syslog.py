"""Entries at a real collector (rsyslog), and what becomes of them when it is not there."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from kiosk import audit
from kiosk.audit import Action, AuditLog
from kiosk.errors import ConfigError
from kiosk.schedule import Backoff
from kiosk.syslog import SyslogStream, message, tls_context
from tests.collector import DEADLINE, Authority, Collector

BOOT = uuid4()


class Kiosk:
    """An audit log with a stream to the collector, as the wiring makes them."""

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext,
        *,
        host: str = "127.0.0.1",
        queue_max: int = 4096,
        trusted: bool = True,
    ) -> None:
        self.news: list[tuple[bool, str]] = []
        self.stream = SyslogStream(
            host,
            port,
            context,
            on_line=lambda up, why: self.news.append((up, why)),
            on_dropped=lambda count: self._dropped(count),
            backoff=Backoff(0.05, 0.2),
            queue_max=queue_max,
        )
        self.log = AuditLog("ward-4", BOOT, self.stream.offer, wall_trusted=lambda: trusted)
        self.log.start(bytes(32))

    def _dropped(self, count: int) -> None:
        self.log.append(Action.SYSLOG_DROPPED, count=count)

    def play(self, story: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            task = asyncio.get_running_loop().create_task(self.stream.run())
            try:
                await story()
                assert not task.done()
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

        asyncio.run(whole())


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not true():
            await asyncio.sleep(0.01)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def collector(tmp_path: Path, authority: Authority) -> Iterator[Collector]:
    with Collector(tmp_path, authority, authority.certify("collector", "127.0.0.1")) as collector:
        yield collector


def test_every_entry_arrives_as_it_was_written(collector: Collector, authority: Authority) -> None:
    kiosk = Kiosk(collector.port, tls_context(authority.file))

    async def story() -> None:
        for number in range(300):
            kiosk.log.append(Action.COMMITTED, session=uuid4(), operator="apatel", count=number)
        await until(lambda: len(collector.lines()) == 301)

    kiosk.play(story)
    assert collector.lines() == kiosk.log.lines()
    assert audit.verify(collector.lines(), anchors=[kiosk.log.head]) == []
    assert kiosk.news == [(True, "ok")]
    pri, when, host, app, boot, action, data = collector.raw.read_text().splitlines()[-1].split()
    assert (pri, host, app, boot, action, data) == ("85", "ward-4", "lethe", str(BOOT), "committed", "-")
    wall = json.loads(kiosk.log.lines()[-1])["wall"]
    assert datetime.fromisoformat(when) == datetime.fromisoformat(wall)


def test_what_the_page_for_auditors_tells_rsyslog_to_do(tmp_path: Path, authority: Authority) -> None:
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    (block,) = [part for part in page.split("```") if "lethe-file" in part]
    *templates, rule = block.strip().replace("/var/log/lethe", str(tmp_path / "logs")).splitlines()
    certificate = authority.certify("collector", "127.0.0.1")
    with Collector(tmp_path, authority, certificate, templates="\n".join(templates), rule=rule) as collector:
        kiosk = Kiosk(collector.port, tls_context(authority.file))
        written = tmp_path / "logs" / "ward-4" / f"{BOOT}.jsonl"

        async def story() -> None:
            kiosk.log.append(Action.SIGN_IN)
            await until(lambda: written.exists() and written.read_bytes().count(b"\n") == 2)

        kiosk.play(story)
    assert written.read_bytes().splitlines() == kiosk.log.lines()


def test_a_collector_that_goes_away_and_comes_back(collector: Collector, authority: Authority) -> None:
    kiosk = Kiosk(collector.port, tls_context(authority.file))

    async def story() -> None:
        await until(lambda: len(collector.lines()) == 1)
        collector.stop()
        await until(lambda: kiosk.news[-1][0] is False)
        for _ in range(50):
            kiosk.log.append(Action.SIGN_IN)
        await until(lambda: (False, "unreachable") in kiosk.news)
        await asyncio.to_thread(collector.start)
        kiosk.log.append(Action.UNPARKED)
        await until(lambda: len(collector.lines()) == 52)

    kiosk.play(story)
    assert collector.lines() == kiosk.log.lines()
    assert kiosk.news[0] == kiosk.news[-1] == (True, "ok")


def test_what_does_not_fit_in_the_queue_is_counted_and_audited(
    collector: Collector, authority: Authority
) -> None:
    kiosk = Kiosk(collector.port, tls_context(authority.file), queue_max=10)
    for _ in range(30):
        kiosk.log.append(Action.SIGN_IN)

    async def story() -> None:
        await until(lambda: len(collector.lines()) == 11)
        kiosk.log.append(Action.COMMITTED)
        await until(lambda: len(collector.lines()) == 12)

    kiosk.play(story)
    said = [json.loads(line) for line in collector.lines()]
    assert [entry["seq"] for entry in said] == [*range(1, 11), 32, 33]
    assert (said[10]["action"], said[10]["count"]) == ("syslog-dropped", 21)
    assert audit.verify(kiosk.log.lines(), anchors=[kiosk.log.head]) == [], "the log itself is whole"
    assert audit.verify(collector.lines()) == ["line 11: entry 32 follows entry 10"]


# --- whom it does not talk to -----------------------------------------------------------------------


def refused(kiosk: Kiosk, collector: Collector, why: str) -> None:
    async def story() -> None:
        kiosk.log.append(Action.SIGN_IN)
        await until(lambda: (False, why) in kiosk.news)
        await asyncio.sleep(0.5)

    kiosk.play(story)
    assert kiosk.news == [(False, why)]
    assert collector.lines() == []


def test_a_certificate_for_another_name(tmp_path: Path, authority: Authority) -> None:
    with Collector(tmp_path, authority, authority.certify("other.hospital.example")) as collector:
        refused(Kiosk(collector.port, tls_context(authority.file)), collector, "certificate-refused")


def test_a_certificate_whose_common_name_alone_fits(tmp_path: Path, authority: Authority) -> None:
    with Collector(tmp_path, authority, authority.certify("127.0.0.1", "x.example")) as collector:
        refused(Kiosk(collector.port, tls_context(authority.file)), collector, "certificate-refused")


def test_a_certificate_of_an_authority_that_is_not_ours(tmp_path: Path, authority: Authority) -> None:
    stranger = Authority(tmp_path, "Strange CA")
    with Collector(tmp_path, stranger, stranger.certify("collector", "127.0.0.1")) as collector:
        refused(Kiosk(collector.port, tls_context(authority.file)), collector, "certificate-refused")


def test_a_host_name_is_checked_too(collector: Collector, authority: Authority) -> None:
    """The certificate is for the address, and the kiosk was told a name."""
    kiosk = Kiosk(collector.port, tls_context(authority.file), host="localhost")
    refused(kiosk, collector, "certificate-refused")


def test_a_collector_without_tls(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard: list[bytes] = []

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(b"hello\n")

        thread = threading.Thread(target=serve)
        thread.start()
        kiosk = Kiosk(server.getsockname()[1], tls_context(authority.file))

        async def story() -> None:
            await until(lambda: bool(kiosk.news))

        kiosk.play(story)
        thread.join(DEADLINE)
    assert kiosk.news[0][0] is False
    assert kiosk.news[0][1] in ("tls-failed", "unreachable")
    assert b"ward-4" not in heard[0]


def test_old_tls_is_not_spoken(tmp_path: Path, authority: Authority) -> None:
    context = tls_context(authority.file)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert [dict(c["subject"][0])["commonName"] for c in context.get_ca_certs()] == ["Test CA"]


def test_the_kiosks_own_certificate_where_it_is_asked_for(tmp_path: Path, authority: Authority) -> None:
    ours = authority.certify("kiosk.hospital.example")
    others = authority.certify("somebody.else.example")
    collector = Collector(tmp_path, authority, authority.certify("c", "127.0.0.1"), "kiosk.hospital.example")
    with collector:
        for certificate in ((), others):
            kiosk = Kiosk(collector.port, tls_context(authority.file, *certificate))

            async def story(kiosk: Kiosk = kiosk) -> None:
                await until(lambda: kiosk.news[:1] == [(False, "closed")])

            kiosk.play(story)
            assert collector.lines() == []
        kiosk = Kiosk(collector.port, tls_context(authority.file, *ours))

        async def arrives() -> None:
            await until(lambda: collector.lines() == kiosk.log.lines())

        kiosk.play(arrives)
    assert kiosk.news == [(True, "ok")]


# --- never in the way -------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "no.such.host.invalid", "x" * 70 + ".example"])
def test_nobody_there(host: str, authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    kiosk = Kiosk(port, tls_context(authority.file), host=host, queue_max=100)

    async def story() -> None:
        await until(lambda: kiosk.news == [(False, "unreachable")])
        for _ in range(1000):
            kiosk.log.append(Action.SIGN_IN)

    kiosk.play(story)
    assert len(kiosk.stream._queue) == 100
    assert kiosk.stream._dropped == 901


def test_a_collector_that_takes_nothing_blocks_nobody(authority: Authority) -> None:
    """Connected, and then it reads no more: the buffers fill, then the queue, and the log goes on."""
    certificate = authority.certify("deaf", "127.0.0.1")
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(*certificate)
    shaken, over = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with server_side.wrap_socket(connection, server_side=True):
                shaken.set()
                over.wait(DEADLINE)

        thread = threading.Thread(target=serve)
        thread.start()
        kiosk = Kiosk(server.getsockname()[1], tls_context(authority.file), queue_max=200)

        async def story() -> None:
            await until(lambda: (True, "ok") in kiosk.news)
            longest = 0.0
            for _ in range(30_000):
                began = time.monotonic()
                kiosk.log.append(Action.SIGN_IN)
                longest = max(longest, time.monotonic() - began)
                if kiosk.stream._dropped:
                    break
                await asyncio.sleep(0)
            assert kiosk.stream._dropped
            assert longest < 5

        kiosk.play(story)
        over.set()
        thread.join(DEADLINE)
    assert shaken.is_set()


def test_entries_may_come_from_other_threads(collector: Collector, authority: Authority) -> None:
    kiosk = Kiosk(collector.port, tls_context(authority.file))

    async def story() -> None:
        await until(lambda: len(collector.lines()) == 1)
        works = (asyncio.to_thread(kiosk.log.append, Action.SIGN_IN) for _ in range(40))
        await asyncio.gather(*works)
        await until(lambda: len(collector.lines()) == 41)

    kiosk.play(story)
    assert collector.lines() == kiosk.log.lines()


# --- the message ------------------------------------------------------------------------------------

RFC_5424 = re.compile(
    rb"<(\d{1,3})>1 (-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) "
    rb"([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) - (.*)"
)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_message_is_framed_by_its_length(trusted: bool) -> None:
    log = AuditLog(
        "ward-4", BOOT, wall_trusted=lambda: trusted, wall=lambda: datetime(2031, 5, 17, tzinfo=UTC)
    )
    line = log.append(Action.DELIVERED, session=uuid4(), count=2)
    length, _, body = message(line).partition(b" ")
    assert int(length) == len(body)
    found = RFC_5424.fullmatch(body)
    assert found
    pri, when, station, app, boot, action, rest = found.groups()
    assert (pri, station, app, boot, action) == (b"85", b"ward-4", b"lethe", str(BOOT).encode(), b"delivered")
    assert when == (b"2031-05-17T00:00:00.000+00:00" if trusted else b"-")
    assert rest == line


def test_only_entries_are_sent() -> None:
    for line in (b"OKONKWO", b"{}", b""):
        with pytest.raises(ValueError, match="not an audit entry"):
            message(line)


# --- files ------------------------------------------------------------------------------------------


def test_files_that_are_none_are_named(tmp_path: Path, authority: Authority) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("SECRET-KEY-TEXT")
    certificate, key = authority.certify("a.example")
    _, other = authority.certify("b.example")
    for files in (
        (junk,),
        (tmp_path / "none.pem",),
        (authority.file, junk, key),
        (authority.file, certificate, junk),
        (authority.file, certificate, other),
        (authority.file, certificate, tmp_path / "none.key"),
    ):
        with pytest.raises(ConfigError) as caught:
            tls_context(*files)
        (complaint,) = caught.value.complaints
        assert "allowed: a PEM file" in complaint
        assert str(tmp_path) in complaint
        assert "SECRET" not in complaint
