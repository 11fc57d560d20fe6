"""P3: what was sealed, sent, refused, withdrawn or abandoned is in no memory and no file of the kiosk.

The kiosk is every process below this one. This process itself is the hospital (the record server), the
service manager (the key file) and the hands: it knows the patient, and is not searched.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiosk.demo.supervisor import Demo
from tests.attack import memory
from tests.attack.memory import Dump, Needles, descendants, dump, kind_of
from tests.attack.patient import Marked
from tests.flow.story import PHOTO, SEND, events, kiosk, photographs, play, spool_is_empty

ROOT = Path(__file__).parents[2]
UNREADABLE = {"[vsyscall]", "[vvar]", "[vvar_vclock]", "/secretmem (deleted)"}
"""Kernel pages that every process has, and the private keys: not even root reads those here."""
SHOWN = {"name", "identifier"}
"""What the banner shows until Done."""
LOOSE = {"coordinates"}
"""Single numbers of the signature: Python keeps up to a hundred freed floats until the process ends."""
BIG = "4608x2592"
NO_HURRY = dict.fromkeys(("consent", "preview", "review", "receipt", "withdrawn", "declined"), 900)
"""Seconds: a search takes longer than a screen waits."""


@pytest.fixture(autouse=True)
def as_root() -> None:
    memory.require_root()


@pytest.fixture
def since() -> float:
    """Files that were changed after this are looked at: no older one can hold words made up after it."""
    return time.time() - 1


def processes(demo: Demo) -> dict[str, int]:
    return {kind_of(pid): pid for pid in descendants(os.getpid())}


def wait_for_processes(kinds: set[str], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while (there := Counter(map(kind_of, descendants(os.getpid())))) != Counter(kinds):
        assert time.monotonic() < deadline, f"{there} are there, not {kinds}"
        time.sleep(0.05)


def look(demo: Demo, kind: str) -> Dump:
    return dump(processes(demo)[kind])


def files(since: float, *roots: Path) -> Iterator[Path]:
    for root in roots:
        for directory, _, names in os.walk(root):
            for name in names:
                path = Path(directory, name)
                facts = path.lstat()
                if stat.S_ISREG(facts.st_mode) and facts.st_ctime >= since:
                    yield path


def held_files(pid: int) -> Iterator[Path]:
    """What a process has open, with or without a name; its secret memory cannot be opened."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if stat.S_ISREG(entry.stat().st_mode) and "/secretmem" not in os.readlink(entry):
            yield entry


def assert_forgotten(demo: Demo, patient: Marked, since: float, *, but: set[str] = frozenset()) -> None:
    """Nothing of the patient is left in the kiosk's processes, their files, words and surroundings.

    but: labels that the ui may still hold.
    """
    needles = patient.needles()
    wait_for_processes({"ui", "uploader"})
    for pid in descendants(os.getpid()):
        taken = dump(pid)
        kind = kind_of(pid)
        assert taken.size > 20_000_000, f"{kind}: hardly anything was read"
        assert taken.unreadable <= UNREADABLE, kind
        found = set(taken.find(needles)) - (but if kind == "ui" else set())
        assert not found, f"{kind} still holds {found}"
        for name in ("cmdline", "environ"):
            assert not needles.find(Path(f"/proc/{pid}/{name}").read_bytes()), f"{kind}: {name}"
        for path in held_files(pid):
            assert not needles.find(path.read_bytes()), f"{kind} has {os.readlink(path)} open"
    looked_at = list(files(since, ROOT, demo.directory))
    assert demo.directory / "audit.jsonl" in looked_at
    for path in looked_at:
        assert not needles.find(path.read_bytes()), path
        assert not needles.find(os.fsencode(path)), "a name of a file"
    said = json.dumps(demo.events).encode()
    assert b"ui-wiped" in said or b"committed" in said or b"process-ended" in said
    assert not needles.find(said), "the journal"


def to_preview(demo: Demo, patient: Marked) -> None:
    patient.admit(demo)
    patient.find(demo)
    patient.agree(demo)


def test_delivered(since: float) -> None:
    """From the shutter to the receipt: who holds what, and when it is gone."""
    patient = Marked()
    with kiosk(still=BIG, read_s=60.0, timeouts=NO_HURRY) as demo:
        to_preview(demo, patient)
        play(demo, "press", "wait REVIEW")
        reviewed = look(demo, "ui")
        play(demo, 'tap "Keep"', "wait sealed", "wait PREVIEW")
        patient.learn(demo)
        needles = patient.needles()
        assert needles.count("photograph") > 300
        assert needles.count("strokes") > 20
        found = reviewed.find(needles)
        for label in ("photograph", "review picture"):
            assert found[label] > needles.count(label) * 0.4, f"the control: the ui has the {label}"
        assert {*SHOWN, *LOOSE} <= set(found)
        del reviewed
        now = set(look(demo, "ui").find(needles))
        assert now == {*SHOWN, *LOOSE, "thumbnail"}, "sealed: only the thumbnail is left of the photograph"
        assert set(look(demo, "look-up").find(needles)) <= SHOWN
        assert not look(demo, "uploader").find(needles)

        play(demo, "server delay 15 on=POST:/fhir$", SEND)
        assert set(look(demo, "ui").find(needles)) == {*SHOWN, *LOOSE}, "committed: no picture is left"
        wait_for_processes({"ui", "uploader", "delivery"})
        sending = while_it_sends(demo, needles)
        assert {"name", "identifier", "photograph"} <= set(sending.find(needles)), "the control"
        assert not look(demo, "uploader").find(needles), "what its child opens does not pass through it"

        play(demo, "server none", "wait receipt 60", 'expect "In the record"')
        patient.learn_form(demo)
        assert len(patient.forms) == 1
        assert_forgotten(demo, patient, since, but={*SHOWN, *LOOSE})
        play(demo, 'tap "Done"', "wait LOCKED")
        assert_forgotten(demo, patient, since)
        assert len(photographs(demo)) == 1
        assert spool_is_empty(demo)


def while_it_sends(demo: Demo, needles: Needles) -> Dump:
    """The delivery process while the photograph's transaction waits for the server's answer."""
    deadline = time.monotonic() + 60
    while demo.server.store.count("Consent") < 3:
        assert time.monotonic() < deadline, "the form was never sent"
        time.sleep(0.1)
    while not (taken := look(demo, "delivery")).find(needles)["photograph"]:
        time.sleep(0.1)
    return taken


def test_declined(since: float) -> None:
    patient = Marked()
    with kiosk(timeouts=NO_HURRY) as demo:
        patient.admit(demo)
        patient.find(demo)
        assert set(look(demo, "ui").find(Needles(patient.texts()))) == SHOWN, "the control"
        play(demo, 'tap "Patient declines"', 'tap "Record the refusal"', "wait DECLINED", "wait receipt 30")
        play(demo, 'tap "Done"', "wait LOCKED")
        patient.learn_form(demo)
        assert_forgotten(demo, patient, since)


def test_withdrawn(since: float) -> None:
    patient = Marked()
    with kiosk(timeouts=NO_HURRY) as demo:
        to_preview(demo, patient)
        play(demo, PHOTO)
        patient.learn(demo)
        control(demo, patient)
        play(demo, 'tap "Withdraw"', 'tap "Withdraw and destroy"', "wait WITHDRAWN", "wait receipt 30")
        assert_forgotten(demo, patient, since, but={*SHOWN, *LOOSE})
        play(demo, 'tap "Done"', "wait LOCKED")
        assert_forgotten(demo, patient, since)


def test_idle(since: float) -> None:
    """Locked with one photograph kept and one that nobody has decided about."""
    patient = Marked()
    with kiosk(timeouts={**NO_HURRY, "review": 5}) as demo:
        to_preview(demo, patient)
        play(demo, PHOTO, 'expect "Live"')
        patient.learn(demo)
        control(demo, patient)
        play(demo, "press", "wait REVIEW", "wait LOCKED 30", 'expect "nobody touched the screen"')
        assert_forgotten(demo, patient, since)


def test_parked(since: float) -> None:
    """The record refuses: ciphertext stays in the spool, and nothing else."""
    patient = Marked()
    with kiosk(timeouts=NO_HURRY) as demo:
        to_preview(demo, patient)
        play(demo, PHOTO)
        patient.learn(demo)
        control(demo, patient)
        play(demo, "server status 422 on=POST:/fhir$", SEND, "wait parked 30", 'tap "Done"', "wait LOCKED")
        assert not spool_is_empty(demo)
        assert_forgotten(demo, patient, since)


@pytest.mark.parametrize("state", ["REVIEW", "RECEIPT"])
def test_screen_killed(since: float, state: str) -> None:
    """With a photograph in plaintext on the screen; and with the session on its way."""
    patient = Marked()
    with kiosk(timeouts=NO_HURRY) as demo:
        to_preview(demo, patient)
        play(demo, PHOTO, 'expect "Live"')
        patient.learn(demo)
        control(demo, patient)
        if state == "REVIEW":
            play(demo, "press", "wait REVIEW", "kill ui", "wait session-destroyed", "wait LOCKED")
        else:
            play(demo, "network down", SEND, "wait delivery-put-off 15", "kill ui", "wait LOCKED")
            play(demo, "network up", "wait receipt 40")
        assert_forgotten(demo, patient, since)


def test_uploader_killed(since: float) -> None:
    """While the server has the photograph but has not said so."""
    patient = Marked()
    with kiosk(timeouts=NO_HURRY) as demo:
        to_preview(demo, patient)
        play(demo, PHOTO)
        patient.learn(demo)
        play(demo, "server delay-readback 20", SEND, "wait delivery:proving 30", "kill uploader")
        play(demo, "server none", "wait receipt 40", 'tap "Done"', "wait LOCKED")
        assert len(events(demo, "uploader-ready")) == 2
        assert_forgotten(demo, patient, since)


def control(demo: Demo, patient: Marked) -> None:
    """The search does find this patient while the session is open."""
    found = set(look(demo, "ui").find(patient.needles()))
    assert {*SHOWN, *LOOSE, "thumbnail"} <= found, "the control"


def test_the_search_finds_what_is_there() -> None:
    """At both ends, at odd places, across shapes; and counts nothing twice."""
    patient = Marked()
    needles = Needles(patient.texts())
    name = patient.family.encode()
    for data in (name, b"x" * 1001 + name, name + b"y" * 7, bytes(4096) + name + name):
        assert needles.find(data) == {"name": 1}
    assert not needles.find(name[:-1])
    assert needles.find(b'{"' + patient.number.encode("utf-16-le"))["identifier"] == 1
