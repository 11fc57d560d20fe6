"""The gates, on scenes whose blur and exposure are known."""

from __future__ import annotations

from functools import cache
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter

from kiosk import quality
from kiosk.cameras import scene
from kiosk.cameras.scene import Look, Pixels, Tone

WIDTH, HEIGHT = 960, 540
CLOSE = (279, 114, 759, 384)


@cache
def painted(tone: Tone, seed: int, ruler: bool, glare: float = 0.0) -> Image.Image:
    texture = Image.fromarray(scene.paint(Look(tone, seed, glare, ruler), (WIDTH, HEIGHT)))
    return texture.crop((27, 18, 27 + WIDTH, 18 + HEIGHT))


def shot(
    tone: Tone,
    *,
    seed: int = 12,
    ruler: bool = True,
    close: bool = False,
    blur: float = 0.0,
    gain: float = 1.0,
    glare: float = 0.0,
    noise: float = 1.6,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Pixels:
    """A photograph of the scene; blur: standard deviation in thousandths of the width."""
    image = painted(tone, seed, ruler, glare)
    if close:
        image = image.crop(CLOSE).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    image = image.filter(ImageFilter.GaussianBlur(blur * WIDTH / 1000)).resize(size, Image.Resampling.BOX)
    pixels = np.asarray(image, np.float32) * np.float32(gain)
    pixels += np.float32(noise) * grain(size)
    return np.clip(pixels, 0, 255).astype(np.uint8)


@cache
def grain(size: tuple[int, int]) -> npt.NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((size[1], size[0], 3), np.float32)


def words(pixels: Pixels) -> dict[str, str]:
    return {v.gate: v.word for v in quality.gates(pixels)}


# What a good photograph may be: any skin, ruler or not, near or far, ring light or room light.
GOOD = [
    {"tone": tone, "seed": seed, "ruler": ruler, "close": close, "gain": gain}
    for tone, (seed, gain), ruler, close in product(
        Tone, ((12, 1.0), (3, 0.75)), (True, False), (True, False)
    )
]


def test_good_photographs_are_accepted() -> None:
    """False rejects: none of 24, so none more often on dark skin than on light."""
    rejected = [
        look for look in GOOD if words(shot(**look)) != {"focus": "Sharp", "light": "Good", "glare": "None"}
    ]
    assert len(GOOD) == 24
    assert rejected == []


def test_blurred_photographs_are_rejected() -> None:
    """False accepts: none of 24 at 2 thousandths of the width, none of 24 at 4."""
    accepted = [
        (look, blur)
        for look, blur in product(GOOD, (2.0, 4.0))
        if words(shot(**look, blur=blur))["focus"] == "Sharp"
    ]
    assert accepted == []


@pytest.mark.parametrize("tone", Tone)
@pytest.mark.parametrize("size", [(960, 540), (768, 432)])
def test_the_focus_value_is_the_blur(tone: Tone, size: tuple[int, int]) -> None:
    """In thousandths of the width, whatever the size, the skin and the light."""
    for gain in (1.0, 0.6):
        values = [
            quality.focus(shot(tone, blur=b, gain=gain, size=size)).value for b in (0.8, 1.2, 1.6, 2.0, 2.4)
        ]
        assert all(a < b for a, b in pairwise(values))
        # It reads low, the more the less blur there is: a ruler's ticks are lines, not single edges.
        for value, blur in zip(values, (0.8, 1.2, 1.6, 2.0, 2.4), strict=True):
            assert value < 1.25 * blur
            assert value > 0.55 * blur or blur < 1.0


def test_noise_does_not_pass_for_sharpness() -> None:
    for tone, noise in product(Tone, (2.0, 5.0, 8.0)):
        assert quality.focus(shot(tone, blur=4.0, noise=noise)).word == "Blurred"


def test_nothing_to_see_is_not_sharp() -> None:
    rng = np.random.default_rng(1)
    for flat in (np.full((648, 1152, 3), 128, np.uint8), rng.normal(128, 3, (648, 1152, 3)).astype(np.uint8)):
        assert quality.focus(flat).word == "Blurred"


@pytest.mark.parametrize("tone", Tone)
def test_light(tone: Tone) -> None:
    for ruler, close in product((True, False), (True, False)):
        assert words(shot(tone, ruler=ruler, close=close, gain=0.12, noise=3))["light"] == "Too dark"
    # The ruler's paper and light skin burn out first; dark skin may take twice the light.
    burnt = {Tone.LIGHT: 1.8, Tone.MEDIUM: 2.4, Tone.DARK: 3.6}[tone]
    assert words(shot(tone, gain=burnt))["light"] == "Too bright"


def test_black_and_white() -> None:
    assert words(np.zeros((648, 1152, 3), np.uint8))["light"] == "Too dark"
    assert words(np.full((648, 1152, 3), 255, np.uint8))["light"] == "Too bright"


def test_half_in_the_dark_is_too_dark() -> None:
    pixels = shot(Tone.LIGHT)
    pixels[:, : WIDTH // 2] = 3
    assert words(pixels)["light"] == "Too dark"


@pytest.mark.parametrize("tone", Tone)
def test_glare(tone: Tone) -> None:
    assert words(shot(tone, glare=0.0))["glare"] == "None"
    for strength in (0.8, 1.0):
        verdicts = words(shot(tone, glare=strength))
        assert verdicts["glare"] == "Glare"
        assert verdicts["light"] == "Good"


def test_verdicts_are_what_the_screen_needs() -> None:
    focus, light, glare = quality.gates(shot(Tone.MEDIUM))
    assert (focus.gate, light.gate, glare.gate) == ("focus", "light", "glare")
    assert all(v.good for v in (focus, light, glare))
    dark = quality.gates(shot(Tone.MEDIUM, gain=0.1))[1]
    assert not dark.good


def test_pixels_are_left_alone() -> None:
    pixels = shot(Tone.MEDIUM)
    before = pixels.copy()
    pixels.flags.writeable = False
    quality.gates(pixels)
    assert np.array_equal(pixels, before)
