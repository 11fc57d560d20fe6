"""Sealing into the spool and opening: time against raw AEAD of the same bytes, memory against the item."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from kiosk import seal
from kiosk.audit import Action, AuditLog
from kiosk.custody import KeyFile
from kiosk.seal import Cipher, Kind, PrivateKey, SealHeader
from kiosk.spool import Spool

MEGABYTE = 1_000_000
ROUNDS = 25
SLACK = 512 * 1024
"""Bytes that do not grow with the item: the read-back's buffer, the key's parsing, the allocator's pages."""

Row = tuple[str, float, float, float, float | None]
"""Name, ours and the reference in milliseconds, ours / reference, the most that the ratio should be."""
TIME_AIM, MEMORY_AIM, KEY_PAIR_AIM_MS = 4.0, 1.0, 1.0


def rows() -> list[Row]:
    """Measure in a process of its own, whose allocator is set as the kiosk's processes have it.

    With glibc's own setting the reference writes into memory that is warm from the round before, and no
    session ever has that: there, writing to tmpfs alone takes five times as long as AES-GCM.
    """
    memory = {"MALLOC_PERTURB_": "165", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.seal"],
        env={**os.environ, **memory},
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        check=True,
    )
    return [tuple(row) for row in json.loads(done.stdout)]


def measure() -> list[Row]:
    """Everything: medians of interleaved rounds."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base) as root, KeyFile.create() as keys:
        spool = Spool(Path(root), capacity=2**30, reserve=1, allow_disk=True)
        sizes = [
            row
            for cipher in Cipher
            for megabytes in (1, 5, 15)
            for row in _item(spool, keys, cipher, megabytes * MEGABYTE)
        ]
    return [*sizes, *_key_pair(), _audit_entry()]


def _item(spool: Spool, keys: KeyFile, cipher: Cipher, size: int) -> list[Row]:
    raw = (AESGCM if cipher is Cipher.AES_256_GCM else ChaCha20Poly1305)(os.urandom(32))
    plain, nonce = os.urandom(size), bytes(12)
    session, item = uuid4(), uuid4()
    header = SealHeader(session, item, Kind.PHOTO, 1)
    with keys.issue(session) as area:
        public = seal.generate_into(area)
        private = PrivateKey.from_buffer(area)
    raw_sealed = raw.encrypt(nonce, plain, None)
    sealed = seal.seal(public, header, plain, cipher)
    spool.begin(session)

    def seal_and_add() -> None:
        spool.add(session, 1, "photo", item, seal.seal_parts(public, header, plain, cipher))

    parts = seal.seal_parts(public, header, plain, cipher)
    adding = _compare(
        lambda: spool.add(session, 1, "photo", item, parts),
        lambda: raw.encrypt(nonce, plain, None),
        after=lambda: spool.remove(session, item),
    )
    buffers: list[bytearray] = []

    def open_in_place() -> None:
        seal.open_in_place(private, header, buffers[-1])

    def fill() -> None:
        # Each opening needs an item of its own: the plaintext takes its place.
        buffers[:] = [bytearray(sealed)]

    sealing = _compare(
        seal_and_add, lambda: raw.encrypt(nonce, plain, None), after=lambda: spool.remove(session, item)
    )
    fill()
    opening = _compare(open_in_place, lambda: raw.decrypt(nonce, raw_sealed, None), after=fill)
    more_to_seal = _extra_memory(seal_and_add)
    spool.remove(session, item)
    more_to_open = _extra_memory(open_in_place)
    spool.destroy(session)
    keys.forget(session)
    label = f"{size // MEGABYTE} MB, {cipher.label}"
    return [
        (f"seal and add, {label} / raw AEAD", *sealing, TIME_AIM),
        (f"of that the spool: write and read back, {label}", *adding, None),
        (f"open, {label} / raw AEAD", *opening, TIME_AIM),
        (f"MB more to seal and add, {label} / item", *_share(more_to_seal, size), MEMORY_AIM),
        (f"MB more to open, {label} / item", *_share(more_to_open, size), MEMORY_AIM),
    ]


def _extra_memory(call: Callable[[], object]) -> int:
    """Bytes of resident memory at the worst moment of `call` above what there was before it."""
    # proc_pid_clear_refs(5): 5 sets the high-water mark back to what is there now.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    call()
    return max(0, _status("VmHWM") - before)


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def _share(bytes_more: int, size: int) -> tuple[float, float, float]:
    # What one read-back buffer and a few pages take is no share of the item.
    return bytes_more / MEGABYTE, size / MEGABYTE, max(0, bytes_more - SLACK) / size


def _key_pair() -> list[Row]:
    """A session's key pair in the key file / making the library's own two keys, and in milliseconds."""
    with KeyFile.create() as keys:

        def issue() -> None:
            session = uuid4()
            with keys.issue(session) as area:
                seal.generate_into(area).to_bytes()
            keys.forget(session)

        def library() -> None:
            MLKEM768PrivateKey.generate().public_key().public_bytes_raw()
            X25519PrivateKey.generate().public_key().public_bytes_raw()

        ours, theirs, ratio = _compare(issue, library, rounds=200)
    return [
        ("session key pair / the library's two keys", ours, theirs, ratio, None),
        ("session key pair / one millisecond", ours, 1.0, ours, KEY_PAIR_AIM_MS),
    ]


def _audit_entry() -> Row:
    """An audit entry (JSON and SHA-256) / making one ML-KEM key, for scale."""
    log = AuditLog("bench", uuid4(), wall_trusted=lambda: True)
    session = uuid4()
    return (
        "audit entry / one ML-KEM-768 key",
        *_compare(
            lambda: log.append(Action.COMMITTED, session=session, operator="apatel", count=3),
            lambda: MLKEM768PrivateKey.generate(),
            rounds=200,
        ),
        None,
    )


def _compare(
    ours: Callable[[], object],
    reference: Callable[[], object],
    rounds: int = ROUNDS,
    after: Callable[[], object] = lambda: None,
) -> tuple[float, float, float]:
    """Time both in turn; `after` follows ours, outside the time."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 2):
        for call, found in zip((ours, reference), times, strict=True):
            started = time.perf_counter()
            call()
            found.append((time.perf_counter() - started) * 1000)
            if call is ours:
                after()
    mine, theirs = (statistics.median(found[2:]) for found in times)
    return mine, theirs, mine / theirs


if __name__ == "__main__":
    print(json.dumps(measure()))
