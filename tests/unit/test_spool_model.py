"""The spool against a model, with a kill at any step."""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kiosk.errors import SessionGone, SpoolError, SpoolFull
from kiosk.spool import Spool
from tests.spool_tools import everything, make

MEGABYTE = 2**20


class Killed(BaseException):
    """What kill -9 looks like from inside: no later step happens, clean-up included."""


STEPS = ("open", "mkdir", "chmod", "fchmod", "write", "rename", "unlink", "rmdir")


@contextmanager
def killed_at(step: int | None) -> Iterator[None]:
    """Let `step` changing calls through, then raise Killed from that one and every later one."""
    count = itertools.count()
    patch = pytest.MonkeyPatch()

    def hook(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if step is not None and next(count) >= step:
                raise Killed
            return real(*args, **kwargs)

        return call

    try:
        for name in STEPS:
            patch.setattr(os, name, hook(getattr(os, name)))
        yield
    finally:
        patch.undo()


KILLS = st.one_of(st.none(), st.none(), st.integers(0, 12))
Content = dict[tuple[int, str, UUID], bytes]


class SpoolMachine(RuleBasedStateMachine):
    """The spool does what a few dictionaries do; a killed step happened whole or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
        self.open: dict[UUID, Content] = {}
        self.ready: dict[UUID, Content] = {}
        self.parked: dict[UUID, tuple[str, Content]] = {}
        self.spool = self.restarted()

    def restarted(self) -> Spool:
        spool = make(self.root)
        assert spool.sweep() == []
        return spool

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def attempt(self, kill: int | None, call: Callable[[], Any]) -> bool:
        """Whether the call came to its end; if not, a new process takes over."""
        try:
            with killed_at(kill):
                call()
        except Killed:
            self.spool = self.restarted()
            return False
        return True

    def pick(self, data: st.DataObject, sessions: dict[UUID, Any]) -> UUID:
        return data.draw(st.sampled_from(sorted(sessions)))

    def on_disk(self, state: str, name: UUID | str) -> Content:
        """The items of a session, read past the spool."""
        content: Content = {}
        for path in (self.root / state / str(name)).iterdir():
            number, kind, item = path.name.removesuffix(".sealed").split("-", 2)
            content[int(number), kind, UUID(item)] = path.read_bytes()
        return content

    @rule(session=st.uuids(), kill=KILLS)
    def begin(self, session: UUID, kill: int | None) -> None:
        done = self.attempt(kill, lambda: self.spool.begin(session))
        if done or (self.root / "open" / str(session)).exists():
            self.open[session] = {}

    @precondition(lambda self: self.open)
    @rule(data=st.data(), number=st.integers(0, 9), item=st.uuids(), sealed=st.binary(min_size=1), kill=KILLS)
    def add(self, data: st.DataObject, number: int, item: UUID, sealed: bytes, kill: int | None) -> None:
        session = self.pick(data, self.open)
        done = self.attempt(kill, lambda: self.spool.add(session, number, "photo", item, sealed))
        if done or (self.root / "open" / str(session) / f"{number:04d}-photo-{item}.sealed").exists():
            self.open[session][number, "photo", item] = sealed

    @precondition(lambda self: any(self.open.values()))
    @rule(data=st.data(), sealed=st.binary(min_size=1), kill=KILLS)
    def replace(self, data: st.DataObject, sealed: bytes, kill: int | None) -> None:
        """The same number, kind and item again: the old bytes or the new ones, never a mixture."""
        session = self.pick(data, {s: c for s, c in self.open.items() if c})
        key = data.draw(st.sampled_from(sorted(self.open[session])))
        done = self.attempt(kill, lambda: self.spool.add(session, *key, sealed))
        if done or self.on_disk("open", session)[key] == sealed:
            self.open[session][key] = sealed

    @precondition(lambda self: self.open)
    @rule(data=st.data(), item=st.uuids(), sealed=st.binary(min_size=1))
    def what_does_not_fit_leaves_nothing(self, data: st.DataObject, item: UUID, sealed: bytes) -> None:
        session = self.pick(data, self.open)
        held = sum(map(len, self.open[session].values()))
        full = make(self.root, reserve=held + len(sealed) - 1)
        with pytest.raises(SpoolFull):
            full.add(session, 0, "manifest", item, sealed)

    @precondition(lambda self: any(self.open.values()))
    @rule(data=st.data(), kill=KILLS)
    def clear(self, data: st.DataObject, kill: int | None) -> None:
        session = self.pick(data, {s: c for s, c in self.open.items() if c})
        count = len(self.open[session])
        cleared: list[int] = []
        if self.attempt(kill, lambda: cleared.append(self.spool.clear(session))):
            assert cleared == [count]
            self.open[session] = {}
        else:
            left = self.on_disk("open", session)
            self.open[session] = {k: v for k, v in self.open[session].items() if k in left}

    @precondition(lambda self: any(self.open.values()))
    @rule(data=st.data(), kill=KILLS)
    def remove(self, data: st.DataObject, kill: int | None) -> None:
        session = self.pick(data, {s: c for s, c in self.open.items() if c})
        item = data.draw(st.sampled_from(sorted(self.open[session])))[2]
        done = self.attempt(kill, lambda: self.spool.remove(session, item))
        gone = {key for key in self.open[session] if key[2] == item}
        if not done:
            directory = self.root / "open" / str(session)
            gone = {k for k in gone if not (directory / f"{k[0]:04d}-{k[1]}-{k[2]}.sealed").exists()}
        for key in gone:
            del self.open[session][key]

    @precondition(lambda self: self.open)
    @rule(data=st.data(), kill=KILLS)
    def commit(self, data: st.DataObject, kill: int | None) -> None:
        session = self.pick(data, self.open)
        done = self.attempt(kill, lambda: self.spool.commit(session))
        if done or session in self.spool.ready():
            self.ready[session] = self.open.pop(session)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), kill=KILLS)
    def destroy(self, data: st.DataObject, kill: int | None) -> None:
        session = self.pick(data, self.open)
        done = self.attempt(kill, lambda: self.spool.destroy(session))
        if done or session not in self.spool.open_sessions():
            del self.open[session]

    @precondition(lambda self: self.ready)
    @rule(data=st.data(), kill=KILLS)
    def take(self, data: st.DataObject, kill: int | None) -> None:
        session = self.pick(data, self.ready)
        self.attempt(kill, lambda: self.spool.take(session))

    @precondition(lambda self: self.ready)
    @rule(data=st.data(), reason=st.sampled_from(["rejected", "conflict"]), kill=KILLS)
    def park(self, data: st.DataObject, reason: str, kill: int | None) -> None:
        session = self.pick(data, self.ready)
        done = self.attempt(kill, lambda: self.spool.park(session, reason))
        if done or session in self.spool.parked():
            self.parked[session] = reason, self.ready.pop(session)

    @precondition(lambda self: self.parked)
    @rule(data=st.data(), kill=KILLS)
    def unpark(self, data: st.DataObject, kill: int | None) -> None:
        session = self.pick(data, self.parked)
        done = self.attempt(kill, lambda: self.spool.unpark(session))
        if done or session in self.spool.ready():
            self.ready[session] = self.parked.pop(session)[1]

    @precondition(lambda self: self.ready)
    @rule(data=st.data(), kill=KILLS)
    def forget(self, data: st.DataObject, kill: int | None) -> None:
        session = self.pick(data, self.ready)
        done = self.attempt(kill, lambda: self.spool.forget(session))
        if done or session not in self.spool.ready():
            del self.ready[session]

    @precondition(lambda self: self.ready)
    @rule(data=st.data())
    def one_at_a_time_holds_a_session(self, data: st.DataObject) -> None:
        session = self.pick(data, self.ready)
        with self.spool.lock(session), pytest.raises(SpoolError), make(self.root).lock(session):
            pass
        with make(self.root).lock(session):
            pass

    @precondition(lambda self: self.open)
    @rule(data=st.data(), name=st.sampled_from(["live", "dead"]))
    def sweeping_spares_a_live_writer(self, data: st.DataObject, name: str) -> None:
        path = self.root / "open" / str(self.pick(data, self.open)) / f".part-{name}"
        with path.open("wb") as writer:
            if name == "live":
                fcntl.flock(writer, fcntl.LOCK_EX)
            assert self.spool.sweep() == []
            assert path.exists() is (name == "live")
        path.unlink(missing_ok=True)

    @rule(state=st.sampled_from(["open", "ready", "parked"]), trash=st.uuids(), sealed=st.binary())
    def half_destroyed_is_swept(self, state: str, trash: UUID, sealed: bytes) -> None:
        path = self.root / state / f".gone-{trash.hex[:16]}"
        path.mkdir()
        (path / f"0001-photo-{trash}.sealed").write_bytes(sealed)
        self.spool = self.restarted()
        assert not path.exists()

    @rule(data=st.data(), session=st.uuids())
    def strangers_are_refused(self, data: st.DataObject, session: UUID) -> None:
        known = sorted(self.open.keys() | self.ready.keys() | self.parked.keys())
        session = data.draw(st.sampled_from([session, *known]))
        if session not in (self.open.keys() | self.ready.keys() | self.parked.keys()):
            for call in (self.spool.commit, self.spool.items, self.spool.unpark, self.spool.clear):
                with pytest.raises(SessionGone):
                    call(session)
            with pytest.raises(SessionGone):
                self.spool.park(session, "rejected")
            with pytest.raises(SessionGone), self.spool.lock(session):
                pass
            assert not self.spool.destroy(session)
            assert not self.spool.forget(session)
        else:
            with pytest.raises(SpoolError):
                self.spool.begin(session)

    @invariant()
    def same_as_the_model(self) -> None:
        assert set(self.spool.open_sessions()) == self.open.keys()
        assert set(self.spool.ready()) == self.ready.keys()
        assert self.spool.parked() == {s: reason for s, (reason, _) in self.parked.items()}
        for session, content in self.ready.items():
            items = self.spool.items(session)
            assert {(i.number, i.kind, i.item): self.spool.read(i) for i in items} == content
            assert items == sorted(items, key=lambda i: i.number)
        for session, content in self.open.items():
            assert self.on_disk("open", session) == content
        for session, (reason, content) in self.parked.items():
            assert self.on_disk("parked", f"{session}.{reason}") == content
        contents = [*self.open.values(), *self.ready.values(), *(c for _, c in self.parked.values())]
        assert self.spool.used() == sum(len(sealed) for c in contents for sealed in c.values())
        names = [p.name for p in self.root.rglob("*")]
        assert not [n for n in names if n.startswith(".")]


SpoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestSpoolAgainstModel = SpoolMachine.TestCase


def test_every_step_of_add_can_be_the_last(tmp_path: Path) -> None:
    """The kill really hits: from the first step to the last, and then add comes to its end."""
    outcomes = []
    for step in range(20):
        spool = make(tmp_path / f"{step}")
        session, item = uuid4(), uuid4()
        spool.begin(session)
        try:
            with killed_at(step):
                spool.add(session, 1, "photo", item, b"sealed")
            outcomes.append("done")
        except Killed:
            left = everything(spool.root / "open" / str(session))
            outcomes.append(
                "kept" if f"0001-photo-{item}.sealed" in left else "partial" if left else "nothing"
            )
        make(tmp_path / f"{step}").sweep()
        left = everything(spool.root / "open" / str(session))
        assert left in ([], [f"0001-photo-{item}.sealed"])
        assert bool(left) is (outcomes[-1] in ("done", "kept"))
    assert {"nothing", "partial", "done"} <= set(outcomes)
    assert outcomes == sorted(outcomes, key=["nothing", "partial", "kept", "done"].index)
