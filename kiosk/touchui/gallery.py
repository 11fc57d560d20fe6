"""Every screen as a PNG, from made-up flows: for the documentation and for looking at.

python -m kiosk.touchui.gallery DIR [--sheet FILE]
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pygame

from kiosk.flow import SECONDS, State
from kiosk.touchui.art import Art, Pixels
from kiosk.touchui.compose import arrange
from kiosk.touchui.display import Offscreen
from kiosk.touchui.paint import TextRecord
from kiosk.touchui.patience import Patience
from kiosk.touchui.scenes import NOW, WORDING, Scene, scenes
from kiosk.touchui.screens import SCREENS
from kiosk.touchui.screens.base import Screen, Tools
from kiosk.touchui.stage import Shown, Stage
from kiosk.touchui.text import Fonts
from kiosk.touchui.theme import TITLE, Layout, Theme
from kiosk.touchui.view import View
from kiosk.touchui.widgets import Widget

LANDSCAPE, PORTRAIT = (800, 480), (720, 1280)
SIZES = (LANDSCAPE, PORTRAIT)
SKIN = Path(__file__).parents[2] / "docs" / "skin.jpg"
"""What the camera sees in all pictures; scripts/make_skin_picture.py paints it."""

SHEET = (
    ("locked", "Locked"),
    ("sign-in", "Sign in: the badge"),
    ("pin", "Sign in: the PIN"),
    ("identify-list", "Which patient"),
    ("today", "Today's list"),
    ("confirm-patient", "The right patient?"),
    ("confirm-patient-merged", "A number that was merged"),
    ("confirm-patient-deceased", "A patient who has died"),
    ("consent-signed", "Consent"),
    ("body-site-chosen", "Body site"),
    ("preview", "Camera"),
    ("review", "Keep or retake"),
    ("summary", "Check and send"),
    ("receipt-waiting", "Receipt: not in the record yet"),
    ("receipt-delivered", "Receipt: proven"),
    ("receipt-parked", "Receipt: IT has to look"),
    ("declined", "The patient declines"),
    ("preview-withdraw", "Withdrawing asks once more"),
    ("withdrawn", "Withdrawn"),
    ("fault", "Stopped"),
    ("find-receipt-typed", "Find a receipt"),
    ("found-receipt", "What the record holds"),
    ("wrong-patient", "Wrong patient: asked twice"),
    ("correction-done", "Withdrawn later: proven"),
)
"""The scenes of the contact sheet and their captions: every state at least once."""
SHEET_TALL = (("consent-signed", "Consent, upright"), ("preview", "Camera, upright"))


@dataclass(frozen=True, slots=True)
class Drawn:
    """One rendered scene."""

    scene: Scene
    screen: Screen
    view: View
    surface: pygame.Surface
    shown: Shown


class Studio:
    """Renders scenes of one size. Needs pygame's display for nothing but fonts and surfaces."""

    def __init__(self, size: tuple[int, int], skin: Path = SKIN) -> None:
        self._size = size
        self.layout = Layout.of(*size)
        self._fonts = Fonts(self.layout.scale)
        self._skin = picture(skin)
        self._art = Art()
        self._scratch = pygame.Surface(size, 0, 32)
        self._texts: dict[Widget, tuple[TextRecord, ...]] = {}

    def stage(self, surface: pygame.Surface) -> Stage:
        """Return a stage on a surface of this size, with the caches of this studio."""
        return Stage(surface, self.layout, self._fonts, self._art)

    def draw(self, scene: Scene) -> Drawn:
        """Render a scene on a fresh surface."""
        surface = pygame.Surface(self._size, 0, 32)
        stage = self.stage(surface)
        screen, view, widgets = self._arranged(scene)
        stage.show(widgets, screen.theme, lambda name: self._skin)
        return Drawn(scene, screen, view, surface, stage.shown)

    def lay(self, scene: Scene) -> Shown:
        """Lay a scene out and say which texts it has: a widget that was seen before is not drawn again."""
        screen, _, widgets = self._arranged(scene)
        painter = self.stage(self._scratch).painter(screen.theme, lambda name: self._skin)
        for widget in widgets:
            if widget not in self._texts:
                painter.texts = []
                widget.draw(painter)
                self._texts[widget] = tuple(painter.texts)
        return Shown(tuple(widgets), tuple(self._texts[w] for w in widgets))

    def _arranged(self, scene: Scene) -> tuple[Screen, View, list[Widget]]:
        view = View(
            flow=scene.flow,
            status=scene.status,
            layout=self.layout,
            fonts=self._fonts,
            today=NOW.date(),
            consent_text=WORDING,
            demo=scene.demo,
            in_ram=scene.in_ram,
            notice=scene.notice,
            verdicts=scene.verdicts if scene.flow.state is State.PREVIEW else (),
            frame=3 if scene.flow.camera_ready else None,
            ready=frozenset({"review", *(str(p.id) for p in scene.flow.photos)}),
            seconds_left=scene.seconds_left,
        )
        screen = SCREENS[scene.flow.state]()
        idle = replace(view, flow=replace(scene.flow, busy=False))
        screen.typed(scene.keys, idle)
        for key in scene.taps:
            screen.tap(key, idle, Tools(mint=lambda: UUID(int=1), now=lambda: NOW))
        patience = Patience(SECONDS, 0.0)
        return screen, view, arrange(screen, view, frozenset(), dimmed=scene.dimmed, patience=patience)

    def strays(self, widget: Widget, theme: Theme) -> bool:
        """Whether a widget draws outside its box."""
        ground = (255, 0, 255)
        self._scratch.fill(ground)
        blank = self._scratch.get_buffer().raw
        widget.draw(self.stage(self._scratch).painter(theme, lambda name: self._skin))
        self._scratch.fill(ground, widget.box)
        return self._scratch.get_buffer().raw != blank


def picture(path: Path) -> Pixels:
    """Read a picture file as RGB, (rows, columns, 3). Raises FileNotFoundError."""
    surface = pygame.image.load(path)
    columns, rows = surface.get_size()
    flat = np.frombuffer(pygame.image.tobytes(surface, "RGB"), np.uint8)
    return flat.reshape(rows, columns, 3)


def render_all(out_dir: Path, sizes: Sequence[tuple[int, int]] = SIZES) -> list[Path]:
    """Write one PNG per scene and size into out_dir, and return their paths."""
    display = Offscreen(sizes[0])
    out_dir.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for size in sizes:
        studio = Studio(size)
        for scene in scenes():
            path = out_dir / f"{scene.name}_{size[0]}x{size[1]}.png"
            pygame.image.save(studio.draw(scene).surface, path)
            paths.append(path)
    display.close()
    return paths


def contact_sheet(out: Path, *, across: int = 4, width: int = 400) -> Path:
    """Write one PNG: the scenes of SHEET under their captions, and two of them upright beside them."""
    display = Offscreen(LANDSCAPE)
    gap, caption = 20, 26
    height = round(width * LANDSCAPE[1] / LANDSCAPE[0])
    down = -(-len(SHEET) // across)
    row = height + caption + gap
    # The upright ones share the height of four rows: larger ones would make the file so.
    tall_row = min(down, 4) * row // len(SHEET_TALL)
    tall_height = tall_row - caption - gap
    tall_width = round(tall_height * PORTRAIT[0] / PORTRAIT[1])
    edge = across * (width + gap) + gap
    sheet = pygame.Surface((edge + tall_width + gap, down * row + gap), 0, 32)
    sheet.fill((226, 232, 236))
    wide = [
        (name, words, (gap + i % across * (width + gap), gap + i // across * row))
        for i, (name, words) in enumerate(SHEET)
    ]
    tall = [(name, words, (edge, gap + i * tall_row)) for i, (name, words) in enumerate(SHEET_TALL)]
    for size, shown, places in (
        (LANDSCAPE, (width, height), wide),
        (PORTRAIT, (tall_width, tall_height), tall),
    ):
        studio, by_name, fonts = Studio(size), {s.name: s for s in scenes()}, Fonts(1.0)
        for name, words, (x, y) in places:
            sheet.blit(fonts.render(words, TITLE, (33, 43, 50, 255))[0], (x, y))
            small = pygame.transform.smoothscale(studio.draw(by_name[name]).surface, shown)
            sheet.blit(small, (x, y + caption))
    out.parent.mkdir(parents=True, exist_ok=True)
    pygame.image.save(sheet, out)
    display.close()
    return out


def main(arguments: Sequence[str]) -> int:
    """Render into the directory named first, and the contact sheet where asked."""
    parser = ArgumentParser(prog="python -m kiosk.touchui.gallery", description="Every screen as a PNG.")
    parser.add_argument("directory", type=Path, help="where one PNG per scene and size is written")
    parser.add_argument("--sheet", type=Path, help="the file of the contact sheet")
    given = parser.parse_args(arguments)
    render_all(given.directory)
    if given.sheet is not None:
        contact_sheet(given.sheet)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
