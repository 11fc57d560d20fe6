"""What a question over the link may hold: anything else is a LinkError, and repeats nothing of it."""

from __future__ import annotations

from uuid import UUID

from kiosk.errors import LinkError
from kiosk.link import Message
from kiosk.model import Decision


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


def decision_of(message: Message) -> Decision:
    """What was decided. Raises LinkError."""
    try:
        return Decision(text_of(message, "decision"))
    except ValueError:
        raise LinkError("decision is none of ours") from None
