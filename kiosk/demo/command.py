"""`kiosk demo`: the main job on a laptop, in a window or played by a script."""

from __future__ import annotations

import json
import signal
import sys
import threading
from importlib import resources
from pathlib import Path
from typing import Any

from kiosk.demo import station
from kiosk.demo.player import Player, StepFailed
from kiosk.demo.script import Step, parse
from kiosk.demo.supervisor import Demo
from kiosk.errors import ConfigError, KioskError

DEFAULT_SCRIPT = "happy.txt"


def run(
    *,
    headless: bool,
    script: Path | None,
    config: Path | None,
    fhir: str | None,
    screens: Path | None,
    size: str,
) -> int:
    """Run the demonstration. Returns 0 when the script played to its end, or the window was closed."""
    options = station.Options(size=size or "800x480", template=config)
    steps, source = _steps(script) if script or headless else ([], "")
    lock = threading.Lock()

    def say(message: dict[str, Any]) -> None:
        with lock:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()

    for number in (signal.SIGTERM, signal.SIGHUP):
        # Like Ctrl-C: the processes end and the directory in memory goes.
        signal.signal(number, signal.default_int_handler)
    if headless and script is None:
        sys.stderr.write("No display: a script plays the nurse (kiosk/demo/scripts/happy.txt).\n")
    with Demo(headless=headless, options=options, fhir=fhir, say=say) as demo:
        if not steps:
            _introduce(demo)
            return _let_people_play(demo)
        return _play(demo, steps, source, screens)


def _steps(script: Path | None) -> tuple[list[Step], str]:
    if script is None:
        text = resources.files("kiosk.demo").joinpath("scripts", DEFAULT_SCRIPT).read_text(encoding="utf-8")
        return parse(text, DEFAULT_SCRIPT), DEFAULT_SCRIPT
    try:
        return parse(script.read_text(encoding="utf-8"), script.name), script.name
    except (OSError, UnicodeDecodeError):
        raise ConfigError((f"{script}: cannot be read; allowed: a text file, one step a line",)) from None


def _play(demo: Demo, steps: list[Step], source: str, screens: Path | None) -> int:
    try:
        Player(demo, screens).play(steps, source)
    except StepFailed as e:
        sys.stderr.write(f"{e}\n")
        return 1
    for line in (line for line in demo.events if line["event"] == "receipt"):
        sys.stderr.write(f"Receipt {line['receipt']}: {line['photos']} photographs proven in the record.\n")
    return 0


def _introduce(demo: Demo) -> None:
    badges = "\n".join(f"    {b.code}   PIN {b.pin}   {b.name}" for b in station.STAFF)
    sys.stderr.write(
        f"""
Lethe, demonstration. Everything is synthetic and lives in memory only.

  Badges:
{badges}
  Wristbands:
{_wristbands(demo)}
  Type or paste a code here and press Enter: that is the scanner.
  In the window: touch with the mouse; the space bar is the hardware button.
  What has arrived in the record:  {demo.server.gallery_url}

"""
    )


def _wristbands(demo: Demo) -> str:
    lines = []
    for patient in demo.server.store.all("Patient"):
        name = patient["name"][0]
        number = patient["identifier"][0]["value"]
        lines.append(f"    {number}   {name['family']}, {' '.join(name.get('given', []))}")
    return "\n".join(lines)


def _let_people_play(demo: Demo) -> int:
    """The console is the scanner until the window is closed."""

    def scanner() -> None:
        for line in sys.stdin:
            text = line.strip()
            if text:
                try:
                    demo.hand().scan(text)
                except KioskError as e:
                    sys.stderr.write(f"{e.problem.sentence}\n")

    threading.Thread(target=scanner, daemon=True).start()
    demo.wait_for("the-end", threading.TIMEOUT_MAX)
    sys.stderr.write(f"{demo.failed}\n")
    return 0 if demo.failed == "the window was closed" else 1
