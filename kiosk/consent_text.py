"""The words that are shown to the patient before anything is photographed, with their version.

The screen shows them and the signed form repeats them; both come from here, so they cannot differ.
A changed word needs a new version: the version is part of the consent's evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from kiosk.model import Consent, Purpose


class PurposeText(NamedTuple):
    """How one purpose is asked."""

    label: str
    explanation: str


@dataclass(frozen=True, slots=True)
class ConsentText:
    """One wording in one language (BCP 47). `purposes` is in the order in which they are asked."""

    id: str
    version: str
    language: str
    title: str
    body: str
    purposes: Mapping[Purpose, PurposeText]
    agree: str
    decline: str
    withdraw: str


ENGLISH = ConsentText(
    id="photo-consent",
    version="2026-11",
    language="en",
    title="May we take photographs?",
    body=(
        "We would like to take photographs of your skin or wound. "
        "You can say no or change your mind. Your care will not be affected."
    ),
    purposes=MappingProxyType(
        {
            Purpose.RECORD: PurposeText(
                "Care and health record", "Stored with your record, for your care team."
            ),
            Purpose.TEACHING: PurposeText("Teaching", "Training health staff. Never with your name."),
            Purpose.RESEARCH: PurposeText(
                "Research or publication", "We will ask you again before publishing."
            ),
        }
    ),
    agree="I agree that photographs are taken and used as answered above.",
    decline="Photographs were declined. None was taken.",
    withdraw="Consent was withdrawn. Every photograph taken was destroyed before anything was sent.",
)


def wording_of(consent: Consent, known: Iterable[ConsentText]) -> ConsentText | None:
    """The wording that this consent was given to, or None when it is not among the known ones."""
    shown = (consent.text_id, consent.text_version, consent.language)
    return next((text for text in known if (text.id, text.version, text.language) == shown), None)
