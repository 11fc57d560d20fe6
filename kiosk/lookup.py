"""The short-lived process that looks patients up for one session and ends with it.

It talks to the ui directly, over a socket that the uploader handed to both: patients' names never pass
through the uploader, and no process outlives the session that has seen them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from kiosk.errors import LookupFailed, Problem
from kiosk.link import Message, Peer, answer_all
from kiosk.model import Filed, HumanName, Identifier, Match, Patient, Sex

Find = Callable[[str, Match], tuple[Patient, ...]]
FindReceipt = Callable[[str], Filed]


def patient_to_message(patient: Patient) -> dict[str, Any]:
    """A patient as JSON values."""
    return {
        "id": patient.id,
        "family": patient.name.family,
        "given": patient.name.given,
        "prefix": patient.name.prefix,
        "system": patient.identifier.system,
        "value": patient.identifier.value,
        "birth_date": patient.birth_date.isoformat() if patient.birth_date else None,
        "sex": patient.sex.value,
        "match": patient.match.value,
    }


def patient_from_message(message: Mapping[str, Any]) -> Patient:
    """Inverse of patient_to_message."""
    born = message["birth_date"]
    return Patient(
        id=message["id"],
        name=HumanName(message["family"], message["given"], message["prefix"]),
        identifier=Identifier(message["system"], message["value"]),
        birth_date=date.fromisoformat(born) if born else None,
        sex=Sex(message["sex"]),
        match=Match(message["match"]),
    )


async def serve(sock: socket.socket, find: Find, receipts: FindReceipt | None = None) -> None:
    """Answer `find` and `find-receipt` questions until the ui hangs up."""

    async def handler(peer: Peer, message: Message) -> Mapping[str, Any]:
        if message.get("op") == "find-receipt" and receipts is not None:
            return await _find_receipt(message.get("receipt"), receipts)
        identifier, typed = message.get("identifier"), message.get("typed")
        if message.get("op") != "find" or not isinstance(identifier, str) or not isinstance(typed, bool):
            raise LookupFailed("not a question", problem=Problem.LOOKUP_REFUSED)
        match = Match.TYPED if typed else Match.WRISTBAND
        found = await asyncio.to_thread(find, identifier, match)
        return {"patients": [patient_to_message(p) for p in found[:5]]}

    sock.setblocking(False)
    await answer_all(sock, Peer(sock), handler)


async def _find_receipt(receipt: object, receipts: FindReceipt) -> Mapping[str, Any]:
    if not isinstance(receipt, str):
        raise LookupFailed("not a question", problem=Problem.LOOKUP_REFUSED)
    filed = await asyncio.to_thread(receipts, receipt)
    return {"filed": filed.to_json().decode()}


def run(fd: int, find: Find, receipts: FindReceipt | None = None) -> None:
    """The look-up process."""
    with socket.socket(fileno=fd) as sock:
        asyncio.run(serve(sock, find, receipts))
