from __future__ import annotations

import hashlib
import io
import logging
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from pypdf import PdfReader

from kiosk.consent_text import ENGLISH, wording_of
from kiosk.model import (
    Decision,
    HumanName,
    Identifier,
    Manner,
    Photo,
    Practitioner,
    Purpose,
    Session,
    Signer,
)
from kiosk.receipts import receipt_id
from kiosk.report import consent_form_pdf
from tests import nouns
from tests.nouns import SITE

AT = datetime(2026, 11, 23, 14, 5, 12, tzinfo=timezone(timedelta(hours=1)))
STATION = "Wound clinic, room 4"


def make_session(decision: Decision = Decision.PERMIT, signer: Signer = Signer.PATIENT) -> Session:
    photo = Photo(UUID(int=9), 1, AT, SITE, 1, 8, 8, 100, "0" * 64)
    return nouns.session(nouns.consent(decision, at=AT, signer=signer), [photo], committed_at=AT)


def form(session: Session) -> PdfReader:
    return PdfReader(io.BytesIO(consent_form_pdf(session, STATION, ENGLISH)), strict=True)


def text_of(session: Session) -> str:
    reader = form(session)
    assert len(reader.pages) == 1
    return " ".join(reader.pages[0].extract_text().split())


def test_everything_is_on_one_page_as_text() -> None:
    session = make_session()
    text = text_of(session)
    evidence = session.consent.evidence(session.patient, session.operator, session.station)
    for expected in (
        "Consent to photographs",
        "Consent given",
        "OKONKWO-SMITH, Adaeze (Ms)",
        "14-Jul-1945",
        "Female",
        "NHS No.",
        "999 123 0009",
        ENGLISH.title,
        ENGLISH.body,
        "photo-consent, version 2026-11, language en",
        *(label for label, _ in ENGLISH.purposes.values()),
        *(explanation for _, explanation in ENGLISH.purposes.values()),
        ENGLISH.agree,
        "Signed by the patient",
        "23-Nov-2026, 14:05 (UTC+01:00)",
        "A. Patel RN",
        f"{STATION} (ward-7)",
        str(session.consent.id),
        evidence,
    ):
        assert expected in text, expected
    assert ENGLISH.decline not in text


@pytest.mark.parametrize("teaching", [True, False])
@pytest.mark.parametrize("research", [True, False])
def test_answers(teaching: bool, research: bool) -> None:
    session = make_session()
    choices = ((Purpose.RECORD, True), (Purpose.TEACHING, teaching), (Purpose.RESEARCH, research))
    text = text_of(replace(session, consent=replace(session.consent, choices=choices)))
    start = text.index("Care and health record")
    marks = [
        w for w in text[start : text.index(ENGLISH.agree)].replace("X ", "X").split() if w in ("XYes", "XNo")
    ]
    assert marks == ["XYes", "XYes" if teaching else "XNo", "XYes" if research else "XNo"]


@pytest.mark.parametrize(
    ("decision", "title", "sentence"),
    [
        (Decision.DENY, "Photographs declined", ENGLISH.decline),
        (Decision.WITHDRAWN, "Consent to photographs withdrawn", ENGLISH.withdraw),
    ],
)
def test_refusals_say_so(decision: Decision, title: str, sentence: str) -> None:
    text = text_of(make_session(decision))
    assert title in text
    assert sentence in text
    assert "X No" in text
    assert "X Yes" not in text
    assert "Signed" not in text
    assert ENGLISH.agree not in text
    assert "Consent given" not in text


@pytest.mark.parametrize(
    ("signer", "words"),
    [
        (Signer.PATIENT, "Signed by the patient"),
        (Signer.PARENT, "Signed by a parent, for the patient"),
        (Signer.GUARDIAN, "Signed by a guardian, for the patient"),
        (Signer.CARER, "Signed by a carer, for the patient"),
    ],
)
def test_who_signed(signer: Signer, words: str) -> None:
    assert words in text_of(make_session(signer=signer))


def test_a_named_proxy_is_on_the_form() -> None:
    session = make_session(signer=Signer.PARENT)
    named = replace(session, consent=replace(session.consent, signer_name="R. Okonkwo"))
    assert "Signer: R. Okonkwo" in text_of(named)


WITNESS = Practitioner("mjones", "M. Jones RN")


def test_a_verbal_consent_names_its_witness_and_what_was_read() -> None:
    session = make_session(signer=Signer.CARER)
    spoken = replace(
        session.consent, strokes=(), manner=Manner.VERBAL, witness=WITNESS, signer_name="R. Okonkwo"
    )
    text = text_of(replace(session, consent=spoken))
    assert "given verbally by R. Okonkwo, a carer, for the patient." in text
    assert "Read aloud: photo-consent" in text
    assert "photo-consent, version 2026-11, language en) was read aloud" in text
    assert "Witness: M. Jones RN" in text
    assert "Entered by A. Patel RN" in text
    assert "Signed" not in text


def test_best_interests_name_the_clinician() -> None:
    session = make_session()
    choices = ((Purpose.RECORD, True), (Purpose.TEACHING, False), (Purpose.RESEARCH, False))
    decided = replace(
        session.consent, strokes=(), choices=choices, manner=Manner.BEST_INTERESTS, clinician=WITNESS
    )
    text = text_of(replace(session, consent=decided))
    assert "in the patient's best interests" in text
    assert "Consent given" not in text
    assert "Decided by M. Jones RN, clinician" in text
    assert "Signed" not in text
    assert ENGLISH.agree not in text, "nobody agreed"


def test_the_form_carries_the_receipt() -> None:
    session = make_session()
    assert receipt_id(session.id) in text_of(session)


def test_the_signature_is_drawn_as_lines() -> None:
    session = make_session()
    page = form(session).pages[0]
    assert not page.images
    content = page.get_contents()
    assert content is not None
    bare = form(replace(session, consent=replace(session.consent, strokes=()))).pages[0].get_contents()
    assert bare is not None
    drawn = content.get_data().count(b" l\n") + content.get_data().count(b" l ")
    without = bare.get_data().count(b" l\n") + bare.get_data().count(b" l ")
    assert drawn - without == 4, "three lines of the first stroke and one dot"


def test_strokes_outside_the_pad_stay_inside() -> None:
    session = make_session()
    wild = replace(session, consent=replace(session.consent, strokes=(((-5.0, 9.0), (3.0, -2.0)),)))
    tame = replace(session, consent=replace(session.consent, strokes=(((0.0, 1.0), (1.0, 0.0)),)))
    lines = [form(s).pages[0].get_contents() for s in (wild, tame)]
    assert lines[0] is not None
    assert lines[1] is not None
    first, second = (one.get_data().splitlines() for one in lines if one is not None)
    assert [a for a, b in zip(first, second, strict=True) if a != b and b"Tj" not in a] == []


def test_fonts_are_embedded_and_nothing_runs() -> None:
    reader = form(make_session())
    page: Any = reader.pages[0]
    fonts = page["/Resources"]["/Font"].values()
    assert len(list(fonts)) == 2
    for font in fonts:
        descriptor = font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object()
        assert "/FontFile2" in descriptor
    root: Any = reader.trailer["/Root"]
    assert root["/Lang"] == "en"
    assert "/OpenAction" not in root or "JS" not in str(root["/OpenAction"])
    assert "/Names" not in root
    assert "Okonkwo" not in str(reader.metadata)


def test_the_same_session_gives_the_same_bytes() -> None:
    session = make_session()
    first = consent_form_pdf(session, STATION, ENGLISH)
    assert consent_form_pdf(Session.from_json(session.to_json()), STATION, ENGLISH) == first
    code = (
        "import sys; from kiosk.model import Session; from kiosk.report import consent_form_pdf;"
        "from kiosk.consent_text import ENGLISH; import hashlib;"
        "s = Session.from_json(sys.stdin.buffer.read());"
        f"print(hashlib.sha256(consent_form_pdf(s, {STATION!r}, ENGLISH)).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "TZ": "Asia/Kolkata", "LC_ALL": "C"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=session.to_json(),
        capture_output=True,
        check=True,
        env=environment,
        timeout=60,
    )
    assert run.stdout.decode().strip() == hashlib.sha256(first).hexdigest()


def test_another_session_gives_other_bytes() -> None:
    session = make_session()
    other = replace(session, consent=replace(session.consent, at=datetime(2026, 11, 23, tzinfo=UTC)))
    assert consent_form_pdf(other, STATION, ENGLISH) != consent_form_pdf(session, STATION, ENGLISH)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (HumanName("Žižek", "Łukasz"), "ŽIŽEK, Łukasz"),
        (HumanName("Παπαδόπουλος", "Γιώργος"), "ΠΑΠΑΔΌΠΟΥΛΟΣ, Γιώργος"),
        (HumanName("Жуков", "Пётр"), "ЖУКОВ, Пётр"),
        (HumanName("Nguyễn", "Thị"), "NGUYỄN, Thị"),
        (HumanName("O’Brien-Nuñez", "Zoë"), "O’BRIEN-NUÑEZ, Zoë"),
        (HumanName(""), "NOT KNOWN"),
    ],
)
def test_names_of_europe_and_vietnam(name: HumanName, shown: str, caplog: pytest.LogCaptureFixture) -> None:
    session = make_session()
    text = text_of(replace(session, patient=replace(session.patient, name=name)))
    assert shown in text
    assert "cannot print" not in text
    assert caplog.text == ""


@pytest.mark.parametrize("family", ["张伟", "عمر", "अमित", "🙂", "A\x00B\x1bC"])
def test_what_the_font_lacks_is_shown_as_missing(family: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    session = make_session()
    text = text_of(replace(session, patient=replace(session.patient, name=HumanName(family, "Adaeze"))))
    assert "□" in text
    assert "Adaeze" in text
    missing = [c for c in family.upper() if ord(c) > 0x2FF or not c.isprintable()]
    for character in missing:
        assert f"U+{ord(character):04X}" in text
    assert not [c for c in missing if c in caplog.text], "a name's characters reached the log"


def test_the_longest_of_everything_stays_on_the_page() -> None:
    session = make_session()
    long = replace(
        session,
        patient=replace(
            session.patient,
            name=HumanName("Wolfeschlegelstein" * 8, "Adaeze " * 8, "Ms"),
            identifier=Identifier("urn:x", "9" * 40),
        ),
        operator=Practitioner("s1", "Patel " * 12),
        station="w" * 39,
    )
    reader = PdfReader(io.BytesIO(consent_form_pdf(long, "W" * 60, ENGLISH)))
    heights: list[float] = []
    reader.pages[0].extract_text(
        visitor_text=lambda text, cm, tm, font, size: heights.append(tm[5]) if text.strip() else None
    )
    assert len(reader.pages) == 1
    assert min(heights) > 10
    assert max(heights) < 842
    assert "Patient No." in " ".join(reader.pages[0].extract_text().split())


def test_wording_of_a_consent() -> None:
    consent = make_session().consent
    assert wording_of(consent, (ENGLISH,)) is ENGLISH
    assert wording_of(replace(consent, text_version="x"), (ENGLISH,)) is None
    assert wording_of(replace(consent, language="de"), (ENGLISH,)) is None
    assert tuple(ENGLISH.purposes) == tuple(Purpose)
