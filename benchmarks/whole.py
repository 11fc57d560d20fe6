"""What a person feels: press to frozen frame, press to sealed, start to first screen."""

from __future__ import annotations

import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import simplejpeg

from kiosk import events as e
from kiosk.cameras.simulated import SimulatedCamera
from kiosk.capture import CaptureService
from kiosk.conductor import Conductor, SessionKey
from kiosk.consent_text import ENGLISH
from kiosk.custody import KeyFile
from kiosk.demo import station
from kiosk.demo.supervisor import Demo
from kiosk.flow import SECONDS, Flow, State, Station
from kiosk.journal import Journal
from kiosk.model import BodySite, Consent, Decision, HumanName, Identifier, Laterality, Patient, Region
from kiosk.seal import choose_suite, generate_into
from kiosk.spool import Spool
from kiosk.touchui.app import App, UiSettings
from kiosk.touchui.display import Offscreen
from kiosk.uplink import Uplink

Row = tuple[str, float, float, float]
ROUNDS = 12
IDLE_S, IDLE_AIM = 10.0, 3.0
CONSENT = Consent(uuid4(), Decision.PERMIT, datetime.now(UTC), ENGLISH.id, ENGLISH.version, "en")
SITE = BodySite(Region.FOREARM, Laterality.LEFT)
PATIENT = Patient("p", HumanName("Okonkwo-Smith", "Adaeze", "Ms"), Identifier("urn:x", "9991230009"))


def rows() -> list[Row]:
    """Ratios of the first two are to plain JPEG encoding of the same 12 megapixel frame."""
    with _bench() as (conductor, camera, inbox):
        freeze = _freeze(conductor, inbox)
        sealed, plain = _press_to_sealed(conductor, camera, inbox)
    start, bare = _start()
    idle = _idle()
    return [
        ("press to frozen frame on the screen", freeze, plain, freeze / plain),
        ("press to sealed in the spool, 12 MP", sealed, plain, sealed / plain),
        ("start to first screen, to importing pygame and numpy", start, bare, start / bare),
        ("both processes locked, percent of a core (aim 3)", idle, IDLE_AIM, idle / IDLE_AIM),
    ]


@contextmanager
def _bench() -> Iterator[tuple[Conductor, SimulatedCamera, queue.SimpleQueue[Any]]]:
    """The real conductor, capture service, camera and spool; no uploader listens."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with (
        tempfile.TemporaryDirectory(dir=base) as root,
        KeyFile.create() as keys,
        open(os.devnull, "w") as null,
    ):
        camera = SimulatedCamera()
        capture = CaptureService(
            camera,
            on_ready=lambda: inbox.put(e.CameraReady()),
            on_failure=lambda error: inbox.put(e.Failed(error.problem)),
        )
        spool = Spool(Path(root), capacity=2**30, reserve=1, allow_disk=True)
        conductor = Conductor(
            inbox=inbox,
            uplink=Uplink(Path(root) / "nobody.sock", inbox),
            spool=spool,
            capture=capture,
            light=lambda on: None,
            journal=Journal("bench", null),
        )
        session = uuid4()
        with keys.issue(session) as area:
            conductor.use_key(SessionKey(session, generate_into(area), choose_suite()))
        conductor.start()
        conductor.perform(e.RecordConsent(CONSENT))
        conductor.perform(e.OpenCamera(CONSENT))
        _next(inbox, e.CameraReady)
        # The big texture is painted in the background: the first still waits for it.
        _take(conductor, inbox)
        conductor.perform(e.DropFrame())
        try:
            yield conductor, camera, inbox
        finally:
            conductor.perform(e.Wipe("bench"))
            conductor.stop()


def _next(inbox: queue.SimpleQueue[Any], kind: type) -> Any:
    while True:
        item = inbox.get(timeout=60)
        if isinstance(item, kind):
            return item
        if isinstance(item, e.Failed):
            raise RuntimeError(item.problem.code)


def _frame(conductor: Conductor) -> int:
    while (frame := conductor.preview()) is None:
        time.sleep(0.005)
    return frame.sequence


def _take(conductor: Conductor, inbox: queue.SimpleQueue[Any]) -> Any:
    conductor.perform(e.TakePhoto(uuid4(), 1, _frame(conductor), datetime.now(UTC), SITE))
    return _next(inbox, e.Captured).photo


def _press_to_sealed(
    conductor: Conductor, camera: SimulatedCamera, inbox: queue.SimpleQueue[Any]
) -> tuple[float, float]:
    """Fetch, encode, judge, seal, write, read back; without the person who looks in between."""
    ours, plain = [], []
    for _ in range(ROUNDS):
        frame = _frame(conductor)
        pixels = camera.still(frame, 5).pixels
        began = time.perf_counter()
        simplejpeg.encode_jpeg(pixels, quality=93, colorspace="RGB", colorsubsampling="420")
        plain.append(time.perf_counter() - began)
        began = time.perf_counter()
        photo = _take(conductor, inbox)
        conductor.perform(e.SealPhoto(photo))
        _next(inbox, e.Sealed)
        ours.append(time.perf_counter() - began)
        conductor.perform(e.RemovePhoto(photo.id))
        _next(inbox, e.Removed)
    return statistics.median(ours) * 1000, statistics.median(plain) * 1000


def _freeze(conductor: Conductor, inbox: queue.SimpleQueue[Any]) -> float:
    """From the edge of the button to the presented frozen picture, in the real drawing loop's round."""
    display = Offscreen((800, 480))
    flow = Flow(
        Station("bench", ENGLISH.id, ENGLISH.version, "en"),
        state=State.PREVIEW,
        patient=PATIENT,
        consent=CONSENT,
        site=SITE,
        camera_ready=True,
    )
    app = App(
        display=display,
        station=flow.station,
        settings=UiSettings(dict(SECONDS)),
        perform=lambda effect: None,
        inbox=queue.SimpleQueue(),
        preview=conductor.preview,
        review_image=lambda: None,
        thumbnails=lambda photo: None,
        consent_text=ENGLISH,
        clock=time.monotonic,
        now=lambda: datetime.now(UTC),
        mint=uuid4,
        live_verdicts=conductor.live_verdicts,
        flow=flow,
    )
    taken = []
    for _ in range(ROUNDS):
        for _ in range(5):
            app.tick()
            time.sleep(0.03)
        began = time.perf_counter()
        app.press(time.monotonic())
        app.tick()
        taken.append(time.perf_counter() - began)
        if app.flow.frozen is None:
            raise RuntimeError("the press froze nothing")
        app.flow = replace(app.flow, busy=False, frozen=None)
    display.close()
    return statistics.median(taken) * 1000


def _start() -> tuple[float, float]:
    """`kiosk ui` until its first screen, to a bare interpreter with numpy and pygame."""
    ours, bare = [], []
    with tempfile.TemporaryDirectory() as root:
        config = station.write(Path(root), "http://127.0.0.1:9/fhir", station.Options())
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", "import numpy, pygame"], check=True, stdout=subprocess.DEVNULL
            )
            bare.append(time.perf_counter() - began)
            began = time.perf_counter()
            with subprocess.Popen(
                [sys.executable, "-m", "kiosk", "ui", "--offscreen", "--config", str(config)],
                stdout=subprocess.PIPE,
            ) as process:
                assert process.stdout is not None
                line = json.loads(process.stdout.readline())
                ours.append(time.perf_counter() - began)
                process.kill()
            if line["event"] != "state":
                raise RuntimeError("no first screen")
    return statistics.median(ours) * 1000, statistics.median(bare) * 1000


def _idle() -> float:
    """Percent of one core that the real ui and uploader use together on the lock screen."""
    with Demo() as demo:
        if not demo.wait_for("LOCKED", 30):
            raise RuntimeError("no lock screen")
        # The simulated scene is painted once, in the background.
        time.sleep(6)
        before = _ticks(demo.pids())
        time.sleep(IDLE_S)
        used = _ticks(demo.pids()) - before
    return 100 * used / os.sysconf("SC_CLK_TCK") / IDLE_S


def _ticks(pids: list[int]) -> int:
    """utime and stime of proc_pid_stat(5)."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(f[11]) + int(f[12]) for f in fields)
