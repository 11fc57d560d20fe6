"""Whether this processor seals rightly: known answers and a round trip, before a process starts to work.

A faulty AES unit makes a ciphertext that is wrong, under a tag that fits it. The ui process cannot open what
it sealed, and reading the file back only shows that what was computed was written: the fault would come to
light at delivery, when the digest in the manifest differs, and the photograph would be parked and lost. So
whatever is always wrong is found here. A single slip of the processor between two starts is not: it ends as
a parked session, never as a wrong picture in the record.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from kiosk.errors import ConfigError, SealError
from kiosk.seal import KEY_BYTES, Cipher, Kind, PrivateKey, SealHeader, generate_into, open_sealed, seal

_PLAIN = bytes(n * 167 % 256 for n in range(256)) * 256 + bytes(range(13))
"""Long enough for the processor's wide paths, and not a multiple of any block."""
_KEY, _NONCE, _AAD = bytes(range(32)), bytes(range(12)), b"lethe"
_ANSWERS = {
    Cipher.AES_256_GCM: "32c4f911f18ac8897ae7af315d34ecff0d1be63d8e813db8f817a4abff9374d9",
    Cipher.CHACHA20_POLY1305: "19b57092f41e6d725a61c5c4465ecd27abf50d54ff5aaf1fd5afd2a96572ab56",
}
"""SHA-256 of ciphertext and tag; OpenSSL with and without AES instructions and PyCryptodome agree on them."""


def check(cipher: Cipher) -> None:
    """Return where sealing with `cipher` gives the right answers. Raises ConfigError. Takes a millisecond."""
    try:
        right = _known_answer(cipher) and _round_trip(cipher)
    except (InvalidTag, SealError):
        right = False
    if not right:
        others = " or ".join(f'"{c.label}"' for c in Cipher if c is not cipher)
        what = f"this processor gives wrong answers with {cipher.label}"
        raise ConfigError((f"[seal] cipher: {what}; allowed: {others}, or another board",))


def _known_answer(cipher: Cipher) -> bool:
    aead = AESGCM(_KEY) if cipher is Cipher.AES_256_GCM else ChaCha20Poly1305(_KEY)
    sealed = aead.encrypt(_NONCE, _PLAIN, _AAD)
    # The second half of each test needs the first to be right.
    return hashlib.sha256(sealed).hexdigest() == _ANSWERS[cipher] and (
        aead.decrypt(_NONCE, sealed, _AAD) == _PLAIN
    )


def _round_trip(cipher: Cipher) -> bool:
    """Key pair, KEM and key schedule; a wrong one on one side alone does not open."""
    with memoryview(bytearray(KEY_BYTES)) as area:
        public = generate_into(area)
        private = PrivateKey.from_buffer(area)
    header = SealHeader(UUID(int=0), UUID(int=0), Kind.PHOTO, 0)
    return open_sealed(private, header, seal(public, header, _PLAIN, cipher)) == _PLAIN
