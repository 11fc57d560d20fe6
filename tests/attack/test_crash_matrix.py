"""kill -9 at every step between shutter and receipt: destroyed and audited, or delivered exactly once."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.attack.crash_cases import COMMIT, DELIVERY, UI, Case, cases_for_run
from tests.attack.watched import Interrupted, WatchedDemo
from tests.flow.story import CONSENT, PATIENT, PHOTO, SEND, SIGN_IN, SITE, events

ONE = Counter({"DocumentReference": 2, "Binary": 1, "Consent": 3, "Provenance": 1})
"""One session with one photograph at the server: the form and the photograph, and what belongs to them."""

RECEIPT = """
expect "The record gave back exactly what was sent"
tap "Done"
wait LOCKED
"""


class Kiosks:
    """Running kiosks, used by one test after the other: the next test is the next patient."""

    def __init__(self) -> None:
        self._idle: dict[bool, WatchedDemo] = {}
        self._stack = ExitStack()

    def take(self, update_create: bool = True) -> WatchedDemo:
        """A kiosk that is locked. It comes back with `give_back`, or, after a failure, never."""
        demo = self._idle.pop(update_create, None)
        return demo or self._stack.enter_context(WatchedDemo(update_create=update_create))

    def give_back(self, demo: WatchedDemo) -> None:
        self._idle[demo.server.store.update_create] = demo

    def close(self) -> None:
        """After the last test its patient is followed by one more, whom nobody disturbs."""
        with self._stack:
            for demo in self._idle.values():
                demo.play(SIGN_IN, PATIENT, CONSENT, SITE)
                session, before = opened(demo), demo.counts()
                until_proven(demo, session)
                outcome(demo, session, before, committed=True)


@pytest.fixture(scope="session")
def kiosks() -> Iterator[Kiosks]:
    kiosks = Kiosks()
    yield kiosks
    kiosks.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", recorded(metafunc.config), ids=str)
    if "ids_case" in metafunc.fixturenames:
        under_way = [c for c in recorded(metafunc.config) if ": after sendall in fhir." in c.step]
        metafunc.parametrize("ids_case", under_way, ids=str)


def recorded(config: pytest.Config) -> list[Case]:
    """The list of this test run."""
    cache = config.cache
    assert cache is not None
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"alone-{os.getpid()}")
    directory = cache.mkdir("crash-matrix")
    for old in directory.glob("*.json"):
        if old.stem != run:
            old.unlink(missing_ok=True)
    return cases_for_run(directory / f"{run}.json")


@pytest.fixture(autouse=True)
def command(request: pytest.FixtureRequest) -> None:
    """A failure shows what was printed."""
    print(f"this one alone: PYTHONWARNINGS=error .venv/bin/python -m pytest '{request.node.nodeid}'")


def test_a_kill_at_any_step_has_no_third_outcome(case: Case, kiosks: Kiosks) -> None:
    demo = kiosks.take()
    interrupt(demo, case)
    kiosks.give_back(demo)


def interrupt(demo: WatchedDemo, case: Case) -> None:
    """Play one session with the kill in it, to one of its two outcomes."""
    ended = len(events(demo, "process-ended"))
    demo.play(SIGN_IN, PATIENT, CONSENT, SITE)
    session, before = opened(demo), demo.counts()
    demo.calm()
    demo.plan(case.step, case.victims)
    with suppress(Interrupted):
        until_proven(demo, session)
    assert demo.wait_until(demo.hit, 5), "the step was not reached"
    committed = UI not in case.victims or was_committed(demo, case)
    outcome(demo, session, before, committed=committed)
    killed = [v for v in case.victims if v != DELIVERY]
    assert demo.wait_until(lambda: len(events(demo, "process-ended")) == ended + len(killed))


def test_the_same_where_the_server_chooses_the_ids(ids_case: Case, kiosks: Kiosks) -> None:
    """Killed with a request under way, at a server that lets nobody choose the id of a Binary."""
    demo = kiosks.take(update_create=False)
    interrupt(demo, ids_case)
    kiosks.give_back(demo)


@pytest.mark.parametrize("update_create", [True, False])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_answers_that_are_lost_after_the_server_has_it(
    times: int, update_create: bool, kiosks: Kiosks
) -> None:
    demo = kiosks.take(update_create)
    demo.play(SIGN_IN, PATIENT, CONSENT, SITE)
    session, before, asked = opened(demo), demo.counts(), len(demo.server.requests)
    demo.set_fault(f"drop-after-commit times={times} on=POST:/fhir$")
    until_proven(demo, session)
    demo.set_fault("none")
    lost = [r for r in demo.server.requests[asked:] if r.status == 0]
    assert len(lost) == min(times, 2), "one transaction for the consent, one for the photograph"
    outcome(demo, session, before, committed=True)
    kiosks.give_back(demo)


def opened(demo: WatchedDemo) -> str:
    """The session that was opened last."""
    return str(events(demo, "session-opened")[-1]["session"])


def until_proven(demo: WatchedDemo, session: str) -> None:
    """Take the photograph, send it, and wait until the screen says that it is proven."""

    def delivered() -> bool:
        demo.still_played()
        return "delivered" in actions(demo, session)

    demo.play(PHOTO, SEND)
    # Not the journal's receipt: it may have been the step that did not come.
    demo.wait_until(delivered, 40)
    demo.play(RECEIPT)


def was_committed(demo: WatchedDemo, case: Case) -> bool:
    """Whether the ui came past the rename that commits."""
    return case.step != COMMIT and any(seen.step == COMMIT for seen in demo.steps())


def outcome(demo: WatchedDemo, session: str, before: Counter[str], *, committed: bool) -> None:
    """One of the two outcomes, whole; and a kiosk that is ready for the next patient."""
    last = "delivered" if committed else "session-destroyed"
    if not demo.wait_until(lambda: last in actions(demo, session)):
        said = "\n".join(map(json.dumps, demo.events[-25:]))
        pytest.fail(f"{last} is not audited; {demo.failed or 'the kiosk runs'}; it said last:\n{said}")
    assert demo.wait_until(lambda: not demo.files()), f"left in the spool: {demo.files()}"
    assert demo.wait_until(lambda: not any(demo.key_memory())), "something is left of a key"
    assert demo.wait_until(lambda: locked(demo)), f"the screen stays in {demo.state()}"
    demo.calm()
    assert demo.counts() - before == (ONE if committed else Counter())
    assert before - demo.counts() == Counter()
    done = actions(demo, session)
    never = "session-destroyed" if committed else "delivered"
    assert never not in done
    assert done.count(last) == 1
    assert demo.audit_faults() == []
    assert demo.server.crashes == []
    assert demo.failed is None
    demo.plan(None)


def actions(demo: WatchedDemo, session: str) -> list[str]:
    return [entry["action"] for entry in demo.audited(session)]


def locked(demo: WatchedDemo) -> bool:
    """Whether the ui that runs now shows the lock screen."""
    started = events(demo, "state")[-1]
    return demo.state() == "LOCKED" and started.get("pid") == demo._processes["ui"].pid
