"""The gallery page: its JSON, its headers, and the page itself in a real browser."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from kiosk.demo.fhir_api import Answer
from kiosk.demo.fhir_server import DemoFhirServer
from kiosk.demo.gallery import Gallery
from kiosk.demo.gallery_state import gallery_state

MAGENTA = (230, 20, 200)
PDF = b"%PDF-1.4 a form"
SITE = "http://hl7.org/fhir/5.0/StructureDefinition/extension-DocumentReference.bodySite"
EVIL = "<img src=x onerror=\"document.title='owned'\">"
WHEN = "2026-03-02T10:14:00Z"


def picture(kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (640, 480), MAGENTA).save(buffer, kind)
    return buffer.getvalue()


def text64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def store(server: DemoFhirServer, *resources: tuple[str, dict[str, Any]]) -> None:
    entries = [
        {"fullUrl": url, "resource": one, "request": {"method": "POST", "url": one["resourceType"]}}
        for url, one in resources
    ]
    server.store.transaction({"resourceType": "Bundle", "type": "transaction", "entry": entries})


def photograph(server: DemoFhirServer, site: str = "Left forearm, front", patient: int = 1) -> None:
    url, data = uuid4().urn, picture()
    where = {"url": "concept", "valueCodeableConcept": {"text": site}}
    document = {
        "resourceType": "DocumentReference",
        "extension": [{"url": SITE, "extension": [where]}],
        "identifier": [{"system": "s", "value": "photo-1"}],
        "status": "current",
        "subject": {"reference": f"Patient/demo-patient-{patient}"},
        "content": [
            {"attachment": {"contentType": "image/jpeg", "url": url, "size": len(data), "creation": WHEN}}
        ],
    }
    binary = {"resourceType": "Binary", "contentType": "image/jpeg", "data": text64(data)}
    store(server, (url, binary), (uuid4().urn, document))


def decision(server: DemoFhirServer, answers: dict[str, bool], title: str, patient: int = 1) -> None:
    """One Consent for each purpose, the form inside a DocumentReference, and a signature when agreed."""
    subject, form = {"reference": f"Patient/demo-patient-{patient}"}, uuid4().urn
    attachment = {"contentType": "application/pdf", "data": text64(PDF)}
    resources: list[tuple[str, dict[str, Any]]] = [
        (
            form,
            {
                "resourceType": "DocumentReference",
                "status": "current",
                "subject": subject,
                "description": title,
                "content": [{"attachment": attachment}],
            },
        )
    ]
    for purpose, yes in answers.items():
        consent = {
            "resourceType": "Consent",
            "status": "active",
            "scope": {"text": "privacy"},
            "category": [{"text": "photographs"}],
            "patient": subject,
            "dateTime": WHEN,
            "sourceReference": {"reference": form},
            "policyRule": {"text": "wording 1"},
            "provision": {"type": "permit" if yes else "deny", "purpose": [{"code": purpose}]},
        }
        resources.append((uuid4().urn, consent))
    signature = {"type": [{"code": "x"}], "when": WHEN, "who": subject}
    provenance: dict[str, Any] = {
        "resourceType": "Provenance",
        "target": [{"reference": url} for url, _ in resources],
        "recorded": WHEN,
        "agent": [{"who": subject}],
    }
    if any(answers.values()):
        provenance["signature"] = [signature | {"sigFormat": "image/png", "data": text64(picture("PNG"))}]
    store(server, *resources, (uuid4().urn, provenance))


@pytest.fixture
def server() -> Iterator[DemoFhirServer]:
    with DemoFhirServer() as running:
        yield running
    assert running.crashes == []


def get(server: DemoFhirServer, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    port = int(server.gallery_url.rsplit(":", 1)[1].rstrip("/"))
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def state_of(server: DemoFhirServer, patient: int = 1) -> dict[str, Any]:
    patients: list[dict[str, Any]] = gallery_state(server.store, server.faults)["patients"]
    return next(p for p in patients if p["id"] == f"demo-patient-{patient}")


def test_state_of_a_patient(server: DemoFhirServer) -> None:
    decision(server, {"TREAT": True, "TRAIN": False}, "Consent to photographs")
    photograph(server)
    patient = state_of(server)
    consent, photo = patient["consents"][0], patient["photographs"][0]
    assert patient["name"] == "OKONKWO-SMITH, Adaeze (Ms)"
    assert (consent["decision"], consent["at"]) == ("agreed", WHEN)
    assert consent["choices"] == [
        {"purpose": "Care and health record", "yes": True},
        {"purpose": "Teaching", "yes": False},
    ]
    assert base64.b64decode(consent["signature"].partition(",")[2]) == picture("PNG")
    assert (photo["site"], photo["taken"], photo["size"]) == ("Left forearm, front", WHEN, len(picture()))
    assert get(server, photo["image"])[2] == picture()
    status, headers, body = get(server, consent["form"])
    assert (status, headers["Content-Type"], body) == (200, "application/pdf", PDF)
    assert server.requests == [], "the page's requests are not the client's"


def test_refused_and_withdrawn_are_told_apart(server: DemoFhirServer) -> None:
    decision(server, {"TREAT": False}, "Photographs declined", 2)
    decision(server, {"TREAT": False}, "Consent to photographs withdrawn", 2)
    decisions = state_of(server, 2)["consents"]
    assert [c["decision"] for c in decisions] == ["withdrawn", "refused"]
    assert [c["signature"] for c in decisions] == [None, None]


def change(server: DemoFhirServer, kind: str, **wanted: Any) -> None:
    """Set elements of every resource of a type."""
    for resource in server.store.all(kind):
        server.store.update({**resource, **wanted}, kind, resource["id"])


def withdraw(server: DemoFhirServer, purpose: str) -> None:
    """As a withdrawal by receipt leaves it: the old one inactive, a new one that denies and names the old."""
    old = next(c for c in server.store.all("Consent") if c["provision"]["purpose"][0]["code"] == purpose)
    server.store.update({**old, "status": "inactive"}, "Consent", old["id"])
    new = {k: v for k, v in old.items() if k not in ("id", "meta")}
    new["sourceReference"] = {"reference": f"Consent/{old['id']}"}
    new["provision"] = {**old["provision"], "type": "deny"}
    server.store.create(new, "Consent")


def test_a_withdrawal_later_is_shown_with_what_it_ended(server: DemoFhirServer) -> None:
    decision(server, {"TREAT": True, "TRAIN": True}, "Consent to photographs")
    withdraw(server, "TRAIN")
    (shown,) = state_of(server)["consents"]
    assert shown["decision"] == "partly"
    assert shown["choices"] == [
        {"purpose": "Care and health record", "yes": True},
        {"purpose": "Teaching", "yes": True, "over": True},
        {"purpose": "Teaching", "yes": False},
    ]
    withdraw(server, "TREAT")
    (shown,) = state_of(server)["consents"]
    assert shown["decision"] == "withdrawn"


def test_what_is_entered_in_error_cannot_be_overlooked(server: DemoFhirServer, tmp_path: Path) -> None:
    decision(server, {"TREAT": True}, "Consent to photographs")
    photograph(server)
    change(server, "Consent", status="entered-in-error")
    change(server, "DocumentReference", status="entered-in-error")
    patient = state_of(server)
    assert patient["consents"][0]["decision"] == "in-error"
    assert patient["photographs"][0]["status"] == "entered-in-error"
    page = Words(browse(server.gallery_url, tmp_path, "--dump-dom"))
    classes = [attributes.get("class", "") for _, attributes in page.tags]
    assert "void" in classes
    assert "stamp" in classes
    assert "consent in-error" in classes
    assert page.words.count("Entered in error") == 2
    shot = tmp_path / "page.png"
    browse(server.gallery_url, tmp_path, f"--screenshot={shot}", "--window-size=1000,800")
    with Image.open(shot) as screen:
        pixels = screen.convert("RGB").getcolors(1_000_000) or []
    assert sum(count for count, colour in pixels if colour == MAGENTA) == 0, "the picture keeps its colours"


def test_a_dangling_link_shows_as_no_image(server: DemoFhirServer) -> None:
    bundle_leaves_url = frozenset({"url"})
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": "Patient/demo-patient-1"},
        "content": [{"attachment": {"contentType": "image/jpeg", "url": uuid4().urn}}],
    }
    entry = {"resource": document, "request": {"method": "POST", "url": "DocumentReference"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    server.store.transaction(bundle, leave=bundle_leaves_url)
    photo = state_of(server)["photographs"][0]
    assert photo["image"] is None
    assert get(server, f"/gallery/document/{photo['id']}")[0] == 404


def test_only_the_two_fenwicks_share_a_number(server: DemoFhirServer) -> None:
    shared = [p["name"] for p in gallery_state(server.store, server.faults)["patients"] if p["shared"]]
    assert shared == ["FENWICK, Rosalind (Mrs)", "FENWICK, Rosemary (Dr)"]


def test_state_has_a_tag_that_changes_with_data_and_faults(server: DemoFhirServer) -> None:
    tags = []
    for change in (lambda: None, lambda: photograph(server), lambda: server.faults.set("delay 1")):
        change()
        status, headers, body = get(server, "/gallery/state.json")
        assert status == 200
        assert json.loads(body)["photographs"] == min(len(tags), 1)
        tags.append(headers["ETag"])
        assert get(server, "/gallery/state.json", If_None_Match=tags[-1])[0] == 304
    assert len(set(tags)) == 3


def test_page_is_closed_to_everything_from_outside(server: DemoFhirServer) -> None:
    status, headers, body = get(server, "/")
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert policy["default-src"] == "'none'"
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/=]{44}'", policy["script-src"])
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/=]{44}'", policy["style-src"])
    assert not re.search(rb"https?://|innerHTML|insertAdjacentHTML|document\.write| style=", body)
    assert get(server, "/nothing")[0] == 404
    assert get(server, "/", "POST")[0] == 405
    assert get(server, "/", "HEAD")[2] == b""


class Words(HTMLParser):
    """Collects the visible words of a page, and the tags with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.words += data


def browse(url: str, tmp_path: Path, *options: str) -> str:
    """Open a page in headless Chromium and return its standard output."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.fail("chromium is missing: install the Debian package `chromium` to test the gallery page")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", *options, url]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode()


def test_page_shows_what_arrives_while_it_is_open(
    server: DemoFhirServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, polls = Gallery.answer, []

    def answer_then_deliver(self: Gallery, method: str, path: str, tag: str | None = None) -> Answer:
        answered = answer(self, method, path, tag)
        if path == "/gallery/state.json":
            polls.append(answered.status)
            if len(polls) == 1:
                decision(server, {"TREAT": True, "TRAIN": False}, "Consent to photographs")
                photograph(server)
        return answered

    monkeypatch.setattr(Gallery, "answer", answer_then_deliver)
    page = Words(browse(server.gallery_url, tmp_path, "--dump-dom"))
    assert polls[:2] == [200, 200]
    assert 304 in polls
    document = next(d for d in server.store.all("DocumentReference") if "extension" in d)
    for words in (
        "OKONKWO-SMITH, Adaeze (Ms)",
        "999 123 0009",
        "14-Jul-1945",
        "Agreed",
        "Teaching✕ No",
        "Left forearm, front",
        f"DocumentReference/{document['id']}",
        "640 × 480",
        "1 photograph",
        "1 decision",
        "Live",
    ):
        assert words in page.words, words
    assert "Nothing has arrived yet" not in page.words
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert f"/gallery/document/{document['id']}" in sources
    assert f"data:image/png;base64,{text64(picture('PNG'))}" in sources


def test_page_treats_everything_as_text(server: DemoFhirServer, tmp_path: Path) -> None:
    patient = {"resourceType": "Patient", "id": "evil", "name": [{"family": EVIL, "given": [EVIL]}]}
    server.store.update(patient, "Patient", "evil")
    photograph(server, EVIL)
    server.faults.set("status 500 on=POST:/fhir/" + EVIL.replace(" ", ""))
    dom = browse(server.gallery_url, tmp_path, "--dump-dom")
    page = Words(dom)
    assert "<title>Demo record server</title>" in dom, "a stored script ran"
    assert EVIL in page.words
    assert EVIL.upper() in page.words
    assert "This is a demonstration with synthetic patients" in page.words
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [set(attributes) for attributes in images] == [{"src", "alt"}]
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_page_says_what_to_do_when_empty(server: DemoFhirServer, tmp_path: Path) -> None:
    words = Words(browse(server.gallery_url, tmp_path, "--dump-dom")).words
    assert "Nothing has arrived yet" in words
    assert "Sign in at the kiosk" in words
    assert "FENWICK, Rosemary (Dr)" in words
    assert "Number shared by two patients" in words


def test_page_really_paints_the_photograph(server: DemoFhirServer, tmp_path: Path) -> None:
    photograph(server)
    shot = tmp_path / "page.png"
    browse(server.gallery_url, tmp_path, f"--screenshot={shot}", "--window-size=1000,800")
    with Image.open(shot) as screen:
        pixels = screen.convert("RGB").getcolors(1 << 20) or []
    painted = sum(
        n for n, colour in pixels if all(abs(a - b) < 8 for a, b in zip(colour, MAGENTA, strict=True))
    )
    assert painted > 20_000


def test_page_is_part_of_the_package() -> None:
    assert files("kiosk.demo").joinpath("gallery.html").is_file()
