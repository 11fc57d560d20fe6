from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from kiosk import custody
from kiosk.custody import KeyFile, NotifySocket, notify, store, stored_fds
from kiosk.errors import KioskError, Problem, SealError, SpoolFull

DEADLINE = 30.0


def _without_secret() -> int:
    raise OSError(38, "Function not implemented")


@pytest.fixture(params=["best", "memfd"])
def keys(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyFile]:
    """The best that this kernel has, and the fall-back."""
    if request.param == "memfd":
        monkeypatch.setattr(custody, "_memfd_secret", _without_secret)
    with KeyFile.create() as keys:
        if request.param == "memfd":
            assert keys.kind == "memfd"
        yield keys


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path: socket names have at most 107 characters."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def fill(keys: KeyFile, session: UUID, byte: int) -> None:
    with keys.issue(session) as area:
        assert area.nbytes == 96
        assert bytes(area) == bytes(96)
        area[:] = bytes((byte,)) * 96


def whole(keys: KeyFile) -> bytes:
    return bytes(keys._memory)


def test_issue_view_forget(keys: KeyFile) -> None:
    first, second = uuid4(), uuid4()
    fill(keys, first, 0xA1)
    fill(keys, second, 0xB2)
    assert keys.sessions() == {first, second}
    with keys.view(first) as area:
        assert bytes(area) == b"\xa1" * 96
    keys.forget(first)
    keys.forget(first)
    assert keys.sessions() == {second}
    assert b"\xa1" * 8 not in whole(keys)[128:]
    assert first.bytes not in whole(keys)
    with pytest.raises(SealError) as caught:
        keys.view(first)
    assert caught.value.problem is Problem.KEY_LOST
    with keys.view(second) as area:
        assert bytes(area) == b"\xb2" * 96


def test_forgetting_empties_views_that_are_still_out(keys: KeyFile) -> None:
    session = uuid4()
    fill(keys, session, 0xA1)
    with keys.view(session) as area:
        keys.forget(session)
        assert bytes(area) == bytes(96)


def test_a_session_gets_one_key(keys: KeyFile) -> None:
    session = uuid4()
    fill(keys, session, 1)
    with pytest.raises(SealError):
        keys.issue(session)
    with keys.view(session) as area:
        assert area[0] == 1


def test_full_and_room_again(keys: KeyFile) -> None:
    sessions = [uuid4() for _ in range(custody.SESSIONS_MAX)]
    for number, session in enumerate(sessions):
        fill(keys, session, number)
    with pytest.raises(SpoolFull):
        keys.issue(uuid4())
    for number, session in enumerate(sessions):
        with keys.view(session) as area:
            assert bytes(area) == bytes((number,)) * 96
    keys.forget(sessions[100])
    fill(keys, uuid4(), 7)
    assert len(keys.sessions()) == 255


def test_keys_are_aligned_in_their_slots(keys: KeyFile) -> None:
    session = uuid4()
    fill(keys, session, 0xC3)
    assert whole(keys).index(b"\xc3" * 96) == 128 + 32
    assert whole(keys).index(session.bytes) == 128


def test_the_signing_key_is_random_and_stays(keys: KeyFile) -> None:
    with KeyFile.create() as others, others.signing_key() as other, keys.signing_key() as key:
        assert (key.nbytes, isinstance(key, memoryview), key.readonly) == (32, True, False)
        assert any(key)
        assert key != other
        first = bytes(key)
    for number in range(custody.SESSIONS_MAX):
        fill(keys, uuid4(), number)
    for session in keys.sessions():
        keys.forget(session)
    with keys.signing_key() as key:
        assert bytes(key) == first


def test_the_signing_key_is_no_sessions(keys: KeyFile) -> None:
    with keys.signing_key():
        assert keys.sessions() == frozenset()
        with pytest.raises(SealError):
            keys.view(UUID(bytes=whole(keys)[:16]))
        keys.forget(UUID(bytes=whole(keys)[:16]))
        with pytest.raises(SealError):
            keys.view(UUID(int=0))
        assert whole(keys).startswith(b"LETHE-KEYS-1\n")
    with KeyFile.from_fd(os.dup(keys.fd)) as again, again.signing_key() as one, keys.signing_key() as two:
        assert bytes(one) == bytes(two)


def test_a_signing_key_that_was_killed_half_way_is_made_anew(keys: KeyFile) -> None:
    keys._memory[32:48] = bytes(range(16))
    with KeyFile.from_fd(os.dup(keys.fd)) as again, again.signing_key() as key:
        assert not bytes(key).startswith(bytes(range(16)))
        assert any(key)


def test_close_waits_for_views(keys: KeyFile) -> None:
    session = uuid4()
    fill(keys, session, 1)
    area = keys.view(session)
    with pytest.raises(BufferError):
        keys.close()
    assert keys.sessions() == {session}
    area.release()
    keys.close()
    keys.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(keys.fd)


# --- taking over ---------------------------------------------------------------------------------


def test_taking_over(keys: KeyFile) -> None:
    session = uuid4()
    fill(keys, session, 9)
    with KeyFile.from_fd(os.dup(keys.fd)) as again:
        assert again.kind == keys.kind
        assert again.sessions() == {session}
        again.forget(session)
    assert keys.sessions() == frozenset()


@pytest.mark.parametrize("state_written", [False, True])
def test_taking_over_finishes_a_forget_that_was_killed(keys: KeyFile, state_written: bool) -> None:
    """Killed right after the state byte: the key is not live any more, but its bytes are still there."""
    session, other = uuid4(), uuid4()
    fill(keys, session, 0xD4)
    fill(keys, other, 0x11)
    if state_written:
        keys._memory[128 + 16] = 0
    with KeyFile.from_fd(os.dup(keys.fd)) as again:
        assert again.sessions() == ({other} if state_written else {session, other})
        assert (b"\xd4" * 8 in whole(again)) is not state_written


def test_taking_over_an_issue_that_was_killed(keys: KeyFile) -> None:
    """Killed before the state byte: the slot is free and empty."""
    keys._memory[128 : 128 + 16] = uuid4().bytes
    with KeyFile.from_fd(os.dup(keys.fd)) as again:
        assert again.sessions() == frozenset()
        assert whole(again)[128:] == bytes(255 * 128)


def test_every_step_of_issue_and_forget_can_be_the_last(keys: KeyFile) -> None:
    """Each write to the memory in turn is the last one: a key is then whole or not there, never half."""

    class Killed(BaseException):
        pass

    class Dying:
        """Passes writes on to the memory until its time has come."""

        def __init__(self, memory: memoryview, writes: int) -> None:
            self.memory, self.left = memory, writes

        def __getitem__(self, at: slice | int) -> object:
            return self.memory[at]

        def __setitem__(self, at: slice | int, value: object) -> None:
            if self.left == 0:
                raise Killed
            self.left -= 1
            self.memory[at] = value  # type: ignore[call-overload]

    memory = keys._memory
    survivor = uuid4()
    fill(keys, survivor, 0x55)
    killed = 0
    for step in range(4):
        session = uuid4()
        fill(keys, session, 0xE5)
        for action in (lambda s=session: keys.forget(s), lambda: keys.issue(uuid4())):
            keys._memory = Dying(memory, step)  # type: ignore[assignment]
            try:
                action()
            except Killed:
                killed += 1
            keys._memory = memory
            with KeyFile.from_fd(os.dup(keys.fd)) as again:
                for live in again.sessions():
                    with again.view(live) as area:
                        assert bytes(area) in (b"\x55" * 96, b"\xe5" * 96, bytes(96))
                assert (b"\xe5" * 8 in whole(again)) is (session in again.sessions())
                assert survivor in again.sessions()
        for session in keys.sessions() - {survivor}:
            keys.forget(session)
    assert killed >= 4


def test_other_files_are_refused(tmp_path: Path) -> None:
    size = custody.SLOTS * custody.SLOT_SIZE
    plain = tmp_path / "plain"
    plain.write_bytes(custody._MAGIC + bytes(size - len(custody._MAGIC)))
    unsealed, wrong_magic, short = (os.memfd_create("x", os.MFD_ALLOW_SEALING) for _ in range(3))
    os.write(unsealed, plain.read_bytes())
    os.ftruncate(wrong_magic, size)
    fcntl.fcntl(wrong_magic, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    os.ftruncate(short, size - 1)
    reader, writer = os.pipe()
    with open(plain, "r+b") as file:
        for fd in (file.fileno(), unsealed, wrong_magic, short, reader, writer):
            with pytest.raises(KioskError, match="not a key file"):
                KeyFile.from_fd(fd)
            os.fstat(fd)
    for fd in (unsealed, wrong_magic, short, reader, writer):
        os.close(fd)
    with pytest.raises(KioskError):
        KeyFile.from_fd(unsealed)


def test_the_file_cannot_change_its_size(keys: KeyFile) -> None:
    for size in (0, custody.SLOTS * custody.SLOT_SIZE + 4096):
        with pytest.raises(OSError, match=r"not permitted|Invalid"):
            os.ftruncate(keys.fd, size)


def test_no_memory_file_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custody, "_memfd_secret", _without_secret)
    monkeypatch.setattr(custody, "_memfd", _without_secret)
    with pytest.raises(KioskError):
        KeyFile.create()


def test_falls_back_where_no_memory_may_be_locked() -> None:
    """Secret memory counts against RLIMIT_MEMLOCK."""
    code = textwrap.dedent(
        """
        import os, resource
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
        from kiosk.custody import KeyFile
        before = set(os.listdir("/proc/self/fd"))
        with KeyFile.create() as keys:
            print(keys.kind)
        assert set(os.listdir("/proc/self/fd")) == before
        """
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    # Root may lock without limit.
    assert out.stdout.strip() in ({"memfd_secret", "memfd"} if os.geteuid() == 0 else {"memfd"})


# --- the descriptor store --------------------------------------------------------------------------


def test_notify_without_a_manager() -> None:
    assert notify("READY=1", environ={}) is False
    assert store("keys", 0, environ={"NOTIFY_SOCKET": ""}) is False


def test_notify_a_manager_that_is_gone(directory: Path) -> None:
    with pytest.raises(KioskError, match="ENOENT"):
        notify("READY=1", environ={"NOTIFY_SOCKET": str(directory / "none")})


def test_notify_an_abstract_socket() -> None:
    name = f"lethe-test-{uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        assert notify("READY=1\nSTATUS=x", environ={"NOTIFY_SOCKET": "@" + name})
        assert manager.recv(100) == b"READY=1\nSTATUS=x"


def test_the_manager_keeps_removes_and_closes(directory: Path) -> None:
    path = directory / "notify"
    environ = {"NOTIFY_SOCKET": str(path)}
    reader, writer = os.pipe()
    with NotifySocket(path) as manager:
        assert path.stat().st_mode & 0o077 == 0
        assert manager.receive(timeout=0) is None
        assert store("one", writer, environ)
        os.close(writer)
        assert select.select([manager], [], [], DEADLINE)[0]
        assert manager.receive(timeout=DEADLINE) == {"FDSTORE": "1", "FDNAME": "one"}
        assert [name for name, _ in manager.stored] == ["one"]
        assert not os.get_inheritable(manager.stored[0][1])
        assert not select.select([reader], [], [], 0)[0]
        notify("FDSTOREREMOVE=1\nFDNAME=other", environ=environ)
        manager.receive(timeout=DEADLINE)
        assert len(manager.stored) == 1
        notify("FDSTOREREMOVE=1\nFDNAME=one", environ=environ)
        manager.receive(timeout=DEADLINE)
        assert manager.stored == ()
        assert os.read(reader, 1) == b""
    assert not path.exists()
    os.close(reader)


def test_the_manager_does_not_keep_what_was_not_offered(directory: Path) -> None:
    environ = {"NOTIFY_SOCKET": str(directory / "notify")}
    before = len(os.listdir("/proc/self/fd"))
    with NotifySocket(directory / "notify") as manager, open(os.devnull, "rb") as file:
        for message in ("READY=1", "FDSTORE=1\nFDNAME=a:b", "FDSTORE=1\nFDNAME=a\tb", "", "\xff"):
            notify(message, (file.fileno(),), environ)
            assert manager.receive(timeout=DEADLINE) is not None
            assert manager.stored == ()
        for _ in range(20):
            store("same", file.fileno(), environ)
            manager.receive(timeout=DEADLINE)
        assert len(manager.stored) == NotifySocket.FDS_MAX
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "keys"},
        {"LISTEN_PID": "{pid}", "LISTEN_FDS": "-1"},
        {"LISTEN_PID": "{pid}", "LISTEN_FDS": "x"},
        {"LISTEN_PID": "{pid}", "LISTEN_FDS": "0"},
        {"LISTEN_FDS": "1"},
    ],
)
def test_descriptors_for_somebody_else(environ: dict[str, str]) -> None:
    environ = {key: value.format(pid=os.getpid()) for key, value in environ.items()} | {"HOME": "/"}
    assert stored_fds(environ) == {}
    assert environ == {"HOME": "/"}


def test_without_kept_descriptors_the_command_is_itself(directory: Path) -> None:
    with NotifySocket(directory / "notify") as manager:
        assert manager.child(["kiosk", "uploader"]) == (["kiosk", "uploader"], ())


def test_descriptors_arrive_in_order_from_any_numbers(directory: Path) -> None:
    """Also where a kept descriptor has the number that another one must get."""
    code = textwrap.dedent(
        """
        import os
        from kiosk.custody import stored_fds
        pid = os.environ["LISTEN_PID"]
        found = stored_fds()
        assert pid == str(os.getpid()) and not [k for k in os.environ if k.startswith("LISTEN_")]
        assert not any(os.get_inheritable(fd) for fd in found.values())
        extra = [fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and fd not in found.values()]
        print([(name, fd, os.read(fd, 100).decode()) for name, fd in found.items()], len(extra))
        """
    )
    with NotifySocket(directory / "notify") as manager:
        for number in range(5):
            fd = os.memfd_create("x")
            os.write(fd, f"content {number}".encode())
            os.lseek(fd, 0, os.SEEK_SET)
            store(f"name {number}", fd, {"NOTIFY_SOCKET": str(manager.path)})
            os.close(fd)
            manager.receive(timeout=DEADLINE)
        manager._stored.reverse()
        command, fds = manager.child([sys.executable, "-c", code])
        with subprocess.Popen(command, pass_fds=fds, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            out = child.stdout.read()
        expected = [(f"name {4 - i}", 3 + i, f"content {4 - i}") for i in range(5)]
        # The directory being listed is the only other descriptor.
        assert out == f"{expected} 1\n"


def test_descriptors_may_be_in_each_others_place() -> None:
    inner = "import os; print(*[os.read(fd, 9).decode() for fd in (3, 4)], os.environ['LISTEN_FDNAMES'])"
    outer = textwrap.dedent(
        f"""
        import os, sys
        for text in (b"first", b"second"):
            fd = os.memfd_create(text.decode())
            os.write(fd, text)
            os.lseek(fd, 0, 0)
            os.set_inheritable(fd, True)
        words = ["4=second", "3=first", "--", sys.executable, "-c", {inner!r}]
        os.execv(sys.executable, [sys.executable, "-m", "kiosk.custody", *words])
        """
    )
    out = subprocess.run([sys.executable, "-c", outer], check=True, capture_output=True, text=True)
    assert out.stdout == "second first second:first\n"


UPLOADER = """
import os, sys
from uuid import UUID
from kiosk.custody import KeyFile, notify, store, stored_fds

found = stored_fds()
if "keys" in found:
    keys = KeyFile.from_fd(found["keys"])
else:
    keys = KeyFile.create()
    assert store("keys", keys.fd)
notify("READY=1")
print(keys.kind, flush=True)
for line in sys.stdin:
    command, _, word = line.strip().partition(" ")
    if command == "issue":
        with keys.issue(UUID(word)) as area:
            area[:] = UUID(word).bytes * 6
    elif command == "forget":
        keys.forget(UUID(word))
    for session in keys.sessions():
        with keys.view(session) as area:
            assert bytes(area) == session.bytes * 6
    print(",".join(sorted(map(str, keys.sessions()))), flush=True)
"""


class Child:
    """One life of an uploader under the manager."""

    def __init__(self, manager: NotifySocket) -> None:
        command, fds = manager.child([sys.executable, "-c", UPLOADER])
        self.process = subprocess.Popen(
            command,
            pass_fds=fds,
            env={**os.environ, "NOTIFY_SOCKET": str(manager.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        while "READY" not in (message := manager.receive(timeout=DEADLINE) or {"READY": "never"}):
            pass
        assert message == {"READY": "1"}
        self.kind = self.answer()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self, command: str) -> set[str]:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return set(filter(None, self.answer().split(",")))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait(DEADLINE) == -signal.SIGKILL
        with self.process:
            pass


def test_keys_outlive_kill_9_and_end_with_the_manager(directory: Path) -> None:
    first, second = str(uuid4()), str(uuid4())
    with NotifySocket(directory / "notify") as manager:
        child = Child(manager)
        kind = child.kind
        assert child.say(f"issue {first}") == {first}
        child.kill()

        child = Child(manager)
        assert child.kind == kind
        assert child.say("list") == {first}
        assert child.say(f"issue {second}") == {first, second}
        assert child.say(f"forget {first}") == {second}
        child.kill()

        child = Child(manager)
        assert child.say("list") == {second}
        assert [name for name, _ in manager.stored] == ["keys"]
        child.kill()
    # The whole service was stopped: the next one starts with nothing.
    with NotifySocket(directory / "notify") as manager:
        child = Child(manager)
        assert child.say("list") == set()
        child.kill()


def test_nobody_else_can_read_secret_memory_through_proc(keys: KeyFile) -> None:
    """With memfd_secret not even root reads it through /proc/PID/mem; with memfd the control does."""
    session = uuid4()
    fill(keys, session, 0xF6)
    with open("/proc/self/maps") as maps:
        line = next(line for line in maps if "secretmem" in line or "lethe-keys" in line)
    start = int(line.split("-")[0], 16)
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        memory.seek(start + 160)
        if keys.kind == "memfd_secret":
            with pytest.raises(OSError, match=r"Input/output error|Bad address"):
                memory.read(96)
        else:
            assert memory.read(96) == b"\xf6" * 96
