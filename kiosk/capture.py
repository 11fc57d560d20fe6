"""The camera protocol, and the service that turns a preview frame into a photograph.

Frozen frame = saved frame: the screen names the frame it shows by `sequence`, and `take(sequence)` saves
exactly that one or raises FrameGone; it never takes "about now".

Every camera call runs on a thread of its own under a deadline, because a camera driver can block for ever.
A missed deadline costs one CameraHung and leaves a daemon thread behind, never a kiosk that does not answer.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from functools import cache, partial
from queue import SimpleQueue
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import ImageCms

from kiosk import quality
from kiosk.errors import CameraError, CameraHung, Problem
from kiosk.model import Consent, Decision, Verdict

Pixels = npt.NDArray[np.uint8]
"""RGB, uint8, shape (height, width, 3), sRGB, upright."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PreviewFrame:
    """One frame of the live picture. `timestamp` is time.monotonic() seconds; `pixels` is the receiver's."""

    sequence: int
    timestamp: float
    pixels: Pixels = field(repr=False)


@dataclass(frozen=True, slots=True)
class StillFrame:
    """The full-resolution pixels of one preview frame; `pixels` is the receiver's, who may overwrite it.

    metadata: libcamera's control names (ExposureTime in microseconds, AnalogueGain, LensPosition in
    dioptres, ...), as far as the camera knows them.
    """

    sequence: int
    timestamp: float
    pixels: Pixels = field(repr=False)
    metadata: Mapping[str, float | int]


class Camera(Protocol):
    """What a camera must do. tests/contract/test_camera.py is what each implementation passes.

    open, next_preview and still raise only CameraError and its kin. They may be called from several threads.
    """

    @property
    def name(self) -> str:
        """For people and the journal."""

    @property
    def simulated(self) -> bool:
        """Whether it is not a real camera."""

    def open(self) -> None:
        """Start the stream; nothing happens when it is open. Raises CameraBusy, CameraGone, CameraHung."""

    def close(self) -> None:
        """Stop, and overwrite every frame held. Idempotent, bounded; a blocked call ends with CameraGone."""

    def next_preview(self, timeout: float) -> PreviewFrame:
        """Return the newest frame not returned before, waiting up to `timeout` seconds.

        Raises CameraHung when none came in time, CameraGone when unplugged or closed.
        """

    def still(self, sequence: int, timeout: float) -> StillFrame:
        """Return the full-resolution pixels of the preview frame `sequence`, same field of view.

        Raises FrameGone when the ring (at least 0.5 s of frames) does not hold it, CameraHung, CameraGone.
        """


@dataclass(slots=True, eq=False)
class Still:
    """A photograph in memory that nobody has kept yet. `wipe` it on every way out.

    jpeg: the file, exactly as it would be sent.  sha256: of it, hex.  width, height: of it, pixels.
    review: a reduced copy for the screen.  frame: the preview frame it is.
    """

    jpeg: bytearray = field(repr=False)
    sha256: str
    width: int
    height: int
    review: Pixels = field(repr=False)
    verdicts: tuple[Verdict, ...]
    frame: int
    metadata: Mapping[str, float | int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Of the file, bytes."""
        return len(self.jpeg)

    def wipe(self) -> None:
        """Overwrite the file and the review picture with zeros, in place."""
        self.jpeg[:] = bytes(len(self.jpeg))
        self.review.fill(0)


class CaptureService:
    """Owns the camera while a consented session wants it.

    The drawing thread calls `latest` and `live_verdicts` only: they read one attribute and never wait.
    `open`, `close` and `take` may wait up to `deadline` and belong on worker threads.
    `on_ready` (frames flow) and `on_failure` are called on the service's thread, must not raise, and should
    only put something in a queue. Each problem is told once an outage, then `on_ready` when frames flow.

    A photograph is encoded 4:2:0: the sensor's Bayer mosaic samples colour at half the resolution anyway, so
    4:4:4 would spend half as much again of the spool's RAM and twice the time on interpolated colour.
    """

    def __init__(
        self,
        camera: Camera,
        *,
        on_ready: Callable[[], None],
        on_failure: Callable[[CameraError], None],
        deadline: float = 3.0,
        jpeg_quality: int = 93,
        review_size: tuple[int, int] = (1280, 960),
        stale: float = 1.0,
        live_checks: float = 3.0,
        backoff: tuple[float, float] = (0.1, 5.0),
    ) -> None:
        """`deadline`, `stale` (age at which a frame is not live any more) and `backoff` are in seconds.

        review_size: most (width, height) of the review picture.  live_checks: gates on the preview, a second.
        """
        self._camera = camera
        self._on_ready = on_ready
        self._on_failure = on_failure
        self._deadline = deadline
        self._jpeg_quality = jpeg_quality
        self._review_size = review_size
        self._stale = stale
        self._check_every = 1.0 / live_checks if live_checks > 0 else float("inf")
        self._backoff = backoff
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._worker: threading.Thread | None = None
        self._open = False
        self._latest: tuple[PreviewFrame, float] | None = None
        self._verdicts: tuple[Verdict, ...] = ()
        # Two threads for the camera: a still must not queue behind a preview that hangs.
        self._stream = _Caller("camera-stream")
        self._hand = _Caller("camera-hand")

    def open(self, consent: Consent) -> None:
        """Start the preview and return at once; `on_ready` says when frames flow.

        Raises CameraError with NO_CONSENT unless the consent permits, CameraHung while an earlier close
        still hangs. Nothing happens when it is open already.
        """
        if consent.decision is not Decision.PERMIT:
            raise CameraError("refused to open", problem=Problem.NO_CONSENT)
        with self._lock:
            if self._open:
                return
            if self._worker is not None and self._worker.is_alive():
                raise CameraHung("the previous close has not come back")
            self._stop = threading.Event()
            self._worker = threading.Thread(
                target=self._run, args=(self._stop,), name="camera-service", daemon=True
            )
            self._open = True
            self._worker.start()

    def close(self) -> None:
        """Stop the preview and overwrite the frame held. Idempotent; returns within about `deadline`.

        A camera that hangs longer keeps its daemon threads; they end with the process.
        """
        with self._lock:
            worker, self._open = self._worker, False
            self._stop.set()
        if worker is not None:
            half = self._deadline / 2
            self._close_camera(half)
            worker.join(half)
        self._drop_frame()
        self._stream.end()
        self._hand.end()

    def latest(self) -> PreviewFrame | None:
        """Return the newest frame, or None when there is none that may be called live. Never waits."""
        held = self._latest
        if held is None or time.monotonic() - held[1] > self._stale:
            return None
        return held[0]

    def live_verdicts(self) -> tuple[Verdict, ...]:
        """Return what the gates said of a recent preview frame; empty when no frames flow. Never waits."""
        return self._verdicts if self.latest() is not None else ()

    def take(self, sequence: int) -> Still:
        """Save exactly the preview frame `sequence`.

        Raises FrameGone, CameraHung or CameraGone as the camera does, CameraError with NO_CONSENT when the
        service is not open.
        """
        if not self._open:
            raise CameraError("not open", problem=Problem.NO_CONSENT)
        still = self._hand.call(partial(self._camera.still, sequence, self._deadline), self._deadline)
        jpeg = encode(still.pixels, self._jpeg_quality)
        height, width = still.pixels.shape[:2]
        if still.pixels.flags.writeable:
            still.pixels.fill(0)
        review = reduced(jpeg, (width, height), self._review_size)
        return Still(
            jpeg=jpeg,
            sha256=hashlib.sha256(jpeg).hexdigest(),
            width=width,
            height=height,
            review=review,
            verdicts=quality.gates(review),
            frame=still.sequence,
            metadata=dict(still.metadata),
        )

    def _run(self, stop: threading.Event) -> None:
        """Pull frames until stopped; after a failure close, wait, reopen."""
        told: set[Problem] = set()
        wait = self._backoff[0]
        try:
            while not stop.is_set():
                try:
                    self._stream.call(self._camera.open, self._deadline)
                    self._pull(stop, told)
                except CameraError as error:
                    flowed = self._drop_frame()
                    if stop.is_set():
                        return
                    if error.problem not in told:
                        told.add(error.problem)
                        self._on_failure(error)
                    wait = self._backoff[0] if flowed else min(2 * wait, self._backoff[1])
                    self._close_camera(self._deadline)
                    stop.wait(wait)
        finally:
            self._close_camera(self._deadline)
            if not stop.is_set():
                self._on_failure(CameraError("the camera service ended", problem=Problem.INTERNAL))

    def _pull(self, stop: threading.Event, told: set[Problem]) -> None:
        """Keep the newest frame in `_latest`; raises CameraError when frames stop."""
        pull = partial(self._camera.next_preview, self._deadline)
        checked = 0.0
        while not stop.is_set():
            frame = self._stream.call(pull, self._deadline)
            now = time.monotonic()
            with self._lock:
                # A close that gave up on this thread has wiped; nothing may be held after that.
                if stop.is_set():
                    return
                first = self._latest is None
                self._latest = (frame, now)
            if first:
                told.clear()
                self._on_ready()
            if now - checked >= self._check_every:
                checked = now
                self._verdicts = quality.gates(frame.pixels)

    def _drop_frame(self) -> bool:
        """Overwrite the frame held; say whether there was one."""
        held, self._latest, self._verdicts = self._latest, None, ()
        if held is not None and held[0].pixels.flags.writeable:
            held[0].pixels.fill(0)
        return held is not None

    def _close_camera(self, timeout: float) -> None:
        try:
            self._hand.call(self._camera.close, timeout)
        except CameraError:
            # Nothing is left to try here: the next open either works or tells the operator.
            return


def encode(pixels: Pixels, jpeg_quality: int) -> bytearray:
    """Encode RGB pixels as JFIF JPEG (T.871) with an sRGB profile as APP2 (ICC.1 annex B) and nothing else.

    The result can be overwritten in place; the encoder's own buffer, which Python cannot, is freed at once.
    """
    plain = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=jpeg_quality, colorspace="RGB", colorsubsampling="420"
    )
    app0_end = 4 + int.from_bytes(plain[4:6], "big")
    payload = b"ICC_PROFILE\0\x01\x01" + srgb_profile()
    app2 = b"\xff\xe2" + (len(payload) + 2).to_bytes(2, "big") + payload
    jpeg = bytearray(plain[:app0_end])
    jpeg += app2
    jpeg += memoryview(plain)[app0_end:]
    return jpeg


def reduced(jpeg: bytearray, size: tuple[int, int], most: tuple[int, int]) -> Pixels:
    """Decode `jpeg` of `size` (width, height) at the n/8 scale that fits `most`.

    A person reviews what was saved, artefacts included, not what it was made from.
    """
    width, height = size
    eighths = max(1, min(8, 8 * most[0] // width, 8 * most[1] // height))
    small: Pixels = simplejpeg.decode_jpeg(
        jpeg,
        colorspace="RGB",
        min_width=max(1, width * eighths // 8),
        min_height=max(1, height * eighths // 8),
        min_factor=1,
    )
    return small


@cache
def srgb_profile() -> bytes:
    """An sRGB ICC profile. Its date is cleared: no clock belongs in a photograph's colour profile."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(12)
    return bytes(profile)


class _Caller:
    """One daemon thread that does calls one at a time: one that never returns costs only a deadline."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ending = False

    def call(self, work: Callable[[], T], timeout: float) -> T:
        """Return work() or raise its CameraError; raise CameraHung when it takes longer than `timeout`."""
        answer: Future[T] = Future()
        with self._lock:
            if self._ending and self._thread is not None:
                self._thread.join(timeout)
                if self._thread.is_alive():
                    # No second thread for a camera that holds the first: they would pile up.
                    raise CameraHung(f"{self._name}: an earlier call has not come back")
            if self._ending or self._thread is None or not self._thread.is_alive():
                self._ending = False
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._jobs.put(partial(_answer, answer, work))
        try:
            # A little grace: a camera that keeps its own deadline should report for itself.
            return answer.result(timeout + _GRACE)
        except FutureTimeout:
            answer.cancel()
            raise CameraHung(f"{self._name}: no answer in {timeout:.1f} s") from None

    def end(self) -> None:
        """Let the thread go when it is done with what it does."""
        with self._lock:
            if self._thread is not None and not self._ending:
                self._ending = True
                self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


_GRACE = 0.2


def _answer(answer: Future[T], work: Callable[[], T]) -> None:
    """Do the work unless the asker gave up.

    What is not a CameraError ends the thread with its traceback, and the asker is told INTERNAL.
    """
    if not answer.set_running_or_notify_cancel():
        return
    try:
        answer.set_result(work())
    except CameraError as error:
        answer.set_exception(error)
    finally:
        if not answer.done():
            answer.set_exception(CameraError("the camera raised something else", problem=Problem.INTERNAL))
