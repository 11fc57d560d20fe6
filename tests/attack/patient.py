"""A patient like no other: every text, stroke and picture of the session can be told from all else.

The test is the hospital: it holds the record server and, as the service manager does, the key file. So it
can open what the kiosk sealed, and knows the exact bytes that must be nowhere afterwards.
"""

from __future__ import annotations

import base64
import json
import os
import random
import secrets
import struct
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import simplejpeg

from kiosk.capture import Pixels, reduced
from kiosk.conductor import _thumbnail
from kiosk.custody import KeyFile
from kiosk.demo.patients import NHS_NUMBER
from kiosk.demo.supervisor import Demo
from kiosk.seal import Kind, PrivateKey, SealHeader, open_sealed
from kiosk.wiring.uploader import KEYS_NAME
from tests.attack.memory import Needles
from tests.flow.story import SIGN_IN, SITE, events, play

PIECE = 24
"""Bytes of a piece of a picture."""
STEP = 3072
"""Bytes from one piece of a file to the next; a multiple of three, so that base64 cuts at the same places."""


@dataclass(slots=True)
class Marked:
    """One patient at one kiosk. Names are made up anew each time: no file can hold them by chance."""

    family: str = field(default_factory=lambda: "QX" + secrets.token_hex(6).upper())
    given: str = field(default_factory=lambda: "Zq" + secrets.token_hex(6))
    number: str = field(default_factory=lambda: "WB" + secrets.token_hex(6).upper())
    id: str = field(default_factory=lambda: "p-" + secrets.token_hex(8))
    strokes: list[Any] = field(default_factory=list, repr=False)
    jpegs: list[bytes] = field(default_factory=list, repr=False)
    forms: list[bytes] = field(default_factory=list, repr=False)

    def admit(self, demo: Demo) -> None:
        """Into the hospital's record."""
        demo.server.store.create(
            {
                "resourceType": "Patient",
                "id": self.id,
                "identifier": [{"system": NHS_NUMBER, "value": self.number}],
                "active": True,
                "name": [{"family": self.family, "given": [self.given]}],
                "gender": "female",
                "birthDate": "1945-07-14",
            },
            "Patient",
        )

    def find(self, demo: Demo) -> None:
        """Sign in and find the patient, up to CONSENT."""
        play(demo, SIGN_IN, f"scan {self.number}", "wait CONFIRM_PATIENT", f"expect {self.family}")
        play(demo, 'tap "Yes, this patient"', "wait CONSENT")

    def agree(self, demo: Demo) -> None:
        """Sign, with a line that nobody has drawn before, up to PREVIEW."""
        play(demo, 'tap "Teaching: Yes"', 'tap "Research or publication: No"', "pause 0.3")
        sign(demo)
        play(demo, 'tap "Agree, take photos"', "wait BODY_SITE", SITE)

    def learn(self, demo: Demo) -> None:
        """Open what is sealed in the spool now, and remember it."""
        for kind, plaintext in opened(demo):
            if kind is Kind.PHOTO:
                self.jpegs.append(bytes(plaintext))
            else:
                facts = json.loads(plaintext)
                self.strokes += facts.get("consent", facts)["strokes"]

    def learn_form(self, demo: Demo) -> None:
        """The signed form as it was delivered."""
        for document in demo.server.store.all("DocumentReference"):
            attachment = document["content"][0]["attachment"]
            if attachment["contentType"] == "application/pdf":
                data = attachment.get("data")
                stored = base64.b64decode(data) if data else binary(demo, attachment["url"])
                self.forms.append(stored)

    def texts(self) -> dict[str, list[bytes]]:
        """Name, identifier and record id, in every shape that a text takes."""
        found = {}
        for label, text in (("name", self.family), ("name", self.given), ("identifier", self.number)):
            shapes = {text, text.upper(), text.lower(), text.title()}
            found.setdefault(label, []).extend(shape for each in shapes for shape in encoded(each))
        found["identifier"] += encoded(self.id)
        return found

    def signature(self) -> dict[str, list[bytes]]:
        """Coordinates as JSON and as C doubles."""
        points = [point for stroke in self.strokes for point in stroke]
        long = [n for point in points for n in point if len(repr(n)) > 5]
        return {
            "strokes": [json.dumps(point, separators=(",", ":")).encode() for point in points],
            "coordinates": [struct.pack("<d", n) for n in long],
        }

    def pictures(self) -> dict[str, list[bytes]]:
        """Pieces from all over photographs and form: files, their base64, and the pixels of the screen."""
        found: dict[str, list[bytes]] = {}
        for label, files in (("photograph", self.jpegs), ("form", self.forms)):
            cut = [piece for file in files for piece in pieces(file)]
            found[label] = cut
            found[f"{label}, base64"] = [base64.b64encode(piece) for piece in cut]
        pictures = [review_pixels(jpeg) for jpeg in self.jpegs]
        found["review picture"] = [piece for picture in pictures for piece in pieces(picture.tobytes())]
        thumbnails = [_thumbnail(picture).tobytes() for picture in pictures]
        found["thumbnail"] = [piece for small in thumbnails for piece in pieces(small, 96)]
        return found

    def needles(self) -> Needles:
        """Everything."""
        return Needles({**self.texts(), **self.signature(), **self.pictures()})


def encoded(text: str) -> list[bytes]:
    """As bytes, as wide characters, and as base64 wherever the text may start in it."""
    plain = text.encode()
    wide = [text.encode("utf-16-le"), text.encode("utf-32-le")]
    # The first and the last digit may hold bits of what stands before and after.
    inside = [base64.b64encode(bytes(lead) + plain)[-(-lead * 4 // 3) : -4] for lead in (0, 1, 2)]
    return [plain, *wide, *inside]


def pieces(data: bytes, step: int = STEP) -> list[bytes]:
    """Short runs of bytes from all over, without those that other files may have too."""
    cut = [data[start : start + PIECE] for start in range(0, len(data) - PIECE, step)]
    # The colour profile and the tables at the front are the same in every photograph.
    return [piece for piece in cut[2:] if len(set(piece)) > 12]


def review_pixels(jpeg: bytes) -> Pixels:
    """What the screen shows for keep or retake, as the capture service makes it."""
    height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    return reduced(bytearray(jpeg), (width, height), (1280, 960))


def binary(demo: Demo, url: str) -> bytes:
    stored = demo.server.store.binary_bytes(url.split("/")[-1])
    assert stored is not None
    return stored


def opened(demo: Demo) -> list[tuple[Kind, bytearray]]:
    """Every sealed item of the last session, opened with the key that the service manager keeps."""
    session = UUID(events(demo, "session-opened")[-1]["session"])
    spool = demo.directory / "spool"
    found = []
    with KeyFile.from_fd(os.dup(dict(demo._notify.stored)[KEYS_NAME])) as keys, keys.view(session) as view:
        key = PrivateKey.from_buffer(view)
        for path in sorted(spool.glob(f"*/{session}*/*.sealed")):
            number, kind, item = path.name.removesuffix(".sealed").split("-", 2)
            header = SealHeader(session, UUID(item), Kind(kind), int(number))
            found.append((header.kind, open_sealed(key, header, path.read_bytes())))
    return found


def sign(demo: Demo) -> None:
    """One random line on the signature pad."""
    hand = demo.hand()
    box = next(b for b in hand.describe()["boxes"] if b["name"] == "Signature")
    chance = random.SystemRandom()
    line = [
        (
            box["x"] + box["w"] * (t / 40 * 0.6 - 0.3 + chance.uniform(0, 0.01)),
            box["y"] + box["h"] * chance.uniform(-0.2, 0.2),
        )
        for t in range(41)
    ]
    hand.finger("down", *line[0])
    for point in line[1:]:
        time.sleep(0.008)
        hand.finger("motion", *point)
    hand.finger("up", *line[-1])
