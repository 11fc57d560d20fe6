"""Nothing that was changed, moved, renamed or replayed is opened or sent; all of it is reported."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from kiosk import audit, seal
from kiosk.custody import KeyFile
from kiosk.delivery import Outcome, Verdict, deliver
from kiosk.demo.supervisor import Demo
from kiosk.destinations.base import OpenPhoto, Progress, make_receipt, wipe
from kiosk.errors import CannotOpen, Problem
from kiosk.model import Decision, Photo, Receipt, Session
from kiosk.seal import Cipher, Kind, PrivateKey, PublicKey, SealHeader
from kiosk.spool import Spool
from tests.attack.tampering import REGIONS, TAMPERS, items, regions
from tests.flow.story import CONSENT, PATIENT, PHOTO, PROOF, SEND, SIGN_IN, SITE, events, kiosk, play
from tests.nouns import AT, consent, session
from tests.nouns import SITE as FOREARM
from tests.spool_tools import make

HEADER = SealHeader(UUID(int=1, version=4), UUID(int=2, version=4), Kind.PHOTO, 3)
PLAIN = b"\xff\xd8 the bytes of a small photograph \xff\xd9" * 3


@pytest.mark.parametrize("cipher", Cipher)
def test_no_bit_of_an_item_can_be_flipped(cipher: Cipher) -> None:
    """Each byte of magic, length, header, suite, encapsulated keys, ciphertext and tag, one bit each."""
    view = memoryview(bytearray(seal.KEY_BYTES))
    public = seal.generate_into(view)
    key = PrivateKey.from_buffer(view)
    item = seal.seal(public, HEADER, PLAIN, cipher)
    assert seal.open_sealed(key, HEADER, item) == PLAIN
    for place in range(len(item)):
        changed = bytearray(item)
        changed[place] ^= 1 << place % 8
        with pytest.raises(CannotOpen):
            seal.open_sealed(key, HEADER, changed)


def test_the_regions_are_all_that_an_item_has() -> None:
    view = memoryview(bytearray(seal.KEY_BYTES))
    item = seal.seal(seal.generate_into(view), HEADER, PLAIN, Cipher.AES_256_GCM)
    parts = regions(item)
    assert tuple(parts) == REGIONS
    assert len(parts["ciphertext"]) == len(PLAIN)
    header = sum(len(part) for name, part in parts.items() if name.startswith("header's"))
    assert sum(map(len, parts.values())) - header + len(HEADER.to_bytes()) == len(item)


# --- the delivery of one session ---------------------------------------------------------------


class Record:
    """A destination that takes everything, and knows what it was given."""

    name = "record"

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.photographs: list[bytes] = []

    def deliver(self, session: Session, open_photo: OpenPhoto, progress: Progress) -> Receipt:
        self.sessions.append(session)
        for photo in session.photos:
            jpeg = open_photo(photo)
            self.photographs.append(bytes(jpeg))
            wipe(jpeg)
        return make_receipt(session, self.name, AT)


@dataclass
class Sealed:
    """One committed session, its key, and where it is."""

    session: Session
    key: bytearray
    public: PublicKey
    jpegs: list[bytes]
    path: Path


def commit(spool: Spool, decision: Decision = Decision.PERMIT) -> Sealed:
    """A session with two photographs, as the ui leaves it."""
    key = bytearray(seal.KEY_BYTES)
    public = seal.generate_into(memoryview(key))
    jpegs = [b"\xff\xd8" + bytes([n]) * 500 + b"\xff\xd9" for n in (1, 2)]
    photos = [
        Photo(uuid4(), n, AT, FOREARM, n, 40, 30, len(jpeg), hashlib.sha256(jpeg).hexdigest())
        for n, jpeg in enumerate(jpegs, 1)
    ]
    whole = session(consent(decision, id=uuid4()), photos, id=uuid4())
    spool.begin(whole.id)

    def add(item: UUID, kind: Kind, number: int, plaintext: bytes) -> None:
        header = SealHeader(whole.id, item, kind, number)
        parts = seal.seal_parts(public, header, plaintext, Cipher.AES_256_GCM)
        spool.add(whole.id, number, kind.value, item, parts)

    if decision is Decision.PERMIT:
        add(whole.consent.id, Kind.CONSENT, 0, whole.consent.to_json())
        for photo, jpeg in zip(photos, jpegs, strict=True):
            add(photo.id, Kind.PHOTO, photo.number, jpeg)
    add(whole.id, Kind.MANIFEST, 0, whole.to_json())
    spool.commit(whole.id)
    return Sealed(whole, key, public, jpegs, spool.root / "ready" / str(whole.id))


def attempt(spool: Spool, sealed: Sealed, record: Record, key: bytearray | None = None) -> Outcome:
    copy = memoryview(bytearray(sealed.key if key is None else key))
    return deliver(sealed.session.id, spool, copy, record, lambda message: None)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return make(tmp_path / "spool")


@pytest.mark.parametrize("decision", Decision)
def test_what_nobody_touched_is_delivered(spool: Spool, decision: Decision) -> None:
    sealed, record = commit(spool, decision), Record()
    assert attempt(spool, sealed, record).verdict is Verdict.DELIVERED
    assert record.sessions == [sealed.session]
    assert record.photographs == (sealed.jpegs if decision is Decision.PERMIT else [])


@pytest.mark.parametrize("name", TAMPERS)
def test_tampering_is_parked_before_anything_is_sent(spool: Spool, name: str) -> None:
    """Not even the consent: a record must not speak of photographs that cannot come."""
    victim, donor, record = commit(spool), commit(spool), Record()
    TAMPERS[name](victim.path, donor.path)
    outcome = attempt(spool, victim, record)
    assert (outcome.verdict, outcome.problem) == (Verdict.PARK, Problem.CANNOT_OPEN)
    assert record.sessions == []
    assert attempt(spool, donor, record).verdict is Verdict.DELIVERED
    assert record.photographs == donor.jpegs


def test_a_photograph_sealed_by_somebody_else_is_parked(spool: Spool) -> None:
    """The public key is enough to seal: what is inside must be what the manifest was written for."""
    sealed, record = commit(spool), Record()
    photo = sealed.session.photos[0]
    header = SealHeader(sealed.session.id, photo.id, Kind.PHOTO, photo.number)
    forged = seal.seal(sealed.public, header, b"\xff\xd8 forged \xff\xd9", Cipher.AES_256_GCM)
    items(sealed.path, "photo")[0].write_bytes(forged)
    outcome = attempt(spool, sealed, record)
    assert (outcome.verdict, outcome.problem) == (Verdict.PARK, Problem.CANNOT_OPEN)
    assert record.sessions == []


def test_a_session_under_another_name_is_parked(spool: Spool) -> None:
    """A whole session moved to another session's place, tried with the key of either."""
    victim, donor, record = commit(spool), commit(spool), Record()
    shutil.rmtree(victim.path)
    shutil.copytree(donor.path, victim.path)
    for key in (victim.key, donor.key):
        outcome = attempt(spool, victim, record, key)
        assert (outcome.verdict, outcome.problem) == (Verdict.PARK, Problem.CANNOT_OPEN)
    assert record.sessions == []


# --- through the real uploader and its delivery processes -------------------------------------------

TWO = "\n".join((SIGN_IN, PATIENT, CONSENT, SITE, PHOTO, PHOTO))
WAITS = "\n".join((SEND, 'tap "Done"', "wait LOCKED"))
BUSY = "server status 503 on=POST:/fhir$"
"""Patients are found, and nothing is taken in."""
WHOLE = {"DocumentReference": 3, "Binary": 2, "Consent": 3, "Provenance": 1}
PATIENTLY = {"first_retry_s": 0.2, "max_retry_s": 1.0}
ROUNDS = (
    ("flip the photograph's ciphertext", "another session's photo under our name", "no photo"),
    ("flip the manifest's tag", "a second manifest", "cut before the tag"),
    ("swap two photographs", "another session's photograph as well", "call a photograph film"),
    ("flip the consent's suite", "another session's manifest in place of ours", "renumber"),
)


def waiting(demo: Demo) -> Path:
    """Play one session that has to wait; return its directory once the uploader has taken it over."""
    play(demo, TWO, WAITS)
    path: Path = demo.directory / "spool" / "sending" / events(demo, "session-opened")[-1]["session"]
    assert until(path.exists)
    return path


def audited(demo: Demo, path: Path) -> list[tuple[str, str]]:
    """Actions and outcomes of the session that was there."""
    lines = (demo.directory / "audit.jsonl").read_bytes().splitlines()
    assert audit.verify(lines) == []
    entries = [e for e in map(json.loads, lines) if e["session"] == path.name]
    return [(e["action"], e["outcome"]) for e in entries]


def stored(demo: Demo) -> dict[str, int]:
    return {kind: demo.server.store.count(kind) for kind in WHOLE}


def until(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("names", ROUNDS, ids=", ".join)
def test_tampered_sessions_are_reported_and_the_one_behind_them_arrives(names: tuple[str, ...]) -> None:
    with kiosk(still="640x480", delivery=PATIENTLY) as demo:
        play(demo, "wait LOCKED 30", BUSY)
        victims = [waiting(demo) for _ in names]
        sound = waiting(demo)
        for victim, name in zip(victims, names, strict=True):
            TAMPERS[name](victim, sound)
        play(demo, "server none", "wait receipt 40")
        assert until(lambda: len(events(demo, "parked")) == len(names))
        play(demo, f'expect "{len(names)} sets of photographs need help from IT"')
        for victim in victims:
            assert ("parked", "cannot-open") in audited(demo, victim)
            assert victim.with_name(f"{victim.name}.cannot-open").name in os.listdir(
                demo.directory / "spool" / "parked"
            )
        assert ("delivered", "ok") in audited(demo, sound)
        assert stored(demo) == WHOLE, "of the tampered ones nothing, not even a consent"
        assert demo.server.crashes == []


def test_a_session_that_is_put_back_after_its_delivery_is_reported(tmp_path: Path) -> None:
    with kiosk(still="640x480", delivery=PATIENTLY) as demo:
        play(demo, "wait LOCKED 30", BUSY)
        path = waiting(demo)
        shutil.copytree(path, tmp_path / path.name)
        play(demo, "server none", "wait receipt 40")
        before = len(demo.server.requests)
        shutil.copytree(tmp_path / path.name, path)
        play(demo, "wait parked 20", 'expect "1 set of photographs needs help from IT"')
        assert audited(demo, path)[-1] == ("parked", "key-lost")
        assert stored(demo) == WHOLE
        assert len(demo.server.requests) == before
        play(demo, TWO, SEND, PROOF)


def test_after_the_power_was_off_nothing_opens_again(tmp_path: Path) -> None:
    """Somebody kept the spool's bytes over the end of everything: what they held is gone all the same."""
    with kiosk(still="640x480", delivery=PATIENTLY) as demo:
        play(demo, "wait LOCKED 30", BUSY)
        path = waiting(demo)
        kept = tmp_path / path.name
        shutil.copytree(path, kept)
        assert opens(demo, kept), "while the power is on, the key is there"
    with kiosk(still="640x480", delivery=PATIENTLY) as demo:
        play(demo, "wait LOCKED 30")
        path = demo.directory / "spool" / "ready" / kept.name
        shutil.copytree(kept, path)
        play(demo, "wait parked 20", 'expect "1 set of photographs needs help from IT"')
        assert audited(demo, path) == [("parked", "key-lost")]
        assert not opens(demo, kept)
        # A new uploader tries it again, and says the same.
        play(demo, "kill uploader", "wait parked 20")
        assert audited(demo, path)[-2:] == [("unparked", "ok"), ("parked", "key-lost")]
        assert set(stored(demo).values()) == {0}
        play(demo, TWO, SEND, PROOF, 'expect "1 set of photographs needs help from IT"')
        assert stored(demo) == WHOLE


def opens(demo: Demo, path: Path) -> bool:
    """Whether any key that the supervisor keeps opens the session's manifest."""
    ((_, fd),) = demo._notify.stored
    sealed = items(path, "manifest")[0].read_bytes()
    with KeyFile.from_fd(os.dup(fd)) as keys:
        for owner in keys.sessions():
            copy = memoryview(bytearray(keys.view(owner)))
            with suppress(CannotOpen):
                return bool(seal.open_sealed(PrivateKey.from_buffer(copy), seal.parse_header(sealed), sealed))
    return False
