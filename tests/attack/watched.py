"""A demo whose every step is seen, and in which any process can be killed at any of them."""

from __future__ import annotations

import json
import mmap
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kiosk import audit
from kiosk.custody import SLOT_SIZE, SLOTS
from kiosk.demo.player import Player
from kiosk.demo.remote import RemoteHand
from kiosk.demo.script import parse
from kiosk.demo.station import Options
from kiosk.demo.supervisor import Demo

PROBE = Path(__file__).with_name("probe")
COUNTED = ("DocumentReference", "Binary", "Consent", "Provenance")
TINY = "640x480"
CALM_S = 0.3
"""Nobody took a step for this long: what was going on is over."""


class Interrupted(Exception):
    """The ui was killed: there is nobody left to play on."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One step that a process took. `local`: under a temporary name; `alive`: the roles that ran then."""

    step: str
    local: bool
    alive: tuple[str, ...]
    heard: bool
    thread: int

    @property
    def role(self) -> str:
        return self.step.removeprefix("new ").partition(":")[0]


class WatchedDemo(Demo):
    """A demo with the probe in each of its processes."""

    def __init__(self, *, update_create: bool = True) -> None:
        # The network is not looked at meanwhile: such a step would come by the clock.
        super().__init__(options=Options(still=TINY, delivery={"probe_s": 60, "first_retry_s": 0.1}))
        self._update_create = update_create
        self._epoch = self._start = 0
        self._victims: tuple[str, ...] = ()

    def __enter__(self) -> WatchedDemo:
        super().__enter__()
        self.server.store.update_create = self._update_create
        return self

    @property
    def probe(self) -> Path:
        return self.directory / "probe"

    def _environment(self) -> dict[str, str]:
        # The processes start as soon as their directory is there.
        (self.probe / "pids").mkdir(parents=True, exist_ok=True)
        if not (self.probe / "plan.json").exists():
            self.plan(None)
        path = os.pathsep.join(filter(None, [str(PROBE), os.environ.get("PYTHONPATH", "")]))
        return {**super()._environment(), "PYTHONPATH": path, "LETHE_PROBE": str(self.probe)}

    # --- the plan, and what came of it ----------------------------------------------------------

    def plan(self, step: str | None, victims: tuple[str, ...] = ()) -> None:
        """Begin a new epoch: steps are counted from here, and `victims` are killed at `step`."""
        self._epoch, self._victims = self._epoch + 1, victims
        text = json.dumps({"epoch": self._epoch, "step": step, "victims": list(victims)})
        new = self.probe / f".plan-{time.monotonic_ns()}"
        new.write_text(text)
        new.rename(self.probe / "plan.json")
        steps = self.probe / "steps"
        self._start = steps.stat().st_size if steps.exists() else 0

    def steps(self) -> list[Seen]:
        """What was done since the plan was made."""
        with (self.probe / "steps").open("rb") as file:
            file.seek(self._start)
            # The last line may be on its way.
            lines = file.read().split(b"\n")[:-1]
        found = [m for m in map(json.loads, lines) if m.pop("epoch") == self._epoch]
        return [Seen(**{**m, "alive": tuple(m["alive"])}) for m in found]

    def hit(self) -> bool:
        """Whether the planned step was reached."""
        return (self.probe / f"hit-{self._epoch}").exists()

    def calm(self, seconds: float = 60.0) -> None:
        """Wait until nobody has taken a step for CALM_S."""
        deadline = time.monotonic() + seconds
        before, since = -1, time.monotonic()
        while time.monotonic() - since < CALM_S:
            size = (self.probe / "steps").stat().st_size
            if size != before:
                before, since = size, time.monotonic()
            assert time.monotonic() < deadline, "the processes do not come to rest"
            time.sleep(0.02)

    # --- the stage, which falls silent when the ui is dead ----------------------------------------

    def hand(self) -> RemoteHand:
        self.still_played()
        return super().hand()

    def wait_for(self, name: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not super().wait_for(name, 0.1):
            self.still_played()
            if time.monotonic() > deadline:
                return False
        return True

    def still_played(self) -> None:
        """Raise Interrupted where the ui was killed."""
        if "ui" in self._victims and self.hit():
            raise Interrupted

    def play(self, *parts: str) -> None:
        """Play the parts. Raises StepFailed, or Interrupted once the ui was killed."""
        Player(self, None).play(parse("\n".join(parts), "story"), "story")

    # --- what is left -----------------------------------------------------------------------------

    def counts(self) -> Counter[str]:
        """How many resources the server has, by type."""
        return Counter({kind: self.server.store.count(kind) for kind in COUNTED})

    def files(self) -> list[str]:
        """What is in the spool, below its own directories."""
        spool = self.directory / "spool"
        return sorted(str(p.relative_to(spool)) for p in spool.rglob("*") if p.parent != spool)

    def key_memory(self) -> bytes:
        """Every slot of the key file that the supervisor keeps: zeros, where nothing is left of a key."""
        ((_, fd),) = self._notify.stored
        with mmap.mmap(fd, SLOTS * SLOT_SIZE) as memory:
            return bytes(memory[SLOT_SIZE:])

    def audit_lines(self) -> list[bytes]:
        return (self.directory / "audit.jsonl").read_bytes().splitlines()

    def audited(self, session: str) -> list[dict[str, Any]]:
        """The audit entries of one session, oldest first."""
        return [e for e in map(json.loads, self.audit_lines()) if e["session"] == session]

    def audit_faults(self) -> list[str]:
        return audit.verify(self.audit_lines())

    def wait_until(self, true: Callable[[], bool], seconds: float = 60.0) -> bool:
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline or self.failed is not None:
                return False
            time.sleep(0.05)
        return True
