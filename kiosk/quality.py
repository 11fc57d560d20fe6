"""Three gates on the pixels of a photograph: is it sharp, is it lit well, does it glare?

They look at the middle of the picture, where the wound is, and are meant for reduced pictures (at most
about 1 megapixel): the live preview, or the review copy of a still. All are relative to the picture's width
or to the exposure, so preview and still get the same answer. They advise; a person decides.

Skin is dark or light by nature, so no gate may judge the brightness of skin: "too dark" asks whether
anything in the picture is bright and how much has drowned in black, and sharpness is a ratio, which contrast
cancels out of.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from kiosk.model import Verdict

Pixels = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]

BLUR_LIMIT = 1.25
"""Standard deviation of the blur at the strongest edges, in thousandths of the picture's width."""
BRIGHTEST_LEAST = 55.0
"""The 98th percentile of luma: below it nothing in the picture is lit."""
BLACK_MOST = 0.35
"""Share of pixels with luma under 16."""
WHITE_MOST = 0.08
"""Share of pixels with luma over 250."""
GLARE_MOST = 0.008
"""Share of pixels with every channel at 238 or more: a lamp's reflection; white paper stays below."""


def gates(pixels: Pixels) -> tuple[Verdict, ...]:
    """Judge RGB pixels, uint8 (h, w, 3), 160 pixels wide at least: verdicts on focus, light and glare."""
    return focus(pixels), *light_and_glare(pixels)


def focus(pixels: Pixels) -> Verdict:
    """Say Sharp or Blurred; the value is the blur's standard deviation in thousandths of the width.

    The picture is blurred once more by a known amount: the energy of a sharp edge's gradient falls a lot,
    that of a blurred edge hardly (the re-blur ratio of Zhuo and Sim 2011, "Defocus map estimation from a
    single image", on energies). The mean of quiet places is taken off as noise. Green alone: a Bayer sensor's
    sharpest channel, and the one in which blood and skin differ most.
    """
    green = _middle(pixels, 0.7)[..., 1].astype(np.float32)
    fine = _binomial(green)
    coarse = _binomial(_binomial(_binomial(_binomial(fine))))
    fine_energy, coarse_energy = _gradient_energy(fine[4:-4, 4:-4]), _gradient_energy(coarse)
    sample = coarse_energy[::5, ::5]
    strong = coarse_energy >= np.quantile(sample, 0.99)
    quiet = coarse_energy <= np.quantile(sample, 0.5)
    fine_noise, coarse_noise = float(fine_energy[quiet].mean()), float(coarse_energy[quiet].mean())
    fine_edge = float(fine_energy[strong].mean()) - fine_noise
    coarse_edge = float(coarse_energy[strong].mean()) - coarse_noise
    blur = _blur(fine_edge, coarse_edge) if coarse_edge > _EDGE_LEAST else _NOTHING_SHARP
    value = round(1000 * blur / pixels.shape[1], 3)
    good = value <= BLUR_LIMIT
    return Verdict("focus", value, good, "Sharp" if good else "Blurred")


_FINE_VARIANCE, _MORE_VARIANCE = 0.5, 2.0
_EDGE_LEAST = 2.0
_NOTHING_SHARP = 50.0


def _blur(fine: float, coarse: float) -> float:
    """Standard deviation in pixels of an edge whose gradient energy is `fine`, and `coarse` after more blur.

    The energy of a Gaussian edge goes with 1 / deviation, so (fine / coarse)**2 = (v + more) / v.
    """
    ratio = (max(fine, 0.0) / coarse) ** 2
    if ratio <= 1.0:
        return _NOTHING_SHARP
    return min(_NOTHING_SHARP, math.sqrt(max(0.0, _MORE_VARIANCE / (ratio - 1) - _FINE_VARIANCE)))


def light_and_glare(pixels: Pixels) -> tuple[Verdict, Verdict]:
    """Say Good, Too dark or Too bright, and None or Glare; the values are what was compared."""
    middle = _middle(pixels, 0.8)[::3, ::3].astype(np.int16)
    # ITU-R BT.601 luma.
    luma = (middle[..., 0] * 0.299 + middle[..., 1] * 0.587 + middle[..., 2] * 0.114).astype(np.float32)
    brightest = float(np.quantile(luma, 0.98))
    black, white = float((luma < 16).mean()), float((luma > 250).mean())
    if brightest < BRIGHTEST_LEAST or black > BLACK_MOST:
        light = Verdict("light", round(brightest, 1), False, "Too dark")
    elif white > WHITE_MOST:
        light = Verdict("light", round(brightest, 1), False, "Too bright")
    else:
        light = Verdict("light", round(brightest, 1), True, "Good")
    share = round(float((middle.min(axis=2) >= 238).mean()), 4)
    good = share <= GLARE_MOST
    return light, Verdict("glare", share, good, "None" if good else "Glare")


def _middle(pixels: Pixels, part: float) -> Pixels:
    """The middle of the picture, `part` of its width and height."""
    height, width = pixels.shape[:2]
    top, left = round(height * (1 - part) / 2), round(width * (1 - part) / 2)
    return pixels[top : height - top, left : width - left]


def _binomial(field: Field) -> Field:
    """Filter by 1 2 1 both ways (variance 0.5); the result is two smaller."""
    rows = field[:-2] + field[2:]
    rows += 2 * field[1:-1]
    both = rows[:, :-2] + rows[:, 2:]
    both += 2 * rows[:, 1:-1]
    both *= np.float32(1 / 16)
    return both


def _gradient_energy(field: Field) -> Field:
    """Squared central differences, summed."""
    across = field[1:-1, 2:] - field[1:-1, :-2]
    down = field[2:, 1:-1] - field[:-2, 1:-1]
    across *= across
    down *= down
    across += down
    return across
