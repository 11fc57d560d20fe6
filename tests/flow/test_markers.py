"""P2: no file of the spool ever holds a name, an identifier, or a piece of a photograph."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from kiosk.demo.patients import NHS_NUMBER
from tests.flow.story import CONSENT, PHOTO, PROOF, SEND, SIGN_IN, SITE, kiosk, photographs, play

NAME = "MARKERNAMEQZXV"
MRN = "MARKERMRN7731"
MARKED: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "marked",
    "identifier": [{"system": NHS_NUMBER, "value": MRN}],
    "active": True,
    "name": [{"family": NAME, "given": ["Adaeze"]}],
    "gender": "female",
    "birthDate": "1945-07-14",
}
FIND = f"""
scan {MRN}
wait CONFIRM_PATIENT
expect {NAME}
tap "Yes, this patient"
wait CONSENT
"""


class Watch:
    """Reads every file below a directory again and again, and keeps all it saw."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seen: dict[bytes, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            # Files and directories come and go while we look.
            with suppress(OSError):
                for path in self.root.rglob("*"):
                    with suppress(OSError):
                        self.seen[path.read_bytes()] = path.name

    def everything(self) -> bytes:
        return b"\0".join([*self.seen, *(name.encode() for name in self.seen.values())])


def fragments(data: bytes, size: int = 24, step: int = 4096) -> list[bytes]:
    """Pieces that are unlikely to be anywhere by chance."""
    pieces = [data[start : start + size] for start in range(0, len(data) - size, step)]
    return [piece for piece in pieces if len(set(piece)) > 12]


def test_the_spool_never_holds_a_patient_or_a_picture() -> None:
    with kiosk(still="4608x2592") as demo:
        demo.server.store.create(MARKED, "Patient")
        with Watch(demo.directory / "spool") as watch:
            play(demo, SIGN_IN, FIND, CONSENT, SITE, PHOTO, "network down", PHOTO, SEND)
            play(demo, "wait delivery-put-off 15", "network up", PROOF)
        document = photographs(demo)[0]
        jpegs = [demo.server.store.binary_bytes(b["id"]) for b in demo.server.store.all("Binary")]
        patient = demo.server.store.get("Patient", document["subject"]["reference"].split("/")[1])
        assert patient is not None
        assert patient["name"][0]["family"] == NAME, "the positive control: the marker did arrive"
        assert len(jpegs) == 2
        everything = watch.everything()
        assert len(everything) > sum(map(len, jpegs)), "the watch saw the sealed photographs"
        for marker in (NAME, MRN, NAME.title(), "photo-consent", "A. Patel"):
            assert marker.encode() not in everything
        for jpeg in jpegs:
            # Long pieces only: four bytes such as JFIF are in so much ciphertext by chance.
            pieces = [jpeg[:24], *fragments(jpeg)]
            assert len(pieces) > 100
            assert not [piece for piece in pieces if piece in everything]
        assert any(piece in jpegs[0] for piece in fragments(jpegs[0])), "the search does find what is there"


def test_names_in_the_spool_are_ids_only() -> None:
    with kiosk() as demo:
        demo.server.store.create(MARKED, "Patient")
        play(demo, SIGN_IN, FIND, CONSENT, SITE, PHOTO)
        names = [p.name for p in (demo.directory / "spool").rglob("*")]
        assert any("-photo-" in name for name in names)
        assert not [n for n in names if "MARKER" in n]
