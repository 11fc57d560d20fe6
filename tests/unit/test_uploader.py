"""The uploader's own decisions, with a real spool and real keys; only the children are played."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from kiosk.audit import AuditLog
from kiosk.children import LookupProcess
from kiosk.custody import KeyFile
from kiosk.delivery import Outcome, Verdict
from kiosk.errors import ClockError, KioskError, LinkError, Problem, SessionGone, SignInError, SpoolFull
from kiosk.journal import Journal
from kiosk.link import Peer
from kiosk.model import Identifier, Practitioner, Receipt, Stage
from kiosk.receipts import receipt_id
from kiosk.schedule import Backoff, tcp_reachable
from kiosk.spool import Spool
from kiosk.staff import Member, SignIn, StaffList, hash_pin
from kiosk.uploader import CRASHES, Parts, Uploader

NURSE = Practitioner("apatel", "A. Patel RN", identifier=Identifier("urn:staff", "4711"))
MEMBER = Member(NURSE, "BADGE-1001", hash_pin("2468"))
NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Heard(Peer):
    """A peer that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    async def send(self, message: Mapping[str, Any], fds: tuple[int, ...] = ()) -> None:
        self.lines.append(dict(message))

    def stages(self) -> list[str]:
        return [m["stage"] for m in self.lines if m.get("news") == "delivery"]


class Lookup(LookupProcess):
    def __init__(self) -> None:
        self.ended = False

    async def end(self) -> None:
        self.ended = True

    async def stop(self) -> None:
        self.ended = True


class Starter:
    """Plays delivery processes: each call takes the next planned outcome, then delivers."""

    def __init__(self, *planned: Outcome) -> None:
        self.planned = list(planned)
        self.delivered: list[UUID] = []
        self.keys: list[bytes] = []
        self.lookups: list[Lookup] = []

    async def deliver(self, session: UUID, key: memoryview, on_stage: Callable[[Stage], None]) -> Outcome:
        self.delivered.append(session)
        self.keys.append(bytes(key))
        on_stage(Stage.SENDING)
        if self.planned:
            return self.planned.pop(0)
        return Outcome(Verdict.DELIVERED, receipt=Receipt("R-7K4M-2QHD", session, 1, "fhir", NOW))

    async def directory(self) -> tuple[int, LookupProcess]:
        self.lookups.append(Lookup())
        return 99, self.lookups[-1]


class Bench:
    """One uploader with everything around it."""

    def __init__(self, root: Path, starter: Starter, *, online: bool = True, clock: bool = True) -> None:
        self.spool = Spool(root / "spool", capacity=50_000_000, reserve=1_000_000, allow_disk=True)
        self.keys = KeyFile.create()
        self.journal = io.StringIO()
        self.audit = AuditLog("test", uuid4(), wall_trusted=lambda: True)
        self.starter = starter
        self.online = online
        self.clock = clock
        self.peer = Heard()
        self.make()

    def make(self, delivered: frozenset[UUID] = frozenset()) -> None:
        """A fresh uploader on the same spool and keys, as after a restart."""
        self.uploader = Uploader(
            Parts(
                spool=self.spool,
                keys=self.keys,
                sign_in=SignIn(StaffList([MEMBER])),
                audit=self.audit,
                journal=Journal("uploader", self.journal),
                starter=self.starter,
                reachable=self.reachable,
                clock_set=lambda: self.clock,
                backoff=Backoff(0.02, 0.05),
                probe_s=0.02,
                suite="auto",
                delivered=delivered,
                orphan_s=0.1,
            )
        )
        self.uploader.opened(self.peer)

    async def reachable(self) -> bool:
        return self.online

    async def asks(self, op: str, **arguments: Any) -> Mapping[str, Any]:
        return await self.uploader.handle(self.peer, {"id": 1, "op": op, **arguments})

    async def signs_in(self) -> UUID:
        return UUID((await self.asks("sign-in", badge="BADGE-1001", pin="2468"))["session"])

    async def commits(self) -> UUID:
        session = await self.signs_in()
        self.spool.begin(session)
        self.spool.add(session, 1, "manifest", session, b"sealed")
        self.spool.commit(session)
        await self.asks("commit", session=str(session), decision="permit", photos=1)
        return session

    def asks_for(self, session: UUID, receipt: str) -> Awaitable[Mapping[str, Any]]:
        return self.asks("receipt", session=str(session), receipt=receipt)

    def entries(self, action: str) -> list[dict[str, Any]]:
        return [entry for line in self.audit.lines() if (entry := json.loads(line))["action"] == action]

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.getvalue().splitlines()]


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    bench.uploader.recover()
    task = asyncio.get_running_loop().create_task(bench.uploader.run())
    try:
        yield bench
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


def play(root: Path, starter: Starter, story: Callable[[Bench], Awaitable[None]], **options: bool) -> Bench:
    async def whole() -> Bench:
        bench = Bench(root, starter, **options)
        async with running(bench):
            await story(bench)
        return bench

    bench = asyncio.run(whole())
    bench.keys.close()
    return bench


def test_delivered_is_unlinked_its_key_forgotten_and_told(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        session = await bench.commits()
        await until(lambda: "delivered" in bench.peer.stages())
        assert bench.spool.ready() == []
        assert bench.keys.sessions() == frozenset()
        assert bench.starter.delivered == [session]
        assert bench.peer.stages()[0] == "waiting"
        assert bench.starter.lookups[0].ended

    bench = play(tmp_path, Starter(), story)
    wiped, receipt = (
        next(i for i, m in enumerate(bench.said()) if m["event"] == n) for n in ("wiped", "receipt")
    )
    assert wiped < receipt
    actions = [json.loads(line)["action"] for line in bench.audit.lines()]
    assert actions == ["sign-in", "session-opened", "committed", "delivered"]


def test_not_anchored_is_said_and_holds_up_nothing(tmp_path: Path) -> None:
    class Unanchored(Starter):
        async def deliver(self, session: UUID, key: memoryview, on_stage: Callable[[Stage], None]) -> Outcome:
            return replace(await super().deliver(session, key, on_stage), problem=Problem.REJECTED)

    async def story(bench: Bench) -> None:
        await bench.commits()
        await until(lambda: "delivered" in bench.peer.stages())
        assert bench.spool.ready() == []
        assert bench.keys.sessions() == frozenset()

    bench = play(tmp_path, Unanchored(), story)
    last = json.loads(bench.audit.lines()[-1])
    assert (last["action"], last["outcome"]) == ("delivered", "not-anchored")
    said = next(m for m in bench.said() if m["event"] == "not-anchored")
    assert said["problem"] == "rejected"
    assert "receipt" in [m["event"] for m in bench.said()]


def test_anchored_is_ok(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.commits()
        await until(lambda: "delivered" in bench.peer.stages())

    bench = play(tmp_path, Starter(), story)
    assert json.loads(bench.audit.lines()[-1])["outcome"] == "ok"
    assert "not-anchored" not in [m["event"] for m in bench.said()]


def test_a_retry_keeps_everything_and_comes_back(tmp_path: Path) -> None:
    busy = Outcome(Verdict.RETRY, Problem.SERVER_BUSY, retry_after=0.05)

    async def story(bench: Bench) -> None:
        await bench.commits()
        await until(lambda: "delivered" in bench.peer.stages())

    bench = play(tmp_path, Starter(busy, busy), story)
    assert len(bench.starter.delivered) == 3
    assert len(set(bench.starter.keys)) == 1
    assert Problem.SERVER_BUSY.code in [m.get("problem") for m in bench.peer.lines]


def test_a_refusal_is_parked_and_the_next_session_goes_on(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        first = await bench.commits()
        await until(lambda: first in bench.spool.parked())
        second = await bench.commits()
        await until(lambda: second not in bench.spool.ready())
        assert bench.spool.parked() == {first: "rejected"}
        assert first in bench.keys.sessions(), "a parked session can still be opened by IT"

    play(tmp_path, Starter(Outcome(Verdict.PARK, Problem.REJECTED)), story)


def test_a_delivery_process_that_always_dies_ends_parked(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        session = await bench.commits()
        await until(lambda: session in bench.spool.parked())

    bench = play(tmp_path, Starter(*[Outcome(Verdict.RETRY, Problem.DELIVERY_INTERRUPTED)] * 99), story)
    assert len(bench.starter.delivered) == CRASHES


def test_a_ready_session_without_its_key_is_parked_not_lost(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        session = uuid4()
        bench.spool.begin(session)
        bench.spool.commit(session)
        await until(lambda: session in bench.spool.parked())
        assert bench.spool.parked()[session] == "key-lost"

    play(tmp_path, Starter(), story)


def test_a_ui_that_is_gone_loses_its_open_session(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        session = await bench.signs_in()
        bench.spool.begin(session)
        bench.uploader.lost(bench.peer)
        await until(lambda: bench.keys.sessions() == frozenset())
        assert bench.spool.open_sessions() == []

    bench = play(tmp_path, Starter(), story)
    assert bench.starter.delivered == []
    assert "session-destroyed" in [json.loads(line)["action"] for line in bench.audit.lines()]


def test_a_ui_that_dies_after_the_rename_has_committed(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        session = await bench.signs_in()
        bench.spool.begin(session)
        bench.spool.commit(session)
        bench.uploader.lost(bench.peer)
        await until(lambda: bench.starter.delivered == [session])

    play(tmp_path, Starter(), story)


def test_ending_never_touches_a_committed_session(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        session = await bench.commits()
        await bench.asks("end", session=str(session))
        assert session in bench.keys.sessions()
        assert session in bench.spool.ready()

    play(tmp_path, Starter(*[Outcome(Verdict.RETRY, Problem.UNREACHABLE)] * 999), story, online=False)


def test_one_that_always_fails_does_not_starve_the_others(tmp_path: Path) -> None:
    class Stubborn(Starter):
        async def deliver(self, session: UUID, key: memoryview, on_stage: Callable[[Stage], None]) -> Outcome:
            if not self.delivered or session == self.delivered[0]:
                self.delivered.append(session)
                return Outcome(Verdict.RETRY, Problem.SERVER_BUSY)
            return await super().deliver(session, key, on_stage)

    async def story(bench: Bench) -> None:
        first, second, third = [await bench.commits() for _ in range(3)]
        await until(lambda: bench.spool.ready() == [first])
        assert {second, third} <= set(bench.starter.delivered)

    play(tmp_path, Stubborn(), story)


def test_the_probe_does_not_defeat_the_backoff(tmp_path: Path) -> None:
    """A host that accepts connections and never answers: the network is there, the record is not."""

    async def story(bench: Bench) -> None:
        bench.uploader._parts.backoff = Backoff(60, 60)
        await bench.commits()
        await asyncio.sleep(0.3)

    bench = play(tmp_path, Starter(*[Outcome(Verdict.RETRY, Problem.UNREACHABLE)] * 99), story)
    assert len(bench.starter.delivered) == 1


def test_no_process_to_be_had_is_tried_again(tmp_path: Path) -> None:
    class Starved(Starter):
        async def deliver(self, session: UUID, key: memoryview, on_stage: Callable[[Stage], None]) -> Outcome:
            if not self.delivered:
                self.delivered.append(session)
                raise BlockingIOError
            return await super().deliver(session, key, on_stage)

    async def story(bench: Bench) -> None:
        await bench.commits()
        await until(lambda: "delivered" in bench.peer.stages())

    play(tmp_path, Starved(), story)


def test_a_restart_tries_parked_sessions_again(tmp_path: Path) -> None:
    async def whole() -> None:
        bench = Bench(tmp_path, Starter(Outcome(Verdict.PARK, Problem.REJECTED)))
        session = await bench.commits()
        async with running(bench):
            await until(lambda: session in bench.spool.parked())
        bench.make()
        async with running(bench):
            await until(lambda: "delivered" in bench.peer.stages())
        bench.keys.close()

    asyncio.run(whole())


def test_the_commit_may_be_told_late(tmp_path: Path) -> None:
    """Told after the session was found by itself and delivered: that is no reason to say it is gone."""

    async def story(bench: Bench) -> None:
        session = await bench.commits()
        await until(lambda: "delivered" in bench.peer.stages())
        assert await bench.asks("commit", session=str(session), decision="permit", photos=1) == {}

    play(tmp_path, Starter(), story)


def test_a_ui_that_goes_away_during_the_sign_in_leaves_nothing(tmp_path: Path) -> None:
    class Slow(Starter):
        async def directory(self) -> tuple[int, LookupProcess]:
            _, process = await super().directory()
            bench_now[0].uploader.lost(bench_now[0].peer)
            return os.open(os.devnull, os.O_RDONLY), process

    async def story(bench: Bench) -> None:
        bench_now.append(bench)
        with pytest.raises(LinkError):
            await bench.signs_in()
        assert bench.keys.sessions() == frozenset()
        assert bench.uploader._open == {}

    bench_now: list[Bench] = []
    play(tmp_path, Slow(), story)


def test_a_commit_that_was_not_renamed_is_refused(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        session = await bench.signs_in()
        with pytest.raises(SessionGone):
            await bench.asks("commit", session=str(session), decision="permit", photos=1)
        assert session in bench.keys.sessions()

    play(tmp_path, Starter(), story)


def test_a_session_that_lost_its_key_is_not_resumed(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        session = await bench.signs_in()
        bench.keys.forget(session)
        with pytest.raises(SessionGone):
            await bench.asks("resume", session=str(session))

    play(tmp_path, Starter(), story)


def test_a_restart_goes_on_and_forgets_keys_without_sessions(tmp_path: Path) -> None:
    async def whole() -> None:
        bench = Bench(tmp_path, Starter())
        session = await bench.commits()
        stray = uuid4()
        bench.keys.issue(stray)
        bench.make()
        async with running(bench):
            await until(lambda: bench.starter.delivered == [session])
            await until(lambda: stray not in bench.keys.sessions())
        bench.keys.close()

    asyncio.run(whole())


def test_a_ui_finds_its_session_again_after_a_restart(tmp_path: Path) -> None:
    async def whole() -> None:
        bench = Bench(tmp_path, Starter())
        session = await bench.signs_in()
        bench.spool.begin(session)
        bench.make()
        async with running(bench):
            assert await bench.asks("resume", session=str(session)) == {"stage": "open"}
            with pytest.raises(SessionGone):
                await bench.asks("resume", session=str(uuid4()))
        bench.keys.close()

    asyncio.run(whole())


def test_resume_knows_how_far_a_committed_session_got(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        session = await bench.commits()
        await until(lambda: "delivered" in bench.peer.stages())
        answer = await bench.asks("resume", session=str(session))
        assert answer["stage"] == "delivered"
        assert answer["receipt"]["id"] == "R-7K4M-2QHD"

    play(tmp_path, Starter(), story)


def test_a_committed_session_is_delivered_only_where_that_is_written_down(tmp_path: Path) -> None:
    """Killed after the wipe, before the news: the screen must say neither less nor more than what is true."""

    async def whole() -> None:
        bench = Bench(tmp_path, Starter())
        session = uuid4()
        bench.make(frozenset([session]))
        async with running(bench):
            answer = await bench.asks("resume", session=str(session), committed=True)
            assert answer["stage"] == "delivered"
            with pytest.raises(SessionGone):
                await bench.asks("resume", session=str(uuid4()), committed=True)
        bench.keys.close()

    asyncio.run(whole())


def test_a_committed_session_that_somebody_takes_away_is_reported(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        session = await bench.commits()
        await until(lambda: bench.starter.delivered == [session])
        bench.spool.forget(session)
        await until(lambda: "parked" in bench.peer.stages())
        assert bench.keys.sessions() == frozenset()

    again = Outcome(Verdict.RETRY, Problem.SERVER_BUSY, retry_after=0.1)
    bench = play(tmp_path, Starter(*[again] * 99), story)
    assert [m["outcome"] for m in map(json.loads, bench.audit.lines())][-1] == "vanished"
    assert "delivered" not in bench.peer.stages()


def test_a_key_that_nothing_was_sealed_to_yet_survives_a_restart(tmp_path: Path) -> None:
    async def whole() -> None:
        bench = Bench(tmp_path, Starter())
        session = await bench.signs_in()
        bench.make()
        async with running(bench):
            assert await bench.asks("resume", session=str(session)) == {"stage": "open"}
            await asyncio.sleep(0.2)
            assert session in bench.keys.sessions()
        bench.keys.close()

    asyncio.run(whole())


def test_coming_online_ends_the_pause_at_once(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.commits()
        await until(lambda: bool(bench.starter.delivered))
        bench.uploader._attempts[bench.starter.delivered[0]].due = asyncio.get_running_loop().time() + 999
        bench.online = True
        await until(lambda: "delivered" in bench.peer.stages())

    play(tmp_path, Starter(Outcome(Verdict.RETRY, Problem.UNREACHABLE)), story, online=False)


def test_sign_in_says_no_plainly(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        with pytest.raises(SignInError):
            await bench.asks("sign-in", badge="BADGE-1001", pin="0000")
        with pytest.raises(SignInError):
            await bench.asks("badge", badge="nobody")
        bench.clock = False
        with pytest.raises(ClockError):
            await bench.asks("sign-in", badge="BADGE-1001", pin="2468")
        assert (await bench.asks("hello"))["clock_set"] is False
        assert bench.keys.sessions() == frozenset()

    play(tmp_path, Starter(), story)


def test_a_full_spool_refuses_a_new_session_before_it_starts(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.spool.reserve = bench.spool.capacity + 1
        with pytest.raises(SpoolFull):
            await bench.signs_in()
        assert bench.keys.sessions() == frozenset()

    play(tmp_path, Starter(), story)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"op": "nonsense"},
        {"op": "badge"},
        {"op": "badge", "badge": 7},
        {"op": "badge", "badge": "x" * 300},
        {"op": "resume", "session": "no uuid"},
        {"op": "commit", "session": str(uuid4()), "decision": "maybe"},
        {"op": "directory", "session": str(uuid4())},
    ],
)
def test_nonsense_gets_a_no_and_nothing_else(tmp_path: Path, message: dict[str, Any]) -> None:
    async def story(bench: Bench) -> None:
        with pytest.raises((LinkError, KioskError)):
            await bench.uploader.handle(bench.peer, message)

    play(tmp_path, Starter(), story)


def test_backoff_grows_and_is_capped() -> None:
    backoff = Backoff(2, 60)
    for failures in (0, 3, 10, 5000):
        full = min(60, 2 * 2 ** min(failures, 30))
        assert full / 2 <= backoff.after(failures) <= full


def test_reachable_means_that_somebody_accepts() -> None:
    async def whole() -> tuple[bool, bool]:
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        there = await tcp_reachable("127.0.0.1", port, 2)
        server.close()
        await server.wait_closed()
        return there, await tcp_reachable("127.0.0.1", port, 2)

    assert asyncio.run(whole()) == (True, False)


def test_what_does_not_belong_into_the_spool_is_reported_once(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        (bench.spool.root / "ready" / "OKONKWO").write_bytes(b"x")
        bench.uploader.recover()
        bench.uploader.recover()

    bench = play(tmp_path, Starter(), story)
    reports = [json.loads(line) for line in bench.audit.lines() if b"spool-junk" in line]
    assert [r["count"] for r in reports] == [1]
    assert [line["number"] for line in bench.said() if line["event"] == "spool-junk"] == [1]
    assert "OKONKWO" not in bench.journal.getvalue() + str(bench.audit.lines())
    assert (bench.spool.root / "ready" / "OKONKWO").exists()


def test_a_committed_session_is_moved_out_of_the_screens_reach(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        session = await bench.commits()
        assert [p.name for p in (bench.spool.root / "sending").iterdir()] == [str(session)]
        assert not list((bench.spool.root / "ready").iterdir())

    play(tmp_path, Starter(Outcome(Verdict.RETRY, Problem.UNREACHABLE)), story)


def test_how_a_patient_was_found_goes_into_the_audit_and_nothing_else(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        session = await bench.signs_in()
        assert await bench.asks("match", session=str(session), match="list") == {}
        for wrong in ("9991230009", "", 7, None):
            with pytest.raises(LinkError):
                await bench.asks("match", session=str(session), match=wrong)
        with pytest.raises(SessionGone):
            await bench.asks("match", session=str(uuid4()), match="typed")

    bench = play(tmp_path, Starter(), story)
    entries = [json.loads(line) for line in bench.audit.lines()]
    found = [(x["outcome"], x["operator"]) for x in entries if x["action"] == "patient-confirmed"]
    assert found == [("list", "apatel")]


def test_the_operator_comes_with_what_the_server_knows_them_by(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        answer = await bench.asks("sign-in", badge="BADGE-1001", pin="2468")
        assert answer["operator"] == {
            "id": "apatel",
            "name": "A. Patel RN",
            "reference": None,
            "identifier": {"system": "urn:staff", "value": "4711"},
        }

    play(tmp_path, Starter(), story)


def actions(bench: Bench) -> list[str]:
    return [json.loads(line)["action"] for line in bench.audit.lines()]


@pytest.mark.parametrize("unlinked", [False, True])
def test_killed_between_the_proof_and_the_forgetting(tmp_path: Path, unlinked: bool) -> None:
    """Delivered is written down: the next uploader forgets the rest, sends nothing, destroys nothing."""

    async def whole() -> None:
        bench = Bench(tmp_path, Starter())
        session = await bench.commits()
        if unlinked:
            bench.spool.forget(session)
        bench.make(frozenset([session]))
        async with running(bench):
            await asyncio.sleep(0.3)
        assert bench.spool.ready() == []
        assert bench.keys.sessions() == frozenset()
        assert bench.starter.delivered == []
        assert "session-destroyed" not in actions(bench)
        bench.keys.close()

    asyncio.run(whole())


def test_what_is_put_back_after_the_delivery_is_parked_not_wiped_away(tmp_path: Path) -> None:
    async def whole() -> None:
        bench = Bench(tmp_path, Starter())
        session = uuid4()
        bench.spool.begin(session)
        bench.spool.commit(session)
        bench.make(frozenset([session]))
        async with running(bench):
            await until(lambda: bench.spool.parked() == {session: "key-lost"})
        assert "parked" in actions(bench)
        bench.keys.close()

    asyncio.run(whole())


# --- receipts ------------------------------------------------------------------------------------


def test_who_asks_for_a_receipt_is_on_the_audit(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        session = await bench.signs_in()
        assert await bench.asks_for(session, "r 7k4m 2qhd") == {}
        (entry,) = bench.entries("receipt-asked")
        assert (entry["session"], entry["operator"], entry["outcome"]) == (
            str(session),
            "apatel",
            "r-7k4m-2qhd",
        )
        with pytest.raises(LinkError):
            await bench.asks_for(session, "9991230009")
        with pytest.raises(SessionGone):
            await bench.asks_for(uuid4(), "R-7K4M-2QHD")
        assert len(bench.entries("receipt-asked")) == 1

    play(tmp_path, Starter(), story)


def test_a_receipt_whose_session_is_still_here_is_not_looked_up(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        waiting = await bench.commits()
        await until(lambda: bench.said()[-1]["event"] == "delivery-put-off")
        operator = await bench.signs_in()
        with pytest.raises(KioskError) as caught:
            await bench.asks_for(operator, receipt_id(waiting))
        assert caught.value.problem is Problem.RECEIPT_WAITING
        bench.spool.park(waiting, "rejected")
        with pytest.raises(KioskError) as caught:
            await bench.asks_for(operator, receipt_id(waiting))
        assert caught.value.problem is Problem.RECEIPT_WAITING

    later = Outcome(Verdict.RETRY, Problem.NOT_LET_IN, retry_after=60.0)
    play(tmp_path, Starter(later), story)


@pytest.mark.parametrize(
    ("decision", "action"), [("withdraw", "withdrawn-by-receipt"), ("wrong-patient", "wrong-patient")]
)
def test_a_correction_is_on_the_audit_with_its_receipt(tmp_path: Path, decision: str, action: str) -> None:
    async def story(bench: Bench) -> None:
        session = await bench.signs_in()
        bench.spool.begin(session)
        bench.spool.add(session, 0, "correction", session, b"sealed")
        bench.spool.commit(session)
        await bench.asks("commit", session=str(session), decision=decision, photos=2, receipt="R-7K4M-2QHD")
        (entry,) = bench.entries(action)
        assert (entry["operator"], entry["count"], entry["outcome"]) == ("apatel", 2, "r-7k4m-2qhd")
        await until(lambda: "delivered" in bench.peer.stages())

    play(tmp_path, Starter(), story)
