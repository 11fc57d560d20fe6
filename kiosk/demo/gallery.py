"""The page that shows what has arrived in the demo's record server.

The page is one file without external resources; its Content-Security-Policy allows exactly its own script
and style (CSP Level 3, hash sources). It asks for the state once a second and redraws what changed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files

from kiosk.demo.faults import Faults
from kiosk.demo.fhir_api import Answer
from kiosk.demo.fhir_store import FhirStore
from kiosk.demo.gallery_state import DOCUMENT_PATH, IMAGES, PDF, document_bytes, gallery_state

STATE_PATH = "/gallery/state.json"


class Gallery:
    """Answers every path that is not FHIR. It reads past the faults, and its requests are not recorded."""

    def __init__(self, store: FhirStore, faults: Faults) -> None:
        self._store = store
        self._faults = faults
        self._page = files("kiosk.demo").joinpath("gallery.html").read_bytes()
        self._headers = (
            ("Content-Security-Policy", page_policy(self._page.decode("utf-8"))),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        )

    def answer(self, method: str, path: str, if_none_match: str | None = None) -> Answer:
        """Answer one request; 404 and 405 are plain text without echo."""
        if method not in ("GET", "HEAD"):
            return self._plain(405, b"This page is only for looking at.", ("Allow", "GET, HEAD"))
        if path == "/":
            return Answer(200, self._page, "text/html; charset=utf-8", self._headers)
        if path == STATE_PATH:
            return self._state(if_none_match)
        if path.startswith(DOCUMENT_PATH):
            return self._document(path.removeprefix(DOCUMENT_PATH))
        return self._plain(404, b"There is nothing at this address.")

    def _state(self, if_none_match: str | None) -> Answer:
        # The tag is read before the state: a commit in between is seen one poll later, never missed.
        tag = f'"{self._store.revision}-{self._faults.revision}"'
        headers = (("ETag", tag), *self._headers)
        if if_none_match == tag:
            return Answer(304, headers=headers)
        state = json.dumps(gallery_state(self._store, self._faults)).encode("ascii")
        return Answer(200, state, "application/json", headers)

    def _document(self, id_: str) -> Answer:
        media_type, data = document_bytes(self._store, id_) or ("", b"")
        if media_type not in (*IMAGES, PDF):
            return self._plain(404, b"There is nothing to show at this address.")
        # Chromium's PDF viewer does not start under the page's policy.
        headers = self._headers[1:] if media_type == PDF else self._headers
        return Answer(200, data, media_type, headers)

    def _plain(self, status: int, text: bytes, *headers: tuple[str, str]) -> Answer:
        return Answer(status, text, "text/plain; charset=utf-8", (*self._headers, *headers))


def page_policy(page: str) -> str:
    """The Content-Security-Policy of the page: its own inline script and style by SHA-256, its own server."""
    sources = {tag: " ".join(map(_hash_source, _inline(page, tag))) for tag in ("script", "style")}
    return (
        f"default-src 'none'; script-src {sources['script']}; style-src {sources['style']}; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'"
    )


def _inline(page: str, tag: str) -> list[str]:
    return re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)


def _hash_source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
