"""The list of kills, made from what a recorded session does.

Every step between the shutter and the next patient's lock screen is taken from recordings (see
probe/sitecustomize.py for what a step is). At each step its own process is killed. The others are killed at
the steps at which it can make a difference:

- Another process only where it can notice the step: what happens under a temporary name, and what goes to the
  record server, it does not see, so that killing it there is killing it at the step before.
- Both main processes at every step whose traces outlive them: not at what one says to the other, because
  nobody is left to have heard it, and of a run of steps under one temporary name at the last, which leaves
  the most behind.
- An "after" step only where its thread took something in before its next one: else that is the same place.
  After its last one the delivery process has nothing left to do, and is ended.
- Not between the parts of one request: the record server does nothing before it has the whole of it.
"""

from __future__ import annotations

import fcntl
import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from tests.attack.watched import Seen, WatchedDemo
from tests.flow.story import CONSENT, PATIENT, PHOTO, PROOF, SEND, SIGN_IN, SITE

RECORDINGS = 2
UI, UPLOADER, DELIVERY = "ui", "uploader", "delivery"
COMMIT = "ui: rename in spool.outbox.Outbox.commit #1"


@dataclass(frozen=True, slots=True)
class Case:
    """Kill these roles at this step."""

    step: str
    victims: tuple[str, ...]

    def __str__(self) -> str:
        return f"{'+'.join(self.victims)} at {self.step}"


def cases_for_run(shared: Path) -> list[Case]:
    """The list, recorded once for all workers of a test run, which share the file."""
    with open(shared, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        if not text:
            text = json.dumps([asdict(case) for case in generate(record())])
            file.write(text)
            file.flush()
    return [Case(c["step"], tuple(c["victims"])) for c in json.loads(text)]


def record() -> list[Seen]:
    """The steps of a session that nobody disturbs, those only that every recording has."""
    recordings = []
    with WatchedDemo() as demo:
        for _ in range(RECORDINGS):
            demo.play(SIGN_IN, PATIENT, CONSENT, SITE)
            demo.calm()
            demo.plan(None)
            demo.play(PHOTO, SEND, PROOF)
            demo.calm()
            recordings.append(distinct(demo.steps()))
    common = set.intersection(*({seen.step for seen in recording} for recording in recordings))
    assert COMMIT in common, "what decides between the two outcomes has another name now"
    return [seen for seen in recordings[0] if seen.step in common]


def distinct(steps: list[Seen]) -> list[Seen]:
    """Without the steps that are no other place than the one before or after them."""
    kept = []
    for number, seen in enumerate(steps):
        own = (s for s in steps[number + 1 :] if (s.role, s.thread) == (seen.role, seen.thread))
        following = next(own, None)
        waits = seen.role != DELIVERY if following is None else following.heard
        part = ": sendall in fhir.client" in seen.step and not seen.heard
        if (waits or ": after " not in seen.step) and not part:
            kept.append(seen)
    return kept


def generate(steps: list[Seen]) -> list[Case]:
    """Each step with everybody who is killed there."""
    cases = []
    for role in (UI, UPLOADER, DELIVERY):
        own = [seen for seen in steps if seen.role == role]
        for seen, following in pairwise([*own, None]):
            if seen is None or not {UI, UPLOADER} <= set(seen.alive):
                continue
            cases.append(Case(seen.step, (role,)))
            cases += [Case(seen.step, (other,)) for other in noticing(seen)]
            last = following is None or not following.local
            if not says(seen) and role != DELIVERY and (last or not seen.local):
                cases.append(Case(seen.step, (UI, UPLOADER)))
            if role == DELIVERY and "report" in seen.step:
                cases.append(Case(seen.step, (UI, UPLOADER)))
    return cases


def says(seen: Seen) -> bool:
    """Whether one process says something to another, or to the record server."""
    return "link." in seen.step or " in fhir.client" in seen.step or " send in " in seen.step


def noticing(seen: Seen) -> list[str]:
    """The other processes that can notice this step."""
    if seen.local or " in fhir.client" in seen.step:
        return []
    if seen.role == UI:
        return [UPLOADER]
    if seen.role == DELIVERY:
        return [UPLOADER]
    others = [UI] if "link." in seen.step else []
    return others + ([DELIVERY] if DELIVERY in seen.alive else [])
