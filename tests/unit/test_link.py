"""The link, both ends, with a real Unix socket."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk.errors import KioskError, LinkError, Problem, SessionGone, SignInError
from kiosk.link import MAX_LINE, Answer, Caller, Lines, Message, Peer, Server, encode


class Answering:
    """A server in a thread."""

    def __init__(self, path: Path, group: int | None = None) -> None:
        self.path = path
        self.peers: list[Peer] = []
        self.lost = threading.Event()
        self._server = Server(
            path, self.handle, on_open=self.peers.append, on_lost=lambda _: self.lost.set(), group=group
        )
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Answering:
        self._thread.start()
        while not self.path.exists():
            pass
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(5)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._server.serve())
        await self._task

    async def handle(self, peer: Peer, message: Message) -> Mapping[str, Any]:
        match message.get("op"):
            case "echo":
                return {"text": message["text"]}
            case "refuse":
                raise SignInError(Problem.PIN_WRONG, 3)
            case "gone":
                raise SessionGone
            case "news":
                await peer.send({"news": "status", "waiting": 1})
                return {}
            case "socket":
                ours, theirs = socket.socketpair()
                with theirs:
                    theirs.sendall(b"hello")
                return Answer({}, (ours.detach(),))
            case "slow":
                await asyncio.sleep(30)
        raise LinkError("not a question")


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Answering]:
    with Answering(tmp_path / "link.sock") as server:
        yield server


@pytest.fixture
def caller(answering: Answering) -> Iterator[Caller]:
    caller = Caller.connect(answering.path, on_news=lambda _: None, on_lost=lambda: None)
    yield caller
    caller.close()


def test_answers_come_back(caller: Caller) -> None:
    assert caller.ask("echo", text="Zażółć") == {"text": "Zażółć"}


def test_many_threads_ask_at_once(caller: Caller) -> None:
    got: dict[int, str] = {}

    def ask(n: int) -> None:
        got[n] = caller.ask("echo", text=str(n))["text"]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert got == {n: str(n) for n in range(20)}


def test_a_no_keeps_its_problem_and_tries(caller: Caller) -> None:
    with pytest.raises(SignInError) as caught:
        caller.ask("refuse")
    assert caught.value.problem is Problem.PIN_WRONG
    assert caught.value.tries_left == 3
    with pytest.raises(KioskError) as gone:
        caller.ask("gone")
    assert gone.value.problem is Problem.SESSION_GONE


def test_silence_ends_at_the_deadline(caller: Caller) -> None:
    with pytest.raises(LinkError):
        caller.ask("slow", timeout=0.1)


def test_descriptors_travel(caller: Caller) -> None:
    caller.ask("socket")
    with socket.socket(fileno=caller.take_descriptor()) as sock:
        assert sock.recv(5) == b"hello"


def test_news_arrives(answering: Answering) -> None:
    came = threading.Event()
    caller = Caller.connect(answering.path, on_news=lambda m: came.set(), on_lost=lambda: None)
    caller.ask("news")
    assert came.wait(5)
    caller.close()


def test_both_ends_notice_a_loss(answering: Answering) -> None:
    caller = Caller.connect(answering.path, on_news=lambda _: None, on_lost=lambda: None)
    caller.ask("echo", text="x")
    caller.close()
    assert answering.lost.wait(5)
    with pytest.raises(LinkError):
        caller.ask("echo", text="x")


def test_nobody_there_is_a_link_error(tmp_path: Path) -> None:
    with pytest.raises(LinkError):
        Caller.connect(tmp_path / "none.sock", on_news=lambda _: None, on_lost=lambda: None)


def test_only_the_owner_may_connect(answering: Answering) -> None:
    assert stat.S_IMODE(os.stat(answering.path).st_mode) == 0o600


def test_with_a_group_its_members_may_connect_too(tmp_path: Path) -> None:
    group = os.getgroups()[-1] if os.getgroups() else os.getgid()
    with Answering(tmp_path / "link.sock", group) as answering:
        facts = os.stat(answering.path)
        assert (stat.S_IMODE(facts.st_mode), facts.st_gid) == (0o660, group)


@pytest.mark.parametrize("babble", [b"\n", b"[1]\n", b"{\n", b"\xff\xfe\n", b"x" * (MAX_LINE + 2)])
def test_babble_ends_the_connection_and_nothing_else(
    answering: Answering, caller: Caller, babble: bytes
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bad:
        bad.settimeout(5)
        bad.connect(str(answering.path))
        bad.sendall(babble)
        assert bad.recv(1) == b""
    assert caller.ask("echo", text="still here") == {"text": "still here"}


def test_long_lines_are_refused_before_they_are_sent() -> None:
    with pytest.raises(LinkError):
        encode({"text": "x" * MAX_LINE})


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_bytes_are_messages_or_a_link_error(data: bytes, step: int) -> None:
    lines = Lines()
    try:
        for start in range(0, len(data), step):
            for message in lines.feed(data[start : start + step]):
                assert isinstance(message, dict)
    except LinkError:
        pass
