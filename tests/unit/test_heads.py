from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from kiosk import heads
from kiosk.custody import KeyFile
from kiosk.errors import KioskError
from kiosk.heads import HeadSigner, SignedHead

BOOT = UUID("0b7a3f8e-6d52-4f0e-8f1c-3a9b1c2d3e4f")
HASH = "ab" * 32


@pytest.fixture
def key() -> Iterator[memoryview]:
    area = mmap.mmap(-1, mmap.PAGESIZE)
    view = memoryview(area)[:32]
    view[:] = bytes(range(32))
    yield view
    view.release()


def test_what_is_signed_is_this_message_and_no_other(key: memoryview) -> None:
    signer = HeadSigner("ward-4", BOOT, key)
    head = signer.sign(7, HASH)
    message = (
        b"lethe-kiosk audit head v1\n"
        b'{"boot":"0b7a3f8e-6d52-4f0e-8f1c-3a9b1c2d3e4f","hash":"%s","seq":7,"station":"ward-4"}'
        % HASH.encode()
    )
    Ed25519PublicKey.from_public_bytes(signer.public_key).verify(bytes.fromhex(head.signature), message)
    assert head.signed_by(signer.public_key)
    assert (head.station, head.boot, head.seq, head.hash) == ("ward-4", str(BOOT), 7, HASH)


@pytest.mark.parametrize(
    "change", [{"seq": 8}, {"hash": "ac" * 32}, {"station": "ward-5"}, {"boot": str(UUID(int=1, version=4))}]
)
def test_a_signature_is_for_one_head_only(key: memoryview, change: dict[str, Any]) -> None:
    signer = HeadSigner("ward-4", BOOT, key)
    fields: dict[str, Any] = {**signer.sign(7, HASH).to_fields(), "seq": 7}
    assert SignedHead(**fields).signed_by(signer.public_key)
    assert not SignedHead(**{**fields, **change}).signed_by(signer.public_key)


def test_another_key_did_not_sign(key: memoryview) -> None:
    head = HeadSigner("ward-4", BOOT, key).sign(7, HASH)
    assert not head.signed_by(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    assert not head.signed_by(b"short")


def test_the_key_files_key_signs_over_a_restart() -> None:
    with KeyFile.create() as keys, keys.signing_key() as view:
        first = HeadSigner("ward-4", BOOT, view)
        with KeyFile.from_fd(os.dup(keys.fd)) as again, again.signing_key() as same:
            assert HeadSigner("ward-4", BOOT, same).sign(3, HASH).signed_by(first.public_key)
    assert first.public_key != bytes(32)


def test_json_and_back(key: memoryview) -> None:
    head = HeadSigner("ward-4", BOOT, key).sign(7, HASH)
    assert SignedHead.from_json(head.to_json()) == head
    assert SignedHead.from_fields({**head.to_fields(), "seq": 7}) == head


@pytest.mark.parametrize(
    "change",
    [
        {"station": "OKONKWO SMITH"},
        {"boot": "9991230009"},
        {"boot": str(BOOT).upper()},
        {"seq": "007"},
        {"seq": 0},
        {"seq": True},
        {"seq": "9" * 17},
        {"hash": HASH[1:]},
        {"hash": HASH.upper()},
        {"signature": "OKONKWO"},
        {"signature": None},
        {"note": "OKONKWO"},
    ],
)
def test_nothing_else_is_a_head(key: memoryview, change: dict[str, Any]) -> None:
    fields = HeadSigner("ward-4", BOOT, key).sign(7, HASH).to_fields()
    with pytest.raises(KioskError) as caught:
        SignedHead.from_json(json.dumps({**fields, **change}))
    assert "OKONKWO" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "7", "{}", "{", "[" * 50_000, b"\xff"])
def test_no_json_no_head(text: str | bytes) -> None:
    with pytest.raises(KioskError):
        SignedHead.from_json(text)


def test_the_private_key_goes_to_the_library_as_a_view_only(
    key: memoryview, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    class Watched(Ed25519PrivateKey):
        @classmethod
        def from_private_bytes(cls, data: Any) -> Ed25519PrivateKey:
            given.append(data)
            return Ed25519PrivateKey.from_private_bytes(data)

    monkeypatch.setattr(heads, "Ed25519PrivateKey", Watched)
    HeadSigner("ward-4", BOOT, key).sign(1, HASH)
    assert len(given) == 2
    assert all(isinstance(data, memoryview) for data in given)
    for wrong in (bytes(key), bytearray(key), key[:31]):
        with pytest.raises(KioskError):
            HeadSigner("ward-4", BOOT, wrong)  # type: ignore[arg-type]
