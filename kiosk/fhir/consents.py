"""The decision about photographs as R4 resources: one Consent per purpose, the form, the signature.

One Consent per purpose, so that one can be withdrawn without touching the others (IHE PCF BasicConsent
forbids nested provisions). A refusal and a withdrawal are active Consents that deny. Who decides for a
patient is a RelatedPerson, or the clinician where nobody could be asked.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from uuid import UUID, uuid5

from kiosk.fhir import codes
from kiosk.fhir.answers import Resource
from kiosk.fhir.codes import concept
from kiosk.fhir.resources import (
    Filing,
    Part,
    conditional_create,
    device_reference,
    full_url,
    identifier,
    instant,
    master_identifier,
    operator_reference,
    patient_reference,
    receipt_identifier,
    transaction,
    unsearched_create,
    visit_context,
)
from kiosk.fhir.signature import signature_png
from kiosk.model import Decision, Manner, Purpose, Session, Signer

PDF = "application/pdf"

_FORM_TITLES = {
    Decision.PERMIT: "Consent to photographs",
    Decision.DENY: "Photographs declined",
    Decision.WITHDRAWN: "Consent to photographs withdrawn",
}
PROXIES = {Signer.PARENT: "Parent", Signer.GUARDIAN: "Guardian", Signer.CARER: "Carer"}


def form_id(session: Session) -> UUID:
    """The identifier of the form's DocumentReference."""
    return uuid5(session.consent.id, "form")


def consent_id(session: Session, purpose: Purpose) -> UUID:
    """The identifier of the Consent for one purpose."""
    return uuid5(session.consent.id, f"consent:{purpose.value}")


def proxy_id(session: Session) -> UUID:
    """The identifier of the RelatedPerson who decided for the patient."""
    return uuid5(session.consent.id, "proxy")


def provenance_id(session: Session) -> UUID:
    """The id of the Provenance, inside its bundle and, where the server lets us choose, there."""
    return uuid5(session.consent.id, "provenance")


def form_part(session: Session, filing: Filing, pdf: bytes) -> Part:
    """The DocumentReference that holds the one-page form; `pdf` travels inside it."""
    consent = session.consent
    id = form_id(session)
    attachment = {
        "contentType": PDF,
        "language": consent.language,
        "data": base64.b64encode(pdf).decode("ascii"),
        "size": len(pdf),
        "hash": sha1_base64(pdf),
        "title": _FORM_TITLES[consent.decision],
        "creation": instant(consent.at),
    }
    return Part(
        id,
        {
            "resourceType": "DocumentReference",
            "masterIdentifier": master_identifier(id),
            "identifier": [identifier(filing, id), receipt_identifier(filing, session.id)],
            "status": "current",
            "type": concept(codes.CONSENT_FORM),
            "category": [concept(codes.PHOTOGRAPHS)],
            "subject": patient_reference(session),
            "date": instant(session.committed_at),
            "author": [operator_reference(session.operator), device_reference(session, filing)],
            "description": _FORM_TITLES[consent.decision],
            "securityLabel": [concept(codes.NORMAL)],
            "content": [{"attachment": attachment, "format": codes.MIME_TYPE_SUFFICIENT.to_fhir()}],
            "context": {
                **visit_context(session),
                "period": {"start": instant(consent.at), "end": instant(consent.at)},
            },
        },
    )


def proxy_part(session: Session, filing: Filing) -> Part | None:
    """The RelatedPerson who decided for the patient; None where the patient or a clinician did."""
    consent = session.consent
    if consent.proxy is None:
        return None
    person: Resource = {
        "resourceType": "RelatedPerson",
        "identifier": [
            identifier(filing, proxy_id(session)),
            receipt_identifier(filing, session.id),
        ],
        "active": True,
        "patient": patient_reference(session),
        "relationship": [concept(codes.RELATIONSHIPS[consent.proxy], text=PROXIES[consent.proxy])],
    }
    if consent.signer_name:
        person["name"] = [{"text": consent.signer_name}]
    return Part(proxy_id(session), person)


def consent_parts(session: Session, filing: Filing, form: str, proxy: str = "") -> tuple[Part, ...]:
    """One Consent per purpose. `form`: the reference of the form's DocumentReference.

    proxy: the reference of the RelatedPerson, if there is one; without it the one inside the same bundle.
    """
    return tuple(
        Part(consent_id(session, purpose), _consent(session, filing, purpose, form, proxy))
        for purpose in Purpose
    )


def _consent(session: Session, filing: Filing, purpose: Purpose, form: str, proxy: str) -> Resource:
    consent = session.consent
    verdict = "permit" if consent.permits(purpose) else "deny"
    category = [concept(codes.PATIENT_CONSENT), concept(codes.PHOTOGRAPHS)]
    if purpose is Purpose.RESEARCH:
        category.append(concept(codes.PHOTOGRAPHS_RESEARCH))
    told = f"{_FORM_TITLES[consent.decision]}: {codes.PURPOSES[purpose].display}, {verdict}."
    wording = f"{consent.text_id}, version {consent.text_version}, {consent.language}"
    if consent.witness is not None:
        told += f" Given verbally, witnessed by {consent.witness.name}."
        wording += ", read aloud"
    if consent.clinician is not None:
        told += f" Decided in the patient's best interests by {consent.clinician.name}."
    return {
        "resourceType": "Consent",
        "text": _narrative(told),
        "identifier": [
            identifier(filing, consent_id(session, purpose)),
            receipt_identifier(filing, session.id),
        ],
        "status": "active",
        "scope": concept(codes.PRIVACY),
        "category": category,
        "patient": patient_reference(session),
        "dateTime": instant(consent.at),
        "performer": [signer_reference(session, proxy)],
        "sourceReference": {"reference": form},
        # ppc-1: the wording is the policy that was agreed to or refused.
        "policyRule": concept(text=wording),
        "provision": {"type": verdict, "purpose": [codes.PURPOSES[purpose].to_fhir()]},
    }


def signer_reference(session: Session, proxy: str = "") -> Resource:
    """Who decided: the patient, a proxy (see consent_parts), or a clinician."""
    consent = session.consent
    if consent.clinician is not None:
        return operator_reference(consent.clinician)
    if consent.proxy is None:
        return patient_reference(session)
    name = consent.signer_name or PROXIES[consent.proxy]
    return {"reference": proxy or full_url(proxy_id(session)), "type": "RelatedPerson", "display": name}


def provenance(session: Session, filing: Filing, targets: Sequence[str], proxy: str = "") -> Resource:
    """Who decided, who witnessed it, who entered it and on what; with the signature where there is one.

    A refusal is signed by nobody: then the operator who entered it is the agent.
    """
    consent = session.consent
    permitted = consent.decision is Decision.PERMIT
    signed = permitted and bool(consent.strokes)
    agents = [
        {"type": concept(codes.ENTERER), "who": operator_reference(session.operator)},
        {"type": concept(codes.ASSEMBLER), "who": device_reference(session, filing)},
    ]
    if consent.witness is not None:
        witness = operator_reference(consent.witness)
        agents.insert(0, {"type": concept(codes.CONSENT_WITNESS), "who": witness})
    if signed or (permitted and consent.manner is not Manner.SIGNED):
        agents.insert(0, {"type": concept(codes.AUTHOR), **_signer(session, proxy)})
    made: Resource = {
        "resourceType": "Provenance",
        "target": [{"reference": target} for target in targets],
        "occurredDateTime": instant(consent.at),
        "recorded": instant(session.committed_at),
        "activity": concept(codes.CREATE),
        "agent": agents,
    }
    if signed:
        made["signature"] = [
            {
                "type": [codes.CONSENT_SIGNATURE.to_fhir()],
                "when": instant(consent.at),
                **_signer(session, proxy),
                "targetFormat": PDF,
                "sigFormat": "image/png",
                "data": base64.b64encode(signature_png(consent.strokes)).decode("ascii"),
            }
        ]
    return made


def _signer(session: Session, proxy: str) -> Resource:
    who: Resource = {"who": signer_reference(session, proxy)}
    if session.consent.proxy is not None or session.consent.clinician is not None:
        who["onBehalfOf"] = patient_reference(session)
    return who


def consent_bundle(
    session: Session, filing: Filing, pdf: bytes, present: Mapping[UUID, str], *, put: bool
) -> Resource:
    """The transaction that sends what is not there yet; without entries when everything is.

    present: the references of what the server already has, by identifier. The Provenance has no identifier;
    it goes with the Consents, so it is sent only when one of them is missing.  put: whether the server lets
    us choose its id; see unsearched_create.
    """
    form, person = form_part(session, filing, pdf), proxy_part(session, filing)
    proxy = present.get(person.id, person.full_url) if person else ""
    consents = consent_parts(session, filing, present.get(form.id, form.full_url), proxy)
    missing = [part for part in (person, form, *consents) if part is not None and part.id not in present]
    entries = [conditional_create(filing, part) for part in missing]
    if any(part.id not in present for part in consents):
        targets = [present.get(part.id, part.full_url) for part in (*consents, form)]
        made = provenance(session, filing, targets, proxy)
        entries.append(unsearched_create(provenance_id(session), made, put=put))
    return transaction(entries)


def sha1_base64(data: bytes | bytearray) -> str:
    """R4's attachment.hash: the base64 of the SHA-1. Integrity rests on SHA-256, compared at read-back."""
    return base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode("ascii")


def _narrative(text: str) -> Resource:
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{escape(text)}</div>',
    }
