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

from kiosk.delivery import Outcome, Verdict
from kiosk.errors import Problem
from kiosk.model import Stage

_GRACE = 2.0
"""Seconds to end by itself after its socket was closed."""


class Children:
    """Starts `kiosk uploader --deliver` and `kiosk uploader --directory` with the same configuration."""

    def __init__(self, config: Path, *, attempt_s: float) -> None:
        self._config = config
        self._attempt_s = attempt_s

    def _command(self, *arguments: str) -> list[str]:
        me = ["--config", str(self._config), "--parent", str(os.getpid())]
        return [sys.executable, "-m", "kiosk", "uploader", *me, *arguments]

    async def deliver(self, session: UUID, key: memoryview, on_stage: Callable[[Stage], None]) -> Outcome:
        """Run one attempt to its end. A process that dies or hangs is an attempt to repeat."""
        reading, writing = os.pipe()
        try:
            # 96 bytes fit into a pipe: this does not block.
            os.writev(writing, [key])
            process = await asyncio.create_subprocess_exec(
                *self._command("--deliver", str(session), "--key-fd", str(reading)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=(reading,),
                env=_environment(),
            )
        finally:
            os.close(reading)
            os.close(writing)
        try:
            async with asyncio.timeout(self._attempt_s):
                return await self._hear(process, on_stage)
        except TimeoutError:
            return Outcome(Verdict.RETRY, Problem.UNREACHABLE)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _hear(self, process: asyncio.subprocess.Process, on_stage: Callable[[Stage], None]) -> Outcome:
        assert process.stdout is not None  # noqa: S101 - we asked for a pipe
        # What it does not say in our words it has not done: the next attempt asks the server again.
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            # A line that is too long is a ValueError as well.
            while line := await process.stdout.readline():
                message = json.loads(line)
                if not isinstance(message, dict):
                    break
                if "outcome" in message:
                    return Outcome.from_message(message)
                on_stage(Stage(message["stage"]))
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
    return {name: value for name, value in os.environ.items() if name not in manager}


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
