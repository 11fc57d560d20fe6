"""Paint docs/skin.jpg: what the screens of the documentation show where the camera's picture would be.

python scripts/make_skin_picture.py [FILE]
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from kiosk.cameras.scene import Look, paint, texture_size

VIEW = (1280, 960)
"""The shape of a 12-megapixel still, 4:3."""
KEPT = (960, 720)
"""Larger than any place for it on the screens."""


def main(arguments: list[str]) -> int:
    """Write the file named first, or docs/skin.jpg."""
    out = Path(arguments[0]) if arguments else Path(__file__).parents[1] / "docs" / "skin.jpg"
    width, height = texture_size(VIEW)
    left, top = (width - VIEW[0]) // 2, (height - VIEW[1]) // 2
    picture = Image.fromarray(paint(Look(), VIEW)).crop((left, top, left + VIEW[0], top + VIEW[1]))
    picture.resize(KEPT, Image.Resampling.LANCZOS).save(out, quality=88, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
