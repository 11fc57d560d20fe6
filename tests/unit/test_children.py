"""How a delivery process gets its key, and what it starts with."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from kiosk.children import Children
from kiosk.delivery import Outcome, Verdict
from kiosk.heads import SignedHead
from kiosk.process import ENVIRONMENT

LOOK = """
import json, os, stat, sys
from kiosk.delivery import read_key
from kiosk.process import ENVIRONMENT
fd = int(sys.argv[sys.argv.index("--key-fd") + 1])
facts = [
    stat.S_ISSOCK(os.fstat(fd).st_mode),
    read_key(fd) == bytes(range(96)),
    all(os.environ.get(name) == value for name, value in ENVIRONMENT.items()),
    "NOTIFY_SOCKET" not in os.environ,
]
print(json.dumps({"outcome": "delivered" if all(facts) else "park"}))
"""


HEAD = SignedHead("ward-7", str(uuid4()), 1, "ab" * 32, "5" * 128)


def test_the_key_comes_over_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is a socket cannot be opened through /proc/PID/fd (proc(5)), not even before it is hardened."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    children = Children(Path("kiosk.toml"), attempt_s=30, head=lambda: HEAD)

    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-c", LOOK, *arguments]

    monkeypatch.setattr(children, "_command", command)
    outcome = asyncio.run(deliver(children, uuid4()))
    assert outcome.verdict is Verdict.DELIVERED


async def deliver(children: Children, session: UUID) -> Outcome:
    return await children.deliver(session, memoryview(bytes(range(96))), lambda _: None)
