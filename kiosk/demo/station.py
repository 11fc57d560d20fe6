"""The demo's station: its kiosk.toml, its staff, and the codes that one scans."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kiosk import config
from kiosk.demo.patients import NHS_NUMBER
from kiosk.demo.visits import CLINIC
from kiosk.demo.visits import STAFF as STAFF_SYSTEM
from kiosk.staff import hash_pin


@dataclass(frozen=True, slots=True)
class Badge:
    """A member of the demo's staff. The PIN is no secret: this is a demonstration."""

    id: str
    name: str
    code: str
    pin: str
    identifier: str = ""


STAFF = (
    Badge("apatel", "A. Patel RN", "BADGE-1001", "2468", f"{STAFF_SYSTEM}|1001"),
    Badge("mjones", "M. Jones RN", "BADGE-1002", "1357"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What a demo or a test may change. `template` is a kiosk.toml whose own sections are kept."""

    size: str = "800x480"
    still: str = "4056x3040"
    template: Path | None = None
    timeouts: dict[str, int] = field(default_factory=dict)
    delivery: dict[str, float] = field(default_factory=dict)
    read_s: float = 10.0
    location: str | None = CLINIC


def write(directory: Path, fhir_url: str, options: Options) -> Path:
    """Write kiosk.toml and staff.toml into `directory`; return the former. Raises ConfigError."""
    staff = directory / "staff.toml"
    staff.write_text("\n".join(_entry(badge) for badge in STAFF), encoding="utf-8")
    spool = {"path": str(directory / "spool"), "capacity_mb": 512, "reserve_mb": 130}
    delivery = {"first_retry_s": 0.5, "max_retry_s": 5.0, "probe_s": 1.0, **options.delivery}
    sections: dict[str, dict[str, object]] = {
        "station": {"id": "demo", "name": "Wound clinic, demonstration", "demo": True},
        "screen": {"size": options.size},
        # A laptop that is busy otherwise is no broken camera.
        "camera": {"driver": "simulated", "still": options.still, "deadline_s": 6.0},
        "spool": dict(spool),
        "link": {"socket": str(directory / "link.sock")},
        "staff": {"file": str(staff)},
        "fhir": {
            "url": fhir_url,
            "patient_systems": [NHS_NUMBER],
            "auth": "none",
            "connect_s": 2.0,
            "read_s": options.read_s,
            **({"location": options.location} if options.location else {}),
        },
        "delivery": dict(delivery),
        "timeouts": dict(options.timeouts),
    }
    if options.template is not None:
        given = config.load(options.template).model_dump(mode="json", exclude_unset=True)
        for name in ("station", "camera", "panel", "seal", "audit", "timeouts"):
            sections.setdefault(name, {}).update(given.get(name, {}))
        # The rest of [fhir] is the demo's own; the place is of whichever server the demo is played on.
        if options.location is None and "location" in given.get("fhir", {}):
            sections["fhir"]["location"] = given["fhir"]["location"]
    path = directory / "kiosk.toml"
    path.write_text("\n".join(_section(name, values) for name, values in sections.items()), encoding="utf-8")
    config.load(path)
    return path


def _entry(badge: Badge) -> str:
    values = {"id": badge.id, "name": badge.name, "badge": badge.code, "pin": hash_pin(badge.pin)}
    if badge.identifier:
        values["identifier"] = badge.identifier
    return "[[staff]]\n" + "".join(f"{key} = {_value(value)}\n" for key, value in values.items())


def _section(name: str, values: dict[str, object]) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {_value(value)}\n" for key, value in values.items())


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        # JSON's string escapes are TOML's.
        import json

        return json.dumps(value)
    return str(value)
