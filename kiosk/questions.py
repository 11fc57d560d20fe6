"""What a question over the link may hold: anything else is a LinkError, and repeats nothing of it.

And the one answer that is more than a word: who signed in.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from kiosk.errors import LinkError
from kiosk.link import Message
from kiosk.model import Act, Decision, Match, Practitioner
from kiosk.receipts import clean_receipt


def text_of(message: Message, key: str) -> str:
    """The short text below `key`. Raises LinkError for anything else."""
    value = message.get(key)
    if not isinstance(value, str) or len(value) > 256:
        raise LinkError(f"{key} is not a short text")
    return value


def uuid_of(message: Message) -> UUID:
    """The session that is spoken of. Raises LinkError."""
    try:
        return UUID(text_of(message, "session"))
    except ValueError:
        raise LinkError("session is not a UUID") from None


def match_of(message: Message) -> Match:
    """How a patient was found. Raises LinkError."""
    try:
        return Match(text_of(message, "match"))
    except ValueError:
        raise LinkError("match is none of ours") from None


def operator_to_message(operator: Practitioner) -> dict[str, Any]:
    """Who signed in, as JSON values."""
    number = operator.identifier
    return {
        "id": operator.id,
        "name": operator.name,
        "reference": operator.reference,
        "identifier": None if number is None else {"system": number.system, "value": number.value},
    }


def decision_of(message: Message) -> Decision | Act:
    """What was decided, now or about an earlier session. Raises LinkError."""
    text = text_of(message, "decision")
    for kind in (Decision, Act):
        for member in kind:
            if member.value == text:
                return member
    raise LinkError("decision is none of ours")


def receipt_of(message: Message) -> str:
    """The receipt that is spoken of, well formed. Raises LinkError."""
    receipt = clean_receipt(text_of(message, "receipt"))
    if receipt is None:
        raise LinkError("receipt is none")
    return receipt
