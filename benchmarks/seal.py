"""Sealing into the spool and opening, against raw AEAD of the same bytes in the same run."""

from __future__ import annotations

import os
import statistics
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

Row = tuple[str, float, float, float]
"""Name, ours in milliseconds, the reference in milliseconds, ours / reference."""


def rows() -> list[Row]:
    """Measure everything: medians of interleaved rounds."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base) as root, KeyFile.create() as keys:
        spool = Spool(Path(root), capacity=2**30, reserve=1, allow_disk=True)
        sizes = [row for megabytes in (1, 5, 15) for row in _item(spool, keys, megabytes * MEGABYTE)]
    return [*sizes, _key_pair(), _audit_entry()]


def _item(spool: Spool, keys: KeyFile, size: int) -> list[Row]:
    cipher = seal.choose_suite()
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

    def open_sealed() -> None:
        seal.open_sealed(private, header, sealed)

    sealing = _compare(
        seal_and_add, lambda: raw.encrypt(nonce, plain, None), after=lambda: spool.remove(session, item)
    )
    opening = _compare(open_sealed, lambda: raw.decrypt(nonce, raw_sealed, None))
    spool.destroy(session)
    keys.forget(session)
    label = f"{size // MEGABYTE} MB, {cipher.label}"
    return [
        (f"seal and add to the spool, {label} / raw AEAD", *sealing),
        (f"open, {label} / raw AEAD", *opening),
    ]


def _key_pair() -> Row:
    """A session's key pair in the key file / making the library's own two keys."""
    with KeyFile.create() as keys:

        def issue() -> None:
            session = uuid4()
            with keys.issue(session) as area:
                seal.generate_into(area).to_bytes()
            keys.forget(session)

        def library() -> None:
            MLKEM768PrivateKey.generate().public_key().public_bytes_raw()
            X25519PrivateKey.generate().public_key().public_bytes_raw()

        return ("session key pair / the library's two keys", *_compare(issue, library, rounds=200))


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
    for name, value, against, ratio in rows():
        print(f"{name:62} {value:9.3f} ms {against:9.3f} ms {ratio:7.2f}")
