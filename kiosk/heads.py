"""Signed heads: where an audit chain is, said by the key of its boot, to be kept outside the kiosk.

Who keeps a head can tell later that the chain up to it was not changed, reordered or cut, and that the head
is the kiosk's own. The key is Ed25519 (RFC 8032); what is signed is `DOMAIN` and the canonical JSON of
station, boot, seq and hash, so no other message of the kiosk can pass for a head.

A private key is always a memoryview into memory that the caller owns; no bytes object of one is ever made.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from kiosk.errors import KioskError

DOMAIN = b"lethe-kiosk audit head v1\n"
KEY_BYTES = 32
_FORMS = {
    "station": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
    "boot": re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "hash": re.compile("[0-9a-f]{64}"),
    "signature": re.compile("[0-9a-f]{128}"),
}
_SEQ_MAX = 2**53


@dataclass(frozen=True, slots=True)
class SignedHead:
    """The number and hash (hex) of the newest entry of one boot's chain. `signature`: 64 bytes as hex.

    Raises KioskError for a field that is not of its form; none of them has room for patient data.
    """

    station: str
    boot: str
    seq: int
    hash: str
    signature: str

    def __post_init__(self) -> None:
        for name, form in _FORMS.items():
            value = getattr(self, name)
            if not isinstance(value, str) or not form.fullmatch(value):
                raise KioskError(f"head: {name} is not of its form")
        if type(self.seq) is not int or not 0 < self.seq <= _SEQ_MAX:
            raise KioskError("head: seq is not the number of an entry")

    def signed_by(self, public_key: bytes) -> bool:
        """Whether the signature is by the owner of this key (32 bytes)."""
        message = _message(self.station, self.boot, self.seq, self.hash)
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(bytes.fromhex(self.signature), message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def to_fields(self) -> dict[str, str]:
        """Every field as text, the order is the constructor's."""
        return {
            "station": self.station,
            "boot": self.boot,
            "seq": str(self.seq),
            "hash": self.hash,
            "signature": self.signature,
        }

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> SignedHead:
        """Inverse of to_fields; `seq` may be a number too. Raises KioskError."""
        if not isinstance(fields, dict) or fields.keys() != {*_FORMS, "seq"}:
            raise KioskError(f"head: allowed are exactly {', '.join(sorted({*_FORMS, 'seq'}))}")
        seq = fields["seq"]
        if isinstance(seq, str) and re.fullmatch("[1-9][0-9]{0,15}", seq):
            seq = int(seq)
        return cls(**{**fields, "seq": seq})

    def to_json(self) -> str:
        """One line of canonical JSON."""
        return json.dumps(self.to_fields(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> SignedHead:
        """Inverse of to_json. Raises KioskError."""
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            raise KioskError("head: not JSON") from None
        return cls.from_fields(fields)


class HeadSigner:
    """Signs the heads of one boot of one station.

    key: the 32 bytes of the private key in memory that outlives this object; parsed anew for each signature,
    so that OpenSSL's own copy is cleansed at once.
    """

    def __init__(self, station: str, boot_id: UUID, key: memoryview) -> None:
        if not isinstance(key, memoryview) or key.nbytes != KEY_BYTES:
            raise KioskError(f"a signing key is a memoryview of {KEY_BYTES} bytes")
        self._station = station
        self._boot = str(boot_id)
        self._key = key
        self.public_key = Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
        """32 bytes."""

    def sign(self, seq: int, hash_: str) -> SignedHead:
        """Sign that the chain's newest entry has this number and hash."""
        message = _message(self._station, self._boot, seq, hash_)
        signature = Ed25519PrivateKey.from_private_bytes(self._key).sign(message)
        return SignedHead(self._station, self._boot, seq, hash_, signature.hex())


def _message(station: str, boot: str, seq: int, hash_: str) -> bytes:
    facts = {"station": station, "boot": boot, "seq": seq, "hash": hash_}
    return DOMAIN + json.dumps(facts, sort_keys=True, separators=(",", ":")).encode("ascii")
