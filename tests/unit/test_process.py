"""What a process does to itself, tried on processes of our own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from typing import Any

from kiosk.process import ENVIRONMENT, Hardening

HARDEN = """
import dataclasses, json, os, resource
from kiosk.process import harden, hardening
{before}
harden()
room = bytearray(64 * 2**20)
print(json.dumps(dataclasses.asdict(hardening())))
"""
LESS_MEMORY = """
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
if os.geteuid() == 0:
    os.setresuid(64101, 64101, 64101)
"""
"""As a user who may lock 64 kB. Root may lock everything, and cannot be kept from it by a limit."""


def hardened(before: str = "", environment: dict[str, str] | None = None) -> Hardening:
    code = HARDEN.format(before=before)
    variables = os.environ | dict(ENVIRONMENT) if environment is None else environment
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return Hardening(**said)


def may_lock() -> bool:
    return os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY


def test_everything_is_in_force() -> None:
    assert hardened() == Hardening(undumpable=True, coreless=True, locked=may_lock(), scrubbed=True)


def test_a_low_limit_locks_nothing_and_breaks_nothing() -> None:
    """Sixty-four megabytes can still be had: locking under a limit would have refused them."""
    assert hardened(LESS_MEMORY) == Hardening(undumpable=True, coreless=True, locked=False, scrubbed=True)


def test_a_missing_variable_is_noticed() -> None:
    for name in ENVIRONMENT:
        less = {k: v for k, v in {**os.environ, **ENVIRONMENT}.items() if k != name}
        assert not hardened(environment=less).scrubbed, name


def test_freed_text_is_overwritten() -> None:
    """What the variables are for: without them a short text that was freed is still in the heap."""
    code = """
import ctypes, os
half = os.urandom(8).hex().encode()
kept = [half + b"%d" % n for n in range(200)]
address = [id(text) + bytes.__basicsize__ - 1 for text in kept]
del kept
print(sum(half in ctypes.string_at(at, 24) for at in address))
"""

    def left(variables: dict[str, str]) -> int:
        out = subprocess.run(
            [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True
        )
        return int(out.stdout)

    bare = {k: v for k, v in os.environ.items() if k not in ENVIRONMENT}
    assert left(bare) > 20, "the control"
    assert left({**bare, **ENVIRONMENT}) == 0
    without_tunable = {k: v for k, v in ENVIRONMENT.items() if k != "GLIBC_TUNABLES"}
    assert left({**bare, **without_tunable}) > 0, "the thread cache keeps what it was given"
