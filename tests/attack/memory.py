"""Reads whole processes and files, as root, and looks for many byte strings at once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

PAGE = os.sysconf("SC_PAGE_SIZE")
SHORTEST = 8
"""Bytes of the shortest string that may be looked for."""
CAP_SYS_PTRACE = 19


def require_root() -> None:
    """Reading a process that is not dumpable takes root with CAP_SYS_PTRACE (ptrace(2))."""
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if "CapEff" in line)
    assert int(held.split()[1], 16) >> CAP_SYS_PTRACE & 1, "run as root: this reads other processes' memory"


class Needles:
    """Byte strings by label, ready to be found anywhere in a large buffer."""

    def __init__(self, needles: Mapping[str, Iterable[bytes]]) -> None:
        self.labels = {needle: label for label, group in needles.items() for needle in group}
        assert self.labels, "nothing to look for"
        assert min(map(len, self.labels)) >= SHORTEST
        heads = [int.from_bytes(n[:SHORTEST], "little") for n in self.labels]
        self._heads = np.unique(np.array(heads, dtype=np.uint64))
        self._first, self._second = (_table(self._heads >> np.uint64(shift)) for shift in (0, 16))
        self._of_head: dict[int, list[bytes]] = {}
        for needle in self.labels:
            self._of_head.setdefault(int.from_bytes(needle[:SHORTEST], "little"), []).append(needle)

    def count(self, label: str) -> int:
        return sum(name == label for name in self.labels.values())

    def find(self, data: bytes) -> Counter[str]:
        """How many different strings of each label are in `data`."""
        if len(data) < SHORTEST:
            return Counter()
        found: set[bytes] = set()
        cells = np.frombuffer(data, dtype=np.uint8)
        for shift in (0, 1):
            pairs = np.frombuffer(data, dtype="<u2", offset=shift, count=max(0, (len(data) - shift) // 2))
            # Two bytes at a time throw out nearly all places, eight decide.
            at = np.flatnonzero(self._first[pairs[:-1]])
            places = at[self._second[pairs[at + 1]]] * 2 + shift
            places = places[places + SHORTEST <= len(data)]
            heads = np.zeros(len(places), dtype=np.uint64)
            for byte in range(SHORTEST):
                heads |= cells[places + byte].astype(np.uint64) << np.uint64(8 * byte)
            for place in places[np.isin(heads, self._heads)]:
                start = int(place)
                head = int.from_bytes(data[start : start + SHORTEST], "little")
                found.update(n for n in self._of_head[head] if data.startswith(n, start))
        return Counter(self.labels[needle] for needle in found)


def _table(heads: np.ndarray) -> np.ndarray:
    table = np.zeros(65536, dtype=bool)
    table[(heads & np.uint64(0xFFFF)).astype(np.int64)] = True
    return table


@dataclass(frozen=True, slots=True)
class Area:
    """A line of /proc/PID/maps."""

    start: int
    end: int
    permissions: str
    name: str


@dataclass(slots=True)
class Dump:
    """What one process had in memory. `unreadable`: names of the areas that even root cannot read."""

    pid: int
    command: str
    pieces: list[bytes] = field(default_factory=list, repr=False)
    unreadable: set[str] = field(default_factory=set)

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))

    def find(self, needles: Needles) -> Counter[str]:
        return sum((needles.find(piece) for piece in self.pieces), Counter())


def areas(pid: int) -> list[Area]:
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        where, permissions, _, _, _, *name = line.split(maxsplit=5)
        start, end = (int(part, 16) for part in where.split("-"))
        found.append(Area(start, end, permissions, name[0] if name else ""))
    return found


def dump(pid: int) -> Dump:
    """Every page that is there, in memory or in swap, whatever its permissions."""
    taken = Dump(pid, command(pid))
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory, open(f"/proc/{pid}/pagemap", "rb") as map_:
        for area in areas(pid):
            if area.name == "[vsyscall]":
                # A page of the kernel, the same for everybody, outside of what can be asked about.
                taken.unreadable.add(area.name)
                continue
            map_.seek(area.start // PAGE * 8)
            facts = np.frombuffer(map_.read((area.end - area.start) // PAGE * 8), dtype="<u8")
            for first, last in runs((facts >> np.uint64(62)) != 0):
                try:
                    start = area.start + first * PAGE
                    taken.pieces.append(os.pread(memory.fileno(), (last - first) * PAGE, start))
                except OSError:
                    taken.unreadable.add(area.name or "anonymous")
    return taken


def runs(there: np.ndarray) -> Iterator[tuple[int, int]]:
    """(first, one after the last) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], there, [False])).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def command(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return b" ".join(words).decode("utf-8", "replace").strip()


def kind_of(pid: int) -> str:
    """ui, uploader, delivery or look-up."""
    words = command(pid).split()
    if "--deliver" in words:
        return "delivery"
    if "--directory" in words:
        return "look-up"
    return next((name for name in ("uploader", "ui") if name in words), "other")


def descendants(root: int) -> list[int]:
    """Every process below `root`, at any depth, without `root` itself."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    found: list[int] = []
    wave = {root}
    while wave:
        wave = {pid for pid, parent in parents.items() if parent in wave}
        found += sorted(wave)
    return found
