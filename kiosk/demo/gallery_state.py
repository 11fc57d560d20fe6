"""What the gallery page draws, made from what is in the store; it bears whatever a client has stored."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

from kiosk.demo.faults import Faults
from kiosk.demo.fhir_rules import Json
from kiosk.demo.fhir_search import local_reference
from kiosk.demo.fhir_store import FhirStore

DOCUMENT_PATH = "/gallery/document/"
IMAGES = ("image/jpeg", "image/png")
PDF = "application/pdf"
_PURPOSES = {"TREAT": "Care and health record", "TRAIN": "Teaching", "HRESCH": "Research or publication"}
_SYSTEMS = {"https://fhir.nhs.uk/Id/nhs-number": "NHS No."}
_ANY = "Hospital No."
_OVER = ("inactive", "rejected", "entered-in-error")
"""Statuses of a Consent that is no longer in force."""


def gallery_state(store: FhirStore, faults: Faults) -> Json:
    """Faults, totals, and every patient with decisions and photographs, newest first."""
    view = _View(store)
    patients = [view.patient(patient) for patient in store.all("Patient")]
    known = [identifier["value"] for p in patients for identifier in p["identifiers"]]
    for patient in patients:
        patient["shared"] = any(known.count(i["value"]) > 1 for i in patient["identifiers"])
    return {
        "faults": [fault.text() for fault in faults.active],
        "photographs": sum(len(p["photographs"]) for p in patients),
        "consents": sum(len(p["consents"]) for p in patients),
        "patients": patients,
    }


def document_bytes(store: FhirStore, id_: str) -> tuple[str, bytes] | None:
    """Media type and bytes of what a DocumentReference holds or points at; None when there is nothing."""
    document = store.get("DocumentReference", id_)
    if document is None:
        return None
    attachment = _attachment(document)
    if "data" in attachment:
        try:
            return _media_type(attachment), b64decode(attachment["data"], validate=True)
        except (binascii.Error, ValueError):
            return None
    kind, _, binary_id = (local_reference(_text(attachment, "url"), store.base_url) or "").partition("/")
    binary = store.get("Binary", binary_id) if kind == "Binary" else None
    return None if binary is None else (_media_type(binary), store.binary_bytes(binary_id))


class _View:
    """One look at the store."""

    def __init__(self, store: FhirStore) -> None:
        self._base = store.base_url
        self._documents = {f"DocumentReference/{d['id']}": d for d in store.all("DocumentReference")}
        self._binaries = {f"Binary/{b['id']}": b for b in store.all("Binary")}
        self._consents = store.all("Consent")
        self._provenances = store.all("Provenance")

    def patient(self, patient: Json) -> Json:
        me = f"Patient/{patient['id']}"
        decisions: dict[str, list[Json]] = {}
        for consent in self._consents:
            if self._local(consent.get("patient")) == me:
                # Consents of one signature, one for each purpose, share the form they come from.
                decisions.setdefault(self._form_of(consent) or str(consent["id"]), []).append(consent)
        photographs = [
            document
            for document in self._documents.values()
            if self._local(document.get("subject")) == me
            and _media_type(_attachment(document)).startswith("image/")
        ]
        return {
            "id": patient["id"],
            "name": _name(patient),
            "born": patient.get("birthDate"),
            "sex": patient.get("gender", "unknown"),
            "identifiers": [
                {"label": _SYSTEMS.get(_text(i, "system"), _ANY), "value": _text(i, "value")}
                for i in _objects(patient, "identifier")
            ],
            "consents": [self._decision(consents) for consents in reversed(decisions.values())],
            "photographs": [self._photograph(document) for document in reversed(photographs)],
        }

    def _decision(self, consents: list[Json]) -> Json:
        form = self._documents.get(self._form_of(consents[0]) or "", {})
        choices = [
            {"purpose": purpose, "yes": yes} | ({} if consent.get("status") not in _OVER else {"over": True})
            for consent in consents
            for purpose, yes in _choices(consent.get("provision"))
        ]
        allowed = any(choice["yes"] and "over" not in choice for choice in choices)
        if all(c.get("status") == "entered-in-error" for c in consents):
            word = "in-error"
        elif any("over" in choice for choice in choices):
            word = "partly" if allowed else "withdrawn"
        elif "withdrawn" in _text(form, "description").lower():
            word = "withdrawn"
        else:
            word = "agreed" if allowed else "refused"
        return {
            "id": consents[0]["id"],
            "decision": word,
            "at": consents[0].get("dateTime"),
            "choices": choices,
            "signature": next(self._signatures({f"Consent/{c['id']}" for c in consents}), None),
            "form": self._link(form, (PDF,)),
        }

    def _form_of(self, consent: Json) -> str | None:
        """The form that a Consent comes from; a withdrawal comes from the Consent that it ends."""
        consents = {f"Consent/{c['id']}": c for c in self._consents}
        for _ in range(len(consents)):
            source = self._local(consent.get("sourceReference"))
            if source not in consents:
                return source
            consent = consents[source]
        return None

    def _signatures(self, consents: set[str]) -> Iterator[str]:
        for provenance in self._provenances:
            if any(self._local(target) in consents for target in _objects(provenance, "target")):
                for signature in _objects(provenance, "signature"):
                    if signature.get("sigFormat") in IMAGES and "data" in signature:
                        yield f"data:{signature['sigFormat']};base64,{signature['data']}"

    def _photograph(self, document: Json) -> Json:
        attachment = _attachment(document)
        identifiers = _objects(document, "identifier")
        return {
            "id": document["id"],
            "identifier": _text(identifiers[0], "value") if identifiers else None,
            "image": self._link(document, IMAGES),
            "site": _body_site(document) or _text(attachment, "title") or "Body site not said",
            "taken": attachment.get("creation") or document.get("date"),
            "size": attachment.get("size"),
            "status": document.get("status"),
        }

    def _link(self, document: Json, types: tuple[str, ...]) -> str | None:
        """Where the page finds the bytes; None when there are none, or of another type than it shows."""
        attachment = _attachment(document)
        held = attachment
        if "data" not in attachment:
            held = self._binaries.get(local_reference(_text(attachment, "url"), self._base) or "", {})
        return f"{DOCUMENT_PATH}{document['id']}" if _media_type(held) in types else None

    def _local(self, reference: Any) -> str | None:
        return local_reference(_text(reference, "reference"), self._base)


def _name(patient: Json) -> str:
    """FAMILY, Given (Title), as the NHS Common User Interface writes it."""
    names = _objects(patient, "name")
    name = names[0] if names else {}
    text = _text(name, "family").upper() or "NOT KNOWN"
    given, prefix = name.get("given"), name.get("prefix")
    if isinstance(given, list):
        text += ", " + " ".join(map(str, given))
    return f"{text} ({prefix[0]})" if isinstance(prefix, list) and prefix else text


def _choices(provision: Any) -> list[tuple[str, bool]]:
    """Every purpose with its yes or no, from a provision and those nested in it."""
    if not isinstance(provision, dict):
        return []
    yes = provision.get("type") == "permit"
    found = [
        (_PURPOSES.get(_text(code, "code")) or _text(code, "display") or "Other", yes)
        for code in _objects(provision, "purpose")
    ]
    for nested in _objects(provision, "provision"):
        found += _choices(nested)
    return found


def _body_site(document: Json) -> str:
    """The words of the DocumentReference.bodySite extension (R5's element, as R4 extension)."""
    for extension in _objects(document, "extension"):
        if _text(extension, "url").endswith("DocumentReference.bodySite"):
            return _first_concept(extension)
    return ""


def _first_concept(extension: Json) -> str:
    concept = extension.get("valueCodeableConcept")
    if isinstance(concept, dict):
        return _text(concept, "text") or next((_text(c, "display") for c in _objects(concept, "coding")), "")
    return next(filter(None, map(_first_concept, _objects(extension, "extension"))), "")


def _attachment(document: Json) -> Json:
    contents = _objects(document, "content")
    attachment = contents[0].get("attachment") if contents else None
    return attachment if isinstance(attachment, dict) else {}


def _media_type(thing: Json) -> str:
    return _text(thing, "contentType").partition(";")[0].strip().lower()


def _objects(node: Json, name: str) -> list[Json]:
    value = node.get(name)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(node: Any, name: str) -> str:
    value = node.get(name) if isinstance(node, dict) else None
    return value if isinstance(value, str) else ""
