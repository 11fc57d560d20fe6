"""The capture service with the simulated camera, and with one that does what no contract allows."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image, ImageCms

from kiosk.cameras.counter import read_counter
from kiosk.cameras.simulated import SimulatedCamera
from kiosk.capture import (
    Camera,
    CaptureService,
    PreviewFrame,
    Still,
    StillFrame,
    encode,
    reduced,
    srgb_profile,
)
from kiosk.errors import CameraBusy, CameraError, CameraGone, CameraHung, FrameGone, Problem
from kiosk.model import Consent, Decision

DEADLINE = 0.4


def consent(decision: Decision = Decision.PERMIT) -> Consent:
    return Consent(uuid4(), decision, datetime.now(UTC), "photo", "1", "en")


def until(what: Callable[[], object], seconds: float = 5.0) -> None:
    give_up = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.005)


class Told:
    """What the service told, in order: "ready", or the problem."""

    def __init__(self) -> None:
        self.news: SimpleQueue[str | Problem] = SimpleQueue()

    def next(self, seconds: float = 5.0) -> str | Problem:
        return self.news.get(timeout=seconds)

    def service(self, camera: Camera, **more: float) -> CaptureService:
        return CaptureService(
            camera,
            on_ready=lambda: self.news.put("ready"),
            on_failure=lambda error: self.news.put(error.problem),
            **{"deadline": DEADLINE, "backoff": (0.02, 0.05), **more},  # type: ignore[arg-type]
        )


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(scope="module")
def painted() -> SimulatedCamera:
    return SimulatedCamera(preview=(640, 360), still=(1920, 1080), marker="ZEBRA-77", open_timeout=0.2)


@pytest.fixture
def camera(painted: SimulatedCamera) -> Iterator[SimulatedCamera]:
    yield painted
    painted.set_fault("ok")
    painted.close()


@pytest.fixture
def service(camera: SimulatedCamera, told: Told) -> Iterator[CaptureService]:
    service = told.service(camera, deadline=3.0)
    yield service
    camera.set_fault("ok")
    service.close()


def opened(service: CaptureService, told: Told) -> PreviewFrame:
    service.open(consent())
    assert told.next() == "ready"
    frame = service.latest()
    assert frame is not None
    return frame


def last_frame(service: CaptureService, camera: SimulatedCamera, told: Told) -> PreviewFrame:
    """Hang the camera and return the frame that the service still holds: it is stale, not yet given up."""
    frame = opened(service, told)
    camera.set_fault("hang")
    while (newer := service.latest()) is not None:
        frame = newer
        time.sleep(0.005)
    return frame


# --- consent ---------------------------------------------------------------------------------


@pytest.mark.parametrize("decision", [Decision.DENY, Decision.WITHDRAWN])
def test_no_consent_no_camera(decision: Decision, told: Told) -> None:
    camera = Stubborn()
    service = told.service(camera)
    with pytest.raises(CameraError) as caught:
        service.open(consent(decision))
    assert caught.value.problem is Problem.NO_CONSENT
    with pytest.raises(CameraError) as caught:
        service.take(1)
    assert caught.value.problem is Problem.NO_CONSENT
    assert camera.calls == []
    service.close()


# --- the live picture ------------------------------------------------------------------------


def test_frames_flow_and_closing_ends_them(service: CaptureService, told: Told) -> None:
    assert service.latest() is None
    first = opened(service, told)
    service.open(consent())
    until(lambda: (frame := service.latest()) and frame.sequence > first.sequence + 3)
    until(service.live_verdicts)
    assert [v.gate for v in service.live_verdicts()] == ["focus", "light", "glare"]
    last = service.latest()
    service.close()
    service.close()
    assert service.latest() is None
    assert service.live_verdicts() == ()
    assert last is not None
    assert told.news.empty()
    with pytest.raises(CameraError):
        service.take(last.sequence)


def test_closing_overwrites_the_frame_held(
    service: CaptureService, camera: SimulatedCamera, told: Told
) -> None:
    frame = last_frame(service, camera, told)
    assert frame.pixels.any()
    service.close()
    assert not frame.pixels.any()


def test_a_camera_that_fails_leaves_no_frame_behind(
    service: CaptureService, camera: SimulatedCamera, told: Told
) -> None:
    frame = last_frame(service, camera, told)
    until(lambda: not frame.pixels.any())


def test_it_opens_again(service: CaptureService, told: Told) -> None:
    first = opened(service, told)
    service.close()
    assert opened(service, told).sequence > first.sequence


# --- taking ----------------------------------------------------------------------------------


def test_the_frame_asked_for_is_the_frame_saved(service: CaptureService, told: Told) -> None:
    frame = opened(service, told)
    until(lambda: (now := service.latest()) and now.sequence > frame.sequence + 5)
    still = service.take(frame.sequence)
    saved = np.asarray(Image.open(io.BytesIO(still.jpeg)))
    assert read_counter(frame.pixels) == frame.sequence
    assert read_counter(saved) == frame.sequence
    assert read_counter(still.review) == frame.sequence
    assert still.frame == frame.sequence
    assert (still.width, still.height) == (saved.shape[1], saved.shape[0]) == (1920, 1080)
    assert still.size == len(still.jpeg)
    assert still.sha256 == hashlib.sha256(still.jpeg).hexdigest()
    assert still.review.shape == (675, 1200, 3)
    assert {v.gate: v.word for v in still.verdicts} == {"focus": "Sharp", "light": "Good", "glare": "None"}
    assert still.metadata["ExposureTime"] == 8000


@pytest.mark.parametrize(
    ("fault", "gate", "word"), [("blur", "focus", "Blurred"), ("dark", "light", "Too dark")]
)
def test_bad_photographs_say_so(
    service: CaptureService, camera: SimulatedCamera, told: Told, fault: str, gate: str, word: str
) -> None:
    opened(service, told)
    camera.set_fault(fault)
    seen = service.latest()
    assert seen is not None
    until(lambda: (now := service.latest()) and now.sequence > seen.sequence + 2)
    bad = service.latest()
    assert bad is not None
    still = service.take(bad.sequence)
    assert {v.gate: v.word for v in still.verdicts}[gate] == word
    assert not next(v.good for v in still.verdicts if v.gate == gate)


def test_a_lost_frame_is_lost(service: CaptureService, told: Told) -> None:
    frame = opened(service, told)
    with pytest.raises(FrameGone):
        service.take(frame.sequence + 10_000)
    assert service.take(frame.sequence).frame == frame.sequence
    service.close()


def test_wiping_overwrites_in_place(service: CaptureService, told: Told) -> None:
    still = service.take(opened(service, told).sequence)
    jpeg, review = still.jpeg, still.review
    size = len(jpeg)
    still.wipe()
    assert jpeg == bytes(size)
    assert not review.any()
    assert still.jpeg is jpeg


def test_the_full_pixels_are_overwritten_after_encoding(told: Told) -> None:
    camera = Stubborn()
    service = told.service(camera)
    service.open(consent())
    assert told.next() == "ready"
    service.take(1)
    assert len(camera.stills) == 1
    assert not camera.stills[0].pixels.any()
    service.close()


# --- the file --------------------------------------------------------------------------------


def segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Every marker of a JPEG file with its payload, the entropy-coded data skipped (T.81 annex B)."""
    assert jpeg[:2] == b"\xff\xd8"
    yield 0xD8, b""
    at = 2
    while True:
        assert jpeg[at] == 0xFF
        marker = jpeg[at + 1]
        if marker == 0xD9:
            yield marker, b""
            assert at + 2 == len(jpeg), "bytes after the end"
            return
        length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        yield marker, jpeg[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xDA:
            while not (jpeg[at] == 0xFF and jpeg[at + 1] != 0 and not 0xD0 <= jpeg[at + 1] <= 0xD7):
                at += 1


@pytest.mark.parametrize("size", [(16, 16), (1920, 1080), (641, 363)])
def test_the_file_holds_a_picture_a_profile_and_nothing_else(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    jpeg = bytes(encode(pixels, 93))
    found = list(segments(jpeg))
    names = [marker for marker, _ in found]
    # SOI, APP0, APP2, then tables and the frame, EOI: no EXIF (APP1), no comment, no other application data.
    assert names[:3] == [0xD8, 0xE0, 0xE2]
    assert set(names[3:]) <= {0xDB, 0xC0, 0xC4, 0xDA, 0xDD, 0xD9}
    assert (names.count(0xE0), names.count(0xE2), names.count(0xC0)) == (1, 1, 1)
    assert found[1][1][:5] == b"JFIF\0"
    assert found[2][1] == b"ICC_PROFILE\0\x01\x01" + srgb_profile()
    frame = next(payload for marker, payload in found if marker == 0xC0)
    # 4:2:0: luma is sampled 2 x 2, both chromas 1 x 1.
    assert (frame[7], frame[10], frame[13]) == (0x22, 0x11, 0x11)


def test_others_see_an_srgb_picture() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 64, axis=0)
    pixels = np.ascontiguousarray(np.broadcast_to(ramp, (64, 256, 3)))
    image = Image.open(io.BytesIO(encode(pixels, 93)))
    assert np.abs(np.asarray(image).astype(int) - pixels).max() <= 4
    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    assert not image.getexif()
    same = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"))
    assert same is not None
    assert np.abs(np.asarray(same).astype(int) - np.asarray(image)).max() <= 1


def test_the_profile_carries_no_clock() -> None:
    assert srgb_profile()[24:36] == bytes(12)
    assert 400 < len(srgb_profile()) < 4000


@pytest.mark.parametrize(
    ("size", "most", "want"),
    [
        ((4608, 2592), (1280, 960), (1152, 648)),
        ((1920, 1080), (1280, 960), (1200, 675)),
        ((640, 360), (1280, 960), (640, 360)),
        ((2592, 4608), (1280, 960), (324, 576)),
        ((640, 360), (10, 10), (80, 45)),
    ],
)
def test_the_review_picture_fits(size: tuple[int, int], most: tuple[int, int], want: tuple[int, int]) -> None:
    jpeg = encode(np.full((size[1], size[0], 3), (180, 90, 60), np.uint8), 90)
    review = reduced(jpeg, size, most)
    assert review.shape == (want[1], want[0], 3)
    assert np.abs(review.astype(int) - (180, 90, 60)).max() <= 3


# --- recovery --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "problem"), [("hang", Problem.CAMERA_HUNG), ("unplug", Problem.CAMERA_GONE)]
)
def test_it_recovers(camera: SimulatedCamera, told: Told, fault: str, problem: Problem) -> None:
    service = told.service(camera)
    try:
        opened(service, told)
        for _ in range(2):
            camera.set_fault(fault)
            assert told.next() == problem
            assert service.latest() is None
            with pytest.raises(Empty):
                # Several reopens fail meanwhile, and nobody is told again.
                told.next(0.6)
            camera.set_fault("ok")
            assert told.next() == "ready"
            frame = service.latest()
            assert frame is not None
            assert service.take(frame.sequence).frame == frame.sequence
    finally:
        camera.set_fault("ok")
        service.close()


def test_hung_then_found_unplugged_tells_both_once(told: Told) -> None:
    camera = Stubborn(trouble=CameraHung("preview"))
    service = told.service(camera)
    service.open(consent())
    assert told.next() == Problem.CAMERA_HUNG
    camera.trouble = CameraGone("usb")
    assert told.next() == Problem.CAMERA_GONE
    camera.trouble = CameraBusy("who")
    assert told.next() == Problem.CAMERA_BUSY
    camera.trouble = CameraGone("usb")
    tries = len(camera.calls)
    until(lambda: len(camera.calls) > tries + 6)
    assert told.news.empty()
    camera.trouble = None
    assert told.next() == "ready"
    service.close()


def test_an_old_frame_is_not_live_even_before_the_deadline(told: Told) -> None:
    camera = Stubborn()
    service = told.service(camera, deadline=5.0, stale=0.2)
    service.open(consent())
    assert told.next() == "ready"
    assert service.latest() is not None
    camera.block.set()
    until(lambda: service.latest() is None, 1.5)
    assert told.news.empty()
    camera.free.set()
    service.close()


def test_latest_never_waits(camera: SimulatedCamera, service: CaptureService, told: Told) -> None:
    opened(service, told)
    camera.set_fault("hang")
    for _ in range(200):
        started = time.perf_counter()
        service.latest()
        assert time.perf_counter() - started < 0.1


def test_a_camera_that_never_comes_back_costs_a_deadline(told: Told) -> None:
    """Every call blocks for ever, which no camera may do: open, take and close are bounded all the same."""
    camera = Stubborn()
    service = told.service(camera)
    service.open(consent())
    assert told.next() == "ready"
    camera.block.set()
    assert told.next(3) == Problem.CAMERA_HUNG
    started = time.monotonic()
    with pytest.raises(CameraHung):
        service.take(1)
    assert time.monotonic() - started < 3 * DEADLINE
    started = time.monotonic()
    service.close()
    assert time.monotonic() - started < 4 * DEADLINE
    # Opening again and again adds no threads to those that are stuck.
    for _ in range(2):
        until(lambda: not _reopen_refused(service))
        assert told.next() == Problem.CAMERA_HUNG
        service.close()
        assert len([t for t in threading.enumerate() if t.name.startswith("camera-")]) <= 4
    camera.free.set()
    until(lambda: not _reopen_refused(service))
    while told.next() != "ready":
        pass
    service.close()


def _reopen_refused(service: CaptureService) -> bool:
    try:
        service.open(consent())
    except CameraHung:
        return True
    return False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_camera_with_a_bug_is_an_outage_not_the_end(told: Told) -> None:
    camera = Stubborn()
    service = told.service(camera)
    service.open(consent())
    assert told.next() == "ready"
    camera.bug = ZeroDivisionError("driver")
    assert told.next() == Problem.INTERNAL
    camera.bug = None
    until(lambda: service.latest() is not None)
    service.close()


def test_closing_leaves_no_thread(camera: SimulatedCamera, service: CaptureService, told: Told) -> None:
    opened(service, told)
    # The painter of the module's camera is not the service's.
    until(lambda: not any(t.name == "camera-painter" for t in threading.enumerate()))
    assert any(t.name.startswith("camera-") for t in threading.enumerate())
    service.close()
    until(lambda: not any(t.name.startswith("camera-") for t in threading.enumerate()))


class Stubborn:
    """A camera that does what a test wants, contract or not."""

    name = "Stubborn"
    simulated = True

    def __init__(self, trouble: CameraError | None = None) -> None:
        self.trouble = trouble
        self.bug: ArithmeticError | None = None
        self.block, self.free = threading.Event(), threading.Event()
        self.calls: list[str] = []
        self.stills: list[StillFrame] = []
        self.sequence = 0

    def _do(self, what: str) -> None:
        self.calls.append(what)
        if self.block.is_set():
            self.free.wait()
        if self.bug is not None:
            raise self.bug

    def open(self) -> None:
        self._do("open")

    def close(self) -> None:
        self._do("close")

    def next_preview(self, timeout: float) -> PreviewFrame:
        self._do("preview")
        if self.trouble is not None:
            raise self.trouble
        time.sleep(0.01)
        self.sequence += 1
        return PreviewFrame(self.sequence, time.monotonic(), np.full((90, 160, 3), 9, np.uint8))

    def still(self, sequence: int, timeout: float) -> StillFrame:
        self._do("still")
        self.stills.append(StillFrame(sequence, time.monotonic(), np.full((90, 160, 3), 9, np.uint8), {}))
        return self.stills[-1]


def test_a_still_says_nothing_of_its_pixels() -> None:
    still = Still(bytearray(b"secret"), "00", 1, 1, np.zeros((1, 1, 3), np.uint8), (), 5)
    assert "secret" not in repr(still)
