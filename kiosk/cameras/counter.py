"""The frame counter that the simulated camera burns into its pixels, for people and for programs.

Programs read two rows of sixteen black or white cells: 24 bits of the sequence number, most significant
first, then their CRC-8 (polynomial 0x07, start 0xFF). The cells survive JPEG and scaling to 640 pixels wide.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Pixels = npt.NDArray[np.uint8]

_UNITS = 1280
_CELL = 12
_COLUMNS, _ROWS = 16, 2
# Inside the middle 4:3 of the picture, so that a screen that crops the sides still shows it.
_LEFT, _BOTTOM = 184, 16
_WHITE, _BLACK = 235, 16


class Overlay:
    """Draws the counter, and a marker text if there is one, into frames of one size."""

    def __init__(self, size: tuple[int, int], marker: str = "") -> None:
        """`size` is (width, height) in pixels.

        marker: written over the picture, and its bytes are laid into the last row as pixel values, where a
        search through memory or a disk finds them.
        """
        self._scale = size[0] / _UNITS
        font = ImageFont.load_default(22 * self._scale)
        box = (round(14 * self._scale), round(26 * self._scale))
        self._digits = [_text(str(d), font, box) for d in range(10)]
        self._label = _text("frame", font, (round(76 * self._scale), box[1]))
        self._marker = marker.encode()
        self._sign: Pixels | None = None
        if marker:
            width = min(size[0], round(font.getlength(marker)) + round(16 * self._scale))
            self._sign = _text(marker, font, (width, round(32 * self._scale)))

    def draw(self, pixels: Pixels, sequence: int) -> None:
        """Burn the counter for `sequence` into RGB pixels, in place."""
        scale, height = self._scale, pixels.shape[0]
        cells = np.where(_bits(sequence), _WHITE, _BLACK).astype(np.uint8).reshape(_ROWS, _COLUMNS)
        rows = (np.arange(round(_ROWS * _CELL * scale)) / (_CELL * scale)).astype(int).clip(0, _ROWS - 1)
        columns = (np.arange(round(_COLUMNS * _CELL * scale)) / (_CELL * scale)).astype(int)
        strip = cells[rows][:, columns.clip(0, _COLUMNS - 1)]
        left, top = round(_LEFT * scale), height - round((_BOTTOM + _ROWS * _CELL) * scale)
        pad = round(2 * scale)
        bottom, right = top + strip.shape[0], left + strip.shape[1]
        pixels[top - pad : bottom + pad, left - pad : right + pad] = _BLACK
        pixels[top:bottom, left:right] = strip[..., None]
        x = right + round(12 * scale)
        for glyph in (self._label, *(self._digits[int(d)] for d in f"{sequence:07d}")):
            _lay(pixels, glyph, x, bottom - glyph.shape[0])
            x += glyph.shape[1]
        if self._sign is not None:
            _lay(pixels, self._sign, left, round(20 * scale))
            row = pixels[-1].reshape(-1)
            repeats = row.size // len(self._marker)
            row[: repeats * len(self._marker)] = np.frombuffer(self._marker * repeats, np.uint8)


def read_counter(pixels: Pixels) -> int | None:
    """Read the sequence number (modulo 2**24) out of RGB pixels of any size of the whole picture, or None."""
    height, width = pixels.shape[:2]
    scale = width / _UNITS
    top = height - (_BOTTOM + _ROWS * _CELL) * scale
    if top < 0 or _CELL * scale < 3:
        return None
    bits = []
    for row in range(_ROWS):
        for column in range(_COLUMNS):
            y, x = top + (row + 0.5) * _CELL * scale, (_LEFT + (column + 0.5) * _CELL) * scale
            reach = _CELL * scale / 4
            patch = pixels[int(y - reach) : int(y + reach) + 1, int(x - reach) : int(x + reach) + 1]
            level = float(patch.mean())
            if 110 < level < 145:
                return None
            bits.append(level > 127)
    number = int("".join("01"[bit] for bit in bits[:24]), 2)
    return number if bits == _bits(number).tolist() else None


def _bits(sequence: int) -> npt.NDArray[np.bool_]:
    """24 bits of number and 8 of checksum."""
    number = (sequence % 2**24).to_bytes(3, "big")
    crc = 0xFF
    for byte in number:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return np.unpackbits(np.frombuffer(number + bytes([crc]), np.uint8)).astype(np.bool_)


def _text(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, size: tuple[int, int]) -> Pixels:
    """White text in the middle of a black plate of (width, height): coverage, uint8 (h, w)."""
    plate = Image.new("L", size, 0)
    ImageDraw.Draw(plate).text((size[0] / 2, size[1] / 2), text, 255, font, anchor="mm")
    return np.array(plate)


def _lay(pixels: Pixels, glyph: Pixels, x: int, y: int) -> None:
    """Lay a plate over darkened pixels, in place."""
    part = pixels[y : y + glyph.shape[0], x : x + glyph.shape[1]]
    np.maximum(part >> 2, glyph[: part.shape[0], : part.shape[1], None], out=part)
