"""A painted scene for the simulated camera: a forearm on a drape, with a wound and a paper ruler.

All geometry is in units of 1/1280 of the picture's width, so that a preview and a still of the same scene
show the same field of view. Everything is a pure function of its arguments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from kiosk.cameras.noise import Field, Noise, relief, smooth

Pixels = npt.NDArray[np.uint8]

UNITS = 1280
"""Width of the view in units."""
MARGIN = (36, 24)
"""What the texture shows beyond the view on each side, (x, y) in units: room for the hand to shake."""
CENTIMETRE = 75
"""Of the ruler, in units."""

_ANGLE = math.radians(-13.6)
_WOUND = (-28.0, -4.0)
_WOUND_RADIUS = 82.0
_REACH = (260.0, 240.0)


class Tone(Enum):
    """Skin, as linear-looking sRGB of its lit side (about Monk scale 3, 6 and 9)."""

    LIGHT = (236, 190, 160)
    MEDIUM = (196, 140, 108)
    DARK = (124, 84, 64)


@dataclass(frozen=True, slots=True)
class Look:
    """What is painted. `glare` 0..1: how much of a badly placed lamp's sheen lies over the wound."""

    tone: Tone = Tone.MEDIUM
    seed: int = 12
    glare: float = 0.0
    ruler: bool = True


def texture_size(view: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) in pixels of the texture for a view of this size."""
    scale = view[0] / UNITS
    return view[0] + 2 * round(MARGIN[0] * scale), view[1] + 2 * round(MARGIN[1] * scale)


def paint(look: Look, view: tuple[int, int]) -> Pixels:
    """Paint the texture for a view of (width, height) pixels: RGB uint8, (h, w, 3) as `texture_size` says.

    Values stay within 10..248, so that noise of up to 7 can be added without overflow.
    """
    size = texture_size(view)
    scale = view[0] / UNITS
    # Forms are painted at 1.6 times the preview's resolution; grain, hair and print come on top.
    form_scale = min(scale, 1.6)
    form = _forms(look, size, scale / form_scale)
    image = Image.fromarray(form)
    if form_scale < scale:
        image = image.resize(size, Image.Resampling.BICUBIC)
    _hair(image, look, scale)
    if look.ruler:
        _ruler(image, scale)
    pixels = np.array(image)
    np.clip(pixels, 16, 242, out=pixels)
    _grain(pixels, look, scale)
    return pixels


def _forms(look: Look, size: tuple[int, int], shrink: float) -> Pixels:
    """Everything that has no print on it, as RGB uint8."""
    width, height = round(size[0] / shrink), round(size[1] / shrink)
    unit = (UNITS + 2 * MARGIN[0]) / width
    x = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) * unit)[None, :]
    y = ((np.arange(height, dtype=np.float32) + 0.5 - height / 2) * unit)[:, None]
    noise = Noise(look.seed, (width, height), unit)

    along = x * math.cos(_ANGLE) + y * math.sin(_ANGLE)
    across = y * math.cos(_ANGLE) - x * math.sin(_ANGLE) - 9 * np.sin(along / 260 + 0.6)
    half = 208 + 0.062 * along + 7 * np.sin(along / 190) + 5 * np.sin(along / 83 + 1)
    s = across / half

    rgb = _drape(noise, x, y)
    # The arm lies on the drape: a wide soft shadow below it and a tight dark line of contact.
    below = np.clip((np.abs(s) - 1) * half, 0, None)
    side = np.where(s > 0, np.float32(1.0), np.float32(0.35))
    rgb *= (1 - side * (0.42 * np.exp(-below / 42) + 0.30 * np.exp(-below / 9)))[..., None]

    skin = _skin(look, noise, s, along)
    # The wound and its inflamed surroundings are worked out where they are only.
    left, top = (
        round((w - o) / unit + n / 2) for w, o, n in zip(_WOUND, _REACH, (width, height), strict=True)
    )
    right, bottom = left + round(2 * _REACH[0] / unit), top + round(2 * _REACH[1] / unit)
    spot = slice(max(0, top), bottom), slice(max(0, left), right)
    skin[spot] = _wound(look, skin[spot], x[:, spot[1]], y[spot[0]], unit)

    skin -= rgb
    skin *= np.clip((1 - np.abs(s)) * half / (1.6 * max(unit, 0.8)) + 0.5, 0, 1)[..., None]
    rgb += skin
    # The ring light is a little brighter in the middle than in the corners.
    rgb *= (276 - 52 * ((x / 700) ** 2 + (y / 520) ** 2))[..., None]
    return np.clip(rgb, 16, 242, out=rgb).astype(np.uint8)


def _drape(noise: Noise, x: Field, y: Field) -> Field:
    """Surgical cotton with soft folds and two ironed creases, (h, w, 3) in 0..1."""
    folds = 17 * noise.fractal(260, 2) + 1.1 * noise.fractal(52, 2, stretch=(1.0, 1.8))
    shade = 0.62 + 0.46 * relief(folds, noise.unit, (-0.5, -0.6)) + 0.012 * noise.fractal(3, 1)
    for distance in (x + 470 + 0.07 * y, y - 262 + 0.05 * x):
        bent = np.tanh(distance / 3)
        shade += (
            0.07
            * (np.exp(-np.abs(distance - 4) / 5) - 0.8 * np.exp(-np.abs(distance + 5) / 7))
            * np.abs(bent)
        )
    base = np.array([0.165, 0.445, 0.455], np.float32)
    return np.asarray(shade[..., None] * base, np.float32)


def _skin(look: Look, noise: Noise, s: Field, along: Field) -> Field:
    """The forearm, (h, w, 3) in 0..1, for s = -1..1 across it."""
    s = np.clip(s, -1, 1)
    base = np.array(look.tone.value, np.float32) / 255
    depth = float(1 - base.mean())
    # A cylinder under a soft light from above left.
    facing = np.sqrt(1 - s * s)
    mottle, blush = noise.fractal(130, 4), noise.fractal(70, 3)
    pores, lines = noise.fractal(3.2, 2), noise.fractal(7, 2, stretch=(0.7, 2.2))
    lit = (0.44 + 0.50 * facing - 0.19 * s) * (1 + 0.020 * mottle + 0.020 * pores + 0.014 * lines)
    skin = lit[..., None] * base
    skin *= 1 + blush[..., None] * np.array([0.016, -0.016, -0.014], np.float32)
    # What is turned away from the light glows red, as flesh does.
    skin += np.clip(1 - lit, 0, 1)[..., None] * np.array([0.050, 0.0, -0.010], np.float32)
    # Two veins that run along the arm, blue-green, hardly there.
    wander = 0.13 * np.sin(along / 170) + 0.05 * noise.fractal(150, 2)
    for centre, strength in ((-0.38, 1.0), (0.47, 0.7)):
        vein = np.exp(-(((s - centre - wander) / 0.045) ** 2)) * strength * (1 - depth)
        skin += vein[..., None] * np.array([-0.048, -0.012, 0.002], np.float32)
    # The sheen of skin, clearest on dark skin.
    sheen = np.exp(-(((s + 0.40) / 0.33) ** 2)) * (0.7 + 0.12 * mottle + 0.16 * pores) * (0.03 + 0.11 * depth)
    skin += sheen[..., None] * np.array([1.0, 0.93, 0.88], np.float32)
    return np.asarray(skin, np.float32)


def _wound(look: Look, skin: Field, x: Field, y: Field, unit: float) -> Field:
    """Return this patch of skin with the wound and the inflamed skin round it."""
    noise = Noise(look.seed + 1, (skin.shape[1], skin.shape[0]), unit)
    px = x - _WOUND[0] + 9 * noise.fractal(58, 4)
    py = (y - _WOUND[1] + 9 * noise.fractal(54, 4)) * 1.16
    angle = np.arctan2(py, px)
    edge = 1 + 0.15 * np.cos(2 * angle + 0.5) + 0.11 * np.cos(3 * angle - 1.1) + 0.05 * np.cos(5 * angle + 2)
    out = (np.hypot(px, py) / _WOUND_RADIUS - edge) * _WOUND_RADIUS  # units beyond the edge

    # Inflamed skin is redder than its surroundings on light skin, and darker and purple on dark skin.
    halo = np.exp(-np.clip(out, 0, None) / 38) * np.clip(0.75 + 0.2 * noise.fractal(40, 3), 0, 1)
    flush = np.array([0.80, 0.64, 0.72] if look.tone is Tone.DARK else [1.0, 0.74, 0.72], np.float32)
    skin = skin * (1 - halo[..., None] * (1 - flush))
    # New skin creeps in as a pale, slightly shiny rim.
    rim = np.exp(-(((out - 3.5) / 4.0) ** 2)) * np.clip(0.7 + 0.5 * noise.fractal(15, 2), 0, 2)
    skin += rim[..., None] * np.array([0.070, 0.030, 0.030], np.float32)

    # Granulation: cobbles of different size, a height field lit from above left.
    cobbles = 0.85 * noise.fractal(19, 3) - 6 * np.tanh(-out / 15)
    light = relief(cobbles, unit, (-0.45, -0.55))
    bed = np.array([0.60, 0.185, 0.165], np.float32) * (0.50 + 0.62 * light[..., None])
    pale, deep = noise.fractal(30, 4)[..., None], noise.fractal(46, 3)[..., None]
    bed += np.clip(0.3 + 0.6 * pale, 0, 1.3) * np.array([0.15, 0.10, 0.085], np.float32)
    bed *= 1 - 0.22 * np.clip(deep, 0, 1.6) * np.array([0.9, 1.2, 1.1], np.float32)
    slough = smooth(noise.fractal(40, 4) + 0.25, 0.35, 2.0)[..., None] * 0.8
    bed += slough * (np.array([0.78, 0.64, 0.43], np.float32) * (0.52 + 0.48 * light[..., None]) - bed)
    bed *= (0.66 + 0.34 * smooth(-out, -1, 14))[..., None]
    wet = smooth(light, 0.93, 1.0) * smooth(noise.fractal(20, 2), 0.5, 1.6)
    bed += (0.40 * wet)[..., None]
    skin += (bed - skin) * smooth(-out, -2.6, 2.6)[..., None]
    if look.glare > 0:
        blot = np.exp(-(((x + 60) / 125) ** 2 + ((y + 30) / 62) ** 2)) * (1 + 0.2 * noise.fractal(30, 3))
        skin += (1.5 * look.glare * blot)[..., None]
    return np.asarray(skin, np.float32)


def _hair(image: Image.Image, look: Look, scale: float) -> None:
    """Draw fine hair and a few moles, in place; antialiased by the pen's own width where it is big enough."""
    rng = np.random.default_rng(look.seed + 99)
    draw = ImageDraw.Draw(image, "RGBA")
    centre = (image.width / 2, image.height / 2)
    dark = tuple(int(c * 0.42) for c in look.tone.value)
    for _ in range(170):
        along, s, length, lean = (
            rng.uniform(-680, 680),
            rng.uniform(-0.9, 0.9),
            rng.uniform(9, 24),
            rng.normal(0, 0.3),
        )
        x, y = _on_arm(along, s * 208)
        if math.hypot(x - _WOUND[0], y - _WOUND[1]) < 1.5 * _WOUND_RADIUS:
            continue
        direction = _ANGLE + 2.5 + lean
        points = [
            (
                centre[0] + scale * (x + t * length * math.cos(direction + 0.4 * t)),
                centre[1] + scale * (y + t * length * math.sin(direction + 0.4 * t)),
            )
            for t in (0.0, 0.35, 0.7, 1.0)
        ]
        draw.line(points, fill=(*dark, int(rng.uniform(40, 100))), width=max(1, round(0.5 * scale)))
    for _ in range(5):
        x, y = _on_arm(rng.uniform(-600, 600), rng.uniform(-0.6, 0.7) * 208)
        if math.hypot(x - _WOUND[0], y - _WOUND[1]) < 1.7 * _WOUND_RADIUS:
            continue
        r = rng.uniform(1.6, 3.6) * scale
        cx, cy = centre[0] + scale * x, centre[1] + scale * y
        draw.ellipse((cx - r, cy - 0.8 * r, cx + r, cy + 0.8 * r), fill=(*dark, 105))


def _on_arm(along: float, across: float) -> tuple[float, float]:
    cos, sin = math.cos(_ANGLE), math.sin(_ANGLE)
    return along * cos - across * sin, along * sin + across * cos


def _ruler(image: Image.Image, scale: float) -> None:
    """Lay a paper ruler with a centimetre scale and a grey card below the wound, in place."""
    width, height, fine = 6.05 * CENTIMETRE, 100, 2
    k = scale * fine
    paper = Image.new("RGBA", (round(width * k), round(height * k)), (229, 227, 220, 255))
    draw = ImageDraw.Draw(paper)
    left = 0.42 * CENTIMETRE
    ink = (24, 24, 26, 255)
    for mm in range(52):
        long = 34 if mm % 10 == 0 else 25 if mm % 5 == 0 else 17
        x = (left + mm * CENTIMETRE / 10) * k
        pen = (2.0 if mm % 10 == 0 else 1.3) * k / 2
        draw.rectangle((x - pen, 0, x + pen, long * k), fill=ink)
    figures, small = ImageFont.load_default(25 * k), ImageFont.load_default(15 * k)
    for cm in range(6):
        draw.text(((left + cm * CENTIMETRE) * k, 50 * k), str(cm), ink, figures, anchor="mm")
    draw.text(((left + 0.48 * CENTIMETRE) * k, 54 * k), "cm", ink, small, anchor="mm")
    for i, grey in enumerate((40, 90, 140, 190)):
        x0 = (left + (1.55 + i * 0.75) * CENTIMETRE) * k
        draw.rectangle((x0, 75 * k, x0 + 0.75 * CENTIMETRE * k, 91 * k), fill=(grey, grey, grey, 255))
    turned = paper.rotate(-math.degrees(_ANGLE) + 1.2, Image.Resampling.BICUBIC, expand=True)
    turned = turned.resize((turned.width // fine, turned.height // fine), Image.Resampling.BOX)
    # Its middle, in units from the middle of the view.
    x, y = 168.0, 200.0
    corner = (
        round(image.width / 2 + x * scale - turned.width / 2),
        round(image.height / 2 + y * scale - turned.height / 2),
    )
    shadow = Image.new("RGBA", turned.size, (10, 8, 8, 0))
    shadow.putalpha(turned.getchannel("A").point([round(0.55 * a) for a in range(256)]))
    pad = round(14 * scale)
    cast = Image.new("RGBA", (turned.width + 2 * pad, turned.height + 2 * pad), (10, 8, 8, 0))
    cast.paste(shadow, (pad, pad))
    cast = cast.filter(ImageFilter.BoxBlur(3.0 * scale))
    image.paste(cast, (corner[0] - pad + round(2 * scale), corner[1] - pad + round(5 * scale)), cast)
    image.paste(turned, corner, turned)


def _grain(pixels: Pixels, look: Look, scale: float) -> None:
    """Add the finest texture (pores, weave, paper), in place; a tile, because nobody sees it repeat."""
    rng = np.random.default_rng(look.seed + 5)
    side = 509
    grain = rng.normal(0, 2.2, (side, side)).astype(np.float32)
    tile = np.rint(np.clip(grain, -6, 6)).astype(np.int8).view(np.uint8)[..., None]
    height, width = pixels.shape[:2]
    for top in range(0, height, side):
        for left in range(0, width, side):
            block = pixels[top : top + side, left : left + side]
            # Two's complement: adding 256 - n to a uint8 subtracts n, and 16..242 leaves room.
            block += tile[: block.shape[0], : block.shape[1]]
