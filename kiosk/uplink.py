"""The ui's end of the link: stays connected to the uploader, and turns its news into the inbox's words."""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from kiosk import events as e
from kiosk.errors import KioskError, LinkError, Problem
from kiosk.link import Caller, Message
from kiosk.model import QueueStatus, Receipt, Stage

Inbox = queue.SimpleQueue[e.Event | QueueStatus]
"""What the drawing thread empties at each turn."""

T = TypeVar("T")

RECONNECT_S = 0.3
"""Pause between two tries to find the uploader."""
RESTART_S = 4.0
"""How long a question waits for an uploader that is away."""


class Uplink:
    """Keeps one connection to the uploader, for ever.

    Questions wait RESTART_S for an uploader that is away, then raise LinkError.
    """

    def __init__(self, path: Path, inbox: Inbox) -> None:
        self._path = path
        self._inbox = inbox
        self._caller: Caller | None = None
        self._status = QueueStatus()
        self._told: QueueStatus | None = None
        self._session: UUID | None = None
        self._committed = False
        self._lost = threading.Event()
        self._connected = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._stay_connected, name="uplink", daemon=True)

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._thread.start()

    def close(self) -> None:
        """Hang up for good."""
        self._closed.set()
        self._lost.set()
        caller = self._caller
        if caller is not None:
            caller.close()
        self._thread.join(2)

    def watch(self, session: UUID | None, *, committed: bool = False) -> None:
        """From now on this session is asked about whenever the uploader comes back."""
        self._session, self._committed = session, committed

    def ask(self, op: str, *, timeout: float = 5.0, **arguments: Any) -> Message:
        """Ask the uploader. Raises KioskError for a no, LinkError while it is away."""
        return self._present().ask(op, timeout=timeout, **arguments)

    def ask_for_socket(self, op: str, *, timeout: float, **arguments: Any) -> tuple[Message, Caller]:
        """Ask something whose answer brings a socket to another process."""
        caller = self._present()
        answer = caller.ask(op, timeout=timeout, **arguments)
        descriptor = caller.take_descriptor()
        os.set_inheritable(descriptor, False)
        try:
            return answer, Caller(socket.socket(fileno=descriptor))
        except OSError:
            os.close(descriptor)
            raise LinkError("the descriptor is no socket") from None

    def _present(self) -> Caller:
        """The connection, waiting a moment for an uploader that is just being restarted."""
        self._connected.wait(RESTART_S)
        caller = self._caller
        if caller is None or not caller.alive:
            raise LinkError("not connected")
        return caller

    def _stay_connected(self) -> None:
        while not self._closed.is_set():
            self._lost.clear()
            try:
                caller = Caller.connect(self._path, on_news=self._news, on_lost=self._lost.set)
            except LinkError:
                self._say_away()
                self._closed.wait(RECONNECT_S)
                continue
            self._greet(caller)
            self._caller = caller
            self._connected.set()
            self._lost.wait()
            self._connected.clear()
            self._caller = None
            caller.close()
            if not self._closed.is_set():
                self._say_away()

    def _say_away(self) -> None:
        """What waited a moment ago still waits: the counts stay on the screen."""
        away = replace(self._status, uploader=False)
        if away != self._told:
            self._told = away
            self._inbox.put(away)

    def _say(self, message: Message) -> None:
        with _understood():
            self._status = self._told = _status(message)
        self._inbox.put(self._status)

    def _greet(self, caller: Caller) -> None:
        session = self._session
        try:
            self._say(caller.ask("hello"))
            if session is not None:
                answer = caller.ask("resume", session=str(session), committed=self._committed)
                if answer.get("stage") != "open":
                    self._delivery({**answer, "session": str(session)})
        except LinkError:
            caller.close()
        except KioskError as error:
            if error.problem is Problem.SESSION_GONE:
                self._inbox.put(e.Failed(error.problem, lasting=True))

    def _news(self, message: Message) -> None:
        match message.get("news"):
            case "status":
                self._say(message)
            case "delivery":
                self._delivery(message)

    def _delivery(self, message: Message) -> None:
        if self._session is None or message.get("session") != str(self._session):
            return
        problem = message.get("problem")
        with _understood():
            changed = e.DeliveryChanged(
                Stage(message["stage"]),
                None if problem is None else Problem.from_code(problem),
                _receipt(message.get("receipt")),
            )
        self._inbox.put(changed)


@contextmanager
def _understood() -> Iterator[None]:
    """Nonsense ends the connection, as babble does, and not the thread that reads it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError):
        raise LinkError("news that makes no sense") from None


def _status(message: Message) -> QueueStatus:
    return QueueStatus(
        waiting=_typed(int, message["waiting"]),
        parked=_typed(int, message["parked"]),
        online=None if message["online"] is None else _typed(bool, message["online"]),
        clock_set=_typed(bool, message["clock_set"]),
    )


def _typed(kind: type[T], value: object) -> T:
    if type(value) is not kind:
        raise TypeError
    return value


def _receipt(message: Message | None) -> Receipt | None:
    if message is None:
        return None
    return Receipt(
        _typed(str, message["id"]),
        UUID(message["session"]),
        _typed(int, message["photos"]),
        _typed(str, message["destination"]),
        datetime.fromisoformat(message["delivered_at"]),
    )
