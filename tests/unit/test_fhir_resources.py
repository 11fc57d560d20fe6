from __future__ import annotations

import base64
import copy
import hashlib
import io
import json
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from fhir.resources.R4B.bundle import Bundle
from PIL import Image

from kiosk.errors import Rejected
from kiosk.fhir.consents import consent_bundle, consent_id, form_id, provenance_id, proxy_id, sha1_base64
from kiosk.fhir.photos import binary_id, photo_transaction
from kiosk.fhir.resources import Filing, validate
from kiosk.fhir.signature import SIZE, signature_png
from kiosk.model import (
    Decision,
    HumanName,
    Manner,
    Photo,
    Practitioner,
    Purpose,
    Session,
    Signer,
)
from kiosk.receipts import receipt_id
from tests import nouns
from tests.nouns import STROKES

AT = datetime(2026, 11, 23, 14, 5, 12, 345_678, tzinfo=UTC)
LATER = datetime(2026, 11, 23, 14, 9, tzinfo=UTC)
FILING = Filing("https://hospital.example/id/photo", "Wound clinic, room 4")
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40
PDF = b"%PDF-1.7 form"
CONSENTS = ["Consent/a", "Consent/b", "Consent/c"]


MARKED = replace(nouns.PATIENT, name=HumanName("MARKERFAMILY", "Adaeze", "Ms"))


def make_photo(jpeg: bytes = JPEG) -> Photo:
    digest = hashlib.sha256(jpeg).hexdigest()
    return Photo(UUID(int=7, version=4), 2, AT, nouns.SITE, 55, 64, 48, len(jpeg), digest)


def make_session(
    decision: Decision = Decision.PERMIT, signer: Signer = Signer.PATIENT, reference: str | None = None
) -> Session:
    return nouns.session(
        nouns.consent(decision, at=AT, signer=signer),
        [make_photo()],
        patient=MARKED,
        operator=Practitioner("s1", "A. Patel RN", reference),
        committed_at=LATER,
    )


def consent_entries(
    session: Session, present: dict[UUID, str] | None = None, *, put: bool = False
) -> list[dict[str, Any]]:
    bundle = consent_bundle(session, FILING, PDF, present or {}, put=put)
    validate(bundle)
    return list(bundle["entry"])


def of_kind(entries: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [e["resource"] for e in entries if e["resource"]["resourceType"] == kind]


def photo_entries(session: Session, jpeg: bytes = JPEG, *, put: bool = False) -> list[dict[str, Any]]:
    body = photo_transaction(session, FILING, make_photo(jpeg), bytearray(jpeg), CONSENTS, put=put)
    whole = b"".join(body)
    # Its length is told before it is made, and it can be sent again.
    assert (len(body), b"".join(body)) == (len(whole), whole)
    return list(json.loads(whole)["entry"])


def walk(node: Any) -> Iterator[Any]:
    yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from walk(child)


# --- the consent bundle ------------------------------------------------------------------------


def test_one_consent_per_purpose() -> None:
    entries = consent_entries(make_session())
    kinds = [e["resource"]["resourceType"] for e in entries]
    assert kinds == ["DocumentReference", "Consent", "Consent", "Consent", "Provenance"]
    found = {
        c["provision"]["purpose"][0]["code"]: c["provision"]["type"] for c in of_kind(entries, "Consent")
    }
    assert found == {"TREAT": "permit", "TRAIN": "permit", "HRESCH": "deny"}


@pytest.mark.parametrize("decision", [Decision.DENY, Decision.WITHDRAWN])
def test_a_refusal_denies_everything_and_is_signed_by_nobody(decision: Decision) -> None:
    entries = consent_entries(make_session(decision))
    assert {c["provision"]["type"] for c in of_kind(entries, "Consent")} == {"deny"}
    assert {c["status"] for c in of_kind(entries, "Consent")} == {"active"}
    (provenance,) = of_kind(entries, "Provenance")
    assert "signature" not in provenance
    roles = [a["type"]["coding"][0]["code"] for a in provenance["agent"]]
    assert roles == ["enterer", "assembler"]
    assert provenance["agent"][0]["who"]["display"] == "A. Patel RN"
    title = of_kind(entries, "DocumentReference")[0]["description"]
    assert (
        title
        == {
            Decision.DENY: "Photographs declined",
            Decision.WITHDRAWN: "Consent to photographs withdrawn",
        }[decision]
    )


def test_a_consent_says_what_it_rests_on() -> None:
    entries = consent_entries(make_session())
    form = entries[0]["fullUrl"]
    for consent in of_kind(entries, "Consent"):
        assert consent["policyRule"]["text"] == "photo-consent, version 2026-11, en", "ppc-1"
        assert consent["sourceReference"] == {"reference": form}
        assert consent["patient"]["reference"] == "Patient/p1"
        assert consent["performer"][0]["reference"] == "Patient/p1"
        assert consent["scope"]["coding"][0]["code"] == "patient-privacy"
        assert [c["coding"][0]["code"] for c in consent["category"]][:2] == ["59284-0", "097"]
        assert datetime.fromisoformat(consent["dateTime"]) == AT.replace(microsecond=345_000)


def test_the_signature() -> None:
    entries = consent_entries(make_session())
    (provenance,) = of_kind(entries, "Provenance")
    (signature,) = provenance["signature"]
    assert signature["type"][0]["code"] == "1.2.840.10065.1.12.1.7"
    assert (signature["sigFormat"], signature["targetFormat"]) == ("image/png", "application/pdf")
    assert signature["who"]["reference"] == "Patient/p1"
    picture = Image.open(io.BytesIO(base64.b64decode(signature["data"])))
    assert (picture.format, picture.size) == ("PNG", SIZE)
    shades = {shade for _, shade in picture.getcolors() or ()}
    assert {12, 255} <= shades, "ink and paper"
    assert [t["reference"] for t in provenance["target"]] == [
        e["fullUrl"] for e in (*entries[1:4], entries[0])
    ]


PROXIES = [
    (Signer.PARENT, "Parent", "PRN"),
    (Signer.GUARDIAN, "Guardian", "GUARD"),
    (Signer.CARER, "Carer", "CGV"),
]


@pytest.mark.parametrize(("signer", "display", "code"), PROXIES)
def test_somebody_signs_for_the_patient(signer: Signer, display: str, code: str) -> None:
    session = make_session(signer=signer)
    entries = consent_entries(session)
    (person,) = of_kind(entries, "RelatedPerson")
    entry = entries[0]
    assert entry["resource"] is person, "before what refers to it"
    assert entry["request"]["ifNoneExist"].endswith(str(proxy_id(session)))
    assert person["patient"]["reference"] == "Patient/p1"
    assert person["relationship"][0]["coding"][0]["code"] == code
    assert person["relationship"][0]["text"] == display
    assert "name" not in person, "the screen does not ask for one yet"
    reference = {"reference": entry["fullUrl"], "type": "RelatedPerson", "display": display}
    (provenance,) = of_kind(entries, "Provenance")
    for holder in (provenance["signature"][0], provenance["agent"][0]):
        assert holder["who"] == reference
        assert holder["onBehalfOf"]["reference"] == "Patient/p1"
    assert [c["performer"] for c in of_kind(entries, "Consent")] == [[reference]] * 3


def test_a_proxy_that_is_there_already_is_referred_to() -> None:
    session = make_session(signer=Signer.PARENT)
    entries = consent_entries(session, {proxy_id(session): "RelatedPerson/rp"})
    assert of_kind(entries, "RelatedPerson") == []
    assert {c["performer"][0]["reference"] for c in of_kind(entries, "Consent")} == {"RelatedPerson/rp"}
    (provenance,) = of_kind(entries, "Provenance")
    assert provenance["agent"][0]["who"]["reference"] == "RelatedPerson/rp"


def test_a_named_proxy() -> None:
    session = make_session(signer=Signer.GUARDIAN)
    named = replace(session, consent=replace(session.consent, signer_name="R. Okonkwo"))
    entries = consent_entries(named)
    assert of_kind(entries, "RelatedPerson")[0]["name"] == [{"text": "R. Okonkwo"}]
    assert of_kind(entries, "Consent")[0]["performer"][0]["display"] == "R. Okonkwo"


def test_a_refusal_by_a_parent_names_the_parent() -> None:
    entries = consent_entries(make_session(Decision.DENY, Signer.PARENT))
    assert len(of_kind(entries, "RelatedPerson")) == 1
    assert {c["performer"][0]["display"] for c in of_kind(entries, "Consent")} == {"Parent"}


WITNESS = Practitioner("mjones", "M. Jones RN", "Practitioner/42")


def spoken(signer: Signer = Signer.PATIENT) -> Session:
    session = make_session(signer=signer)
    return replace(
        session, consent=replace(session.consent, strokes=(), manner=Manner.VERBAL, witness=WITNESS)
    )


def test_a_verbal_consent_is_witnessed_and_not_signed() -> None:
    entries = consent_entries(spoken())
    (provenance,) = of_kind(entries, "Provenance")
    assert "signature" not in provenance
    author, witness, *others = provenance["agent"]
    assert author["type"]["coding"][0]["code"] == "author"
    assert author["who"]["reference"] == "Patient/p1"
    assert "onBehalfOf" not in author
    assert witness["type"]["coding"][0]["code"] == "1.2.840.10065.1.12.1.11"
    assert witness["who"]["reference"] == "Practitioner/42"
    assert witness["who"]["display"] == "M. Jones RN"
    assert [a["type"]["coding"][0]["code"] for a in others] == ["enterer", "assembler"]
    for consent in of_kind(entries, "Consent"):
        assert consent["policyRule"]["text"] == "photo-consent, version 2026-11, en, read aloud"
        assert "Given verbally, witnessed by M. Jones RN" in consent["text"]["div"]


def test_a_verbal_consent_by_a_carer() -> None:
    entries = consent_entries(spoken(Signer.CARER))
    (provenance,) = of_kind(entries, "Provenance")
    assert provenance["agent"][0]["who"]["type"] == "RelatedPerson"
    assert provenance["agent"][0]["onBehalfOf"]["reference"] == "Patient/p1"


def test_best_interests_are_a_clinicians_and_for_the_record_only() -> None:
    session = make_session()
    choices = ((Purpose.RECORD, True), (Purpose.TEACHING, False), (Purpose.RESEARCH, False))
    given = replace(
        session.consent, strokes=(), choices=choices, manner=Manner.BEST_INTERESTS, clinician=WITNESS
    )
    entries = consent_entries(replace(session, consent=given))
    assert of_kind(entries, "RelatedPerson") == []
    assert {c["performer"][0]["reference"] for c in of_kind(entries, "Consent")} == {"Practitioner/42"}
    (provenance,) = of_kind(entries, "Provenance")
    assert provenance["agent"][0]["who"]["reference"] == "Practitioner/42"
    assert provenance["agent"][0]["onBehalfOf"]["reference"] == "Patient/p1"
    verdicts = {
        c["provision"]["purpose"][0]["code"]: c["provision"]["type"] for c in of_kind(entries, "Consent")
    }
    assert verdicts == {"TREAT": "permit", "TRAIN": "deny", "HRESCH": "deny"}


def test_everything_of_a_session_carries_its_receipt() -> None:
    session = make_session(signer=Signer.PARENT)
    found = [e["resource"] for e in (*consent_entries(session), *photo_entries(session))]
    wanted = {"system": "urn:lethe:receipt", "value": receipt_id(session.id)}
    kinds = {r["resourceType"] for r in found if wanted in r.get("identifier", ())}
    assert kinds == {"RelatedPerson", "DocumentReference", "Consent"}
    for resource in found:
        if resource["resourceType"] in kinds:
            assert resource["identifier"][1:] == [wanted]


def test_only_what_is_missing_is_sent() -> None:
    session = make_session()
    form = {form_id(session): "DocumentReference/f"}
    consents = {consent_id(session, p): f"Consent/{p.value}" for p in Purpose}
    assert consent_bundle(session, FILING, PDF, {**form, **consents}, put=True)["entry"] == []
    entries = consent_entries(session, form)
    assert [e["resource"]["resourceType"] for e in entries] == ["Consent"] * 3 + ["Provenance"]
    assert of_kind(entries, "Consent")[0]["sourceReference"] == {"reference": "DocumentReference/f"}
    entries = consent_entries(session, consents)
    assert [e["resource"]["resourceType"] for e in entries] == ["DocumentReference"], "no second Provenance"
    first = dict(list(consents.items())[:1])
    entries = consent_entries(session, {**form, **first})
    targets = [t["reference"] for t in of_kind(entries, "Provenance")[0]["target"]]
    assert targets[0] == "Consent/record"
    assert targets[3] == "DocumentReference/f"
    assert all(t.startswith("urn:uuid:") for t in targets[1:3])


def test_the_form_travels_whole() -> None:
    (document,) = of_kind(consent_entries(make_session()), "DocumentReference")
    attachment = document["content"][0]["attachment"]
    assert base64.b64decode(attachment["data"]) == PDF
    assert attachment["size"] == len(PDF)
    assert base64.b64decode(attachment["hash"]) == hashlib.sha1(PDF).digest()
    assert document["type"]["coding"][0]["code"] == "57016-8"


# --- one photograph ----------------------------------------------------------------------------


def test_binary_first_then_the_document() -> None:
    binary, document = photo_entries(make_session())
    assert binary["request"] == {"method": "POST", "url": "Binary"}
    assert binary["fullUrl"] == binary_id(make_photo().id).urn
    assert binary["resource"]["securityContext"] == {"reference": "Patient/p1"}
    assert binary["resource"]["contentType"] == "image/jpeg"
    assert base64.b64decode(binary["resource"]["data"], validate=True) == JPEG
    assert document["request"]["method"] == "POST"
    assert document["request"]["ifNoneExist"] == (
        f"identifier=https://hospital.example/id/photo%7C{make_photo().id}"
    )


@pytest.mark.parametrize("size", [0, 1, 2, 3, 57 * 1024 - 1, 57 * 1024, 57 * 1024 + 1, 200_001])
def test_the_picture_is_framed_exactly(size: int) -> None:
    jpeg = (b"\xfb\xff\xd8+/=" * (size // 6 + 1))[:size]
    binary, _ = photo_entries(make_session(), jpeg)
    assert base64.b64decode(binary["resource"]["data"], validate=True) == jpeg


def test_the_document_of_a_photograph() -> None:
    _, entry = photo_entries(make_session())
    document = entry["resource"]
    photo = make_photo()
    assert document["masterIdentifier"] == {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{photo.id}"}
    assert document["identifier"][0] == {"system": FILING.identifier_system, "value": str(photo.id)}
    assert document["status"] == "current"
    assert document["subject"]["reference"] == "Patient/p1"
    assert document["subject"]["identifier"]["value"] == "9991230009"
    (content,) = document["content"]
    attachment = content["attachment"]
    assert attachment["url"] == binary_id(photo.id).urn
    assert attachment["size"] == len(JPEG)
    assert attachment["hash"] == base64.b64encode(hashlib.sha1(JPEG).digest()).decode()
    assert content["format"]["code"] == "urn:ihe:iti:xds:2017:mimeTypeSufficient"
    taken = "2026-11-23T14:05:12.345+00:00"
    assert attachment["creation"] == taken
    assert document["context"]["period"] == {"start": taken, "end": taken}
    assert [r["reference"] for r in document["context"]["related"]] == CONSENTS
    assert document["date"] == "2026-11-23T14:09:00.000+00:00"
    site = document["extension"][0]["extension"][0]
    assert site["url"] == "concept"
    assert site["valueCodeableConcept"]["coding"][0]["code"] == "66480008"
    assert site["valueCodeableConcept"]["text"] == "Left forearm, front"
    assert [a.get("type") for a in document["author"]] == ["Practitioner", "Device"]
    assert document["author"][1]["identifier"]["value"] == "ward-7"


def test_the_visit_is_on_the_photograph_and_on_the_form() -> None:
    plain = make_session()
    placed = replace(plain, patient=replace(plain.patient, encounter="Encounter/e1"))
    for session, expected in ((plain, None), (placed, [{"reference": "Encounter/e1"}])):
        entries = [*photo_entries(session), *consent_entries(session)]
        documents = of_kind(entries, "DocumentReference")
        assert [d["context"].get("encounter") for d in documents] == [expected] * 2
    assert Session.from_json(placed.to_json()) == placed


def test_a_known_operator_is_referred_to() -> None:
    _, entry = photo_entries(make_session(reference="Practitioner/77"))
    assert entry["resource"]["author"][0]["reference"] == "Practitioner/77"


@pytest.mark.parametrize("jpeg", [JPEG + b"x", JPEG[:-1], b"", JPEG[:-1] + b"x"])
def test_another_picture_is_refused(jpeg: bytes) -> None:
    with pytest.raises(Rejected):
        photo_transaction(make_session(), FILING, make_photo(), bytearray(jpeg), CONSENTS, put=True)


# --- everything that is sent --------------------------------------------------------------------


def everything(*, put: bool = False) -> list[dict[str, Any]]:
    sessions = [make_session(d) for d in Decision]
    found = [entry for session in sessions for entry in consent_entries(session, put=put)]
    return [*found, *photo_entries(make_session(), put=put)]


def test_no_identifier_is_a_full_url() -> None:
    entries = everything()
    urls = {e["fullUrl"] for e in entries}
    values = {n["value"] for n in walk(entries) if isinstance(n, dict) and set(n) == {"system", "value"}}
    assert urls
    assert values
    assert not urls & values
    assert not {u.removeprefix("urn:uuid:") for u in urls} & values
    assert not {u.removeprefix("urn:uuid:") for u in urls} & {v.removeprefix("urn:uuid:") for v in values}


def test_only_binary_and_provenance_are_unconditional() -> None:
    for entry in everything():
        kind = entry["resource"]["resourceType"]
        assert ("ifNoneExist" in entry["request"]) is (kind not in ("Binary", "Provenance"))


def test_what_is_not_conditional_is_put_under_its_own_id_where_that_makes_one() -> None:
    for posted, entry in zip(everything(), everything(put=True), strict=True):
        kind = entry["resource"]["resourceType"]
        if kind in ("Binary", "Provenance"):
            id = entry["resource"].pop("id")
            assert entry["request"] == {"method": "PUT", "url": f"{kind}/{id}"}
            assert entry["fullUrl"] == f"urn:uuid:{id}"
            assert id == str(
                binary_id(make_photo().id) if kind == "Binary" else provenance_id(make_session())
            )
            assert posted["request"] == {"method": "POST", "url": kind}
            entry["request"] = posted["request"]
        assert entry == posted
    Bundle.model_validate({**bundle(), "entry": everything(put=True)})


def test_another_photograph_is_put_elsewhere() -> None:
    assert binary_id(UUID(int=7, version=4)) != binary_id(UUID(int=8, version=4))
    other = replace(make_session(), consent=replace(make_session().consent, id=UUID(int=8, version=4)))
    assert provenance_id(other) != provenance_id(make_session())


def test_no_empty_element_and_no_name() -> None:
    for node in walk(everything()):
        assert node not in ("", [], {}, None)
        assert not (isinstance(node, str) and "MARKERFAMILY" in node), "the patient's name stays in the form"


def test_a_second_process_builds_the_same() -> None:
    session = make_session()
    first = hashlib.sha256(json.dumps(consent_entries(session)).encode()).hexdigest()
    code = (
        "import sys, json, hashlib; from kiosk.model import Session; from kiosk.fhir.resources import Filing;"
        "from kiosk.fhir.consents import consent_bundle;"
        "s = Session.from_json(sys.stdin.buffer.read());"
        f"f = Filing({FILING.identifier_system!r}, {FILING.station_name!r});"
        f"b = consent_bundle(s, f, {PDF!r}, {{}}, put=False);"
        "print(hashlib.sha256(json.dumps(b['entry']).encode()).hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], input=session.to_json(), capture_output=True, check=True, timeout=60
    )
    assert run.stdout.decode().strip() == first


def test_building_and_looking_up_need_no_fhir_resources() -> None:
    code = (
        "import sys, kiosk.fhir.client, kiosk.fhir.directory, kiosk.destinations.fhir;"
        "sys.exit(any(name.partition('.')[0] == 'fhir' for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- validation --------------------------------------------------------------------------------


def bundle() -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": copy.deepcopy(everything())}


def test_everything_is_valid() -> None:
    validate(bundle())
    assert len(Bundle.model_validate(bundle()).entry or ()) == len(everything())


@pytest.mark.parametrize(
    ("entry", "change"),
    [
        (0, {"status": None}),
        (0, {"subject": "MARKERFAMILY"}),
        (0, {"MARKERFIELD": 1}),
        (1, {"dateTime": "MARKERFAMILY"}),
        (1, {"scope": None}),
        (4, {"recorded": "2026-11-23T14:05:12"}),
        (4, {"agent": None}),
        (-1, {"content": None}),
        (-2, {"contentType": None}),
    ],
)
def test_what_is_not_r4_is_refused_without_its_values(entry: int, change: dict[str, Any]) -> None:
    broken = bundle()
    resource = {**broken["entry"][entry]["resource"], **change}
    broken["entry"][entry]["resource"] = {k: v for k, v in resource.items() if v is not None}
    with pytest.raises(Rejected) as raised:
        validate(broken)
    text = "".join(traceback.format_exception(raised.value))
    assert "MARKERFAMILY" not in raised.value.detail
    assert "9991230009" not in text
    assert raised.value.__context__ is None
    assert raised.value.detail.startswith("not valid R4: ")


# --- the signature's picture ---------------------------------------------------------------------


def test_the_same_strokes_give_the_same_picture() -> None:
    assert signature_png(STROKES) == signature_png(STROKES)
    assert signature_png(STROKES) != signature_png(STROKES[:1])


@pytest.mark.parametrize("strokes", [(), ((),), (((0.5, 0.5),),), (((-3.0, 9.0), (4.0, 0.0)),)])
def test_odd_strokes(strokes: Any) -> None:
    assert Image.open(io.BytesIO(signature_png(strokes))).size == SIZE


def test_a_dot_is_ink() -> None:
    picture = Image.open(io.BytesIO(signature_png((((0.5, 0.5),),))))
    assert picture.getpixel((SIZE[0] // 2, SIZE[1] // 2)) < 60  # type: ignore[operator]
    assert picture.getpixel((5, 5)) == 255


def test_sha1_of_the_raw_bytes() -> None:
    assert sha1_base64(b"abc") == "qZk+NkcGgWq6PiVxeFDCbJzQ2J0="
    assert sha1_base64(bytearray(b"abc")) == sha1_base64(b"abc")


def test_times_keep_their_offset() -> None:
    at = datetime.fromisoformat("2026-11-23T14:05:12+05:30")
    session = replace(make_session(), committed_at=at)
    _, entry = photo_entries(session)
    assert entry["resource"]["date"] == "2026-11-23T14:05:12.000+05:30"
