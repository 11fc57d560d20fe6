"""Sealing an item to a session's public key, and opening it again.

A sealed item is::

    "LETHE1" and a line feed | header length, 4 bytes big-endian | header | suite, 1 byte | HPKE ciphertext

The header is clear, canonical JSON: version, session, item, kind, number. HPKE is RFC 9180 in base mode,
single shot, with the hybrid post-quantum KEM MLKEM768_X25519 (0x647A), HKDF-SHA256, and AES-256-GCM or
ChaCha20-Poly1305. Its `info` is the SHA-256 of everything before the ciphertext, so an item that was
moved, renamed or renumbered does not open.

Private keys are always memoryviews into memory that the caller owns; no bytes object of one is ever made.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from kiosk.errors import CannotOpen, ConfigError, SealError

Buffer = bytes | bytearray | memoryview

MAGIC = b"LETHE1\n"
HEADER_MAX = 512
"""Bytes. A header of ours has about 150."""
NUMBER_MAX = 9999
KEY_BYTES = 96
"""Bytes: the ML-KEM-768 seed (64) and the X25519 private key (32)."""
PUBLIC_KEY_BYTES = 1216
"""Bytes: the ML-KEM-768 (1184) and the X25519 (32) public key."""
_MLKEM_SEED = 64
_MLKEM_PUBLIC = 1184
_VERSION = 1


class Kind(Enum):
    """What an item is."""

    CONSENT = "consent"
    PHOTO = "photo"
    MANIFEST = "manifest"
    CORRECTION = "correction"


class Cipher(Enum):
    """The AEAD of an item. `code` is the suite byte: its RFC 9180 section 7.3 identifier."""

    AES_256_GCM = ("aes-256-gcm", 2)
    CHACHA20_POLY1305 = ("chacha20-poly1305", 3)

    def __init__(self, label: str, code: int) -> None:
        self.label = label
        self.code = code

    def suite(self) -> Suite:
        """The HPKE suite with this AEAD."""
        aead = AEAD.AES_256_GCM if self is Cipher.AES_256_GCM else AEAD.CHACHA20_POLY1305
        return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, aead)


def choose_suite(name: str = "auto", *, cpuinfo: Path = Path("/proc/cpuinfo")) -> Cipher:
    """Return the cipher called `name`; "auto" takes AES where the CPU has AES instructions.

    Without them AES-GCM is several times slower than ChaCha20. Raises ConfigError for other names.
    """
    if name == "auto":
        return Cipher.AES_256_GCM if _cpu_has_aes(cpuinfo) else Cipher.CHACHA20_POLY1305
    for cipher in Cipher:
        if cipher.label == name:
            return cipher
    raise ConfigError((f"seal.cipher: must be one of auto, {', '.join(c.label for c in Cipher)}",))


def _cpu_has_aes(cpuinfo: Path) -> bool:
    """Whether the `flags` (x86) or `Features` (ARM) line lists `aes`."""
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    rows = (line.partition(":") for line in text.splitlines())
    return any("aes" in value.split() for key, _, value in rows if key.strip() in ("flags", "Features"))


# --- keys ----------------------------------------------------------------------------------


class PublicKey:
    """A session's public key: what the ui process gets."""

    def __init__(self, mlkem: MLKEM768PublicKey, x25519: X25519PublicKey) -> None:
        self._bytes = mlkem.public_bytes_raw() + x25519.public_bytes_raw()
        self.hpke = MLKEM768X25519PublicKey(mlkem, x25519)

    @classmethod
    def from_bytes(cls, data: Buffer) -> PublicKey:
        """Parse 1184 + 32 bytes. Raises SealError."""
        if len(data) != PUBLIC_KEY_BYTES:
            raise SealError(f"a public key has {PUBLIC_KEY_BYTES} bytes, not {len(data)}")
        try:
            mlkem = MLKEM768PublicKey.from_public_bytes(data[:_MLKEM_PUBLIC])
            x25519 = X25519PublicKey.from_public_bytes(bytes(data[_MLKEM_PUBLIC:]))
        except ValueError as e:
            raise SealError("not a public key") from e
        return cls(mlkem, x25519)

    def to_bytes(self) -> bytes:
        """Return 1184 + 32 bytes."""
        return self._bytes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)


class PrivateKey:
    """A session's private key, parsed from the caller's memory; OpenSSL cleanses its own copy."""

    def __init__(self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self.hpke = MLKEM768X25519PrivateKey(mlkem, x25519)
        self._public = PublicKey(mlkem.public_key(), x25519.public_key())

    @classmethod
    def from_buffer(cls, view: memoryview) -> PrivateKey:
        """Parse 96 bytes: the ML-KEM-768 seed, then the X25519 key. Raises SealError."""
        if view.nbytes != KEY_BYTES:
            raise SealError(f"a private key has {KEY_BYTES} bytes, not {view.nbytes}")
        with view[:_MLKEM_SEED] as seed, view[_MLKEM_SEED:] as scalar:
            try:
                mlkem = MLKEM768PrivateKey.from_seed_bytes(seed)
                x25519 = X25519PrivateKey.from_private_bytes(scalar)
            except (ValueError, BufferError) as e:
                raise SealError("not a private key") from e
        return cls(mlkem, x25519)

    def public_key(self) -> PublicKey:
        """Return the public half."""
        return self._public


def generate_into(view: memoryview) -> PublicKey:
    """Fill the 96 bytes of `view` with a new private key and return its public half.

    The kernel writes its random bytes straight into the caller's memory. Raises SealError.
    """
    if view.nbytes != KEY_BYTES or view.readonly:
        raise SealError(f"a private key needs {KEY_BYTES} writable bytes")
    with open("/dev/urandom", "rb", buffering=0) as urandom:
        filled = 0
        while filled < KEY_BYTES:
            with view[filled:] as rest:
                filled += urandom.readinto(rest) or 0
    return PrivateKey.from_buffer(view).public_key()


# --- items ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SealHeader:
    """What is clear about an item, and bound to it. Holds no patient data.

    Raises SealError for a number outside 0..9999.
    """

    session: UUID
    item: UUID
    kind: Kind
    number: int

    def __post_init__(self) -> None:
        if type(self.number) is not int or not 0 <= self.number <= NUMBER_MAX:
            raise SealError("an item's number is 0 to 9999")

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no white space, ASCII."""
        facts = {
            "v": _VERSION,
            "session": str(self.session),
            "item": str(self.item),
            "kind": self.kind.value,
            "number": self.number,
        }
        return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes) -> SealHeader:
        """Parse exactly what `to_bytes` makes. Raises CannotOpen."""
        try:
            facts = json.loads(data.decode("ascii"))
            header = cls(UUID(facts["session"]), UUID(facts["item"]), Kind(facts["kind"]), facts["number"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SealError):
            raise CannotOpen("the header is not one of ours") from None
        if header.to_bytes() != data:
            raise CannotOpen("the header is not canonical")
        return header


def seal(public_key: PublicKey, header: SealHeader, plaintext: Buffer, cipher: Cipher) -> bytes:
    """Return the sealed item. Raises SealError. Costs two copies of the item for a moment."""
    return b"".join(seal_parts(public_key, header, plaintext, cipher))


def seal_parts(
    public_key: PublicKey, header: SealHeader, plaintext: Buffer, cipher: Cipher
) -> tuple[bytes, bytes]:
    """Return the sealed item in two parts, to be written one after the other: one copy, not two."""
    prefix = _prefix(header.to_bytes(), cipher.code)
    try:
        return prefix, cipher.suite().encrypt(plaintext, public_key.hpke, info=_info(prefix))
    except (ValueError, BufferError) as e:
        raise SealError("the item could not be encrypted") from e


def open_sealed(private_key: PrivateKey, expected: SealHeader, sealed: Buffer) -> bytearray:
    """Return the plaintext, which the caller may overwrite after use.

    Raises CannotOpen, and nothing else, for whatever is off: other magic, cut short, extended, moved to
    another session, renamed, renumbered, changed in any bit, or sealed to another key.
    """
    opened = _decrypt(private_key, expected, sealed)
    plaintext = bytearray(opened)
    _overwrite(opened)
    return plaintext


def open_in_place(private_key: PrivateKey, expected: SealHeader, sealed: bytearray) -> None:
    """Replace a sealed item by its plaintext: one copy of each for a moment, not two of the plaintext.

    Raises CannotOpen as open_sealed does; then the item is as it was.
    """
    opened = _decrypt(private_key, expected, sealed)
    with memoryview(sealed) as buffer:
        # A bytearray would copy what is assigned to a slice of it first.
        buffer[: len(opened)] = opened
    del sealed[len(opened) :]
    _overwrite(opened)


def _decrypt(private_key: PrivateKey, expected: SealHeader, sealed: Buffer) -> bytes:
    with memoryview(sealed) as whole:
        if not whole.c_contiguous or whole.format != "B":
            raise CannotOpen("not a run of bytes")
        header, body = _split(whole)
        if header != expected:
            raise CannotOpen("the header is another item's")
        cipher = next((c for c in Cipher if body <= whole.nbytes and c.code == whole[body - 1]), None)
        if cipher is None:
            raise CannotOpen("unknown suite")
        info = _info(_prefix(header.to_bytes(), cipher.code))
        with whole[body:] as ciphertext:
            try:
                return cipher.suite().decrypt(ciphertext, private_key.hpke, info=info)
            except (InvalidTag, ValueError):
                raise CannotOpen("changed, or sealed to another key") from None


def parse_header(sealed: Buffer) -> SealHeader:
    """Return the clear header, which nothing has proven yet. Raises CannotOpen."""
    with memoryview(sealed) as whole:
        return _split(whole)[0]


def _split(whole: memoryview) -> tuple[SealHeader, int]:
    """Return the header and where the ciphertext starts (the suite byte may be missing)."""
    start = len(MAGIC) + 4
    front = whole[: start + HEADER_MAX].tobytes()
    if not front.startswith(MAGIC) or len(front) < start:
        raise CannotOpen("not a sealed item")
    length = int.from_bytes(front[len(MAGIC) : start], "big")
    if not 0 < length <= HEADER_MAX or len(front) < start + length:
        raise CannotOpen("the header's length is wrong")
    return SealHeader.from_bytes(front[start : start + length]), start + length + 1


def _prefix(header: bytes, suite: int) -> bytes:
    return MAGIC + len(header).to_bytes(4, "big") + header + bytes((suite,))


def _info(prefix: bytes) -> bytes:
    return hashlib.sha256(prefix).digest()


def _overwrite(secret: bytes) -> None:
    """Zero a bytes object that only this module has seen: HPKE gives its plaintext as one."""
    # One-byte and empty bytes objects are shared by the whole interpreter.
    if len(secret) > 1:
        address = ctypes.cast(ctypes.c_char_p(secret), ctypes.c_void_p)
        ctypes.memset(address, 0, len(secret))
