"""A drawn signature as a picture: image/png, as R4's Signature wants a graphical image of a signature."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw

from kiosk.model import Stroke

SIZE = (600, 300)
"""Pixels. The pad's coordinates run from 0 to 1 both ways and it is about twice as wide as high."""

_FINER = 4
_INK = 12
_WIDTH = 5


def signature_png(strokes: Sequence[Stroke]) -> bytes:
    """Draw the strokes in black on white, always to the same bytes for the same strokes."""
    wide, high = SIZE[0] * _FINER, SIZE[1] * _FINER
    picture = Image.new("L", (wide, high), 255)
    draw = ImageDraw.Draw(picture)
    dot = _WIDTH * _FINER / 2
    for stroke in strokes:
        points = [(x * (wide - 1), y * (high - 1)) for x, y in stroke]
        if len(points) > 1:
            draw.line(points, fill=_INK, width=_WIDTH * _FINER, joint="curve")
        for x, y in (points[:1] + points[-1:]) if points else ():
            draw.ellipse((x - dot, y - dot, x + dot, y + dot), fill=_INK)
    small = picture.resize(SIZE, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "PNG", optimize=True)
    return out.getvalue()
