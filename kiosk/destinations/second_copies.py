"""Taking back what an earlier attempt, thought lost, had done already.

Only for servers that choose the ids of Binary and Provenance themselves. A copy is deleted only when the
server said that it was made by this attempt and that all it belongs to was there before, and when it shows
another copy that is the one in use. Who may not delete, or does not see another copy, leaves it: a second
copy is no reason not to prove the first, so no DeliveryError leaves this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from kiosk.errors import DeliveryError
from kiosk.fhir.answers import Resource, is_id, objects, part
from kiosk.fhir.client import FhirClient

BINARY, PROVENANCE = "Binary", "Provenance"


@dataclass(frozen=True, slots=True)
class Written:
    """One entry of the answer to a transaction. `location`: what the server says, not yet looked at."""

    kind: str
    created: bool
    location: str


def delete_second_binary(
    client: FhirClient, written: Sequence[Written], document: Callable[[], Resource]
) -> None:
    """Delete the Binary of this transaction when `document`, read anew, leads to another one."""
    with suppress(DeliveryError):
        if ours := _second_copy(client, written, BINARY, "DocumentReference"):
            urls = [part(content, "attachment").get("url") for content in objects(document(), "content")]
            used = [_id_in(client.local(url), BINARY) for url in urls if isinstance(url, str)]
            if used and None not in used and ours not in used:
                client.delete(BINARY, ours)


def delete_second_provenance(client: FhirClient, written: Sequence[Written], consent: str) -> None:
    """Delete the Provenance of this transaction when another one speaks of `consent`, a reference."""
    with suppress(DeliveryError):
        if ours := _second_copy(client, written, PROVENANCE, "Consent"):
            found = client.search(PROVENANCE, {"target": consent})
            # A server that ignored the parameter shows the Provenance of others.
            ids = {p.get("id") for p in found if consent in _targets(client, p)}
            if ids - {ours, None}:
                client.delete(PROVENANCE, ours)


def _second_copy(client: FhirClient, written: Sequence[Written], kind: str, companion: str) -> str | None:
    """The id of the `kind` that was created although every `companion` was there already, or None."""
    if any(w.created for w in written if w.kind == companion):
        return None
    made = [w.location for w in written if w.kind == kind and w.created]
    return _id_in(client.local(made[0]), kind) if made else None


def _targets(client: FhirClient, provenance: Resource) -> list[str]:
    targets = (target.get("reference") for target in objects(provenance, "target"))
    return [client.local(target) for target in targets if isinstance(target, str)]


def _id_in(local: str, kind: str) -> str | None:
    """The id in a reference `kind/id`, or None where it is none."""
    found, _, id = local.partition("/")
    return id if found == kind and is_id(id) else None
