"""The painted scene and the counter burnt into it."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kiosk.cameras import scene
from kiosk.cameras.counter import Overlay, read_counter
from kiosk.cameras.scene import Look, Pixels, Tone

VIEW = (640, 360)


@pytest.fixture(scope="module")
def medium() -> Pixels:
    return scene.paint(Look(), VIEW)


def test_the_texture_is_the_view_and_a_margin(medium: Pixels) -> None:
    assert scene.texture_size(VIEW) == (640 + 36, 360 + 24)
    assert medium.shape == (384, 676, 3)
    assert medium.dtype == np.uint8


def test_it_leaves_room_for_noise(medium: Pixels) -> None:
    bright = scene.paint(Look(Tone.LIGHT, glare=1.0), VIEW)
    for pixels in (medium, bright):
        assert pixels.min() >= 7
        assert pixels.max() <= 248


def test_the_same_look_is_the_same_picture_and_another_seed_is_not(medium: Pixels) -> None:
    assert np.array_equal(medium, scene.paint(Look(), VIEW))
    assert not np.array_equal(medium, scene.paint(Look(seed=13), VIEW))


def test_a_bigger_texture_shows_the_same_scene(medium: Pixels) -> None:
    big = scene.paint(Look(), (1920, 1080))
    assert big.shape == (1152, 2028, 3)
    small = np.asarray(Image.fromarray(big).resize((676, 384), Image.Resampling.BOX), np.int16)
    assert np.abs(small - medium).mean() < 4


def test_skin_is_as_dark_as_its_tone_and_blood_is_red() -> None:
    by_tone = {tone: scene.paint(Look(tone), VIEW) for tone in Tone}
    skin = {tone: float(p[200:230, 80:160].mean()) for tone, p in by_tone.items()}
    assert skin[Tone.LIGHT] > 1.15 * skin[Tone.MEDIUM] > 1.3 * skin[Tone.DARK]
    for pixels in by_tone.values():
        red, green, blue = pixels[180:200, 318:340].reshape(-1, 3).mean(axis=0)
        assert red > 1.7 * green
        assert red > 1.7 * blue
        drape = pixels[10:60, 150:250].reshape(-1, 3).mean(axis=0)
        assert drape[1] > 1.8 * drape[0]


def test_the_ruler_can_be_left_out(medium: Pixels) -> None:
    def white(pixels: Pixels) -> float:
        return float((pixels.min(axis=2) > 205).mean())

    assert white(medium) > 0.02
    assert white(scene.paint(Look(ruler=False), VIEW)) < 0.001


@pytest.mark.parametrize("size", [(640, 360), (1000, 562), (1280, 720), (1920, 1080), (4608, 2592)])
@pytest.mark.parametrize("sequence", [0, 1, 0xABCDEF, 2**24 - 1])
def test_the_counter_is_read_back(size: tuple[int, int], sequence: int) -> None:
    pixels = np.full((size[1], size[0], 3), 90, np.uint8)
    Overlay(size).draw(pixels, sequence)
    assert read_counter(pixels) == sequence


@settings(max_examples=40, deadline=None)
@given(sequence=st.integers(0, 2**24 - 1), quality=st.integers(60, 95))
def test_the_counter_survives_jpeg_and_scaling(sequence: int, quality: int) -> None:
    pixels = np.full((720, 1280, 3), 120, np.uint8)
    Overlay((1280, 720)).draw(pixels, sequence)
    jpeg = simplejpeg.encode_jpeg(pixels, quality=quality, colorspace="RGB", colorsubsampling="420")
    saved = simplejpeg.decode_jpeg(jpeg, colorspace="RGB")
    assert read_counter(saved) == sequence
    small = np.asarray(Image.fromarray(saved).resize((640, 360), Image.Resampling.BILINEAR))
    assert read_counter(small) == sequence


def test_a_picture_without_counter_reads_as_none(medium: Pixels) -> None:
    rng = np.random.default_rng(3)
    assert read_counter(medium) is None
    assert read_counter(np.zeros((720, 1280, 3), np.uint8)) is None
    assert read_counter(np.full((720, 1280, 3), 255, np.uint8)) is None
    assert read_counter(rng.integers(0, 255, (720, 1280, 3), dtype=np.uint8)) is None
    assert read_counter(np.zeros((10, 20, 3), np.uint8)) is None
    assert read_counter(np.zeros((20, 1280, 3), np.uint8)) is None


def test_a_damaged_counter_reads_as_none() -> None:
    pixels = np.full((720, 1280, 3), 120, np.uint8)
    Overlay((1280, 720)).draw(pixels, 123_456)
    for column in range(16):
        damaged = pixels.copy()
        cell = damaged[680:692, 184 + 12 * column : 196 + 12 * column]
        cell[:] = 251 - cell
        assert read_counter(damaged) is None


def test_the_marker_is_in_the_pixels_for_eyes_and_for_searches() -> None:
    pixels = np.full((720, 1280, 3), 120, np.uint8)
    Overlay((1280, 720), "ZEBRA-MARKER-77").draw(pixels, 5)
    assert pixels.tobytes().count(b"ZEBRA-MARKER-77") == 1280 * 3 // 15
    without = np.full((720, 1280, 3), 120, np.uint8)
    Overlay((1280, 720)).draw(without, 5)
    assert (pixels[20:52, 184:400] != without[20:52, 184:400]).any()
    assert read_counter(pixels) == 5
