"""The spool and what opens its items, when anything at all may lie in it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk import delivery
from kiosk.children import Children
from kiosk.delivery import Outcome, Verdict
from kiosk.destinations.base import OpenPhoto, Progress, make_receipt
from kiosk.errors import KioskError, Problem, SpoolError
from kiosk.model import Photo, Receipt, Session, Stage
from kiosk.seal import KEY_BYTES, Cipher, Kind, SealHeader, generate_into, seal
from kiosk.spool import Spool
from tests.attack.fuzz import MARKER, bounded, budget, json_values, mutated
from tests.nouns import AT, SITE, consent
from tests.nouns import session as make_session
from tests.spool_tools import make

SESSION = UUID(int=3, version=4)
PHOTO = UUID(int=4, version=4)
SECRET = b"the file of somebody else"

# --- junk ----------------------------------------------------------------------------------------

names = st.one_of(
    st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=30),
    st.binary(min_size=1, max_size=30).map(lambda b: os.fsdecode(b.replace(b"/", b"_").replace(b"\0", b"_"))),
    st.uuids(version=4).map(str),
    st.uuids(version=4).map(lambda u: f"{u}.rejected"),
    st.uuids(version=4).map(lambda u: f"0007-photo-{u}.sealed"),
    st.uuids(version=4).map(lambda u: f"0007-photo-{str(u).upper()}.sealed"),
    st.sampled_from(
        [
            MARKER,
            "x" * 255,
            ".part-",
            f".part-{MARKER}",
            ".gone-",
            f".gone-{MARKER}",
            "open",
            "ready",
            "\n",
            " ",
            "-",
        ]
        + [
            f"{SESSION}.x",
            f"0001-photo-{PHOTO}.sealed ",
            "٠٠٠١-photo-x.sealed",
            str(SESSION),
            f"{SESSION}.rejected",
        ]
    ),
).filter(lambda name: name not in (".", "..") and len(os.fsencode(name)) <= 255)
places = st.sampled_from(
    ["", "open", "ready", "parked", f"ready/{SESSION}", f"open/{UUID(int=9, version=4)}"]
)
kinds = st.sampled_from(
    ["file", "empty", "huge", "link", "dangling", "loop", "tree", "pipe", "socket", "hard", "closed"]
)
junk = st.lists(st.tuples(places, names, kinds), max_size=8)


def plant(path: Path, kind: str, secret: Path) -> None:
    """Put one thing there. What is there already stays."""
    if os.path.lexists(path):
        return
    match kind:
        case "file" | "closed":
            path.write_bytes(MARKER.encode())
            path.chmod(0o600 if kind == "file" else 0)
        case "empty":
            path.touch()
        case "huge":
            with open(path, "wb") as file:
                file.truncate(2**40)
        case "link":
            path.symlink_to(secret)
        case "dangling":
            path.symlink_to("/nowhere")
        case "loop":
            path.symlink_to(path)
        case "tree":
            (path / "a" / "b").mkdir(parents=True)
            (path / "a" / "b" / "c").symlink_to(secret.parent)
        case "pipe":
            os.mkfifo(path)
        case "hard":
            os.link(secret, path)
        case "socket":
            # A socket's own path must be short; it can be moved to a longer one.
            with (
                tempfile.TemporaryDirectory(dir=secret.parent) as short,
                socket.socket(socket.AF_UNIX) as near,
            ):
                near.bind(f"{short}/s")
                os.rename(f"{short}/s", path)


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """One file system for everything: hard links do not cross."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as made:
        yield Path(made)


@budget(250)
@given(junk)
def test_whatever_lies_in_the_spool_it_is_read_and_what_is_ours_survives(
    base: Path, things: list[tuple[str, str, str]]
) -> None:
    root = Path(tempfile.mkdtemp(dir=base))
    secret = root / "elsewhere" / "secret"
    secret.parent.mkdir()
    secret.write_bytes(SECRET)
    spool = make(root / "spool")
    for state in (SESSION, UUID(int=9, version=4)):
        spool.begin(state)
    spool.add(SESSION, 1, "photo", PHOTO, b"sealed")
    spool.commit(SESSION)
    for place, name, kind in things:
        plant(spool.root / place / name, kind, secret)
    with bounded(megabytes=20):
        assert SESSION in spool.ready()
        again = make(root / "spool")
        mine = [item for item in again.items(SESSION) if item.item == PHOTO]
        assert [again.read(item) for item in mine] == [b"sealed"]
        readable(again)
        report = again.sweep()
        assert len(report) <= 101
        assert all(MARKER not in line and len(line) < 60 for line in report)
        assert [again.read(item) for item in mine] == [b"sealed"]
        for call in (
            again.destroy,
            again.forget,
            again.unpark,
            again.clear,
            lambda s: again.park(s, "rejected"),
        ):
            for session in (*again.open_sessions(), *again.parked(), uuid4()):
                with suppress(KioskError):
                    call(session)
        assert again.forget(SESSION)
    assert secret.read_bytes() == SECRET
    shutil.rmtree(root)


def readable(spool: Spool) -> None:
    """Everything a restarted uploader looks at."""
    spool.used()
    spool.room_for_session()
    for session in (*spool.ready(), *spool.open_sessions(), *spool.parked()):
        with suppress(KioskError):
            for item in spool.items(session):
                with suppress(KioskError):
                    spool.read(item)


@pytest.mark.parametrize("name", ["", "open", "ready", "parked"])
@pytest.mark.parametrize("kind", ["file", "link", "dangling", "loop", "pipe", "socket", "hard"])
def test_a_spool_that_is_no_directory_is_refused(base: Path, name: str, kind: str) -> None:
    root = Path(tempfile.mkdtemp(dir=base))
    secret = root / "secret"
    secret.write_bytes(SECRET)
    if name:
        (root / "spool").mkdir()
    plant(root / "spool" / name if name else root / "spool", kind, secret)
    with bounded(), pytest.raises(SpoolError):
        make(root / "spool")


@pytest.mark.parametrize("kind", ["file", "link", "dangling", "loop", "pipe", "socket", "hard"])
@pytest.mark.parametrize("state", ["open", "ready", "parked"])
def test_a_state_that_is_replaced_while_it_runs_is_a_spool_error(base: Path, state: str, kind: str) -> None:
    root = Path(tempfile.mkdtemp(dir=base))
    secret = root / "secret"
    secret.write_bytes(SECRET)
    spool = make(root / "spool")
    (spool.root / state).rmdir()
    plant(spool.root / state, kind, secret)
    calls: list[Callable[[], object]] = [
        spool.ready,
        spool.open_sessions,
        spool.parked,
        spool.used,
        spool.sweep,
    ]
    calls += [lambda: spool.begin(SESSION), lambda: spool.items(SESSION), lambda: spool.park(SESSION, "x")]
    with bounded():
        for call in calls:
            with suppress(KioskError):
                call()
    assert secret.read_bytes() == SECRET


# --- items ---------------------------------------------------------------------------------------

JPEG = b"\xff\xd8" + MARKER.encode() * 50
KEY = bytearray(KEY_BYTES)
PUBLIC = generate_into(memoryview(KEY))
TAKEN = Photo(PHOTO, 1, AT, SITE, 1, 640, 480, len(JPEG), hashlib.sha256(JPEG).hexdigest())
MANIFEST = replace(make_session(consent(), [TAKEN]), id=SESSION)
MANIFEST_ITEM = UUID(int=5, version=4)
SEALED = {
    f"0001-photo-{PHOTO}.sealed": seal(
        PUBLIC, SealHeader(SESSION, PHOTO, Kind.PHOTO, 1), JPEG, Cipher.AES_256_GCM
    ),
    f"0002-manifest-{MANIFEST_ITEM}.sealed": seal(
        PUBLIC,
        SealHeader(SESSION, MANIFEST_ITEM, Kind.MANIFEST, 2),
        MANIFEST.to_json(),
        Cipher.CHACHA20_POLY1305,
    ),
}


class Opens:
    """A destination that opens everything and keeps nothing but whether it was right."""

    name = "test"

    def deliver(self, session: Session, open_photo: OpenPhoto, progress: Progress) -> Receipt:
        progress(Stage.SENDING)
        assert session == MANIFEST
        for photo in session.photos:
            assert open_photo(photo) == JPEG
        return make_receipt(session, self.name, AT)


def flipped(data: bytes) -> st.SearchStrategy[bytes]:
    """One byte changed, anywhere."""
    return st.tuples(st.integers(0, len(data) - 1), st.integers(1, 255)).map(
        lambda change: data[: change[0]] + bytes((data[change[0]] ^ change[1],)) + data[change[0] + 1 :]
    )


def near(data: bytes) -> st.SearchStrategy[bytes]:
    """The item, with something wrong."""
    return st.one_of(
        flipped(data),
        flipped(data),
        mutated(data),
        st.integers(1, len(data) - 1).map(lambda length: data[:length]),
        st.binary(min_size=1, max_size=200),
        st.sampled_from(list(SEALED.values())),
    )


more = st.dictionaries(
    st.sampled_from([f"0003-manifest-{UUID(int=6, version=4)}.sealed", f"0009-photo-{PHOTO}.sealed"]),
    st.sampled_from(list(SEALED.values())),
)
files = st.builds(
    lambda changed, added: {**changed, **added},
    st.fixed_dictionaries({}, optional={name: near(data) for name, data in SEALED.items()}),
    st.just({}) | st.just({}) | more,
)


@budget(250)
@given(files)
def test_only_what_was_sealed_is_ever_opened(base: Path, changed: dict[str, bytes]) -> None:
    spool = make(Path(tempfile.mkdtemp(dir=base)))
    spool.begin(SESSION)
    spool.commit(SESSION)
    there = {name: data for name, data in {**SEALED, **changed}.items() if data}
    for name, data in there.items():
        (spool.root / "ready" / str(SESSION) / name).write_bytes(data)
    reports: list[dict[str, Any]] = []
    with bounded(megabytes=20):
        outcome = delivery.deliver(SESSION, spool, memoryview(bytearray(KEY)), Opens(), reports.append)
    assert MARKER not in json.dumps([*reports, outcome.to_message()])
    if outcome.verdict is Verdict.DELIVERED:
        assert SEALED.items() <= there.items()
    else:
        assert there != SEALED
        assert outcome.problem is not None
    shutil.rmtree(spool.root)


# --- what a delivery process reports ---------------------------------------------------------------

RECEIPT = {
    "id": "R-7K4M-2QHD",
    "session": str(SESSION),
    "photos": 1,
    "destination": "fhir",
    "delivered_at": AT.isoformat(),
}
reports = st.one_of(
    json_values,
    st.fixed_dictionaries(
        {"outcome": st.sampled_from(["delivered", "retry", "park", MARKER]) | json_values},
        optional={
            "problem": json_values | st.sampled_from([p.code for p in Problem]),
            "retry_after": json_values,
            "receipt": json_values
            | st.fixed_dictionaries({k: json_values | st.just(v) for k, v in RECEIPT.items()}),
        },
    ),
    st.fixed_dictionaries({"stage": json_values | st.sampled_from(["sending", "proving"])}),
).map(lambda value: json.dumps(value).encode() + b"\n")


BABBLE = {"long": b"x" * 200_000, "deep": b"[" * 50_000 + b"\n"}


@budget(250)
@given(
    st.lists(
        reports
        | st.binary(max_size=40)
        | st.sampled_from(["long", "deep"]).map(lambda name: BABBLE[name])
        | st.sampled_from([b'"outcome"\n', b"[]\n", b"\n"]),
        max_size=4,
    ).map(b"".join)
)
def test_whatever_a_delivery_process_says_it_is_an_outcome(data: bytes) -> None:
    async def hear() -> Outcome:
        stdout = asyncio.StreamReader()
        stdout.feed_data(data)
        stdout.feed_eof()
        process = cast("asyncio.subprocess.Process", SimpleNamespace(stdout=stdout))
        return await Children(Path("nowhere"), attempt_s=10)._hear(process, stages.append)

    stages: list[Stage] = []
    with bounded(megabytes=10):
        outcome = asyncio.run(hear())
    assert MARKER not in json.dumps(outcome.to_message())
    assert outcome.retry_after is None or 0 <= outcome.retry_after <= 1e6
    assert all(type(stage) is Stage for stage in stages)
