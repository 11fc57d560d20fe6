"""No page of the four kinds of process is ever swapped out, where memory may be locked (as root it may)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack import memory
from tests.attack.test_forgetting import processes, wait_for_processes
from tests.flow.story import PATIENT, PHOTO, SEND, SIGN_IN, TO_PREVIEW, events, kiosk, play

KERNEL = ("[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]", "/secretmem")
"""Pages of the kernel; and secret memory, which is never swapped (memfd_secret(2))."""


@pytest.fixture(autouse=True)
def as_root() -> None:
    memory.require_root()


def unlocked(pid: int) -> list[str]:
    """Areas without VmFlags `lo` in /proc/PID/smaps."""
    found, name = [], ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            name = rest[4] if len(rest) > 4 else "anonymous"
        elif first == "VmFlags:" and "lo" not in rest and not name.startswith(KERNEL):
            found.append(name)
    return found


def test_every_area_is_locked() -> None:
    with kiosk(read_s=100.0, timeouts={"confirm_patient": 300, "consent": 300}) as demo:
        play(demo, TO_PREVIEW, PHOTO, "server delay 90 on=POST:/fhir$", SEND, 'tap "Done"', "wait LOCKED")
        play(demo, SIGN_IN, PATIENT)
        wait_for_processes({"ui", "uploader", "delivery", "look-up"})
        for kind, pid in processes(demo).items():
            assert unlocked(pid) == [], kind
            text = Path(f"/proc/{pid}/status").read_text()
            assert "VmSwap:\t       0 kB" in text
        assert {(line["process"], line["locked"]) for line in events(demo, "hardened")} == {
            ("ui", True),
            ("uploader", True),
        }
        demo.set_fault("none")
