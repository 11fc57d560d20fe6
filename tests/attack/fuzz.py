"""What the fuzz tests share: a budget, a deadline for each example, a bound on memory, hostile texts.

Hypothesis and not atheris: the same release runs on Python 3.11 to 3.13 and on ARM, where atheris has wheels
for x86-64 only, of another version for 3.11. Every run looks at the same examples. A longer and random look:
KIOSK_FUZZ=20 makes twenty times as many, and prints how to repeat what it finds.
"""

from __future__ import annotations

import os
import signal
import traceback
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = int(os.environ.get("KIOSK_FUZZ", "1"))
MARKER = "MARKERQZXV"
"""Stands for what must not be repeated: a name, a PIN, a password."""
EXAMPLE_S = 20.0
"""Seconds for one example before it counts as hanging; they take milliseconds."""


def budget(examples: int) -> settings:
    """So many examples, the same each time."""
    return settings(
        max_examples=examples * TIMES,
        derandomize=TIMES == 1,
        database=None,
        print_blob=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


class Hangs(BaseException):
    """An example that does not end. Nothing that catches errors catches it."""


@contextmanager
def bounded(seconds: float = EXAMPLE_S, megabytes: float | None = None) -> Iterator[None]:
    """The block ends in time, and Python's objects take no more memory than this meanwhile."""

    def ring(*_: object) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    if megabytes is not None:
        tracemalloc.start()
    try:
        yield
        if megabytes is not None:
            peak = tracemalloc.get_traced_memory()[1]
            assert peak < megabytes * 1e6, f"{peak / 1e6:.1f} MB"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        tracemalloc.stop()


def assert_silent(error: BaseException, *secrets: str) -> None:
    """What a log or a screen could show of the error repeats nothing of the input, and stays short."""
    shown = "".join(traceback.format_exception(error, chain=True))
    assert not [s for s in (MARKER, *secrets) if s in str(error) or s in shown]
    assert all(len(line) < 600 for line in str(error).splitlines())


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


texts = st.text(max_size=20) | st.sampled_from(
    ["", "\0", "\ud800", "\u202e", MARKER, "9991230009", "x" * 5000]
)
numbers = st.integers(-(2**70), 2**70) | st.sampled_from([10**400, 2**31, -1, 0])
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
"""Anything that json.dumps takes."""


def deep(opening: bytes, closing: bytes, depth: int, core: bytes = b"1") -> bytes:
    """A value inside a value inside a value."""
    return opening * depth + core + closing * depth


def mutated(seed: bytes) -> st.SearchStrategy[bytes]:
    """`seed` with a few places cut out, doubled, overwritten or filled with hostile bytes."""
    hostile = st.binary(max_size=8) | st.sampled_from(
        [
            b"\0",
            b"\xff",
            b"\n",
            b'"',
            b"'''",
            b"[[",
            b"]]",
            b"{",
            b"}",
            b"=",
            b".",
            b"#",
            b"\\u0000",
            b"1e999",
        ]
        + [
            b"9" * 5000,
            b"[" * 3000,
            b"x" * 70_000,
            b"0x",
            b"-",
            b"\xed\xa0\x80",
            b"\xef\xbb\xbf",
            MARKER.encode(),
        ]
    )
    cut = st.tuples(st.integers(0, len(seed)), st.integers(0, 12), hostile, st.booleans())

    def apply(cuts: list[tuple[int, int, bytes, bool]]) -> bytes:
        data = seed
        for start, length, new, twice in cuts:
            old = data[start : start + length]
            data = data[:start] + (old if twice else b"") + new + data[start + length :]
        return data

    return st.lists(cut, max_size=5).map(apply)
