"""What every camera must do: subclass CameraContract and give it a camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from kiosk.cameras.counter import read_counter
from kiosk.cameras.simulated import SimulatedCamera
from kiosk.capture import Camera, Pixels, PreviewFrame
from kiosk.errors import CameraError, CameraGone, CameraHung, FrameGone

PATIENCE = 5.0
"""Seconds for the first frame of a camera that has just been opened."""


class CameraContract:
    """The tests. A subclass gives the fixtures `camera` (closed) and `fps`, and `fault`."""

    @pytest.fixture
    def camera(self) -> Iterator[Camera]:
        raise NotImplementedError

    @pytest.fixture
    def fps(self) -> float:
        raise NotImplementedError

    def fault(self, camera: Camera, fault: str) -> None:
        """Bring about "hang", "unplug" or "ok"."""
        raise NotImplementedError

    def test_says_who_it_is(self, camera: Camera) -> None:
        assert camera.name
        assert isinstance(camera.simulated, bool)

    def test_open_and_close_are_idempotent_and_it_opens_again(self, camera: Camera) -> None:
        camera.close()
        camera.open()
        camera.open()
        first = camera.next_preview(PATIENCE)
        camera.close()
        camera.close()
        camera.open()
        assert camera.next_preview(PATIENCE).sequence > first.sequence

    def test_a_closed_camera_gives_nothing(self, camera: Camera) -> None:
        with pytest.raises(CameraGone):
            camera.next_preview(0.1)
        with pytest.raises(CameraGone):
            camera.still(1, 0.1)

    def test_closing_forgets_the_frames(self, camera: Camera) -> None:
        camera.open()
        sequence = camera.next_preview(PATIENCE).sequence
        camera.close()
        camera.open()
        camera.next_preview(PATIENCE)
        with pytest.raises(FrameGone):
            camera.still(sequence, PATIENCE)

    def test_frames_flow_at_a_plausible_pace(self, camera: Camera, fps: float) -> None:
        camera.open()
        camera.next_preview(PATIENCE)
        started = time.monotonic()
        frames = [camera.next_preview(PATIENCE) for _ in range(10)]
        took = time.monotonic() - started
        assert all(a.sequence < b.sequence for a, b in pairwise(frames))
        assert all(a.timestamp < b.timestamp for a, b in pairwise(frames))
        assert abs(frames[-1].timestamp - time.monotonic()) < 1.0
        # Never faster than the camera's pace; slower only as far as a busy machine explains.
        assert 8 / fps < took < 10 / fps + 2

    def test_frames_are_rgb_and_the_receivers_own(self, camera: Camera) -> None:
        camera.open()
        one = camera.next_preview(PATIENCE)
        kept = one.pixels.copy()
        two = camera.next_preview(PATIENCE)
        assert one.pixels.dtype == np.uint8
        assert one.pixels.ndim == 3
        assert one.pixels.shape == (*two.pixels.shape[:2], 3)
        assert np.array_equal(one.pixels, kept)
        one.pixels.fill(0)

    def test_a_still_is_its_preview_frame(self, camera: Camera) -> None:
        camera.open()
        camera.next_preview(PATIENCE)
        asked = camera.next_preview(PATIENCE)
        for _ in range(5):
            camera.next_preview(PATIENCE)
        still = camera.still(asked.sequence, PATIENCE)
        assert still.sequence == asked.sequence
        assert still.timestamp == asked.timestamp
        assert still.pixels.shape[1] >= asked.pixels.shape[1]
        assert still.pixels.dtype == np.uint8
        assert likeness(still.pixels, asked.pixels) > 0.99
        assert all(isinstance(v, (int, float)) for v in still.metadata.values())

    def test_the_ring_holds_half_a_second(self, camera: Camera) -> None:
        camera.open()
        asked = camera.next_preview(PATIENCE)
        last = asked
        while last.timestamp < asked.timestamp + 0.45:
            last = camera.next_preview(PATIENCE)
        assert camera.still(asked.sequence, PATIENCE).sequence == asked.sequence

    def test_frames_that_were_never_shown_are_gone(self, camera: Camera) -> None:
        camera.open()
        newest = camera.next_preview(PATIENCE).sequence
        for sequence in (newest + 100_000, -1, newest - 100_000):
            with pytest.raises(FrameGone):
                camera.still(sequence, PATIENCE)

    def test_an_ancient_frame_is_gone(self, camera: Camera) -> None:
        camera.open()
        ancient = camera.next_preview(PATIENCE)
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            camera.next_preview(PATIENCE)
            try:
                camera.still(ancient.sequence, PATIENCE)
            except FrameGone:
                return
        pytest.fail("the ring never lets go of a frame")

    def test_hanging_calls_keep_their_deadlines(self, camera: Camera) -> None:
        camera.open()
        sequence = camera.next_preview(PATIENCE).sequence
        self.fault(camera, "hang")
        for timeout in (0.05, 0.4):
            assert timeout * 0.9 <= self.hung_for(lambda t=timeout: camera.next_preview(t)) < timeout + 0.5
            assert timeout * 0.9 <= self.hung_for(lambda t=timeout: camera.still(sequence, t)) < timeout + 0.5
        self.fault(camera, "ok")
        camera.close()
        camera.open()
        assert camera.next_preview(PATIENCE).sequence > sequence

    def hung_for(self, call: object) -> float:
        assert callable(call)
        started = time.monotonic()
        with pytest.raises(CameraHung):
            call()
        return time.monotonic() - started

    def test_closing_a_hanging_camera_is_bounded_and_frees_who_waits(self, camera: Camera) -> None:
        camera.open()
        camera.next_preview(PATIENCE)
        self.fault(camera, "hang")
        ended: list[CameraError] = []

        def wait() -> None:
            with pytest.raises(CameraError) as caught:
                camera.next_preview(30)
            ended.append(caught.value)

        waiter = threading.Thread(target=wait)
        waiter.start()
        started = time.monotonic()
        camera.close()
        waiter.join(3)
        assert time.monotonic() - started < 3
        assert len(ended) == 1
        assert isinstance(ended[0], CameraGone)

    def test_unplugged_then_plugged_in_again(self, camera: Camera) -> None:
        camera.open()
        sequence = camera.next_preview(PATIENCE).sequence
        self.fault(camera, "unplug")
        with pytest.raises(CameraGone):
            camera.next_preview(PATIENCE)
        with pytest.raises(CameraGone):
            camera.still(sequence, PATIENCE)
        camera.close()
        with pytest.raises(CameraGone):
            camera.open()
        self.fault(camera, "ok")
        camera.open()
        assert camera.next_preview(PATIENCE).sequence > sequence

    def test_two_threads(self, camera: Camera) -> None:
        """One pulls previews, the other fetches stills of what the first has seen."""
        camera.open()
        camera.next_preview(PATIENCE)
        seen: list[PreviewFrame] = []
        wrong: list[str] = []
        stop = threading.Event()

        def pull() -> None:
            while not stop.is_set():
                seen.append(camera.next_preview(PATIENCE))

        puller = threading.Thread(target=pull)
        puller.start()
        try:
            give_up = time.monotonic() + 10
            fetched = 0
            while fetched < 5 and time.monotonic() < give_up:
                if len(seen) <= fetched:
                    continue
                frame = seen[-1]
                still = camera.still(frame.sequence, PATIENCE)
                if likeness(still.pixels, frame.pixels) < 0.99:
                    wrong.append(str(frame.sequence))
                fetched += 1
        finally:
            stop.set()
            puller.join(PATIENCE)
        assert fetched == 5
        assert not wrong


def likeness(one: Pixels, other: Pixels) -> float:
    """Correlation of two pictures, reduced to 160 x 90: 1.0 is the same field of view at the same moment."""
    small = [
        np.asarray(
            Image.fromarray(p).convert("L").resize((160, 90), Image.Resampling.BOX), np.float64
        ).ravel()
        for p in (one, other)
    ]
    return float(np.corrcoef(small[0], small[1])[0, 1])


@pytest.fixture(scope="module")
def simulated() -> SimulatedCamera:
    """Painted once; each test gets it closed."""
    return SimulatedCamera(preview=(640, 360), still=(1920, 1080), ring=1.5, open_timeout=0.3)


class TestSimulatedCamera(CameraContract):
    @pytest.fixture
    def camera(self, simulated: SimulatedCamera) -> Iterator[Camera]:
        yield simulated
        simulated.set_fault("ok")
        simulated.close()

    @pytest.fixture
    def fps(self) -> float:
        return 30.0

    def fault(self, camera: Camera, fault: str) -> None:
        assert isinstance(camera, SimulatedCamera)
        camera.set_fault(fault)

    def test_the_counter_says_which_frame_it_is(self, camera: Camera) -> None:
        camera.open()
        for _ in range(3):
            frame = camera.next_preview(PATIENCE)
            assert read_counter(frame.pixels) == frame.sequence
            assert read_counter(camera.still(frame.sequence, PATIENCE).pixels) == frame.sequence

    def test_a_blurred_or_dark_still_is_its_frame_too(
        self, camera: Camera, simulated: SimulatedCamera
    ) -> None:
        camera.open()
        bright = camera.next_preview(PATIENCE).pixels.mean()
        for fault in ("blur", "dark"):
            simulated.set_fault(fault)
            frame = camera.next_preview(PATIENCE)
            simulated.set_fault("ok")
            still = camera.still(frame.sequence, PATIENCE)
            assert read_counter(still.pixels) == frame.sequence
            assert likeness(still.pixels, frame.pixels) > 0.95
            assert abs(still.pixels.mean() - frame.pixels.mean()) < 2
            assert (frame.pixels.mean() < bright / 2) == (fault == "dark")

    def test_the_ring_light_brightens(self, camera: Camera, simulated: SimulatedCamera) -> None:
        camera.open()
        lit = camera.next_preview(PATIENCE).pixels.mean()
        simulated.set_illumination(False)
        unlit = camera.next_preview(PATIENCE).pixels.mean()
        simulated.set_illumination(True)
        assert unlit < 0.8 * lit

    def test_opening_does_not_wait_for_the_painting(self) -> None:
        camera = SimulatedCamera(preview=(640, 360), still=(1920, 1080))
        started = time.monotonic()
        camera.open()
        assert time.monotonic() - started < 0.1
        assert camera.next_preview(PATIENCE).sequence >= 1
        camera.close()

    def test_a_still_waits_for_the_painting_without_losing_its_frame(self) -> None:
        camera = SimulatedCamera(preview=(640, 360), still=(3840, 2160), ring=0.1)
        camera.open()
        frame = camera.next_preview(PATIENCE)
        # Painting a still of this size takes longer than the ring holds a frame.
        still = camera.still(frame.sequence, PATIENCE)
        assert time.monotonic() - frame.timestamp > 0.1
        assert read_counter(still.pixels) == frame.sequence
        camera.close()

    def test_opening_a_hanging_camera_is_bounded(self, camera: Camera) -> None:
        self.fault(camera, "hang")
        assert self.hung_for(camera.open) < 1.0

    def test_unknown_faults_and_shapes_are_refused(self) -> None:
        with pytest.raises(ValueError, match="smoke"):
            SimulatedCamera(preview=(640, 360), still=(1920, 1080)).set_fault("smoke")
        with pytest.raises(ValueError, match="field of view"):
            SimulatedCamera(preview=(640, 480), still=(1920, 1080))
