"""The uploader process and its two kinds of short-lived processes, put together."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from kiosk import audit
from kiosk.audit import AuditLog
from kiosk.config import Settings
from kiosk.errors import ConfigError
from kiosk.journal import Journal
from kiosk.process import die_with_parent, quiet_tracebacks
from kiosk.wiring.spool import group_id, open_spool

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
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_quiet)
    url = urlsplit(settings.fhir.url)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    staff = StaffList.load(Path(settings.staff.file))
    uploader = Uploader(
        Parts(
            spool=open_spool(settings),
            keys=_keys(),
            sign_in=SignIn(
                staff,
                max_tries=settings.staff.max_tries,
                lock_seconds=settings.staff.lock_seconds,
                clock=time.monotonic,
            ),
            audit=_audit(settings, journal),
            journal=journal,
            starter=Children(config, attempt_s=settings.delivery.attempt_s),
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


def _audit(settings: Settings, journal: Journal) -> AuditLog:
    """The chain of this boot, continued where a killed uploader left it. The file is in memory (/run)."""
    path = Path(settings.link.socket).with_name("audit.jsonl")
    lines = path.read_bytes().splitlines() if path.exists() else []
    faults = audit.verify(lines)
    if faults:
        journal.say("audit-broken", number=len(faults))
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return AuditLog(
        settings.station.id,
        UUID(Path("/proc/sys/kernel/random/boot_id").read_text().strip()),
        lambda line: _append(fd, line, journal),
        wall_trusted=clock_set,
        head=audit.head_of(lines),
    )


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


def run_delivery(settings: Settings, session: UUID, key_fd: int, parent: int) -> int:
    """One delivery process."""
    from kiosk import delivery
    from kiosk.destinations.fhir import FhirDestination
    from kiosk.fhir.resources import Filing

    die_with_parent(parent)
    quiet_tracebacks()

    def write(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    with _client(settings) as client:
        filing = Filing(settings.fhir.photo_system, settings.station.name)
        destination = FhirDestination(client, filing)
        delivery.run(session, open_spool(settings), key_fd, destination, write)
    return 0


def run_lookup(settings: Settings, fd: int, parent: int) -> int:
    """One look-up process."""
    from kiosk import lookup
    from kiosk.fhir.directory import PatientDirectory
    from kiosk.fhir.visits import Visits
    from kiosk.model import Match, Patient

    die_with_parent(parent)
    quiet_tracebacks()
    fhir = settings.fhir
    with _client(settings) as client, _client(settings, most_s=QUICK_S) as quick:
        directory = PatientDirectory(client, fhir.patient_systems)
        visits = Visits(quick, fhir.patient_systems, fhir.location) if fhir.location else None

        def find(identifier: str, match: Match) -> tuple[Patient, ...]:
            found = directory.find(identifier, match)
            return found if visits is None or len(found) != 1 else (visits.placed(found[0]),)

        lookup.run(fd, find, visits.today if visits else None)
    return 0


def _client(settings: Settings, *, most_s: float | None = None) -> Any:
    """`most_s`: seconds for one answer, where somebody waits who can also do without."""
    from kiosk.fhir.client import BasicAuth, FhirClient

    fhir = settings.fhir
    auth = None
    if fhir.auth == "basic" and fhir.user and fhir.password_file:
        auth = BasicAuth(fhir.user, _secret(Path(fhir.password_file)))
    timeout = (fhir.connect_s, fhir.read_s)
    if most_s is None:
        return FhirClient(fhir.url, auth=auth, timeout=timeout, ca_file=fhir.ca_file)
    short = (min(timeout[0], most_s), min(timeout[1], most_s))
    return FhirClient(fhir.url, auth=auth, timeout=short, deadline=most_s, ca_file=fhir.ca_file)


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError((f"{path}: [fhir] password_file cannot be read; allowed: a text file",)) from None
