"""The link between ui and uploader, both ends, against a peer that sends, and reads, whatever it likes."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk import link
from kiosk.errors import KioskError, LinkError
from kiosk.link import MAX_LINE, Answer, Caller, Lines, Message, Peer, Server, encode
from kiosk.questions import decision_of, text_of, uuid_of
from kiosk.uplink import Uplink
from tests.attack.fuzz import (
    MARKER,
    assert_silent,
    bounded,
    budget,
    deep,
    descriptors,
    json_values,
    mutated,
    texts,
)

SESSION = UUID(int=7, version=4)
QUESTION = encode({"id": 7, "op": "echo", "text": MARKER})
ANSWER = encode({"id": 1, "ok": {"stage": "open", "name": MARKER}})
NEWS = encode({"news": "status", "waiting": 1, "parked": 0, "online": None, "clock_set": True})

lines = st.one_of(
    json_values.map(lambda value: json.dumps(value).encode() + b"\n"),
    st.dictionaries(
        st.sampled_from(["id", "ok", "op", "text", "problem", "news", "tries_left"]), json_values
    ).map(lambda value: json.dumps(value).encode() + b"\n"),
    mutated(QUESTION),
    mutated(ANSWER),
    mutated(NEWS),
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"\n",
            b"\0" * 50 + b"\n",
            b"x" * (MAX_LINE + 1),
            b"x" * (MAX_LINE - 1) + b"\n",
            b'{"a":"' + b"x" * (MAX_LINE + 10) + b'"}\n',
            b"[" * 60_000 + b"\n",
            b'{"id":' + deep(b"[", b"]", 700) + b"}\n",
            b'{"id":1,"op":"echo","text":' + deep(b'{"a":', b"}", 900) + b"}\n",
            b'{"id":[1]}\n{"id":{}}\n',
            b'{"id":1,"ok":5}\n',
            b'{"id":1,"ok":[[1,2]]}\n',
            b'{"id":1,"problem":{"x":[]}}\n',
            b'{"id":1e999}\n{"id":' + b"9" * 4000 + b"}\n",
            json.dumps({"id": 1, "ok": {}}).encode("utf-16") + b"\n",
            "\ufeff{}\n".encode(),
            b"{}\n" * 5000,
        ]
    ),
)
streams = st.lists(lines, min_size=1, max_size=5).map(b"".join)


def read_all(data: bytes, step: int) -> tuple[list[Message], bool]:
    """Every message up to the fault, and whether there was one."""
    cutter, found = Lines(), []
    for start in range(0, len(data), step):
        try:
            found += cutter.feed(data[start : start + step])
        except LinkError as error:
            assert_silent(error)
            return found, True
    return found, False


@budget(300)
@given(streams, st.integers(1, 90_000))
def test_lines_are_objects_or_a_link_error(data: bytes, step: int) -> None:
    with bounded(megabytes=16):
        found, fault = read_all(data, max(step, len(data) // 500))
    assert all(type(message) is dict for message in found)
    # Where the stream was cut does not matter, but for what comes in one piece with the fault.
    with bounded():
        at_once, fault_at_once = read_all(data, len(data) + 1)
    assert fault == fault_at_once
    assert fault or repr(found) == repr(at_once)


# --- the answering end ------------------------------------------------------------------------


class Answering:
    """The server in a thread, with a handler that checks its question as the uploader does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.peers: set[Peer] = set()
        self.faults: list[str] = []
        self.server = Server(path, self.handle, on_open=self.peers.add, on_lost=self.peers.discard)
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()))

    def __enter__(self) -> Answering:
        self.thread.start()
        while not self.path.exists():
            time.sleep(0.001)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.task.cancel)
        self.thread.join(20)
        assert not self.thread.is_alive()

    async def serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(lambda _, context: self.faults.append(repr(context)))
        self.task = self.loop.create_task(self.server.serve())
        with suppress(asyncio.CancelledError):
            await self.task

    async def handle(self, peer: Peer, message: Message) -> Mapping[str, Any]:
        match message.get("op"):
            case "echo":
                return {"text": text_of(message, "text")}
            case "session":
                return {"session": str(uuid_of(message))}
            case "decision":
                return {"decision": decision_of(message).value}
            case "socket":
                ours, theirs = socket.socketpair()
                theirs.close()
                return Answer({}, (ours.detach(),))
            case "huge":
                return Answer({"text": "x" * MAX_LINE}, (os.open(os.devnull, os.O_RDONLY),))
        raise LinkError("not a question")

    def flood(self, seconds: float) -> None:
        """Send news to everybody for so long, whether they read or not."""

        async def news() -> None:
            until = self.loop.time() + seconds
            while self.loop.time() < until:
                for peer in list(self.peers):
                    await peer.send({"news": "x" * 1000})
                await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(news(), self.loop).result(seconds + 20)

    def works(self) -> None:
        caller = Caller.connect(self.path, on_news=lambda _: None, on_lost=lambda: None)
        try:
            assert caller.ask("echo", text="still here", timeout=20) == {"text": "still here"}
        finally:
            caller.close()
        assert self.faults == []


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answering]:
    with Answering(tmp_path_factory.mktemp("link") / "l.sock") as server:
        yield server


questions = st.dictionaries(
    st.sampled_from(["id", "op", "text", "session", "decision"]),
    json_values
    | st.sampled_from([1, "echo", "session", "decision", "socket", "huge", str(SESSION), "permit", MARKER]),
).map(lambda value: json.dumps({"id": 1, **value}).encode() + b"\n")


@budget(120)
@given(
    data=streams | st.lists(questions, max_size=20).map(b"".join), fds=st.integers(0, 4), read=st.booleans()
)
def test_whatever_one_peer_sends_the_server_answers_the_next(
    answering: Answering, data: bytes, fds: int, read: bool
) -> None:
    with bounded(), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bad, ExitStack() as undo:
        bad.settimeout(15)
        bad.connect(str(answering.path))
        given_away = [undo.enter_context(open(os.devnull)).fileno() for _ in range(fds)]
        with suppress(OSError):
            # Less than all may be taken: the rest follows without descriptors.
            sent = socket.send_fds(bad, [data], given_away) if data else 0
            bad.sendall(data[sent:])
            bad.shutdown(socket.SHUT_WR)
            while read and bad.recv(65536):
                pass
    answering.works()


def test_no_descriptor_is_left(answering: Answering) -> None:
    answering.works()
    before = descriptors()
    for op in ("socket", "huge", "nonsense"):
        for _ in range(20):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bad:
                bad.connect(str(answering.path))
                with open(os.devnull) as null:
                    socket.send_fds(bad, [encode({"id": 1, "op": op})], [null.fileno()] * 4)
    end = time.monotonic() + 20
    while descriptors() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert descriptors() <= before
    answering.works()


def test_thousands_of_small_questions_are_all_answered(answering: Answering) -> None:
    count, got = 5000, bytearray()
    with bounded(60), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(30)
        sock.connect(str(answering.path))
        data = b"".join(encode({"id": n, "op": "echo", "text": ""}) for n in range(count))
        thread = threading.Thread(target=sock.sendall, args=(data,))
        thread.start()
        while got.count(b"\n") < count:
            got += sock.recv(65536)
        thread.join()
    assert [json.loads(line)["id"] for line in got.splitlines()] == list(range(count))


@pytest.mark.parametrize("hang_up", [True, False])
def test_a_peer_that_does_not_read_holds_nobody_up_for_long(
    answering: Answering, monkeypatch: pytest.MonkeyPatch, hang_up: bool
) -> None:
    """One that hangs up in the middle of a message, and one that stays and never reads."""
    monkeypatch.setattr(link, "SEND_S", 0.3)
    with bounded(60), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.connect(str(answering.path))
        timer = threading.Timer(0.1, deaf.close if hang_up else lambda: None)
        timer.start()
        answering.flood(0.6)
        timer.join()
    answering.works()


# --- the asking end ---------------------------------------------------------------------------


@budget(120)
@given(data=streams, fds=st.integers(0, 6), step=st.integers(100, 200_000))
def test_whatever_the_other_end_answers_asking_ends(data: bytes, fds: int, step: int) -> None:
    before = descriptors()
    lost, crashes = threading.Event(), []
    hook, threading.excepthook = threading.excepthook, crashes.append
    ours, theirs = socket.socketpair()
    uplink = Uplink(Path("nowhere"), queue.SimpleQueue())
    uplink.watch(SESSION)
    try:
        with bounded():
            caller = Caller(ours, on_news=uplink._news, on_lost=lost.set)

            def babble() -> None:
                with suppress(OSError), theirs, open(os.devnull) as null:
                    theirs.settimeout(10)
                    theirs.recv(1)
                    for start in range(0, len(data), step):
                        piece = data[start : start + step]
                        sent = socket.send_fds(theirs, [piece], [null.fileno()] * fds)
                        theirs.sendall(piece[sent:])

            thread = threading.Thread(target=babble)
            thread.start()
            try:
                assert type(caller.ask("hello", timeout=10)) is dict
            except KioskError as error:
                assert_silent(error)
            thread.join()
            assert lost.wait(10)
            caller.close()
            assert not caller.alive
    finally:
        threading.excepthook = hook
    assert crashes == []
    assert descriptors() <= before


def test_asking_somebody_who_does_not_read_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "SEND_S", 1.0)
    ours, theirs = socket.socketpair()
    with bounded(60), theirs:
        caller = Caller(ours)
        silences: list[str] = []
        while caller.alive:
            # No answer is waited for: the sending has its own limit.
            with pytest.raises(LinkError) as silence:
                caller.ask("echo", text="x" * 60_000, timeout=0.001)
            silences.append(silence.value.detail)
            caller._reader.join(0.1 if silences[-1] == "cannot send" else 0)
        assert silences[-1] == "cannot send"
        caller.close()


news = st.fixed_dictionaries(
    {"news": st.sampled_from(["status", "delivery", "other"])},
    optional={
        "waiting": json_values,
        "parked": json_values,
        "online": json_values | st.booleans(),
        "clock_set": json_values | st.booleans(),
        "session": st.just(str(SESSION)),
        "stage": json_values | st.sampled_from(["waiting", "sending", "delivered", MARKER]),
        "problem": json_values,
        "receipt": json_values
        | st.fixed_dictionaries(
            {
                "id": json_values | st.just("R-7K4M-2QHD"),
                "session": json_values | st.just(str(SESSION)),
                "photos": json_values | st.just(1),
                "destination": json_values | st.just("fhir"),
                "delivered_at": json_values | st.just("2026-11-24T10:00:00+00:00") | texts,
            }
        ),
    },
)


@budget(400)
@given(news)
def test_news_is_understood_or_ends_the_connection(message: Message) -> None:
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    uplink = Uplink(Path("nowhere"), inbox)
    uplink.watch(SESSION)
    with bounded():
        try:
            uplink._news(message)
        except LinkError as error:
            assert_silent(error)
            assert inbox.empty()


def test_a_descriptor_that_is_no_socket_is_refused(
    answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    before = descriptors()
    caller = Caller(ours)
    uplink = Uplink(Path("nowhere"), queue.SimpleQueue())
    monkeypatch.setattr(uplink, "_present", lambda: caller)

    def answer() -> None:
        theirs.recv(1000)
        with open(os.devnull) as null:
            socket.send_fds(theirs, [encode({"id": 1, "ok": {}})], [null.fileno()])

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(LinkError, match="no socket"):
        uplink.ask_for_socket("directory", timeout=10)
    thread.join()
    assert descriptors() == before
    caller.close()
    theirs.close()
