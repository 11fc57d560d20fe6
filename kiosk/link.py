"""The Unix socket between ui and uploader, both ends: newline-delimited JSON, bounded lines.

    question  {"id": 7, "op": "badge", ...}
    answer    {"id": 7, "ok": {...}}   or   {"id": 7, "problem": "pin-wrong", "tries_left": 3}
    news      {"news": "status", ...}  from the uploader, at any time

The answer to `sign-in` carries a file descriptor (SCM_RIGHTS): a socket to the process that looks up
patients for this one session, so that no patient's name passes through the uploader itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kiosk.errors import KioskError, LinkError, Problem, SignInError

MAX_LINE = 64 * 1024
"""Bytes, its line feed included. Longer lines end the connection."""

FDS_MAX = 4
"""Descriptors that may wait to be taken. One comes with an answer; more end the connection."""

SEND_S = 5.0
"""A peer that takes no data for this long is cut off."""

Message = dict[str, Any]
"""One parsed line."""


def encode(message: Mapping[str, Any]) -> bytes:
    """One line. Raises LinkError when it would be longer than MAX_LINE."""
    data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    if len(data) > MAX_LINE:
        raise LinkError("line too long")
    return data


class Lines:
    """Cuts a byte stream into messages."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that are complete now. Raises LinkError for anything but JSON objects."""
        self._rest += data
        lines: list[bytearray] = []
        if b"\n" in data:
            *lines, self._rest = self._rest.split(b"\n")
        if len(self._rest) > MAX_LINE or any(len(line) >= MAX_LINE for line in lines):
            raise LinkError("line too long")
        return [_parse(line) for line in lines]


def _parse(line: bytearray) -> Message:
    try:
        # Decoded here: json would guess UTF-16 and UTF-32 as well.
        message = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise LinkError("not a JSON object")
    return message


def failure(error: KioskError) -> Message:
    """The part of an answer that says no."""
    answer: Message = {"problem": error.problem.code, "retryable": error.retryable}
    if isinstance(error, SignInError) and error.tries_left is not None:
        answer["tries_left"] = error.tries_left
    return answer


# --- the asking end ------------------------------------------------------------------------


class Caller:
    """Asks questions over a connected socket and waits for their answers. Thread safe.

    on_news is called in the reading thread for every line without an id; on_lost once, when the other
    end is gone. Both must return quickly.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        on_news: Callable[[Message], None] = lambda _: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._sock = sock
        # Sends only: the reading thread waits as long as it likes (socket(7), a struct timeval).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(SEND_S), 0))
        self._sending = threading.Lock()
        self._on_news = on_news
        self._on_lost = on_lost
        self._answered = threading.Condition()
        self._answers: dict[int, Message] = {}
        self._descriptors: list[int] = []
        self._waiting: set[int] = set()
        self._next = 1
        self._open = True
        self._reader = threading.Thread(target=self._read, name="link", daemon=True)
        self._reader.start()

    @classmethod
    def connect(
        cls, path: Path, *, on_news: Callable[[Message], None], on_lost: Callable[[], None]
    ) -> Caller:
        """Connect to the uploader's socket. Raises LinkError when nobody listens."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(path))
        except OSError as e:
            sock.close()
            raise LinkError("nobody listens") from e
        return cls(sock, on_news=on_news, on_lost=on_lost)

    @property
    def alive(self) -> bool:
        """Whether the other end is still there."""
        return self._open

    def ask(self, op: str, *, timeout: float = 5.0, **arguments: Any) -> Message:
        """Return the answer's "ok" part. Raises SignInError or KioskError for a no, LinkError for silence."""
        with self._answered:
            if not self._open:
                raise LinkError("not connected")
            number, self._next = self._next, self._next + 1
        line = encode({"id": number, "op": op, **arguments})
        with self._answered:
            self._waiting.add(number)
        self._send(line)
        answer = self._wait(number, timeout)
        ok = answer.get("ok")
        if isinstance(ok, dict):
            return ok
        raise _error(answer)

    def _send(self, line: bytes) -> None:
        """Send a whole line, or hang up: half of one would spoil all that follow."""
        try:
            with self._sending:
                self._sock.sendall(line)
        except OSError as e:
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            raise LinkError("cannot send") from e

    def take_descriptor(self) -> int:
        """The file descriptor that came with the last answer; the caller owns it now."""
        with self._answered:
            if not self._descriptors:
                raise LinkError("no descriptor came")
            return self._descriptors.pop()

    def close(self) -> None:
        """Hang up."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            # Already gone: nothing to hang up.
            self._open = False
        if threading.current_thread() is not self._reader:
            self._reader.join(2)

    def _wait(self, number: int, timeout: float) -> Message:
        with self._answered:
            arrived = self._answered.wait_for(lambda: number in self._answers or not self._open, timeout)
            self._waiting.discard(number)
            if not arrived or number not in self._answers:
                raise LinkError("no answer")
            return self._answers.pop(number)

    def _read(self) -> None:
        lines = Lines()
        try:
            while True:
                data, fds, _, _ = socket.recv_fds(self._sock, MAX_LINE, FDS_MAX)
                with self._answered:
                    self._descriptors += fds
                    if len(self._descriptors) > FDS_MAX:
                        raise LinkError("descriptors that nobody asked for")
                if not data:
                    break
                for message in lines.feed(data):
                    self._sort(message)
        except (OSError, LinkError):
            # A torn connection and a babbling peer end the same way: the link is lost.
            self._open = False
        with self._answered:
            self._open = False
            for fd in self._descriptors:
                os.close(fd)
            self._descriptors.clear()
            self._answered.notify_all()
        self._sock.close()
        self._on_lost()

    def _sort(self, message: Message) -> None:
        if "id" not in message:
            self._on_news(message)
            return
        number = _number(message)
        with self._answered:
            # An answer that nobody waits for any more is dropped, not hoarded.
            if number in self._waiting:
                self._answers[number] = message
                self._answered.notify_all()


def _number(message: Message) -> int:
    """What ties an answer to its question. Raises LinkError where it is no number."""
    number = message.get("id")
    if type(number) is not int:
        raise LinkError("id is not a number")
    return number


def _error(answer: Message) -> KioskError:
    if "problem" not in answer:
        return LinkError("neither a yes nor a no")
    problem = Problem.from_code(str(answer.get("problem")))
    if problem in (Problem.BADGE_UNKNOWN, Problem.PIN_WRONG, Problem.LOCKED_OUT):
        tries = answer.get("tries_left")
        return SignInError(problem, tries if isinstance(tries, int) else None)
    error = KioskError(problem=problem)
    error.retryable = bool(answer.get("retryable"))
    return error


# --- the answering end ---------------------------------------------------------------------


class Peer:
    """One connection, seen from the answering end. Everything runs in the event loop."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sending = asyncio.Lock()

    async def send(self, message: Mapping[str, Any], fds: tuple[int, ...] = ()) -> None:
        """Send one line, with descriptors. A peer that is gone is not an error here: reading ends it."""
        data = encode(message)
        async with self._sending:
            loop = asyncio.get_running_loop()
            try:
                # A peer that does not read must not hold up the others' news.
                async with asyncio.timeout(SEND_S):
                    while data:
                        try:
                            sent = socket.send_fds(self._sock, [data], list(fds))
                        except BlockingIOError:
                            await _writable(loop, self._sock)
                            continue
                        data, fds = data[sent:], ()
            except TimeoutError:
                # Half a line may be out: nothing that follows would make sense.
                self._hang_up()
            except OSError:
                return

    async def close(self) -> None:
        """Hang up. A message that is just being sent fails first: it waits on this very socket."""
        self._hang_up()
        async with self._sending:
            self._sock.close()

    def _hang_up(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)


async def _writable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    ready = loop.create_future()
    loop.add_writer(sock, _mark, ready)
    try:
        await ready
    finally:
        loop.remove_writer(sock)


def _mark(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class Answer(dict[str, Any]):
    """An "ok" part that hands descriptors over. They are closed here once they are sent."""

    def __init__(self, ok: Mapping[str, Any], fds: tuple[int, ...] = ()) -> None:
        super().__init__(ok)
        self.fds = fds


Handler = Callable[[Peer, Message], Awaitable[Mapping[str, Any]]]


class Server:
    """Listens on a Unix socket that only this user, members of `group` where one is given, and root open."""

    def __init__(
        self,
        path: Path,
        handler: Handler,
        *,
        on_open: Callable[[Peer], None],
        on_lost: Callable[[Peer], None],
        group: int | None = None,
    ) -> None:
        self._path = path
        self._group = group
        self._handler = handler
        self._on_open = on_open
        self._on_lost = on_lost
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            # Its name appears when it listens and only those may connect who should, not a moment before.
            unready = self._path.with_name(self._path.name + ".new")
            unready.unlink(missing_ok=True)
            listener.bind(str(unready))
            if self._group is not None:
                os.chown(unready, -1, self._group)
            unready.chmod(0o600 if self._group is None else 0o660)
            listener.setblocking(False)
            listener.listen(4)
            unready.rename(self._path)
            try:
                while True:
                    sock, _ = await loop.sock_accept(listener)
                    sock.setblocking(False)
                    task = loop.create_task(self._converse(sock))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _converse(self, sock: socket.socket) -> None:
        peer = Peer(sock)
        self._on_open(peer)
        try:
            await answer_all(sock, peer, self._handler)
        finally:
            self._on_lost(peer)
            await peer.close()


async def answer_all(sock: socket.socket, peer: Peer, handler: Handler) -> None:
    """Answer every question on `sock` until the other end hangs up or babbles."""
    loop = asyncio.get_running_loop()
    lines = Lines()
    while True:
        try:
            data = await loop.sock_recv(sock, MAX_LINE)
            questions = [(_number(message), message) for message in lines.feed(data)]
        except (OSError, LinkError):
            return
        if not data:
            return
        for number, message in questions:
            await _answer(peer, number, message, handler)


async def _answer(peer: Peer, number: int, message: Message, handler: Handler) -> None:
    fds: tuple[int, ...] = ()
    try:
        ok = await handler(peer, message)
        fds = ok.fds if isinstance(ok, Answer) else ()
        await peer.send({"id": number, "ok": dict(ok)}, fds)
    except KioskError as e:
        await peer.send({"id": number, **failure(e)})
    finally:
        for fd in fds:
            os.close(fd)
