"""The look-up process over its socket, and the conductor that asks it."""

from __future__ import annotations

import asyncio
import io
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, cast
from uuid import UUID

import pytest

from kiosk import events as e
from kiosk.conductor import Conductor, SessionKey
from kiosk.errors import KioskError, LinkError, LookupFailed, Problem
from kiosk.journal import Journal
from kiosk.link import MAX_LINE, Caller, encode
from kiosk.lookup import (
    Find,
    ListVisits,
    list_from_message,
    list_to_message,
    patient_from_message,
    patient_to_message,
    serve,
)
from kiosk.model import HumanName, Identifier, Match, Patient, Visit, VisitList
from kiosk.uplink import Inbox, Uplink
from tests.nouns import NHS, PATIENT

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
WHOLE = replace(
    PATIENT,
    match=Match.LIST,
    merged_from=Identifier(NHS, "9992223332"),
    deceased=True,
    died=date(2026, 2, 3),
    encounter="Encounter/e1",
)
LIST = VisitList((Visit(NOW, True, WHOLE), Visit(None, False, PATIENT)), cut=True)


@pytest.mark.parametrize("patient", [PATIENT, WHOLE])
def test_a_patient_over_the_link(patient: Patient) -> None:
    assert patient_from_message(patient_to_message(patient)) == patient


@pytest.mark.parametrize("listed", [LIST, VisitList()])
def test_a_list_over_the_link(listed: VisitList) -> None:
    assert list_from_message(list_to_message(listed)) == listed


def test_a_list_that_does_not_fit_into_a_line_is_cut_and_says_so() -> None:
    long = HumanName("\u0416" * 200, "\u0416" * 200, "\u0416" * 200)
    visits = tuple(Visit(NOW, False, replace(PATIENT, id=f"p{n}", name=long)) for n in range(100))
    message = list_to_message(VisitList(visits))
    assert len(encode({"id": 123_456, "ok": message})) <= MAX_LINE
    found = list_from_message(message)
    assert found.cut
    assert 5 < len(found.visits) < 100
    assert found.visits == visits[: len(found.visits)]


@contextmanager
def lookup(find: Find, list_visits: ListVisits | None = None) -> Iterator[Caller]:
    """A look-up process, played by a thread."""
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=lambda: asyncio.run(serve(theirs, find, list_visits)))
    thread.start()
    caller = Caller(ours)
    try:
        yield caller
    finally:
        caller.close()
        thread.join(10)
        theirs.close()


def nobody(identifier: str, match: Match) -> tuple[Patient, ...]:
    return ()


def test_questions() -> None:
    with lookup(lambda identifier, match: (replace(PATIENT, match=match),), lambda: LIST) as caller:
        assert caller.ask("find", identifier="1", typed=True)["patients"][0]["match"] == "typed"
        assert list_from_message(caller.ask("list")) == LIST
        with pytest.raises(KioskError) as raised:
            caller.ask("who")
        assert raised.value.problem is Problem.LOOKUP_REFUSED


def test_without_a_place_there_is_no_list() -> None:
    with lookup(nobody) as caller, pytest.raises(KioskError) as raised:
        caller.ask("list")
    assert raised.value.problem is Problem.LIST_REFUSED


# --- the conductor ----------------------------------------------------------------------------


class Uploader:
    """Plays the uplink: starts look-ups, hears what is told."""

    def __init__(self, stack: ExitStack, *lookups: Callable[[], Any]) -> None:
        self._stack = stack
        self._lookups = list(lookups)
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.away = False

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        if self.away:
            raise LinkError("away")
        self.told.append((op, arguments))
        return {}

    def ask_for_socket(self, op: str, **arguments: Any) -> tuple[dict[str, Any], Caller]:
        return {}, self._stack.enter_context(self._lookups.pop(0)())

    def watch(self, session: UUID | None, **more: Any) -> None:
        pass


class Nothing:
    """Plays what these effects do not touch."""

    def close(self) -> None:
        pass


@contextmanager
def conducting(*lookups: Callable[[], Any]) -> Iterator[tuple[Conductor, Inbox, Uploader]]:
    inbox: Inbox = queue.SimpleQueue()
    with ExitStack() as stack:
        uploader = Uploader(stack, *lookups)
        conductor = Conductor(
            inbox=inbox,
            uplink=cast("Uplink", uploader),
            spool=cast("Any", Nothing()),
            capture=cast("Any", Nothing()),
            light=lambda on: None,
            journal=Journal("ui", io.StringIO()),
        )
        conductor.use_key(SessionKey(UUID(int=5), cast("Any", None), cast("Any", None)))
        conductor.start()
        stack.callback(conductor.stop)
        yield conductor, inbox, uploader


def fails(problem: Problem) -> ListVisits:
    def list_visits() -> VisitList:
        raise LookupFailed(problem=problem)

    return list_visits


def test_the_list_is_asked_for_and_comes() -> None:
    with conducting(lambda: lookup(nobody, lambda: LIST)) as (conductor, inbox, _):
        conductor.perform(e.ListVisits())
        assert inbox.get(timeout=10) == e.VisitsListed(LIST)


@pytest.mark.parametrize("problem", [Problem.LIST_UNREACHABLE, Problem.LIST_REFUSED])
def test_a_list_that_fails_is_not_a_failure_of_anything_else(problem: Problem) -> None:
    with conducting(lambda: lookup(nobody, fails(problem))) as (conductor, inbox, _):
        conductor.perform(e.ListVisits())
        assert inbox.get(timeout=10) == e.ListFailed(problem)


def test_a_scan_ends_a_list_that_hangs() -> None:
    hangs, asked = threading.Event(), threading.Event()

    def slow() -> VisitList:
        asked.set()
        hangs.wait(60)
        return LIST

    def found(identifier: str, match: Match) -> tuple[Patient, ...]:
        return (PATIENT,)

    with conducting(lambda: lookup(found, slow), lambda: lookup(found)) as (conductor, inbox, _):
        try:
            conductor.perform(e.ListVisits())
            assert asked.wait(10)
            began = time.monotonic()
            conductor.perform(e.FindPatient("9991230009", False))
            assert inbox.get(timeout=10) == e.ListFailed(Problem.LIST_UNREACHABLE)
            assert inbox.get(timeout=10) == e.PatientsFound((PATIENT,))
            assert time.monotonic() - began < 10, "not after the list's own time"
        finally:
            hangs.set()


def test_what_the_audit_is_told_is_waited_for_by_nobody() -> None:
    with conducting(lambda: lookup(nobody)) as (conductor, inbox, uploader):
        conductor.perform(e.TellMatch(Match.LIST))
        uploader_told = ("match", {"session": str(UUID(int=5)), "match": "list"})
        conductor.perform(e.FindPatient("9991230009", False))
        assert inbox.get(timeout=10) == e.PatientsFound(())
        assert uploader.told == [uploader_told]
        uploader.away = True
        conductor.perform(e.TellMatch(Match.TYPED))
        conductor.perform(e.FindPatient("9991230009", False))
        assert inbox.get(timeout=10) == e.PatientsFound(()), "no Failed before it"
