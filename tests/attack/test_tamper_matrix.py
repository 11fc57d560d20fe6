"""Nothing that was changed, moved, renamed or replayed ever opens."""

from __future__ import annotations

from uuid import UUID

import pytest

from kiosk import seal
from kiosk.errors import CannotOpen
from kiosk.seal import Cipher, Kind, PrivateKey, SealHeader

HEADER = SealHeader(UUID(int=1, version=4), UUID(int=2, version=4), Kind.PHOTO, 3)
PLAIN = b"\xff\xd8 the bytes of a small photograph \xff\xd9" * 3


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    view = memoryview(bytearray(seal.KEY_BYTES))
    seal.generate_into(view)
    return PrivateKey.from_buffer(view)


@pytest.mark.parametrize("cipher", Cipher)
def test_no_bit_of_an_item_can_be_flipped(key: PrivateKey, cipher: Cipher) -> None:
    """Each byte of magic, length, header, suite, encapsulated keys, ciphertext and tag, one bit each."""
    item = seal.seal(key.public_key(), HEADER, PLAIN, cipher)
    assert seal.open_sealed(key, HEADER, item) == PLAIN
    for place in range(len(item)):
        changed = bytearray(item)
        changed[place] ^= 1 << place % 8
        with pytest.raises(CannotOpen):
            seal.open_sealed(key, HEADER, changed)
