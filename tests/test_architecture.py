"""Who may know whom (docs/architecture.md). Reads every import of the package, local ones too."""

from __future__ import annotations

import ast
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "kiosk"

NOUNS = ("errors", "model")
WORDS = (*NOUNS, "events", "flow", "workflow", "consent_text")

OURS: dict[str, tuple[str, ...]] = {
    "errors": (),
    "model": (),
    "events": NOUNS,
    "flow": NOUNS,
    "workflow": (*NOUNS, "events", "flow", "receipts", "workflow*"),
    "workflow.*": (*NOUNS, "events", "flow", "receipts", "workflow*"),
    "consent_text": ("model",),
    "tomlfile": ("errors",),
    "config": (*NOUNS, "tomlfile"),
    "secret_files": NOUNS,
    "receipts": (),
    "journal": (),
    "process": (),
    "page": ("page",),
    "seal": NOUNS,
    "selftest": (*NOUNS, "seal"),
    "custody": NOUNS,
    "spool*": (*NOUNS, "spool*"),
    "staff": (*NOUNS, "tomlfile"),
    "audit": NOUNS,
    "heads": NOUNS,
    "audit_check": (*NOUNS, "audit", "heads", "fhir.audit_events"),
    "syslog": (*NOUNS, "audit", "schedule"),
    "quality": NOUNS,
    "panel": NOUNS,
    "report": (*NOUNS, "consent_text", "page", "receipts"),
    "cameras*": (*NOUNS, "capture", "cameras*"),
    "capture": (*NOUNS, "quality"),
    "link": NOUNS,
    "touchui*": (*WORDS, "receipts", "touchui*"),
    "fhir*": (*NOUNS, "consent_text", "heads", "receipts", "fhir*"),
    "destinations*": (*NOUNS, "consent_text", "heads", "fhir*", "receipts", "report", "destinations*"),
    "delivery": (*NOUNS, "heads", "spool", "seal", "destinations.base"),
    "lookup": (*NOUNS, "link"),
    "schedule": (),
    "questions": (*NOUNS, "link", "receipts"),
    "children": (*NOUNS, "heads", "delivery", "process"),
    "uploader": (
        *(*NOUNS, "spool", "seal", "custody", "audit", "staff", "link", "journal"),
        *("delivery", "children", "questions", "receipts", "schedule"),
    ),
    "doctor": (*NOUNS, "config", "custody", "link", "seal", "spool*", "staff"),
    "uplink": (*NOUNS, "events", "link"),
    "conductor": (*(*NOUNS, "events", "capture", "seal", "spool", "link", "lookup", "journal", "uplink"),),
    # The demo's own pieces know each other; only its supervisor's side sees the kiosk's parts.
    "demo*": ("*",),
    "wiring*": ("*",),
    "__main__": ("*",),
    "": (),
}
"""Module pattern (below kiosk.) -> what of ours it may import. The first pattern that fits counts."""

FENCES = {
    "picamera2": ("cameras.picamera2",),
    "libcamera": ("cameras.picamera2",),
    "gpiozero": ("panel",),
    "pygame": ("touchui*",),
    "requests": ("fhir.client",),
    "joserfc": ("fhir.assertion",),
    "ssl": ("fhir.tls", "syslog"),
    "urllib3": ("fhir.client", "fhir.tls"),
    "fhir": ("fhir.resources",),
    "fhir_core": ("fhir.resources",),
    "simplejpeg": ("capture",),
    "fpdf": ("report", "page"),
}
"""Third-party package -> the only modules that may import it."""


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(p for p in parts if p != "__init__")] = path
    return found


def imports(name: str, path: Path) -> set[str]:
    """Absolute names of everything the file imports; `from kiosk import x` counts as kiosk.x."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            module = node.module or ""
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                found.add(whole if _is_module(whole) else module)
    return found


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, p) or (p.endswith("*") and name == p[:-1].rstrip(".")) for p in patterns)


@pytest.mark.parametrize("name", modules())
def test_imports_follow_the_rules(name: str) -> None:
    allowed = next((OURS[p] for p in OURS if _fits(name, (p,))), None)
    assert allowed is not None, f"{name} has no rule: say in OURS what it may know"
    found = imports(name, modules()[name])
    ours = {i.removeprefix("kiosk").lstrip(".") for i in found if i.split(".")[0] == "kiosk"}
    wrong = {i for i in ours if i and i != name and not _fits(i, allowed)}
    assert not wrong, f"{name} must not import {sorted(wrong)}"


@pytest.mark.parametrize("name", modules())
def test_fences_hold(name: str) -> None:
    for imported in imports(name, modules()[name]):
        patterns = FENCES.get(imported.split(".")[0])
        assert patterns is None or _fits(name, patterns), f"{name} must not import {imported}"


def test_nobody_imports_the_wiring_but_main_and_the_demo() -> None:
    for name, path in modules().items():
        if any(i.startswith("kiosk.wiring") for i in imports(name, path)):
            assert name == "__main__" or name.startswith(("wiring", "demo"))


@pytest.mark.parametrize(
    ("start", "never"),
    [
        ("kiosk.wiring.ui", ("fhir", "requests", "fpdf", "joserfc", "kiosk.secret_files")),
        ("kiosk.wiring.uploader", ("pygame", "gpiozero", "fhir", "requests", "numpy", "joserfc")),
        ("kiosk.uploader", ("fhir", "requests", "fpdf", "pygame")),
    ],
)
def test_processes_do_not_load_what_they_must_not_have(start: str, never: tuple[str, ...]) -> None:
    code = f"import sys, {start}; print([m for m in {never!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


def test_importing_has_no_side_effects_on_files_and_threads() -> None:
    names = [n for n in modules() if n and n != "__main__"]
    code = (
        "import importlib, threading\n"
        f"for n in {names!r}: importlib.import_module('kiosk.' + n)\n"
        "print(threading.active_count())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip().splitlines()[-1] == "1"
    assert len(out.stdout.strip().splitlines()) == 1, "an import printed something"
