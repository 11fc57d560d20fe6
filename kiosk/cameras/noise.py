"""Smooth noise, and what one does with it: the raw material of the painted scene."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

Field = npt.NDArray[np.float32]


def smooth(value: Field, low: float, high: float) -> Field:
    """Hermite step from 0 at `low` to 1 at `high`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def relief(height: Field, unit: float, light: tuple[float, float]) -> Field:
    """Shade a height field lit from direction `light` (x and y of a unit vector): 0..1.

    Heights are in units, and so is `unit`, the distance of two samples.
    """
    slope_y, slope_x = np.gradient(height, unit)
    z = math.sqrt(1 - light[0] ** 2 - light[1] ** 2)
    shade = (z - slope_x * light[0] - slope_y * light[1]) / np.sqrt(1 + slope_x**2 + slope_y**2)
    return np.asarray(np.clip(shade, 0, 1), np.float32)


class Noise:
    """Smooth noise at any resolution: the same seed and order of calls gives the same pattern."""

    def __init__(self, seed: int, size: tuple[int, int], unit: float) -> None:
        self._rng = np.random.default_rng(seed)
        self._size = size
        self._extent = (size[0] * unit, size[1] * unit)
        self.unit = unit

    def fractal(self, period: float, octaves: int, stretch: tuple[float, float] = (1.0, 1.0)) -> Field:
        """Return noise of about unit variance whose largest lumps are `period` units apart."""
        total: Field | None = None
        for octave in range(octaves):
            step = period / 2**octave
            cells = [max(3, round(e / (step * f)) + 2) for e, f in zip(self._extent, stretch, strict=True)]
            grid = 0.55**octave * self._rng.standard_normal((cells[1], cells[0])).astype(np.float32)
            total = grid if total is None else grid + _stretched(total, (cells[0], cells[1]))
        return (
            1.1 * _stretched(total, self._size)
            if total is not None
            else np.zeros(self._size[::-1], np.float32)
        )


def _stretched(field: Field, size: tuple[int, int]) -> Field:
    """Resample to (width, height) with a smooth kernel."""
    return np.asarray(Image.fromarray(field).resize(size, Image.Resampling.BICUBIC), np.float32)
