"""Make the form's fonts: Inter with TrueType outlines, cut down to what a form prints.

PDF writers embed TrueType outlines everywhere the same way; Inter is published with CFF outlines. Run it
again after Inter was updated: `python scripts/make_form_fonts.py`. The result is the same every time.
"""

from __future__ import annotations

from pathlib import Path

from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont, newTable

FONTS = Path(__file__).parent.parent / "kiosk" / "touchui" / "fonts"
# Latin with its extensions, Greek, Cyrillic, punctuation, arrows, the mark for what is missing.
UNICODES = [
    *range(0x20, 0x250),
    *range(0x2B0, 0x530),
    *range(0x1E00, 0x2070),
    *range(0x20A0, 0x2122),
    *range(0x2190, 0x2194),
    0x2713,
    0x25A1,
]
MAX_ERROR = 1.0
"""Font units by which a curve may differ, of 2048 or more to the em."""


def main() -> None:
    for weight in ("Regular", "Bold"):
        font = TTFont(FONTS / f"Inter-{weight}.otf", recalcTimestamp=False)
        _cut(font)
        _to_truetype(font)
        target = FONTS / f"InterForm-{weight}.ttf"
        font.save(target)
        print(f"{target.name}: {len(font.getBestCmap())} characters, {target.stat().st_size} bytes")


def _cut(font: TTFont) -> None:
    options = Options()
    options.layout_features = []
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.notdef_outline = True
    options.hinting = False
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=UNICODES)
    subsetter.subset(font)


def _to_truetype(font: TTFont) -> None:
    glyphs = font.getGlyphSet()
    outlines = {}
    for name in font.getGlyphOrder():
        pen = TTGlyphPen(glyphs)
        glyphs[name].draw(Cu2QuPen(pen, MAX_ERROR, reverse_direction=True))
        outlines[name] = pen.glyph()
    font["loca"] = newTable("loca")
    font["glyf"] = glyf = newTable("glyf")
    glyf.glyphOrder = font.getGlyphOrder()
    glyf.glyphs = outlines
    for name, outline in outlines.items():
        outline.recalcBounds(glyf)
        width, _ = font["hmtx"][name]
        font["hmtx"][name] = (width, getattr(outline, "xMin", 0))
    for tag in ("CFF ", "VORG", "GSUB", "GPOS", "GDEF", "kern"):
        if tag in font:
            del font[tag]
    maxp = font["maxp"]
    maxp.tableVersion = 0x00010000
    limits = ("TwilightPoints", "Storage", "FunctionDefs", "InstructionDefs", "StackElements")
    sizes = ("SizeOfInstructions", "ComponentElements", "Points", "Contours", "CompositePoints")
    for field in (*limits, *sizes, "CompositeContours", "ComponentDepth"):
        setattr(maxp, f"max{field}", 0)
    maxp.maxZones = 1
    maxp.recalc(font)
    post = font["post"]
    post.formatType = 3.0
    font.sfntVersion = "\000\001\000\000"


if __name__ == "__main__":
    main()
