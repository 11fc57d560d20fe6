"""Receipt ids: how they are made from a session's id, and how one that was typed or scanned is read."""

from __future__ import annotations

import re
from uuid import NAMESPACE_URL, UUID, uuid5

_NAMESPACE = uuid5(NAMESPACE_URL, "urn:lethe-kiosk:receipt")
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O, U, so that a code can be read out on the telephone."""
_LOOK_ALIKES = str.maketrans("OIL", "011")
_SEPARATORS = re.compile(r"[\s\-‐‑‒–—_.:]+")
# Without its R a code must not begin with one: else a digit that was left out would go unnoticed.
_CODE = re.compile(f"(?:R|(?!R))([{_ALPHABET}]{{4}})([{_ALPHABET}]{{4}})")


def receipt_id(session: UUID) -> str:
    """A short code such as R-7K4M-2QHD, always the same for one session, without patient data.

    40 bits of a UUID version 5 (RFC 9562) in Crockford's base 32.
    """
    bits = uuid5(_NAMESPACE, str(session)).int >> 88
    code = "".join(_ALPHABET[(bits >> shift) & 31] for shift in range(35, -1, -5))
    return f"R-{code[:4]}-{code[4:]}"


def clean_receipt(text: str) -> str | None:
    """The receipt id that was meant, or None. Case, blanks, hyphens, O for 0, I or L for 1 do not matter."""
    if len(text) > 64:
        return None
    found = _CODE.fullmatch(_SEPARATORS.sub("", text).upper().translate(_LOOK_ALIKES))
    return f"R-{found[1]}-{found[2]}" if found else None
