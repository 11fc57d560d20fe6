"""The uploader: answers the ui's questions, schedules deliveries, proves, forgets.

It holds keys and the schedule only. Photographs, names and consents pass through its short-lived
processes (delivery.py, lookup.py) and never through this one.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol
from uuid import UUID, uuid4

from kiosk.audit import Action, AuditLog
from kiosk.children import LookupProcess
from kiosk.custody import KeyFile
from kiosk.delivery import Outcome, Verdict, receipt_to_message
from kiosk.errors import (
    ClockError,
    KioskError,
    LinkError,
    Problem,
    SealError,
    SessionGone,
    SignInError,
    SpoolError,
)
from kiosk.journal import Journal
from kiosk.link import Answer, Message, Peer
from kiosk.model import Act, Decision, Match, Practitioner, Stage
from kiosk.questions import decision_of, match_of, operator_to_message, receipt_of, text_of, uuid_of
from kiosk.receipts import receipt_id
from kiosk.schedule import Attempt, Backoff
from kiosk.seal import generate_into
from kiosk.spool import Spool
from kiosk.staff import SignIn

RESCAN_S = 5.0
"""The spool is looked at this often even when nobody says that something is ready."""
SWEEP_S = 60.0
"""Between two looks for what does not belong into the spool."""
_OF_THE_SERVER = frozenset(
    {
        *(Problem.UNREACHABLE, Problem.SERVER_BUSY, Problem.NOT_LET_IN, Problem.CONFIG),
        *(Problem.CERTIFICATE, Problem.CLIENT_CERTIFICATE, Problem.CLOCK_DIFFERS),
    }
)
"""What has nothing to do with one session: the next one would meet it too."""
CRASHES = 5
"""A session whose delivery process dies this often in a row is parked."""


_ACTIONS: Mapping[Decision | Act, Action] = MappingProxyType(
    {
        Decision.PERMIT: Action.COMMITTED,
        Decision.DENY: Action.CONSENT_DENIED,
        Decision.WITHDRAWN: Action.CONSENT_WITHDRAWN,
        Act.WITHDRAW: Action.WITHDRAWN_BY_RECEIPT,
        Act.WRONG_PATIENT: Action.WRONG_PATIENT,
    }
)
"""What the audit says of a commit."""


class Starter(Protocol):
    """What starts short-lived processes (children.Children)."""

    async def deliver(self, session: UUID, key: memoryview, on_stage: Callable[[Stage], None]) -> Outcome:
        """Run one delivery attempt to its end."""
        ...

    async def directory(self) -> tuple[int, LookupProcess]:
        """Start a look-up process; the descriptor is for the ui."""
        ...


@dataclass(slots=True)
class OpenSession:
    """A session that the ui works on: who is connected, which process looks patients up."""

    operator: str | None
    peer: Peer | None
    lookup: LookupProcess | None = None


@dataclass(slots=True)
class Parts:
    """What __main__ hands in."""

    spool: Spool
    keys: KeyFile
    sign_in: SignIn
    audit: AuditLog
    journal: Journal
    starter: Starter
    reachable: Callable[[], Coroutine[Any, Any, bool]]
    clock_set: Callable[[], bool]
    backoff: Backoff
    probe_s: float
    suite: str
    delivered: frozenset[UUID] = frozenset()
    """Sessions that an earlier process proved and wrote down, and perhaps did not come to forget."""
    orphan_s: float = 15.0
    """How long an open session waits for its ui after this process was restarted."""
    peers: set[Peer] = field(default_factory=set)


class Uploader:
    """One instance a process; everything runs in one event loop."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._open: dict[UUID, OpenSession] = {}
        self._attempts: dict[UUID, Attempt] = {}
        self._news: dict[UUID, Message] = {}
        self._nudge = asyncio.Event()
        self._look = asyncio.Event()
        self._post: asyncio.Queue[Message] = asyncio.Queue()
        self._online: bool | None = None
        self._junk = 0
        self._tasks: set[asyncio.Task[None]] = set()

    # --- life ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until cancelled. `recover` comes first, before any ui is answered."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._deliver_forever())
            group.create_task(self._look_at_network())
            group.create_task(self._post_news())
            group.create_task(self._sweep_forever())

    def recover(self) -> None:
        """Take over what an earlier process left: directory names and stored keys say all of it."""
        parts = self._parts
        self._sweep()
        # One that has no key left was forgotten whole: what is there under its name now was put there.
        for session in parts.delivered & parts.keys.sessions():
            parts.spool.forget(session)
            parts.keys.forget(session)
        known = set(parts.spool.open_sessions()) | set(parts.spool.ready()) | set(parts.spool.parked())
        for session in parts.spool.parked():
            # IT may have mended what parked it: each start of this process tries it once more.
            parts.spool.unpark(session)
            parts.audit.append(Action.UNPARKED, session=session)
        # A key without a directory: nothing was sealed yet.
        waiting_for_ui = set(parts.spool.open_sessions()) | (parts.keys.sessions() - known)
        for session in waiting_for_ui:
            self._open[session] = OpenSession(None, None)
            self._later(self._destroy_orphan(session))
        if known:
            parts.audit.append(Action.UPLOADER_RESTARTED, count=len(known))
            parts.journal.say("uploader-recovered", waiting=len(parts.spool.ready()))

    async def close(self) -> None:
        """Leave no process behind. What is sealed stays: the next uploader goes on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for held in self._open.values():
            if held.lookup is not None:
                await held.lookup.stop()

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._sweep()

    def _sweep(self) -> None:
        """Remove what killed processes left; report what is not ours, once for as long as it stays."""
        try:
            junk = len(self._parts.spool.sweep())
        except SpoolError as e:
            self._parts.journal.say("sweep-failed", problem=e.problem.code)
            return
        if junk != self._junk and junk:
            self._parts.audit.append(Action.SPOOL_JUNK, count=junk)
            self._parts.journal.say("spool-junk", number=junk)
        self._junk = junk

    def _take(self, session: UUID) -> None:
        """Out of reach for the ui's user. A session that cannot be moved is delivered where it is."""
        with suppress(SpoolError):
            self._parts.spool.take(session)

    async def _destroy_orphan(self, session: UUID) -> None:
        await asyncio.sleep(self._parts.orphan_s)
        held = self._open.get(session)
        if held is not None and held.peer is None:
            await self._destroy(session, "orphan")

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- the ui's questions -----------------------------------------------------------------

    async def handle(self, peer: Peer, message: Message) -> Mapping[str, Any]:
        """Answer one question. Raises KioskError for a no."""
        match message.get("op"):
            case "hello":
                return self._status()
            case "badge":
                return {"name": self._parts.sign_in.badge(text_of(message, "badge"))}
            case "sign-in":
                return await self._sign_in(peer, text_of(message, "badge"), text_of(message, "pin"))
            case "directory":
                return await self._new_lookup(peer, uuid_of(message))
            case "resume":
                return self._resume(peer, uuid_of(message), committed=message.get("committed") is True)
            case "match":
                return self._matched(uuid_of(message), match_of(message))
            case "receipt":
                return self._receipt(peer, uuid_of(message), receipt_of(message))
            case "commit":
                return await self._committed(uuid_of(message), decision_of(message), message)
            case "end":
                await self._destroy(uuid_of(message), "ended")
                return {}
        raise LinkError("not a question")

    def opened(self, peer: Peer) -> None:
        """A ui connected."""
        self._parts.peers.add(peer)

    def lost(self, peer: Peer) -> None:
        """A ui is gone. What it had open is destroyed, unless the rename had made it ready."""
        self._parts.peers.discard(peer)
        for session, held in list(self._open.items()):
            if held.peer is peer:
                self._later(self._ui_gone(session))

    async def _ui_gone(self, session: UUID) -> None:
        if session in self._parts.spool.ready():
            # It died between the rename and the word of it: what was decided is sealed, not known here.
            self._take(session)
            self._parts.audit.append(Action.COMMITTED, session=session, outcome="found")
            await self._close(session)
            self._nudge.set()
            return
        await self._destroy(session, "ui-gone")
        self._parts.audit.append(Action.UI_RESTARTED, session=session)

    async def _sign_in(self, peer: Peer, badge: str, pin: str) -> Mapping[str, Any]:
        parts = self._parts
        if not parts.clock_set():
            raise ClockError
        try:
            operator = await asyncio.to_thread(parts.sign_in.check, badge, pin)
        except SignInError as e:
            parts.audit.append(Action.SIGN_IN_REFUSED, outcome=e.problem.code)
            parts.journal.say("sign-in-refused", problem=e.problem.code)
            raise
        parts.spool.check_room()
        return await self._open_session(peer, operator)

    async def _open_session(self, peer: Peer, operator: Practitioner) -> Answer:
        parts = self._parts
        session = uuid4()
        public = generate_into(parts.keys.issue(session))
        try:
            descriptor, lookup = await parts.starter.directory()
        except OSError as e:
            parts.keys.forget(session)
            raise LinkError("no look-up process") from e
        self._open[session] = OpenSession(operator.id, peer, lookup)
        if peer not in parts.peers:
            # The ui went away meanwhile: nobody else would ever end this session.
            os.close(descriptor)
            await self._destroy(session, "ui-gone")
            raise LinkError("the ui is gone")
        parts.audit.append(Action.SIGN_IN, operator=operator.id)
        parts.audit.append(Action.SESSION_OPENED, session=session, operator=operator.id)
        parts.journal.say("session-opened", session=session)
        ok = {
            "session": str(session),
            "operator": operator_to_message(operator),
            "public_key": base64.b64encode(public.to_bytes()).decode(),
            "suite": parts.suite,
        }
        return Answer(ok, (descriptor,))

    def _matched(self, session: UUID, match: Match) -> Mapping[str, Any]:
        """The operator confirmed a patient; how that one was found is all that is known of it here."""
        held = self._open.get(session)
        if held is None:
            raise SessionGone
        self._parts.audit.append(
            Action.PATIENT_CONFIRMED, session=session, operator=held.operator, outcome=match.value
        )
        return {}

    async def _new_lookup(self, peer: Peer, session: UUID) -> Answer:
        """A fresh look-up process for an open session whose first one is gone."""
        held = self._open.get(session)
        if held is None or held.peer is not peer:
            raise SessionGone
        if held.lookup is not None:
            self._later(held.lookup.end())
        descriptor, held.lookup = await self._parts.starter.directory()
        return Answer({}, (descriptor,))

    def _resume(self, peer: Peer, session: UUID, *, committed: bool) -> Mapping[str, Any]:
        """A ui found this process again. Says where its session is, or that it is gone."""
        if session in self._news:
            return self._news[session]
        parked = self._parts.spool.parked()
        if session in parked:
            return self._stage(session, Stage.PARKED, Problem.from_code(parked[session]))
        if session in self._parts.spool.ready():
            return self._stage(session, Stage.WAITING)
        if session in self._parts.delivered:
            return self._stage(session, Stage.DELIVERED)
        held = self._open.get(session)
        if committed or held is None or session not in self._parts.keys.sessions():
            # Committed, and neither there nor delivered: it was taken out of the spool.
            raise SessionGone
        held.peer = peer
        return {"stage": "open"}

    def _receipt(self, peer: Peer, session: UUID, receipt: str) -> Mapping[str, Any]:
        """Note who asks for a receipt; say no where its photographs have not left this kiosk yet."""
        held = self._open.get(session)
        if held is None or held.peer is not peer:
            raise SessionGone
        self._parts.audit.append(
            Action.RECEIPT_ASKED, session=session, operator=held.operator, outcome=receipt.lower()
        )
        here = (*self._parts.spool.ready(), *self._parts.spool.parked())
        if receipt in map(receipt_id, here):
            raise KioskError("still in the spool", problem=Problem.RECEIPT_WAITING)
        return {}

    async def _committed(
        self, session: UUID, decision: Decision | Act, message: Message
    ) -> Mapping[str, Any]:
        parts = self._parts
        held = self._open.get(session)
        if held is None:
            # Heard of after it was found by itself, or even after it was delivered.
            return {}
        if session not in parts.spool.ready():
            raise SessionGone("not renamed")
        self._take(session)
        photos = message.get("photos")
        count = photos if isinstance(photos, int) else 0
        outcome = receipt_of(message).lower() if isinstance(decision, Act) else "ok"
        parts.audit.append(
            _ACTIONS[decision], session=session, operator=held.operator, outcome=outcome, count=count
        )
        await self._close(session)
        self._tell(self._stage(session, Stage.WAITING))
        self._tell_status()
        self._nudge.set()
        return {}

    async def _close(self, session: UUID) -> None:
        held = self._open.pop(session, None)
        if held is not None and held.lookup is not None:
            self._later(held.lookup.end())

    async def _destroy(self, session: UUID, reason: str) -> None:
        """Forget an open session. One that is committed is not touched."""
        parts = self._parts
        known = session in self._open
        await self._close(session)
        if session in parts.spool.ready() or session in parts.spool.parked():
            return
        try:
            gone = parts.spool.destroy(session)
        finally:
            # Without its key nobody opens it, whatever the file system says.
            parts.keys.forget(session)
        if known or gone:
            parts.audit.append(Action.SESSION_DESTROYED, session=session, outcome=reason)
            parts.journal.say("session-destroyed", session=session, reason=reason)

    # --- delivery ---------------------------------------------------------------------------

    async def _deliver_forever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._nudge.clear()
            ready = self._parts.spool.ready()
            for session in self._attempts.keys() - set(ready):
                self._vanished(session)
            for session in ready:
                self._attempts.setdefault(session, Attempt())
            due = [s for s in ready if s not in self._open and self._attempts[s].due <= loop.time()]
            if due:
                # Among those that waited alike, one that keeps failing does not go before the others.
                await self._attempt(min(due, key=self._turn))
                continue
            soonest = min((self._attempts[s].due - loop.time() for s in ready), default=RESCAN_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(max(soonest, 0.05), RESCAN_S)):
                    await self._nudge.wait()

    def _turn(self, session: UUID) -> tuple[int, float]:
        attempt = self._attempts[session]
        return attempt.failures, attempt.due

    async def _attempt(self, session: UUID) -> None:
        parts = self._parts
        loop = asyncio.get_running_loop()

        def on_stage(stage: Stage) -> None:
            parts.journal.say("delivery", session=session, stage=stage.value)
            self._tell(self._stage(session, stage))

        self._take(session)
        try:
            outcome = await parts.starter.deliver(session, parts.keys.view(session), on_stage)
        except SealError as e:
            outcome = Outcome(Verdict.PARK, e.problem)
        except OSError:
            # No process or no descriptor to be had now: the session has no part in that.
            outcome = Outcome(Verdict.RETRY, Problem.SERVER_BUSY)
        attempt = self._attempts[session]
        match outcome.verdict:
            case Verdict.DELIVERED:
                self._delivered(session, outcome)
            case Verdict.PARK:
                self._park(session, outcome.problem or Problem.INTERNAL)
            case Verdict.RETRY:
                crashed = outcome.problem is Problem.DELIVERY_INTERRUPTED
                attempt.crashes = attempt.crashes + 1 if crashed else 0
                if attempt.crashes >= CRASHES:
                    self._park(session, Problem.DELIVERY_INTERRUPTED)
                else:
                    pause = max(parts.backoff.after(attempt.failures), outcome.retry_after or 0.0)
                    attempt.failures += 1
                    problem = outcome.problem or Problem.DELIVERY_INTERRUPTED
                    self._put_off(session, problem, loop.time() + pause)
        self._tell_status()

    def _delivered(self, session: UUID, outcome: Outcome) -> None:
        """Proof in hand: write the audit, unlink, drop the key, tell the screen. In this order."""
        parts = self._parts
        if outcome.receipt is None:
            self._park(session, Problem.INTERNAL)
            return
        receipt = outcome.receipt
        said = "ok" if outcome.problem is None else "not-anchored"
        parts.audit.append(Action.DELIVERED, session=session, outcome=said, count=receipt.photos)
        parts.spool.forget(session)
        parts.keys.forget(session)
        parts.journal.say("wiped", session=session)
        if outcome.problem is not None:
            parts.journal.say("not-anchored", session=session, problem=outcome.problem.code)
        parts.journal.say(
            "receipt",
            session=session,
            receipt=receipt.id,
            photos=receipt.photos,
            destination=receipt.destination,
        )
        self._attempts.pop(session, None)
        news = self._stage(session, Stage.DELIVERED)
        news["receipt"] = receipt_to_message(receipt)
        self._tell(news)

    def _park(self, session: UUID, problem: Problem) -> None:
        parts = self._parts
        with suppress(SpoolError):
            parts.spool.park(session, problem.code)
        parts.audit.append(Action.PARKED, session=session, outcome=problem.code)
        parts.journal.say("parked", session=session, problem=problem.code)
        self._attempts.pop(session, None)
        self._tell(self._stage(session, Stage.PARKED, problem))

    def _vanished(self, session: UUID) -> None:
        """Say that somebody took a committed session out of the spool: that is no delivery."""
        parts = self._parts
        parts.keys.forget(session)
        parts.audit.append(Action.SESSION_DESTROYED, session=session, outcome="vanished")
        parts.journal.say("session-destroyed", session=session, reason="vanished")
        del self._attempts[session]
        self._tell(self._stage(session, Stage.PARKED, Problem.KEY_LOST))
        self._tell_status()

    def _put_off(self, session: UUID, problem: Problem, due: float) -> None:
        self._attempts[session].due = due
        if problem in _OF_THE_SERVER:
            # One server serves all sessions: nobody else hurries it meanwhile.
            for other in self._attempts.values():
                other.due = max(other.due, due)
        if problem is Problem.UNREACHABLE:
            self._look.set()
        self._parts.journal.say("delivery-put-off", session=session, problem=problem.code)
        self._tell(self._stage(session, Stage.WAITING, problem))

    # --- network and news --------------------------------------------------------------------

    async def _look_at_network(self) -> None:
        while True:
            online = await self._parts.reachable()
            if online != self._online:
                self._online = online
                self._parts.journal.say("network", online=online)
                if online:
                    for attempt in self._attempts.values():
                        attempt.due = 0.0
                    self._nudge.set()
                self._tell_status()
            self._look.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._parts.probe_s):
                    await self._look.wait()

    def _status(self) -> Message:
        return {
            "waiting": len(self._parts.spool.ready()),
            "parked": len(self._parts.spool.parked()),
            "online": self._online,
            "clock_set": self._parts.clock_set(),
        }

    def _tell_status(self) -> None:
        self._post.put_nowait({"news": "status", **self._status()})

    def _stage(self, session: UUID, stage: Stage, problem: Problem | None = None) -> Message:
        news: Message = {"session": str(session), "stage": stage.value}
        if problem is not None:
            news["problem"] = problem.code
        return news

    def _tell(self, news: Message) -> None:
        """Post news of one session, and remember the last of it for a ui that comes back."""
        self._news[UUID(news["session"])] = news
        while len(self._news) > 64:
            self._news.pop(next(iter(self._news)))
        self._post.put_nowait({"news": "delivery", **news})

    async def _post_news(self) -> None:
        """One sender, so that news arrives in the order in which it happened."""
        while True:
            news = await self._post.get()
            for peer in list(self._parts.peers):
                await peer.send(news)
