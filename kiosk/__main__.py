"""The command `kiosk`, and all its sub-commands. The place that wires parts together.

Imports are local to each command: the ui must never load what only the uploader needs, and a delivery
process must start fast.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from kiosk.errors import ConfigError, KioskError, Problem

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: a restart does not help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except ConfigError as e:
        for complaint in e.complaints:
            _say(complaint)
        return EXIT_CONFIG
    except KioskError as e:
        _say(f"{e.problem.sentence} ({e})")
        return 1
    except KeyboardInterrupt:
        return 130


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kiosk", description="Lethe, a clinical photo kiosk that forgets")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    ui = commands.add_parser("ui", help="the screen process")
    _config(ui)
    ui.add_argument("--notice", metavar="CODE", help="why the screen was locked, a problem code")
    ui.add_argument("--control-fd", type=int, help=argparse.SUPPRESS)
    ui.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    ui.add_argument("--offscreen", action="store_true", help=argparse.SUPPRESS)
    ui.set_defaults(run=_ui)

    uploader = commands.add_parser("uploader", help="the network process")
    _config(uploader)
    uploader.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    uploader.add_argument("--deliver", type=UUID, metavar="SESSION", help=argparse.SUPPRESS)
    uploader.add_argument("--key-fd", type=int, help=argparse.SUPPRESS)
    uploader.add_argument("--head", help=argparse.SUPPRESS)
    uploader.add_argument("--directory", type=int, metavar="FD", help=argparse.SUPPRESS)
    uploader.set_defaults(run=_uploader)

    demo = commands.add_parser("demo", help="both processes on a laptop, with a simulated camera and server")
    demo.add_argument("--headless", action="store_true", help="no window; a script plays the nurse")
    demo.add_argument("--script", type=Path, metavar="FILE", help="play this script")
    demo.add_argument("--config", type=Path, metavar="FILE", help="start from this kiosk.toml")
    demo.add_argument("--fhir", metavar="URL", help="deliver to this server instead of the built-in one")
    demo.add_argument("--screens", type=Path, metavar="DIR", help="write the script's shots here")
    demo.add_argument("--size", default="", metavar="WxH", help="800x480 (default) or 720x1280")
    demo.set_defaults(run=_demo)

    config = commands.add_parser("config", help="the configuration").add_subparsers(required=True)
    check = config.add_parser("check", help="print every complaint about a kiosk.toml")
    check.add_argument("file", type=Path)
    check.set_defaults(run=_config_check)

    doctor = commands.add_parser("doctor", help="check what can be checked on this machine")
    _config(doctor)
    doctor.set_defaults(run=_doctor)

    fhir = commands.add_parser("fhir", help="the record server").add_subparsers(required=True)
    jwks = fhir.add_parser("jwks", help="print the public key of [fhir] key_file, to be registered (JWKS)")
    _config(jwks)
    jwks.set_defaults(run=_fhir_jwks)

    audit = commands.add_parser("audit", help="the audit log").add_subparsers(required=True)
    verify = audit.add_parser("verify", help="find every change, removal and cut of an audit log")
    verify.add_argument(
        "file", type=Path, help="audit.jsonl, or what a collector made of it: one boot's entries"
    )
    verify.add_argument(
        *("--anchors", "--anchor"),
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="a Bundle of AuditEvents from the record server, one AuditEvent, or lines of them or of heads",
    )
    verify.set_defaults(run=_audit_verify)

    staff = commands.add_parser("staff", help="who may sign in").add_subparsers(required=True)
    pin = staff.add_parser("pin", help="read a PIN and print its hash for the staff file")
    pin.set_defaults(run=_staff_pin)
    return parser


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="kiosk.toml")


def _ui(arguments: argparse.Namespace) -> int:
    from kiosk.process import harden

    # Before anything else is loaded or read: each exec undoes it.
    harden()
    from kiosk import config
    from kiosk.wiring import ui

    notice = Problem.from_code(arguments.notice) if arguments.notice else None
    options = ui.Options(
        arguments.config, notice, arguments.offscreen, arguments.control_fd, arguments.parent
    )
    return ui.run(config.load(arguments.config), options)


def _uploader(arguments: argparse.Namespace) -> int:
    from kiosk.process import harden

    # Before anything else: a key waits in the socket of a delivery process.
    harden()
    from kiosk import config
    from kiosk.wiring import uploader

    settings = config.load(arguments.config)
    if arguments.deliver is not None:
        return uploader.run_delivery(
            settings, arguments.deliver, arguments.key_fd, arguments.parent, arguments.head
        )
    if arguments.directory is not None:
        return uploader.run_lookup(settings, arguments.directory, arguments.parent)
    return uploader.run(settings, arguments.config, arguments.parent)


def _demo(arguments: argparse.Namespace) -> int:
    from kiosk.demo.command import run

    headless = arguments.headless or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return run(
        headless=headless,
        script=arguments.script,
        config=arguments.config,
        fhir=arguments.fhir,
        screens=arguments.screens,
        size=arguments.size,
    )


def _config_check(arguments: argparse.Namespace) -> int:
    from kiosk import config
    from kiosk.wiring.record import secrets_here

    if complaints := secrets_here(config.load(arguments.file).fhir):
        raise ConfigError(complaints)
    sys.stdout.write(f"{arguments.file}: good\n")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from kiosk import config, doctor
    from kiosk.wiring.uploader import clock_set

    machine = doctor.Machine(clock_set=clock_set)
    findings = doctor.examine(config.load(arguments.config), machine)
    sys.stdout.write(doctor.report(findings))
    return 1 if any(f.status is doctor.Status.BAD for f in findings) else 0


def _fhir_jwks(arguments: argparse.Namespace) -> int:
    import json

    from kiosk import config
    from kiosk.wiring.record import signing_key

    jwks = signing_key(config.load(arguments.config).fhir).jwks()
    sys.stdout.write(json.dumps(jwks, indent=2) + "\n")
    return 0


def _audit_verify(arguments: argparse.Namespace) -> int:
    from kiosk import audit_check

    return audit_check.run(arguments.file, arguments.anchors, sys.stdout.write)


def _staff_pin(arguments: argparse.Namespace) -> int:
    import getpass

    from kiosk.staff import hash_pin

    sys.stdout.write(hash_pin(getpass.getpass("PIN (4 to 8 digits, not shown): ")) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
