"""Bounded memory of delivery: twenty photographs of 12 MP cost no more than the largest of them.

The real uploader and its real delivery process, a record server in a process of its own, twenty JPEGs of
3 to 5 MB. VmHWM (proc_pid_status(5)) is what a process had at its worst, so nothing is missed between looks.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
import simplejpeg

from kiosk.custody import NotifySocket
from kiosk.demo import station
from kiosk.link import Caller
from kiosk.model import Photo
from kiosk.process import ENVIRONMENT
from kiosk.seal import Kind, PublicKey, SealHeader, choose_suite, seal_parts
from kiosk.spool import Spool
from tests.nouns import AT, SITE, consent
from tests.nouns import session as make_session

PHOTOS = 20
MEGABYTE = 1_000_000
ABOVE_IDLE = 120 * MEGABYTE
"""The promise: bytes of the uploader and its delivery process together, above the idle uploader."""
WATCH_S = 0.005

SERVER = """
import sys
from kiosk.demo.fhir_server import DemoFhirServer
with DemoFhirServer(patients=[{"resourceType": "Patient", "id": "p1"}]) as server:
    print(server.base_url, flush=True)
    for line in sys.stdin:
        print(server.store.count("Binary"), flush=True)
"""


@dataclass
class Watched:
    """What the uploader and everything that it starts held at their worst, in bytes."""

    children: dict[int, int] = field(default_factory=dict)
    """VmHWM of each: the kernel's own high-water mark, with the pages of files."""
    own: int = 0
    """RssAnon and RssShmem of the uploader itself."""
    counted_twice: int = 0
    """The most VmRSS of all of them at one moment; pages of files count once for each process."""

    def look(self, uploader: int) -> None:
        facts = status(uploader)
        self.own = max(self.own, facts["RssAnon"] + facts["RssShmem"])
        together = facts["VmRSS"]
        for pid in children(uploader):
            # A process that ended between the two looks has been looked at before.
            with suppress(OSError, KeyError):
                facts = status(pid)
                self.children[pid] = max(self.children.get(pid, 0), facts["VmHWM"])
                together += facts["VmRSS"]
        self.counted_twice = max(self.counted_twice, together)

    def worst(self) -> int:
        """Both together. What the uploader maps of files, its child of the same program maps as well."""
        return self.own + max(self.children.values())


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def status(pid: int) -> dict[str, int]:
    """Sizes in bytes. Readable by everybody, where smaps asks for the right to debug."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    rows = (line.partition(":") for line in lines if line.startswith(("Vm", "Rss")))
    return {key: int(value.split()[0]) * 1024 for key, _, value in rows}


def photographs() -> Iterator[bytes]:
    """Twenty JPEGs of 4056 x 3040 with the grain of a real sensor."""
    chance = np.random.default_rng(7)
    wide, high = 4056, 3040
    ramp = np.linspace(60, 190, wide, dtype=np.float32)[None, :, None]
    grain = chance.normal(0, 8.0, (high, wide, 1)).astype(np.float32)
    pixels = np.clip(ramp + grain + np.zeros((1, 1, 3), np.float32), 0, 255).astype(np.uint8)
    for number in range(PHOTOS):
        turned = np.ascontiguousarray(np.roll(pixels, 100 * number, axis=1))
        yield simplejpeg.encode_jpeg(
            turned, quality=86 + number % 8, colorspace="RGB", colorsubsampling="420"
        )


@contextmanager
def record_server() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def running_uploader(config: Path, notify: NotifySocket) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable,
        "-m",
        "kiosk",
        "uploader",
        "--config",
        str(config),
        "--parent",
        str(os.getpid()),
    ]
    environment = {**os.environ, **ENVIRONMENT, "NOTIFY_SOCKET": str(notify.path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            until(lambda: (notify.receive(1) or {}).get("READY") == "1", 60)
            until((config.parent / "link.sock").exists, 10)
            yield process
        finally:
            process.terminate()


def until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(WATCH_S)


def seal_session(spool: Spool, session: UUID, public: PublicKey) -> list[int]:
    """What the ui does from the first shutter to Send; returns the sizes of the photographs."""
    cipher = choose_suite()
    spool.begin(session)

    def add(number: int, kind: Kind, item: UUID, plain: bytes) -> None:
        parts = seal_parts(public, SealHeader(session, item, kind, number), plain, cipher)
        spool.add(session, number, kind.value, item, parts)

    photos = []
    for number, jpeg in enumerate(photographs(), 1):
        digest = hashlib.sha256(jpeg).hexdigest()
        photo = Photo(uuid4(), number, AT, SITE, number, 4056, 3040, len(jpeg), digest)
        add(number, Kind.PHOTO, photo.id, jpeg)
        photos.append(photo)
    manifest = replace(make_session(consent()), id=session, photos=tuple(photos))
    add(0, Kind.CONSENT, manifest.consent.id, manifest.consent.to_json())
    add(0, Kind.MANIFEST, session, manifest.to_json())
    return [photo.size for photo in photos]


def test_twenty_photographs_cost_no_more_memory_than_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[str] = []
    with record_server() as server, NotifySocket(tmp_path / "notify") as notify:
        assert server.stdout is not None
        assert server.stdin is not None
        config = station.write(tmp_path, server.stdout.readline().strip(), station.Options())
        with running_uploader(config, notify) as uploader:
            idle = status(uploader.pid)["VmRSS"]
            caller = Caller.connect(
                tmp_path / "link.sock",
                on_news=lambda m: heard.append(str(m.get("stage"))),
                on_lost=lambda: None,
            )
            badge = station.STAFF[0]
            answer = caller.ask("sign-in", badge=badge.code, pin=badge.pin, timeout=30)
            # The look-up process ends with the ui's end of its socket: it is no part of sending.
            os.close(caller.take_descriptor())
            until(lambda: not children(uploader.pid), 30)
            session = UUID(answer["session"])
            spool = Spool(
                tmp_path / "spool", capacity=512 * MEGABYTE, reserve=130 * MEGABYTE, allow_disk=True
            )
            sizes = seal_session(spool, session, PublicKey.from_bytes(base64.b64decode(answer["public_key"])))
            spool.commit(session)
            caller.ask("commit", session=str(session), decision="permit", photos=PHOTOS, timeout=30)
            watched = Watched()

            def ended() -> bool:
                watched.look(uploader.pid)
                assert "parked" not in heard
                return "delivered" in heard

            until(ended, 240)
            caller.close()
        server.stdin.write("\n")
        server.stdin.flush()
        assert int(server.stdout.readline()) == PHOTOS
    above = watched.worst() - idle
    with capsys.disabled():
        print(
            f"\nphotographs of {megabytes(min(sizes))} to {megabytes(max(sizes))};"
            f" idle uploader {megabytes(idle)};"
            f" delivery process at its worst {megabytes(max(watched.children.values()))}; both together"
            f" {megabytes(above)} above idle (aim {megabytes(ABOVE_IDLE)};"
            f" with shared pages twice {megabytes(watched.counted_twice - idle)})"
        )
    assert len(watched.children) == 1, "one attempt delivers"
    assert min(sizes) > 3 * MEGABYTE
    assert above < ABOVE_IDLE


def megabytes(count: int) -> str:
    return f"{count / MEGABYTE:.1f} MB"
