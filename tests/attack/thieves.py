"""Measures who gets at what on a running kiosk, and writes the table of docs/threat-model.md.

As root: python -m tests.attack.thieves
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kiosk import custody
from tests.attack import memory
from tests.attack.memory import areas
from tests.attack.thief import ON_KEY, ON_PROCESS

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/threat-model.md"
BEGIN, END = "<!-- thieves: begin (python -m tests.attack.thieves) -->", "<!-- thieves: end -->"
KIOSK, STRANGER = 64101, 64102
"""User ids that no account has."""
KINDS = ("ui", "uploader", "delivery", "look-up")
THIEVES = ("another user", "the same user", "root")

Rows = dict[str, list[str]]
"""Road -> one answer a thief."""


class Station:
    """A kiosk that runs as KIOSK, and the three thieves around it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.facts: dict[str, Any] = self._hear()
        self.pids: dict[str, int] = self.facts["processes"]

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the station ended; its last words are above"
        return json.loads(line)

    def ask(self, order: Mapping[str, Any]) -> Any:
        """Give an order to the station: what it answers is what a process of the same user can do."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._hear()

    def tries(self, thief: str, order: Mapping[str, Any]) -> Any:
        """Let one of THIEVES do it."""
        if thief == "the same user":
            return self.ask(order)
        uid = {"root": 0, "another user": STRANGER}[thief]
        command = [sys.executable, str(ROOT / "tests/attack/thief.py"), str(uid)]
        done = subprocess.run(command, input=json.dumps(order), capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def target(self, pid: int) -> dict[str, Any]:
        """All that a thief needs to know: nobody has to search."""
        heap = next(area.start for area in areas(pid) if area.name == "[heap]")
        return {"pid": pid, "heap": heap, "fds": sorted(int(n) for n in os.listdir(f"/proc/{pid}/fd"))}

    def key_target(self, pid: int, name: str) -> dict[str, Any]:
        """The same for who holds a key file. `name`: of the memory file."""
        held = self.target(pid)
        links = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in held["fds"]}
        held["key_fd"] = next(fd for fd, link in links.items() if link.startswith(name))
        held["key_address"] = next(area.start for area in areas(pid) if area.name.startswith(name))
        return held


@contextmanager
def station() -> Iterator[Station]:
    """A running one."""
    memory.require_root()
    command = [sys.executable, "-m", "tests.attack.station", str(KIOSK)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield Station(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(30)
            finally:
                process.kill()


def kinds_of_key(at: Station) -> dict[str, dict[str, Any]]:
    """Who holds private keys in which kind of memory file: the uploader, and a stand-in for other kernels."""
    keys = {"memfd": at.key_target(at.facts["holders"]["hard"], "/memfd:lethe-keys")}
    if has_secret_memory():
        keys["memfd_secret"] = at.key_target(at.pids["uploader"], "/secretmem")
    return keys


def has_secret_memory() -> bool:
    try:
        os.close(custody._memfd_secret())
    except OSError:
        return False
    return True


def measure(at: Station) -> Rows:
    """Every road, every thief."""
    files = {"spool": f"{at.facts['directory']}/spool", "link": f"{at.facts['directory']}/link.sock"}
    rows: Rows = {}
    for column, thief in enumerate(THIEVES):
        # Anew for each: a process may have opened and closed descriptors meanwhile.
        order = {
            "processes": [at.target(at.pids[kind]) for kind in KINDS],
            "keys": kinds_of_key(at),
            "files": files,
        }
        got = at.tries(thief, order)
        answers = {name: one_word(got["processes"][name]) for name in ON_PROCESS}
        for kind in sorted(got["keys"], reverse=True):
            answers |= {f"keys in {kind}: {name}": got["keys"][kind][name] for name in ON_KEY}
        answers["files of the spool"] = got["spool"]
        answers["the link's socket"] = got["link"]
        answers["core file: SIGQUIT"] = crash(at, thief, signal.SIGQUIT)
        answers["core file: SIGSEGV"] = crash(at, thief, signal.SIGSEGV)
        for name, word in answers.items():
            rows.setdefault(name, [""] * len(THIEVES))[column] = word
    return rows


def one_word(answers: list[str]) -> str:
    """The four processes' answer, where it is one."""
    if len(set(answers)) == 1:
        return answers[0]
    return ", ".join(f"{kind} {answer}" for kind, answer in zip(KINDS, answers, strict=True))


def crash(at: Station, thief: str, number: signal.Signals) -> str:
    """Make one more of each kind crash."""
    pids = at.ask({"start": len(KINDS)})
    wait_until_they_read(pids)
    answer = one_word(at.tries(thief, {"victims": pids, "signal": number})["crash"])
    if answer == "refused":
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    dumped = at.ask({"reap": pids})
    if answer == "killed":
        return "CORE" if any(dumped) else "ends it, no core"
    return answer


def wait_until_they_read(pids: list[int]) -> None:
    """Until each has opened its configuration."""
    deadline = time.monotonic() + 60
    for pid in pids:
        while not any(_link(entry).endswith("/never.toml") for entry in descriptors(pid)):
            assert time.monotonic() < deadline, "a process never read its configuration"
            time.sleep(0.02)


def descriptors(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/fd").iterdir())


def _link(entry: Path) -> str:
    try:
        return os.readlink(entry)
    except FileNotFoundError:
        return ""


def table(rows: Rows) -> str:
    """As Markdown."""
    lines = [f"| road | {' | '.join(THIEVES)} |", "|---|" + "---|" * len(THIEVES)]
    lines += [f"| {name} | {' | '.join(words)} |" for name, words in rows.items()]
    return "\n".join(lines)


def parse(text: str) -> Rows:
    """Inverse of `table`, out of the document."""
    inside = text.partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in inside]
    return {name: words for name, *words in cells}


def main() -> None:
    assert has_secret_memory(), "write the table on a kernel that has memfd_secret: it tells of both kinds"
    with station() as at:
        rows = measure(at)
    before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{table(rows)}\n\n{END}{after}", "utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
