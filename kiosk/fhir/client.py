"""HTTP to one FHIR R4 server: one request is one attempt, and every answer becomes a value or a typed error.

Nothing is retried in here and no redirect is followed. Identifiers travel in POST bodies, so that they do
not land in access logs. The texts of errors hold method, resource type and status, nothing else.
Source: FHIR R4 http.html (search by POST, Prefer, transaction, delete).
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import requests
import urllib3
from requests.adapters import HTTPAdapter

from kiosk.errors import (
    ConfigError,
    DeliveryError,
    NotLetIn,
    NotProven,
    NotThere,
    Problem,
    Rejected,
    Unreachable,
)
from kiosk.fhir import tls
from kiosk.fhir.answers import (
    Resource,
    binary_data,
    error_for_status,
    is_id,
    objects,
    parse_json,
    parse_retry_after,
    part,
)
from kiosk.fhir.auth import Auth, NoAuth

FHIR_JSON = "application/fhir+json"
JSON_LIMIT = 16 * 1024 * 1024
TOKEN_LIMIT = 256 * 1024
CHUNK = 64 * 1024
DEADLINE_S = 300.0
"""Seconds for one whole answer, unless told otherwise."""
WHOLE = 100
"""Resources that a search for all of something may find: a session has at most 21 DocumentReferences."""

_PAGES = ("text/html", "application/xhtml+xml")
_QUERY = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/?%|]{0,4096}")
_RELATIVE = re.compile(r"[A-Za-z0-9\-._~/$?=&%+]{1,2048}")


class Pieces(Protocol):
    """A body that is made while it is sent: its length is known, and each iteration gives the whole again."""

    def __len__(self) -> int:
        """Bytes in all."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """The pieces in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Digest:
    """What is known of bytes that were not kept: how many, and their SHA-256 (hex)."""

    size: int
    sha256: str

    @classmethod
    def of(cls, data: bytes | bytearray) -> Digest:
        """The digest of bytes that are at hand."""
        return cls(len(data), hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content_type: str
    body: bytearray
    retry_after: float | None
    date: str | None = None
    digest: Digest | None = None
    """Of a body that was hashed and not kept."""
    location: str = ""
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Versioned:
    """A resource as it was read, and the ETag that its next version must be based on, where there is one."""

    resource: Resource
    etag: str | None


class _TlsAdapter(HTTPAdapter):
    """requests' adapter with our own TLS context; nothing is retried."""

    def __init__(self, context: Any) -> None:
        self._context = context
        super().__init__(max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=self._context, **options)
        self.poolmanager.pool_classes_by_scheme = {"https": tls.Pool}


class FhirClient:
    """One server. Use it as a context manager, or call `close`.

    base_url: https://..., or http:// to a loopback address only (else ConfigError).
    timeout: seconds to connect and between two reads; `deadline`: seconds for one whole answer.
    auth: what lets a request in, here and at the token endpoint that it names.
    ca_file: PEM file of the certificate authorities to trust; None: the list of the certifi package.
    client_certificate: our side of mutual TLS, where the server asks for it.
    elsewhere: more addresses, like base_url, below which the server's attachments may be read back: those of
    a file storage with signed addresses. No credentials are sent there.
    Raises errors.DeliveryError subclasses from every request; NotLetIn where it was not this FHIR server that
    answered, or not as one: 401, 403, a redirect, a sign-in page, 404 at an address that every one has.
    """

    def __init__(
        self,
        base_url: str,
        *,
        auth: Auth | None = None,
        timeout: tuple[float, float] = (5.0, 30.0),
        deadline: float = DEADLINE_S,
        ca_file: str | None = None,
        elsewhere: tuple[str, ...] = (),
        client_certificate: tls.ClientCertificate | None = None,
    ) -> None:
        self.base_url = _checked_base(base_url)
        self._elsewhere = tuple(map(_checked_base, elsewhere))
        self._timeout = timeout
        self._deadline = deadline
        self._auth = auth or NoAuth()
        self._http = _session(ca_file, client_certificate)
        self._anonymous = _session(ca_file, None)

    def __enter__(self) -> FhirClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._anonymous.close()

    def capabilities(self) -> Resource:
        """The CapabilityStatement (GET metadata)."""
        return self._json("GET", f"{self.base_url}/metadata", "CapabilityStatement")

    def read(self, resource_type: str, id: str) -> Resource:
        """Read one resource by its logical id. Raises Rejected when it is not there."""
        if not is_id(id):
            raise Rejected(f"GET {resource_type}: not an id")
        return self._json("GET", f"{self.base_url}/{resource_type}/{id}", resource_type, may_lack=True)

    def read_version(self, resource_type: str, id: str) -> Versioned:
        """As `read`, with the version that it has now (R4, 3.1.0.1.3 and 3.1.0.5)."""
        if not is_id(id):
            raise Rejected(f"GET {resource_type}: not an id")
        url = f"{self.base_url}/{resource_type}/{id}"
        headers = {"Accept": FHIR_JSON, "Cache-Control": "no-cache"}
        answer = self._send("GET", url, resource_type, headers=headers, limit=JSON_LIMIT)
        resource = self._resource(answer, f"GET {resource_type}", resource_type, may_lack=True)
        if resource.get("id") != id:
            raise NotLetIn(f"GET {resource_type}: another one than was asked for")
        return Versioned(resource, answer.etag)

    def write(
        self,
        resource_type: str,
        body: bytes | bytearray,
        *,
        id: str | None = None,
        if_match: str | None = None,
        if_none_exist: str | None = None,
    ) -> None:
        """PUT one resource under `id`, or POST it without one. What the server answers with is not read.

        if_match: the ETag of the version that it replaces.  if_none_exist: a search that, where it finds
        one, makes the POST do nothing (R4, 3.1.0.8.1).  Raises Conflict for 409 and 412.
        """
        if id is not None and not is_id(id):
            raise Rejected(f"PUT {resource_type}: not an id")
        method = "POST" if id is None else "PUT"
        url = f"{self.base_url}/{resource_type}" + ("" if id is None else f"/{id}")
        headers = {"Accept": FHIR_JSON, "Content-Type": FHIR_JSON, "Prefer": "return=minimal"}
        if if_match is not None:
            headers["If-Match"] = if_match
        if if_none_exist is not None:
            headers["If-None-Exist"] = if_none_exist
        answer = self._send(method, url, resource_type, headers=headers, limit=JSON_LIMIT, body=body)
        name = f"{method} {resource_type}: {answer.status}"
        if answer.status in (200, 201, 204) and answer.content_type not in _PAGES:
            return
        if answer.status < 300 or (answer.status == 404 and id is None):
            raise NotLetIn(f"{name}, not a FHIR server's answer")
        raise error_for_status(answer.status, name, answer.retry_after)

    def delete(self, resource_type: str, id: str) -> None:
        """Delete one resource by its logical id; one that is not there is none to delete (R4, 3.1.0.7)."""
        if not is_id(id):
            raise Rejected(f"DELETE {resource_type}: not an id")
        url, headers = f"{self.base_url}/{resource_type}/{id}", {"Accept": FHIR_JSON}
        answer = self._send("DELETE", url, resource_type, headers=headers, limit=JSON_LIMIT)
        if answer.status == 200 and answer.content_type in _PAGES:
            raise NotLetIn(f"DELETE {resource_type}: 200 with a page")
        if answer.status not in (200, 202, 204, 404, 410):
            raise error_for_status(
                answer.status, f"DELETE {resource_type}: {answer.status}", answer.retry_after
            )

    def local(self, url: str) -> str:
        """`Type/id` of a reference to this server, without its base and version; others as they came."""
        return url.removeprefix(f"{self.base_url}/").partition("/_history/")[0]

    def search(
        self, resource_type: str, parameters: Mapping[str, str], *, whole: bool = False
    ) -> list[Resource]:
        """Search by POST; the first page's matches. Parameters that the server does not know are refused.

        whole: ask for a page of WHOLE, and raise Rejected where that is not all there is.
        """
        if whole:
            parameters = {**parameters, "_count": str(WHOLE)}
        bundle = self.search_page(resource_type, parameters)
        if whole and any(link.get("relation") == "next" for link in objects(bundle, "link")):
            raise Rejected(f"POST {resource_type}/_search: more than one page")
        found = (part(entry, "resource") for entry in objects(bundle, "entry"))
        return [r for r in found if r.get("resourceType") == resource_type]

    def search_page(
        self, resource_type: str, parameters: Mapping[str, str] | Sequence[tuple[str, str]]
    ) -> Resource:
        """Search by POST; the first page as its Bundle, with what was included."""
        headers = {
            "Prefer": "handling=strict",
            # HAPI answers a repeated search from its cache, and so would not see what was just written.
            "Cache-Control": "no-cache",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return self._json(
            "POST",
            f"{self.base_url}/{resource_type}/_search",
            "Bundle",
            body=_form(parameters),
            headers=headers,
            label=f"{resource_type}/_search",
        )

    def next_page(self, bundle: Resource) -> Resource | None:
        """The page after this one; None where there is none. Raises NotProven where it is on another server.

        A server may put the parameters of the search into this address: never follow one that was asked with
        an identifier.
        """
        links = [link.get("url") for link in objects(bundle, "link") if link.get("relation") == "next"]
        if not links:
            return None
        path, _, query = links[0].partition("?") if isinstance(links[0], str) else ("", "", "")
        # HAPI puts the query right behind the base.
        url = path if path == self.base_url else _below(self.base_url, path, "next page")
        if not _QUERY.fullmatch(query):
            raise NotProven("GET next page: the url does not lead to this server")
        return self._json("GET", f"{url}?{query}" if query else url, "Bundle", label="next page")

    def transaction(self, body: bytes | Pieces) -> Resource:
        """POST a transaction Bundle, given as JSON in UTF-8; the response Bundle, entries unchecked."""
        headers = {"Prefer": "return=minimal", "Content-Type": FHIR_JSON}
        return self._json("POST", self.base_url, "Bundle", body=body, headers=headers)

    def store_binary(self, data: bytes | bytearray, content_type: str, context: str, id: str | None) -> str:
        """Store bytes as they are (R4 binary.html, 2.17.2); returns the reference, `Binary/id`.

        context: the reference of securityContext. id: PUT it under this id; None: POST, the server chooses.
        """
        method, url = (
            ("POST", f"{self.base_url}/Binary") if id is None else ("PUT", f"{self.base_url}/Binary/{id}")
        )
        headers = {
            "Accept": FHIR_JSON,
            "Content-Type": content_type,
            "Prefer": "return=minimal",
            "X-Security-Context": context,
        }
        answer = self._send(method, url, "Binary", headers=headers, body=data, limit=JSON_LIMIT)
        if answer.status not in (200, 201, 204):
            raise error_for_status(answer.status, f"{method} Binary: {answer.status}", answer.retry_after)
        if answer.content_type in _PAGES:
            raise NotLetIn(f"{method} Binary: {answer.status} with a page")
        if id is not None:
            return f"Binary/{id}"
        told = self.local(answer.location).removeprefix("Binary/") or (parse_json(answer.body) or {}).get(
            "id"
        )
        if not is_id(told):
            raise NotProven(f"{method} Binary: {answer.status} without an address")
        return f"Binary/{told}"

    def read_digest(self, url: str, content_type: str, limit: int) -> Digest:
        """Fetch what an attachment's url points at, at most `limit` bytes, and hash it while it arrives.

        `url` is relative to the base or absolute below it or `elsewhere`; anything else is NotProven, and
        nothing is sent there. A server that answers with a Binary resource as JSON is understood. A web page
        in place of the bytes is NotLetIn: nothing that is sent is one, so it says nothing about what is
        stored.
        """
        base = next((base for base in self._elsewhere if url.startswith(f"{base}/")), self.base_url)
        headers = {"Accept": content_type, "Cache-Control": "no-cache"}
        most: dict[str, Any] = {"limit": limit * 4 // 3 + CHUNK, "hashed": content_type}
        if base == self.base_url:
            answer = self._send("GET", _below(base, url), "Binary", headers=headers, **most)
        else:
            anonymous = self._anonymous
            answer = self._once("GET", _below(base, url), "Binary", headers=headers, http=anonymous, **most)
        if answer.status in (404, 410):
            raise NotThere(f"GET Binary: {answer.status}")
        if answer.status != 200:
            raise error_for_status(answer.status, f"GET Binary: {answer.status}", answer.retry_after)
        if answer.content_type in _PAGES:
            raise NotLetIn("GET Binary: 200 with a page")
        digest = answer.digest or _digest_of_other(answer)
        if digest.size > limit:
            raise NotProven("GET Binary: more bytes than were sent")
        return digest

    def _json(
        self,
        method: str,
        url: str,
        expected: str,
        *,
        body: bytes | Pieces | None = None,
        headers: Mapping[str, str] | None = None,
        label: str | None = None,
        may_lack: bool = False,
    ) -> Resource:
        """The resource of the expected type. `may_lack`: 404 is about this resource, not about the base."""
        name = f"{method} {label or expected}"
        answer = self._send(
            method,
            url,
            label or expected,
            body=body,
            headers={"Accept": FHIR_JSON, **(headers or {})},
            limit=JSON_LIMIT,
        )
        return self._resource(answer, name, expected, may_lack=may_lack)

    def _resource(self, answer: _Answer, name: str, expected: str, *, may_lack: bool) -> Resource:
        if answer.status == 404 and not may_lack:
            raise NotLetIn(f"{name}: 404, the base URL is not a FHIR server's")
        if answer.status not in (200, 201):
            raise error_for_status(answer.status, f"{name}: {answer.status}", answer.retry_after)
        resource = parse_json(answer.body)
        if resource is None or resource.get("resourceType") != expected:
            raise NotLetIn(f"{name}: {answer.status} without a FHIR {expected}")
        return resource

    def _send(
        self, method: str, url: str, label: str, *, headers: Mapping[str, str], **request: Any
    ) -> _Answer:
        """One attempt with our credentials; after a 401 in mid-session a second one, with a fresh token.

        Only what is safe to repeat is sent again: of anything else the outcome is unknown.
        """

        def once() -> _Answer:
            shown = {**headers, **self._auth.headers(self._exchange)}
            answer = self._once(method, url, label, headers=shown, **request)
            if tls.wants_certificate(answer.status, answer.content_type, answer.body):
                raise NotLetIn(
                    f"{method} {label}: 400 about our certificate", problem=Problem.CLIENT_CERTIFICATE
                )
            return answer

        answer = once()
        if answer.status != 401 or not self._auth.renew():
            return answer
        asks = method in ("GET", "PUT", "DELETE") or url.endswith("/_search")
        if not asks or not isinstance(request.get("body"), bytes | bytearray | None):
            raise Unreachable(f"{method} {label}: 401, the token was no longer accepted; not repeated")
        return once()

    def _exchange(
        self, method: str, url: str, label: str, headers: Mapping[str, str], body: bytes | None
    ) -> _Answer:
        """A request to the authorization server, without the record's credentials. See auth.Exchange."""
        try:
            _checked_base(url.partition("?")[0])
            return self._once(method, url, label, headers=headers, limit=TOKEN_LIMIT, body=body)
        except ConfigError:
            failure = NotLetIn(f"{method} {label}: its address is neither https nor on this machine")
        except NotProven as e:
            failure = NotLetIn(e.detail)
        raise failure

    def _once(
        self,
        method: str,
        url: str,
        label: str,
        *,
        headers: Mapping[str, str],
        limit: int,
        body: bytes | bytearray | Pieces | None = None,
        hashed: str | None = None,
        http: requests.Session | None = None,
    ) -> _Answer:
        """One attempt. Nothing of the request or of the underlying error gets into what is raised.

        hashed: the content type of a 200 whose body is hashed while it arrives, and not kept.
        """
        fresh = {"X-Request-Id": str(uuid4()), "Accept-Encoding": "identity", **headers}
        started = time.monotonic()
        # requests takes pieces of a known length and sends them one by one; its annotations know only bytes.
        payload: Any = body
        try:
            with (http or self._http).request(
                method,
                url,
                data=payload,
                headers=fresh,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                hashing = hashlib.sha256() if (response.status_code, content_type) == (200, hashed) else None
                content, length = bytearray(), 0
                # read1 gives what has arrived; iter_content would wait for a whole chunk of a slow answer.
                while chunk := response.raw.read1(CHUNK, decode_content=True):
                    length += len(chunk)
                    if hashing is None:
                        content += chunk
                    else:
                        hashing.update(chunk)
                    if length > limit:
                        failure: DeliveryError = NotProven(f"{method} {label}: answer too long")
                        break
                    if time.monotonic() - started > self._deadline:
                        failure = Unreachable(f"{method} {label}: answer took too long")
                        break
                else:
                    return _Answer(
                        response.status_code,
                        content_type,
                        content,
                        parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC)),
                        response.headers.get("Date"),
                        None if hashing is None else Digest(length, hashing.hexdigest()),
                        response.headers.get("Location", ""),
                        response.headers.get("ETag"),
                    )
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
            failure = Unreachable(f"{method} {label}: timed out")
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as e:
            failure = tls.failure(e, f"{method} {label}") or Unreachable(f"{method} {label}: no answer")
        # Raised out here: the library's error quotes the url, and must not be chained.
        raise failure


def _session(ca_file: str | None, certificate: tls.ClientCertificate | None) -> requests.Session:
    session = requests.Session()
    # Neither proxies nor .netrc nor CA bundles of the environment: only what the configuration says.
    session.trust_env = False
    session.verify = ca_file or True
    session.mount("https://", _TlsAdapter(tls.context(ca_file, certificate)))
    session.mount("http://", HTTPAdapter(max_retries=0))
    return session


def _below(base: str, url: str, what: str = "Binary") -> str:
    relative = url.removeprefix(f"{base}/")
    path = relative.partition("?")[0].lower()
    if (
        not _RELATIVE.fullmatch(relative)
        or relative.startswith("/")
        or ".." in path
        or "%2e" in path
        or "%2f" in path
    ):
        raise NotProven(f"GET {what}: the url does not lead to this server")
    return f"{base}/{relative}"


def _checked_base(base_url: str) -> str:
    allowed = "allowed: https://host/path, or http:// to this machine only, without user or query"
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError((f"FHIR base URL: not a URL; {allowed}",)) from None
    whole = host and not (parts.username or parts.password or parts.query or parts.fragment)
    if not whole or not (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        raise ConfigError((f"FHIR base URL: {allowed}",))
    return base_url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digest_of_other(answer: _Answer) -> Digest:
    """The digest where a server sent a Binary resource as JSON, or something else than was asked for."""
    if "json" not in answer.content_type:
        return Digest.of(answer.body)
    resource = parse_json(answer.body)
    # Freed before the next copy is made: a photograph is in here three times otherwise.
    answer.body.clear()
    return Digest.of(binary_data(resource))


def _form(parameters: Mapping[str, str] | Sequence[tuple[str, str]]) -> bytes:
    return urlencode(parameters).encode()
