"""The spool as the image will have it: ui and uploader are two users that share a group. Needs root.

Each side runs in a process of its own that has dropped to its user, and tells what it could do.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

ROOT = Path(__file__).parents[2]
UI, UPLOADER, STRANGER, GROUP = 61001, 61002, 61003, 61010
"""Ids that no package hands out (Debian policy 9.2.2 leaves 60000 to 64999 to those that ask)."""

AS_USER = """
import json, os, sys
from pathlib import Path
from uuid import UUID
# Before the drop: the interpreter may lie where only root can read.
from kiosk.spool import Outbox, Spool
os.setgroups([GROUP] if {member} else [])
os.setgid({uid})
os.setuid({uid})
os.umask(0o007)
GIGA = 2**30
ROOT = Path({root!r})
def outbox(): return Outbox(ROOT, reserve=2**20, allow_disk=True, group=GROUP)
def spool(): return Spool(ROOT, capacity=GIGA, reserve=2**20, allow_disk=True, group=GROUP)
def tried(work):
    try:
        return work()
    except OSError as e:
        return type(e).__name__
print(json.dumps(eval({code!r})))
"""


def run_as(uid: int, root: Path, code: str, *, member: bool = True) -> Any:
    """The value of `code`, evaluated by a process of this user."""
    script = f"GROUP = {GROUP}\n" + AS_USER.format(uid=uid, member=member, root=str(root), code=code)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture
def root() -> Iterator[Path]:
    assert os.geteuid() == 0, "these tests drop from root to two users: run make attack as root"
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        home = Path(made)
        home.chmod(0o755)
        # What systemd's RuntimeDirectory gives the uploader: /run/kiosk.
        os.chown(home, UPLOADER, GROUP)
        run_as(UPLOADER, home / "spool", "[str(s) for s in spool().ready()]")
        yield home / "spool"


def add(session: UUID, number: int = 1) -> str:
    return f'str(outbox().add(UUID("{session}"), {number}, "photo", UUID(int={number}), b"sealed"))'


def test_the_ui_adds_and_commits_and_the_uploader_delivers(root: Path) -> None:
    session = uuid4()
    run_as(UI, root, f'outbox().begin(UUID("{session}"))')
    run_as(UI, root, add(session))
    run_as(UI, root, add(session, 2))
    run_as(UI, root, f'outbox().remove(UUID("{session}"), UUID(int=2))')
    run_as(UI, root, f'outbox().commit(UUID("{session}"))')
    assert run_as(UPLOADER, root, "[str(s) for s in spool().ready()]") == [str(session)]
    read = f'(lambda s: [s.read(i).decode() for i in s.items(UUID("{session}"))])(spool())'
    assert run_as(UPLOADER, root, read) == ["sealed"], "also before it is taken over"
    run_as(UPLOADER, root, f'spool().take(UUID("{session}"))')
    assert run_as(UPLOADER, root, read) == ["sealed"]
    run_as(UPLOADER, root, f'spool().park(UUID("{session}"), "rejected")')
    run_as(UPLOADER, root, f'spool().unpark(UUID("{session}"))')
    assert run_as(UPLOADER, root, f'spool().forget(UUID("{session}"))') is True
    assert run_as(UPLOADER, root, "spool().used()") == 0


def test_both_may_destroy_what_is_open(root: Path) -> None:
    for user, side in ((UI, "outbox"), (UPLOADER, "spool")):
        session = uuid4()
        run_as(UI, root, f'outbox().begin(UUID("{session}"))')
        run_as(UI, root, add(session))
        assert run_as(user, root, f'{side}().destroy(UUID("{session}"))') is True
        assert not list((root / "open").iterdir())


def test_the_uploader_sweeps_what_a_killed_ui_left(root: Path) -> None:
    session = uuid4()
    run_as(UI, root, f'outbox().begin(UUID("{session}"))')
    left = root / "open" / str(session) / ".part-dead"
    run_as(UI, root, f'Path("{left}").write_bytes(b"half")')
    assert run_as(UPLOADER, root, "spool().sweep()") == []
    assert not left.exists()


def test_the_ui_cannot_read_another_session(root: Path) -> None:
    """Not the ones that wait, not even by their full path, once the uploader has taken them over."""
    session = uuid4()
    run_as(UI, root, f'outbox().begin(UUID("{session}"))')
    name = Path(run_as(UI, root, add(session))).name
    run_as(UI, root, f'outbox().commit(UUID("{session}"))')
    for state in ("open", "ready", "sending", "parked"):
        assert run_as(UI, root, f'tried(lambda: os.listdir("{root / state}"))') == "PermissionError", state
    taken = root / "sending" / str(session) / name
    run_as(UPLOADER, root, f'spool().take(UUID("{session}"))')
    assert taken.read_bytes() == b"sealed", "the positive control: it is there"
    for attack in (
        f'Path("{taken}").read_bytes()',
        f'Path("{taken}").unlink()',
        f'os.rename("{taken.parent}", "{root / "open" / "mine"}")',
        f'os.link("{taken}", "{root / "open" / "mine"}")',
        f'os.mkdir("{root / "sending" / "mine"}")',
        f'os.chmod("{root / "sending"}", 0o777)',
        f'os.rename("{root / "sending"}", "{root / "gone"}")',
    ):
        assert run_as(UI, root, f"tried(lambda: {attack})") == "PermissionError", attack
    assert taken.read_bytes() == b"sealed"


def test_others_cannot_even_enter(root: Path) -> None:
    session = uuid4()
    run_as(UI, root, f'outbox().begin(UUID("{session}"))')
    path = run_as(UI, root, add(session))
    for attack in (f'os.listdir("{root}")', f'Path("{path}").read_bytes()', f'os.mkdir("{root / "x"}")'):
        got = run_as(STRANGER, root, f"tried(lambda: {attack})", member=False)
        assert got == "PermissionError", attack


def test_the_modes_are_what_they_should_be_whatever_was_there(root: Path) -> None:
    """A kill between making a directory and its mode is mended by the next start."""
    (root / "open").chmod(0o700)
    run_as(UPLOADER, root, "[str(s) for s in spool().ready()]")
    modes = {state: stat.S_IMODE((root / state).stat().st_mode) for state in ("open", "ready", "sending")}
    assert modes == {"open": 0o2730, "ready": 0o2730, "sending": 0o700}
    assert stat.S_IMODE(root.stat().st_mode) == 0o710


def test_the_ui_waits_for_the_uploader_to_make_the_spool(root: Path) -> None:
    nowhere = root.with_name("nowhere")
    with pytest.raises(AssertionError, match="has not made the spool yet"):
        run_as(UI, nowhere, "str(outbox())")
