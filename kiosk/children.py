"""How the uploader starts its short-lived processes, and what it hears from them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from kiosk.delivery import Outcome, Verdict, receipt_from_message
from kiosk.errors import Problem
from kiosk.heads import SignedHead
from kiosk.model import Receipt, Stage
from kiosk.process import ENVIRONMENT

_GRACE = 2.0
"""Seconds to end by itself after its socket was closed."""
ANCHOR_S = 15.0
"""Seconds that a proven session waits for its record in the destination's audit, and no longer."""


class Children:
    """Starts `kiosk uploader --deliver` and `kiosk uploader --directory` with the same configuration.

    head: the newest signed head of the audit, asked for each delivery.
    """

    def __init__(
        self, config: Path, *, attempt_s: float, head: Callable[[], SignedHead], anchor_s: float = ANCHOR_S
    ) -> None:
        self._config = config
        self._attempt_s = attempt_s
        self._anchor_s = anchor_s
        self._head = head

    def _command(self, *arguments: str) -> list[str]:
        me = ["--config", str(self._config), "--parent", str(os.getpid())]
        return [sys.executable, "-m", "kiosk", "uploader", *me, *arguments]

    async def deliver(self, session: UUID, key: memoryview, on_stage: Callable[[Stage], None]) -> Outcome:
        """Run one attempt to its end. A process that dies or hangs before the proof is one to repeat."""
        # Not a pipe: whoever is quick could open that by its /proc name before the new process is hardened.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, theirs:
            # 96 bytes fit into its buffer: this does not block.
            os.writev(ours.fileno(), [key])
            key_fd = str(theirs.fileno())
            what = ("--deliver", str(session), "--key-fd", key_fd, "--head", self._head().to_json())
            process = await asyncio.create_subprocess_exec(
                *self._command(*what),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
            )
        assert process.stdout is not None  # noqa: S101 - we asked for a pipe
        try:
            heard = await self._hear(process.stdout, on_stage, self._attempt_s)
            if not isinstance(heard, Receipt):
                return heard
            # Proven. Only the anchor is still to come, and nothing that happens to it undoes the proof.
            end = await self._hear(process.stdout, on_stage, self._anchor_s)
            if isinstance(end, Outcome) and end.verdict is Verdict.DELIVERED:
                return end
            return Outcome(Verdict.DELIVERED, Problem.DELIVERY_INTERRUPTED, receipt=heard)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _hear(
        self, pipe: asyncio.StreamReader, on_stage: Callable[[Stage], None], seconds: float
    ) -> Outcome | Receipt:
        """Listen until the proof or the end of the attempt, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                while line := await pipe.readline():
                    message = json.loads(line)
                    if not isinstance(message, dict):
                        break
                    if "outcome" in message:
                        return Outcome.from_message(message)
                    if "proof" in message:
                        return receipt_from_message(message["proof"])
                    on_stage(Stage(message["stage"]))
        except TimeoutError:
            return Outcome(Verdict.RETRY, Problem.UNREACHABLE)
        except (ValueError, KeyError, TypeError, RecursionError):
            # What it does not say in our words it has not done; a line that is too long is a ValueError too.
            return Outcome(Verdict.RETRY, Problem.DELIVERY_INTERRUPTED)
        return Outcome(Verdict.RETRY, Problem.DELIVERY_INTERRUPTED)

    async def directory(self) -> tuple[int, LookupProcess]:
        """Start a look-up process. The descriptor is the ui's end of its socket."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *self._command("--directory", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
            )
        return ours.detach(), LookupProcess(process)


def _environment() -> dict[str, str]:
    """Ours without the service manager's sockets: a child has nothing to tell it, and nothing to store."""
    manager = ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID")
    ours = {name: value for name, value in os.environ.items() if name not in manager}
    return {**ours, **ENVIRONMENT}


class LookupProcess:
    """A running look-up process. It ends when the ui hangs up, at the latest when `end` is called."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def stop(self) -> None:
        """End it now."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def end(self) -> None:
        """Wait a moment for it to end by itself, then end it."""
        try:
            async with asyncio.timeout(_GRACE):
                await self._process.wait()
        except TimeoutError:
            await self.stop()
