"""When to try again, and whether the network is there: the uploader's arithmetic and its one probe."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass


@dataclass(slots=True)
class Attempt:
    """When a ready session is tried next (event loop seconds), and how it went so far."""

    due: float = 0.0
    failures: int = 0
    crashes: int = 0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds: first, doubled with each failure up to most, each time shortened by a random share."""

    first: float
    most: float

    def after(self, failures: int) -> float:
        """How long to wait after this many failures in a row."""
        full = min(self.most, self.first * 2.0 ** min(failures, 30))
        return full * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing


async def tcp_reachable(host: str, port: int, timeout_s: float) -> bool:
    """Whether somebody accepts connections there. Says nothing more, and sends nothing."""
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True
