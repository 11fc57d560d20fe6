"""From a preview frame to a photograph in memory, against plain JPEG encoding of the same 12 MP frame.

Run alone it prints its rows; `rows()` is what the common table calls. Times are medians in milliseconds.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import simplejpeg

from kiosk import quality
from kiosk.cameras.simulated import SimulatedCamera
from kiosk.capture import CaptureService
from kiosk.errors import CameraError
from kiosk.model import Consent, Decision

Row = tuple[str, float, float, float]
"""Name, milliseconds, milliseconds of the reference, ratio."""
QUALITY = 93
ROUNDS = 7


def rows() -> list[Row]:
    """Measure. Every ratio is to encoding the same still with simplejpeg, measured in turns with the rest."""
    camera, ready, failures = SimulatedCamera(), threading.Event(), list[CameraError]()
    service = CaptureService(camera, on_ready=ready.set, on_failure=failures.append, jpeg_quality=QUALITY)
    service.open(Consent(uuid4(), Decision.PERMIT, datetime.now(UTC), "benchmark", "1", "en"))
    try:
        if not ready.wait(30):
            raise RuntimeError(f"no frames: {failures}")
        while any(t.name == "camera-painter" for t in threading.enumerate()):
            time.sleep(0.05)
        return _measure(camera, service)
    finally:
        service.close()


def _measure(camera: SimulatedCamera, service: CaptureService) -> list[Row]:
    times: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[[], object]) -> None:
        started = time.perf_counter()
        call()
        times.setdefault(name, []).append(1000 * (time.perf_counter() - started))

    def newest() -> int:
        while (frame := service.latest()) is None:
            time.sleep(0.01)
        return frame.sequence

    pixels = camera.still(newest(), 5.0).pixels
    review = service.take(newest()).review
    for _ in range(ROUNDS):
        timed("plain", lambda: simplejpeg.encode_jpeg(pixels, quality=QUALITY, colorsubsampling="420"))
        sequence = newest()
        timed("take: a 12 MP frame to a JPEG with verdicts", lambda s=sequence: service.take(s))
        timed("of it: the simulated camera's 12 MP pixels", lambda s=sequence: camera.still(s, 5.0))
        timed("of it: the three gates on the review picture", lambda: quality.gates(review))
    # The stream stops, so that a frame's own cost can be seen and not the wait for the next.
    service.close()
    camera.open()
    frame = camera.next_preview(5.0)
    for _ in range(ROUNDS * 5):
        time.sleep(1 / 25)
        # A frame is due by now, so this is its making only.
        timed("one simulated preview frame, 1280x720", lambda: camera.next_preview(5.0))
        timed("the three gates on a preview frame", lambda: quality.gates(frame.pixels))
    camera.close()
    plain = statistics.median(times.pop("plain"))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return [(name, value, plain, value / plain) for name, value in medians.items()]


if __name__ == "__main__":
    for name, value, reference, ratio in rows():
        print(f"{name:48} {value:9.2f} ms {reference:9.2f} ms {ratio:7.2f}")
