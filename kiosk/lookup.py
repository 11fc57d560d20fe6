"""The short-lived process that looks patients up for one session and ends with it.

It talks to the ui directly, over a socket that the uploader handed to both: patients' names never pass
through the uploader, and no process outlives the session that has seen them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from kiosk.errors import LinkError, LookupFailed, Problem
from kiosk.link import Message, Peer, answer_all, encode
from kiosk.model import Filed, HumanName, Identifier, Match, Patient, Sex, Visit, VisitList

Find = Callable[[str, Match], tuple[Patient, ...]]
FindReceipt = Callable[[str], Filed]
ListVisits = Callable[[], VisitList]


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
        "merged_from": _identifier_to_message(patient.merged_from),
        "deceased": patient.deceased,
        "died": patient.died.isoformat() if patient.died else None,
        "encounter": patient.encounter,
    }


def patient_from_message(message: Mapping[str, Any]) -> Patient:
    """Inverse of patient_to_message."""
    merged = message["merged_from"]
    return Patient(
        id=message["id"],
        name=HumanName(message["family"], message["given"], message["prefix"]),
        identifier=Identifier(message["system"], message["value"]),
        birth_date=_day(message["birth_date"]),
        sex=Sex(message["sex"]),
        match=Match(message["match"]),
        merged_from=Identifier(merged["system"], merged["value"]) if merged else None,
        deceased=message["deceased"],
        died=_day(message["died"]),
        encounter=message["encounter"],
    )


def _identifier_to_message(identifier: Identifier | None) -> dict[str, str] | None:
    return None if identifier is None else {"system": identifier.system, "value": identifier.value}


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def list_to_message(listed: VisitList) -> dict[str, Any]:
    """Today's list as JSON values, cut where it would not fit into one line of the link."""
    visits = [
        {
            "at": visit.at.isoformat() if visit.at else None,
            "here": visit.here,
            "patient": patient_to_message(visit.patient),
        }
        for visit in listed.visits
    ]
    cut = listed.cut
    while visits and not _fits({"visits": visits, "cut": cut}):
        visits, cut = visits[: len(visits) * 3 // 4], True
    return {"visits": visits, "cut": cut}


def _fits(ok: Mapping[str, Any]) -> bool:
    try:
        # The largest number that a question has in its own line, and some room.
        encode({"id": 10**12, "ok": ok})
    except LinkError:
        return False
    return True


def list_from_message(message: Mapping[str, Any]) -> VisitList:
    """Inverse of list_to_message."""
    return VisitList(
        tuple(
            Visit(
                datetime.fromisoformat(visit["at"]) if visit["at"] else None,
                visit["here"],
                patient_from_message(visit["patient"]),
            )
            for visit in message["visits"]
        ),
        message["cut"],
    )


async def serve(
    sock: socket.socket,
    find: Find,
    list_visits: ListVisits | None = None,
    receipts: FindReceipt | None = None,
) -> None:
    """Answer `find`, `list` and `find-receipt` questions until the ui hangs up."""

    async def handler(peer: Peer, message: Message) -> Mapping[str, Any]:
        if message.get("op") == "list":
            if list_visits is None:
                raise LookupFailed("no location is configured", problem=Problem.LIST_REFUSED)
            return list_to_message(await asyncio.to_thread(list_visits))
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


def run(
    fd: int,
    find: Find,
    list_visits: ListVisits | None = None,
    receipts: FindReceipt | None = None,
) -> None:
    """The look-up process."""
    with socket.socket(fileno=fd) as sock:
        asyncio.run(serve(sock, find, list_visits, receipts))
