"""The demo's hand at the ui: a socket over which the player moves fingers, scanner, button and camera.

The ui listens to it only when `[station] demo = true`. Every action goes in at the outermost layer: posted
finger and key events, the level of a mock pin, a fault of the simulated camera.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from kiosk.errors import KioskError, LinkError
from kiosk.link import Caller, Lines, Message, encode, failure

ASK_S = 3.0


class RemoteHand:
    """The player's end."""

    def __init__(self, sock: socket.socket) -> None:
        self._caller = Caller(sock)

    def close(self) -> None:
        """Hang up."""
        self._caller.close()

    def finger(self, kind: str, x: float, y: float) -> None:
        """kind: down, motion, up; x and y are 0..1 of the screen."""
        self._caller.ask("finger", timeout=ASK_S, kind=kind, x=x, y=y)

    def scan(self, text: str) -> None:
        """The scanner sends this text and Enter."""
        for start in range(0, len(text), 10_000):
            last = start + 10_000 >= len(text)
            self._caller.ask("scan", timeout=ASK_S, text=text[start : start + 10_000], last=last)

    def button(self, down: bool) -> None:
        """The hardware button's line goes low or high."""
        self._caller.ask("button", timeout=ASK_S, down=down)

    def camera(self, fault: str) -> None:
        """ok, blur, dark, hang or unplug."""
        self._caller.ask("camera", timeout=ASK_S, fault=fault)

    def describe(self) -> Message:
        """{"texts": [...], "boxes": [{"label", "x", "y", "w", "h", "enabled"}]}; lengths are 0..1."""
        return self._caller.ask("describe", timeout=ASK_S)

    def shot(self, path: Path) -> None:
        """Write what the screen shows to a PNG file."""
        self._caller.ask("shot", timeout=ASK_S, path=str(path))


class Hands(Protocol):
    """What the ui's wiring lets the demo do. Called on the remote's thread."""

    def finger(self, kind: str, x: float, y: float) -> None:
        """Post a finger event."""
        ...

    def scan(self, text: str, last: bool) -> None:
        """Post the keys of a scan."""
        ...

    def button(self, down: bool) -> None:
        """Drive the mock pin."""
        ...

    def camera(self, fault: str) -> None:
        """Set the simulated camera's fault."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """What the screen shows."""
        ...

    def shot(self, path: Path) -> None:
        """Write the screen to a PNG file."""
        ...


class RemoteServer:
    """The ui's end: one thread that reads questions from an inherited descriptor."""

    def __init__(self, fd: int, hands: Hands) -> None:
        # A copy, so that the inherited number stays open for the process that replaces this one.
        self._sock = socket.socket(fileno=os.dup(fd))
        self._sock.setblocking(True)
        self._hands = hands
        self._thread = threading.Thread(target=self._run, name="remote", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def _run(self) -> None:
        lines = Lines()
        while True:
            try:
                data = self._sock.recv(65536)
                messages = lines.feed(data)
            except (OSError, LinkError):
                return
            if not data:
                return
            for message in messages:
                self._sock.sendall(encode({"id": message.get("id"), **self._answer(message)}))

    def _answer(self, message: Message) -> Message:
        try:
            return {"ok": dict(self._do(message) or {})}
        except KioskError as e:
            return failure(e)

    def _do(self, message: Message) -> Mapping[str, Any] | None:
        hands = self._hands
        actions: dict[str, Callable[[], Mapping[str, Any] | None]] = {
            "finger": lambda: hands.finger(message["kind"], message["x"], message["y"]),
            "scan": lambda: hands.scan(message["text"], message["last"]),
            "button": lambda: hands.button(message["down"]),
            "camera": lambda: hands.camera(message["fault"]),
            "describe": hands.describe,
            "shot": lambda: hands.shot(Path(message["path"])),
        }
        action = actions.get(str(message.get("op")))
        if action is None:
            raise LinkError("the hand cannot do that")
        return action()
