"""A processor that computes wrong answers is found out before anything is sealed with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kiosk import __main__, seal, selftest
from kiosk.demo import station
from kiosk.errors import ConfigError
from kiosk.seal import Cipher


@pytest.mark.parametrize("cipher", Cipher)
def test_this_machine_is_right(cipher: Cipher) -> None:
    selftest.check(cipher)


class WrongBlock:
    """A keystream that slips in one block: the tag is computed over the wrong ciphertext, and fits."""

    def __init__(self, key: bytes) -> None:
        self.right = AESGCM(key)

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        wrong = bytearray(data)
        wrong[40_000] ^= 1
        return self.right.encrypt(nonce, bytes(wrong), associated_data)


def test_a_wrong_block_under_a_tag_that_fits_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "AESGCM", WrongBlock)
    with pytest.raises(ConfigError, match=r'aes-256-gcm; allowed: "chacha20-poly1305"'):
        selftest.check(Cipher.AES_256_GCM)
    selftest.check(Cipher.CHACHA20_POLY1305)


@pytest.mark.parametrize("command", ["ui", "uploader"])
def test_neither_process_starts_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    def wrong(*_: object) -> bytearray:
        return bytearray(1)

    monkeypatch.setattr(selftest, "open_sealed", wrong)
    monkeypatch.setattr("kiosk.process.harden", lambda: None)
    config = station.write(tmp_path, "http://127.0.0.1:9/fhir", station.Options())
    assert __main__.main([command, "--config", str(config)]) == __main__.EXIT_CONFIG
    assert f"wrong answers with {seal.choose_suite().label}" in capsys.readouterr().err
    assert not (tmp_path / "link.sock").exists()
