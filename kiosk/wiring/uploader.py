"""The uploader process and its two kinds of short-lived processes, put together."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from kiosk import audit, selftest
from kiosk.audit import Action, AuditLog
from kiosk.config import Settings
from kiosk.errors import ConfigError
from kiosk.heads import HeadSigner, SignedHead
from kiosk.journal import Journal
from kiosk.process import die_with_parent, hardening, quiet_tracebacks
from kiosk.seal import choose_suite
from kiosk.wiring.record import check_secrets
from kiosk.wiring.spool import group_id, open_spool

if TYPE_CHECKING:
    from kiosk.syslog import SyslogStream

BUILT_AFTER = datetime(2026, 11, 1, tzinfo=UTC)
"""No clock that shows less can be right: this code is younger."""
QUICK_S = 6.0
"""Seconds for one answer about visits: scanning works without them."""
KEYS_NAME = "keys"
"""The key file's name in the service manager's descriptor store."""


def clock_set() -> bool:
    """Whether the clock can be right."""
    return datetime.now(UTC) > BUILT_AFTER


def run(settings: Settings, config: Path, parent: int | None = None) -> int:
    """The uploader: ends by SIGTERM or SIGINT, or with `parent` where one is named."""
    quiet_tracebacks()
    if parent is not None:
        die_with_parent(parent)
    check_secrets(settings.fhir)
    selftest.check(choose_suite(settings.seal.cipher))
    asyncio.run(_serve(settings, config))
    return 0


async def _serve(settings: Settings, config: Path) -> None:
    from kiosk.children import Children
    from kiosk.custody import notify
    from kiosk.link import Server
    from kiosk.schedule import Backoff, tcp_reachable
    from kiosk.staff import SignIn, StaffList
    from kiosk.uploader import Parts, Uploader

    journal = Journal("uploader", sys.stdout)
    force = hardening()
    # Its children start with the same limits and environment: this holds for them, too.
    journal.say("hardened", locked=force.locked, scrubbed=force.scrubbed)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_quiet)
    url = urlsplit(settings.fhir.url)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    staff = StaffList.load(Path(settings.staff.file))
    keys = _keys()
    boot = UUID(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    signer = HeadSigner(settings.station.id, boot, keys.signing_key())
    stream = _stream(settings, journal, lambda count: _tell_dropped(log, count))
    log, delivered = _audit(settings, journal, boot, signer.public_key, stream)
    uploader = Uploader(
        Parts(
            spool=open_spool(settings),
            keys=keys,
            sign_in=SignIn(
                staff,
                max_tries=settings.staff.max_tries,
                lock_seconds=settings.staff.lock_seconds,
                clock=time.monotonic,
            ),
            audit=log,
            delivered=delivered,
            journal=journal,
            starter=Children(
                config,
                attempt_s=settings.delivery.attempt_s,
                head=lambda: signer.sign(log.head.seq, log.head.hash),
            ),
            reachable=lambda: tcp_reachable(host, port, settings.fhir.connect_s),
            clock_set=clock_set,
            backoff=Backoff(settings.delivery.first_retry_s, settings.delivery.max_retry_s),
            probe_s=settings.delivery.probe_s,
            suite=settings.seal.cipher,
        )
    )
    server = Server(
        Path(settings.link.socket),
        uploader.handle,
        on_open=uploader.opened,
        on_lost=uploader.lost,
        group=group_id(settings),
    )
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - we are in one
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        uploader.recover()
        async with asyncio.TaskGroup() as group:
            group.create_task(uploader.run())
            group.create_task(server.serve())
            if stream is not None:
                group.create_task(stream.run())
            notify("READY=1")
            journal.say("uploader-ready")
    except asyncio.CancelledError:
        await uploader.close()
        journal.say("uploader-stopped")


def _keys() -> Any:
    from kiosk.custody import KeyFile, store, stored_fds

    kept = stored_fds().get(KEYS_NAME)
    if kept is not None:
        return KeyFile.from_fd(kept)
    keys = KeyFile.create()
    store(KEYS_NAME, keys.fd)
    return keys


def _audit(
    settings: Settings, journal: Journal, boot: UUID, public_key: bytes, stream: SyslogStream | None
) -> tuple[AuditLog, frozenset[UUID]]:
    """The chain of this boot, continued where a killed uploader left it, and the sessions it has delivered.

    The file is in memory (/run).
    """
    path = Path(settings.link.socket).with_name("audit.jsonl")
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(fd, "rb", closefd=False) as file:
        whole, newline, torn = file.read().rpartition(b"\n")
    if torn:
        # Killed within the write: nobody acted on an entry that was not there yet.
        os.ftruncate(fd, len(whole) + len(newline))
        journal.say("audit-torn")
    lines = whole.splitlines()
    before = audit.survey(lines)
    if before.faults:
        journal.say("audit-broken", number=len(before.faults))

    def sink(line: bytes) -> None:
        _append(fd, line, journal)
        if stream is not None:
            stream.offer(line)

    log = AuditLog(settings.station.id, boot, sink, wall_trusted=clock_set, head=before.head)
    if not before.keys:
        log.start(public_key)
    elif list(before.keys.values())[-1] != public_key.hex():
        # The key file went with the service manager, and the log stayed.
        log.start(public_key, outcome="key-renewed")
    # Nothing is destroyed on the word of a chain that does not hold: it is proven once more instead.
    return log, frozenset() if before.faults else audit.sessions_with(lines, audit.Action.DELIVERED)


def _stream(settings: Settings, journal: Journal, on_dropped: Callable[[int], None]) -> SyslogStream | None:
    """What sends entries to the collector, where one is configured. Raises ConfigError."""
    to = settings.audit
    if to.syslog_host is None or to.syslog_ca_file is None:
        return None
    from kiosk.schedule import Backoff
    from kiosk.syslog import SyslogStream, tls_context

    own = [Path(file) if file else None for file in (to.syslog_cert_file, to.syslog_key_file)]
    return SyslogStream(
        to.syslog_host,
        to.syslog_port,
        tls_context(Path(to.syslog_ca_file), *own),
        on_line=lambda up, why: journal.say("syslog", online=up, reason=why),
        on_dropped=on_dropped,
        backoff=Backoff(settings.delivery.first_retry_s, settings.delivery.max_retry_s),
    )


def _tell_dropped(log: AuditLog, count: int) -> None:
    log.append(Action.SYSLOG_DROPPED, count=min(count, audit.COUNT_MAX))


def _append(fd: int, line: bytes, journal: Journal) -> None:
    """Write a whole line or none: a full memory must not stop a session, nor leave half an entry."""
    data = line + b"\n"
    before = os.fstat(fd).st_size
    try:
        whole = os.write(fd, data) == len(data)
    except OSError:
        whole = False
    if not whole:
        with suppress(OSError):
            os.ftruncate(fd, before)
        journal.say("audit-unwritten")


def _quiet(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception that nobody awaited: its kind and place, not its text."""
    error = context.get("exception")
    if isinstance(error, BaseException):
        sys.excepthook(type(error), error, error.__traceback__)


def run_delivery(settings: Settings, session: UUID, key_fd: int, parent: int, head: str | None) -> int:
    """One delivery process. `head`: the signed head to anchor, as JSON."""
    from kiosk import delivery
    from kiosk.destinations.corrections import FhirCorrector
    from kiosk.destinations.fhir import FhirDestination

    die_with_parent(parent)
    quiet_tracebacks()

    def write(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    try:
        opened = _client(settings)
    except ConfigError as e:
        # Not a crash: crashes are counted, and park the session.
        write(json.dumps(delivery.Outcome(delivery.Verdict.RETRY, e.problem).to_message()) + "\n")
        raise
    with opened as client:
        filing = _filing(settings)
        destination, corrector = FhirDestination(client, filing), FhirCorrector(client, filing)
        anchor = None if head is None else SignedHead.from_json(head)
        delivery.run(session, open_spool(settings), key_fd, destination, write, anchor, corrector)
    return 0


def run_lookup(settings: Settings, fd: int, parent: int) -> int:
    """One look-up process."""
    from kiosk import lookup
    from kiosk.fhir.directory import PatientDirectory
    from kiosk.fhir.receipts import ReceiptDirectory
    from kiosk.fhir.visits import Visits
    from kiosk.model import Match, Patient

    die_with_parent(parent)
    quiet_tracebacks()
    fhir = settings.fhir
    with _client(settings) as client, _client(settings, most_s=QUICK_S) as quick:
        directory = PatientDirectory(client, fhir.patient_systems)
        visits = Visits(quick, fhir.patient_systems, fhir.location) if fhir.location else None
        receipts = ReceiptDirectory(client, _filing(settings), fhir.patient_systems)

        def find(identifier: str, match: Match) -> tuple[Patient, ...]:
            found = directory.find(identifier, match)
            return found if visits is None or len(found) != 1 else (visits.placed(found[0]),)

        lookup.run(fd, find, visits.today if visits else None, receipts.find)
    return 0


def _filing(settings: Settings) -> Any:
    from kiosk.fhir.resources import Filing

    return Filing(settings.fhir.photo_system, settings.station.name, settings.fhir.receipt_system)


def _client(settings: Settings, *, most_s: float | None = None) -> Any:
    from kiosk.wiring.record import open_client

    return open_client(settings.fhir, most_s=most_s)
