"""A camera without a camera: a moving skin scene that can hang, go dark, go blurred or be unplugged.

A frame is a pure function of its sequence number, the look, the ring light and the fault of its moment, so a
still is the very instant of its preview frame.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from kiosk.cameras import scene
from kiosk.cameras.counter import Overlay, read_counter
from kiosk.capture import PreviewFrame, StillFrame
from kiosk.errors import CameraGone, CameraHung, FrameGone

__all__ = ["Fault", "SimulatedCamera", "read_counter"]

Pixels = npt.NDArray[np.uint8]


class Fault(Enum):
    """What the camera can be told to suffer from."""

    OK = "ok"
    BLUR = "blur"
    DARK = "dark"
    HANG = "hang"
    UNPLUG = "unplug"


@dataclass(frozen=True, slots=True)
class _Instant:
    """All that is needed to draw a frame again."""

    sequence: int
    timestamp: float
    blurred: bool
    dark: bool
    lit: bool


class SimulatedCamera:
    """Implements capture.Camera. Thread-safe; a second thread asking for previews shares their sequence."""

    name = "Simulated camera"
    simulated = True

    def __init__(
        self,
        *,
        preview: tuple[int, int] = (1280, 720),
        still: tuple[int, int] = (4608, 2592),
        fps: float = 30.0,
        look: scene.Look | None = None,
        ring: float = 2.0,
        marker: str = "",
        open_timeout: float = 2.0,
    ) -> None:
        """`preview` and `still` are (width, height) of one shape; `ring` and `open_timeout` are in seconds.

        marker: a text that is drawn into every picture. Raises ValueError when the shapes differ.
        """
        if abs(preview[0] * still[1] - preview[1] * still[0]) > still[0]:
            raise ValueError("preview and still must show the same field of view")
        self._preview_size, self._still_size = preview, still
        self._fps = fps
        self._look = look or scene.Look()
        self._ring_seconds = ring
        self._open_timeout = open_timeout
        self._epoch = time.monotonic()
        self._change = threading.Condition()
        self._is_open = False
        self._fault = Fault.OK
        self._lit = True
        self._last = 0
        self._ring: deque[_Instant] = deque()
        self._preview = _Renderer(self._look, preview, marker)
        self._still = _Renderer(self._look, still, marker)
        self._painter: threading.Thread | None = None

    def set_fault(self, fault: str) -> None:
        """Suffer from "ok", "blur", "dark", "hang" or "unplug" from the next frame on. Raises ValueError."""
        with self._change:
            self._fault = Fault(fault)
            self._change.notify_all()

    def set_illumination(self, on: bool) -> None:
        """Ring light on or off, from the next frame on."""
        with self._change:
            self._lit = on

    def open(self) -> None:
        """Start the stream; see capture.Camera. The textures are painted in the background."""
        deadline = time.monotonic() + self._open_timeout
        with self._change:
            while self._fault is Fault.HANG:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise CameraHung("open")
                self._change.wait(left)
            if self._fault is Fault.UNPLUG:
                raise CameraGone("open")
            self._is_open = True
        self.warm()

    def warm(self) -> None:
        """Paint the textures in the background, once. Opens nothing: no frame exists before `open`."""
        with self._change:
            if self._painter is None:
                self._painter = threading.Thread(target=self._paint, name="camera-painter", daemon=True)
                self._painter.start()

    def close(self) -> None:
        """Stop the stream and forget which frames there were; no pixels are held."""
        with self._change:
            self._is_open = False
            self._ring.clear()
            self._change.notify_all()

    def next_preview(self, timeout: float) -> PreviewFrame:
        """Return the newest frame; see capture.Camera."""
        deadline = time.monotonic() + timeout
        with self._change:
            while True:
                self._check("preview")
                now = time.monotonic()
                sequence = int((now - self._epoch) * self._fps) + 1
                flowing = self._fault is not Fault.HANG and self._preview.ready
                if flowing and sequence > self._last:
                    break
                if now >= deadline:
                    raise CameraHung("preview")
                due = self._epoch + sequence / self._fps if flowing else deadline
                self._change.wait(max(0.0, min(due, deadline) - now))
            self._last = sequence
            instant = _Instant(sequence, now, self._fault is Fault.BLUR, self._fault is Fault.DARK, self._lit)
            self._ring.append(instant)
            while now - self._ring[0].timestamp > self._ring_seconds:
                self._ring.popleft()
        return PreviewFrame(sequence, now, self._preview.draw(instant, self._shake(sequence)))

    def still(self, sequence: int, timeout: float) -> StillFrame:
        """Return the full-resolution pixels of a frame; see capture.Camera.

        In the first seconds, while the big texture is being painted, an enlarged preview stands in after
        half of `timeout`.
        """
        asked = time.monotonic()
        deadline = asked + timeout
        with self._change:
            # Held from here on: waiting must not push it out of the ring.
            instant = next((i for i in self._ring if i.sequence == sequence), None)
            while True:
                self._check("still")
                if instant is None or asked - instant.timestamp > self._ring_seconds:
                    raise FrameGone("not in the ring")
                now = time.monotonic()
                if self._fault is not Fault.HANG and (self._still.ready or deadline - now <= timeout / 2):
                    break
                if now >= deadline:
                    raise CameraHung("still")
                wake = deadline if self._fault is Fault.HANG else deadline - timeout / 2
                self._change.wait(max(0.0, wake - now))
        shake = self._shake(sequence)
        if instant.blurred or not self._still.ready:
            small = self._preview.view(instant, shake)
            pixels = np.array(Image.fromarray(small).resize(self._still_size, Image.Resampling.BILINEAR))
            self._still.finish(pixels, instant)
        else:
            pixels = self._still.draw(instant, shake)
        exposure = 8_000 if instant.lit else 16_000
        metadata = {
            "SensorTimestamp": int(instant.timestamp * 1e9),
            "ExposureTime": exposure // 8 if instant.dark else exposure,
            "AnalogueGain": 8.0 if instant.dark else 1.5,
            "LensPosition": 1.0 if instant.blurred else 5.0,
        }
        return StillFrame(sequence, instant.timestamp, pixels, metadata)

    def _check(self, what: str) -> None:
        if not self._is_open:
            raise CameraGone(f"{what}: closed")
        if self._fault is Fault.UNPLUG:
            raise CameraGone(what)

    def _paint(self) -> None:
        """Paint both textures, the small one first, because the stream waits for it."""
        for renderer in (self._preview, self._still):
            renderer.prepare()
            with self._change:
                self._change.notify_all()

    def _shake(self, sequence: int) -> tuple[float, float]:
        """Where the hand is at this frame, (x, y) in units, rounded to whole pixels of the preview."""
        t = sequence / self._fps
        turn, phase = 2 * math.pi, self._look.seed
        x = (
            21 * math.sin(turn * t / 7.3 + phase)
            + 5 * math.sin(turn * t / 2.1)
            + 1.5 * math.sin(turn * 5.3 * t)
        )
        y = (
            13 * math.sin(turn * t / 9.1 + 2 * phase)
            + 4 * math.sin(turn * t / 1.7)
            + 1.5 * math.sin(turn * 4.7 * t)
        )
        unit = scene.UNITS / self._preview_size[0]
        return round(x / unit) * unit, round(y / unit) * unit


class _Renderer:
    """Cuts frames of one size out of the painted texture."""

    def __init__(self, look: scene.Look, size: tuple[int, int], marker: str) -> None:
        self._look, self._size = look, size
        self._scale = size[0] / scene.UNITS
        self._overlay = Overlay(size, marker)
        self._texture: Pixels | None = None
        self._shaded: dict[tuple[bool, bool, bool], Pixels] = {}
        rng = np.random.default_rng(look.seed)
        self._noise = _tile(rng, 1.6, 7)
        self._rough_noise = _tile(rng, 3.5, 10)

    @property
    def ready(self) -> bool:
        """Whether the texture is painted."""
        return self._texture is not None

    def prepare(self) -> None:
        """Paint the texture, which takes a second or more for a big one."""
        self._texture = scene.paint(self._look, self._size)

    def draw(self, instant: _Instant, shake: tuple[float, float]) -> Pixels:
        """Return the finished frame, a fresh array."""
        pixels = self.view(instant, shake)
        self.finish(pixels, instant)
        return pixels

    def view(self, instant: _Instant, shake: tuple[float, float]) -> Pixels:
        """Return what the lens sees at this instant, without noise and counter, a fresh array."""
        texture = self._texture
        if texture is None:
            raise CameraHung("not painted yet")
        small = self._size[0] <= scene.UNITS
        # Small textures are shaded once; a big one would cost more memory than shading the cut costs time.
        source = self._shade_once(texture, instant) if small or instant.blurred else texture
        margin_x, margin_y = (round(m * self._scale) for m in scene.MARGIN)
        left, top = margin_x + round(shake[0] * self._scale), margin_y + round(shake[1] * self._scale)
        cut = source[top : top + self._size[1], left : left + self._size[0]]
        return cut.copy() if source is not texture or small else _shade(cut, instant)

    def finish(self, pixels: Pixels, instant: _Instant) -> None:
        """Add the sensor's noise and the counter, in place."""
        tile = self._rough_noise if instant.dark else self._noise
        height, width = pixels.shape[:2]
        step = _TILE - 64
        for row, top in enumerate(range(0, height, step)):
            for column, left in enumerate(range(0, width, step)):
                block = pixels[top : top + step, left : left + step]
                jump = (instant.sequence * 7919 + row * 31 + column * 17) % 61
                leap = (instant.sequence * 104_729 + row * 13 + column * 37) % 59
                # Two's complement: adding 256 - n to a uint8 subtracts n; the scene leaves room at both ends.
                block += tile[jump : jump + block.shape[0], leap : leap + block.shape[1]]
        self._overlay.draw(pixels, instant.sequence)

    def _shade_once(self, texture: Pixels, instant: _Instant) -> Pixels:
        key = (instant.blurred, instant.dark, instant.lit)
        if key not in self._shaded:
            if instant.blurred:
                soft = Image.fromarray(texture).filter(ImageFilter.GaussianBlur(5.0 * self._scale))
                texture = np.asarray(soft)
            self._shaded[key] = _shade(texture, instant)
        return self._shaded[key]


_TILE = 832


def _tile(rng: np.random.Generator, sigma: float, most: int) -> Pixels:
    """Noise of both signs, at most `most`, as uint8 in two's complement, (side, side, 3)."""
    noise = rng.standard_normal((_TILE, _TILE, 3), dtype=np.float32) * sigma
    tile: Pixels = np.rint(noise.clip(-most, most)).astype(np.int8).view(np.uint8)
    return tile


def _shade(pixels: Pixels, instant: _Instant) -> Pixels:
    """Expose as the light and the fault say; a fresh array that leaves 10 levels at both ends for noise."""
    if instant.lit and not instant.dark:
        return pixels.copy()
    levels = np.arange(256, dtype=np.float32)
    # Underexposed; or under the room's light only, darker and flatter.
    table = 10 + levels * (0.13 if instant.lit else 0.08) if instant.dark else 12 + levels * 0.62
    # bytearray.translate: a look-up table without an index array eight times the picture's size.
    shaded = bytearray(np.ascontiguousarray(pixels).data).translate(table.round().astype(np.uint8).tobytes())
    return np.frombuffer(shaded, np.uint8).reshape(pixels.shape)
