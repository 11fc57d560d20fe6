"""Who the kiosk is to the record server: nothing, a password, or a bearer token that it asks for.

Each short-lived process asks for a token of its own, the parent holds none: a token opens the record, and the
parent holds no secret of the server today; that is two requests per patient, one by look-up, one by delivery.
Sources: RFC 6749 (4.4 client credentials, 2.3.1 client secret), RFC 6750 (bearer), RFC 8705 (certificate),
SMART App Launch 2.2 (Backend Services; .well-known/smart-configuration).
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol
from urllib.parse import quote_plus, urlencode

from kiosk.errors import NotLetIn, Problem
from kiosk.fhir.answers import Resource, error_for_status, parse_json

MARGIN = 30.0
"""Seconds before its end that a token is not used any more; at most a quarter of its life."""
LIFE_UNKNOWN, LIFE_MAX = 60.0, 3600.0
"""Seconds: of a token whose answer says none, and the longest that is believed."""
CLOCKS_APART = 60.0
"""Seconds between the server's clock and ours, above which a refusal is put down to them."""

_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_FORM = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]{1,16384}=*")
_REASONS = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant"),
        *("unauthorized_client", "unsupported_grant_type", "invalid_scope"),
    }
)
"""RFC 6749, 5.2: the only words of a refusal that are repeated; a description may quote what was sent."""


class Answer(Protocol):
    """What an exchange gives: `content_type` without parameters, `retry_after` in seconds, `date` as sent."""

    @property
    def status(self) -> int: ...  # noqa: D102
    @property
    def content_type(self) -> str: ...  # noqa: D102
    @property
    def body(self) -> bytearray: ...  # noqa: D102
    @property
    def retry_after(self) -> float | None: ...  # noqa: D102
    @property
    def date(self) -> str | None: ...  # noqa: D102


Exchange = Callable[[str, str, str, Mapping[str, str], bytes | None], Answer]
"""One HTTP request by the client's own transport: method, url, label for errors, headers, body."""


class Auth(Protocol):
    """What the client asks before and after a request."""

    def headers(self, exchange: Exchange) -> Mapping[str, str]:
        """The headers that let a request in. May ask another server; raises DeliveryError."""

    def renew(self) -> bool:
        """After a 401: whether these headers were good before, and new ones can be had."""


class NoAuth:
    """Nothing to show, or a client certificate only."""

    def headers(self, exchange: Exchange) -> Mapping[str, str]:
        """None."""
        return {}

    def renew(self) -> bool:
        """There is nothing to renew."""
        return False


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """HTTP Basic credentials (RFC 7617, UTF-8); `password` is its file's content, without the line end."""

    user: str
    password: str = field(repr=False)

    def headers(self, exchange: Exchange) -> Mapping[str, str]:
        """The Authorization header."""
        return {"Authorization": _basic(self.user, self.password)}

    def renew(self) -> bool:
        """A password that was refused is refused again."""
        return False


class Proof(Protocol):
    """How a client proves its id to the token endpoint."""

    def show(self, token_url: str, now: float) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Headers and form fields of one token request."""


@dataclass(frozen=True, slots=True)
class SecretProof:
    """A client secret, in the header (client_secret_basic) or in the form (client_secret_post)."""

    client_id: str
    secret: str = field(repr=False)
    in_form: bool = False

    def show(self, token_url: str, now: float) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """See Proof."""
        if self.in_form:
            return {}, {"client_id": self.client_id, "client_secret": self.secret}
        # RFC 6749, 2.3.1: both are form-encoded before they are joined.
        return {"Authorization": _basic(quote_plus(self.client_id), quote_plus(self.secret))}, {}


class Signer(Protocol):
    """Makes assertions; see assertion.SigningKey."""

    algorithm: str

    def assertion(self, client_id: str, token_url: str, now: float) -> str:
        """A fresh signed assertion."""


@dataclass(frozen=True, slots=True)
class AssertionProof:
    """A signed assertion (private_key_jwt)."""

    client_id: str
    key: Signer

    def show(self, token_url: str, now: float) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """See Proof."""
        assertion = self.key.assertion(self.client_id, token_url, now)
        return {}, {"client_assertion_type": _JWT_BEARER, "client_assertion": assertion}


@dataclass(frozen=True, slots=True)
class CertificateProof:
    """The client certificate of the connection (tls_client_auth): the form only says who it is."""

    client_id: str

    def show(self, token_url: str, now: float) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """See Proof."""
        return {}, {"client_id": self.client_id}


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    good_until: float


class TokenAuth:
    """OAuth 2 client credentials. One token is kept, in memory, until shortly before it ends.

    base_url: the FHIR base, for discovery. token_url: the token endpoint; None: what the base's
    .well-known/smart-configuration says. scopes: as they are sent; empty: the server's own default.
    now: seconds since 1970; monotonic: seconds that no clock change moves.
    """

    def __init__(
        self,
        proof: Proof,
        *,
        base_url: str,
        token_url: str | None,
        scopes: tuple[str, ...],
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._proof = proof
        self._base_url = base_url
        self._token_url = token_url
        self._scopes = scopes
        self._now = now
        self._monotonic = monotonic
        self._algorithms: list[object] = []
        self._token: _Token | None = None
        self._uses = 0

    def headers(self, exchange: Exchange) -> Mapping[str, str]:
        """The Authorization header, with a fresh token where there is none that lasts.

        Raises Unreachable, ServerBusy, or NotLetIn: CLOCK_DIFFERS where the clocks can be the cause.
        """
        if self._token is None or self._monotonic() >= self._token.good_until:
            self._token, self._uses = self._ask(exchange), 0
        self._uses += 1
        return {"Authorization": f"Bearer {self._token.text}"}

    def renew(self) -> bool:
        """Forget the token. One that never let anything in would not be followed by a better one."""
        self._token = None
        return self._uses > 1

    def _ask(self, exchange: Exchange) -> _Token:
        url = self._token_url = self._token_url or self._discover(exchange)
        started, now = self._monotonic(), self._now()
        headers, shown = self._proof.show(url, now)
        form = {"grant_type": "client_credentials", **shown}
        if self._scopes:
            form["scope"] = " ".join(self._scopes)
        answer = exchange("POST", url, "token", {**_FORM, **headers}, urlencode(form).encode())
        content = parse_json(answer.body)
        if not 200 <= answer.status < 300:
            raise self._refusal(answer, content)
        text = content.get("access_token") if content else None
        kind = content.get("token_type") if content else None
        if content is None or not isinstance(text, str) or not _TOKEN.fullmatch(text):
            raise NotLetIn(f"POST token: {answer.status} without a token")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise NotLetIn("POST token: the token is not a bearer token")
        life = _life(content.get("expires_in"))
        return _Token(text, started + life - min(MARGIN, life / 4))

    def _discover(self, exchange: Exchange) -> str:
        name = "GET smart-configuration"
        url = f"{self._base_url}/.well-known/smart-configuration"
        answer = exchange("GET", url, "smart-configuration", {"Accept": "application/json"}, None)
        found = error_for_status(answer.status, f"{name}: {answer.status}", answer.retry_after)
        if answer.status != 200:
            if found.retryable:
                raise found
            raise NotLetIn(f"{name}: {answer.status}; set token_url")
        content = parse_json(answer.body) or {}
        endpoint = content.get("token_endpoint")
        if not isinstance(endpoint, str):
            raise NotLetIn(f"{name}: 200 without a token_endpoint; set token_url")
        listed = content.get("token_endpoint_auth_signing_alg_values_supported")
        self._algorithms = listed if isinstance(listed, list) else []
        return endpoint

    def _refusal(self, answer: Answer, content: Resource | None) -> Exception:
        reason = content.get("error") if content else None
        detail = f"POST token: {answer.status}"
        if isinstance(reason, str) and reason in _REASONS:
            detail += f" {reason}"
        found = error_for_status(answer.status, detail, answer.retry_after)
        if found.retryable and not isinstance(found, NotLetIn):
            return found
        if isinstance(self._proof, AssertionProof) and 400 <= answer.status < 500:
            apart = _clocks_apart(answer.date, self._now())
            if abs(apart) > CLOCKS_APART:
                way = "ahead of" if apart > 0 else "behind"
                detail += (
                    f"; this kiosk's clock is {abs(apart):.0f} s {way} the server's: set the clock (NTP)"
                )
                return NotLetIn(detail, problem=Problem.CLOCK_DIFFERS)
            ours = self._proof.key.algorithm
            if self._algorithms and ours not in self._algorithms:
                detail += f"; the server does not list {ours}, with which this kiosk's key signs"
        return NotLetIn(detail)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _life(value: object) -> float:
    """Seconds, also of servers that write the number as text."""
    try:
        seconds = float(value) if isinstance(value, int | float | str) else LIFE_UNKNOWN
    except ValueError:
        seconds = LIFE_UNKNOWN
    return min(max(seconds, 0.0), LIFE_MAX) if seconds == seconds else LIFE_UNKNOWN


def _clocks_apart(date: str | None, now: float) -> float:
    """Seconds that our clock is ahead of an answer's Date header; 0 without one."""
    try:
        at = parsedate_to_datetime(date) if date else None
    except ValueError:
        at = None
    if at is None:
        return 0.0
    return now - (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
