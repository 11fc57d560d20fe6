"""HTTP to one FHIR R4 server: one request is one attempt, and every answer becomes a value or a typed error.

Nothing is retried in here and no redirect is followed. Identifiers travel in POST bodies, so that they do
not land in access logs. The texts of errors hold method, resource type and status, nothing else.
Source: FHIR R4 http.html (search by POST, Prefer, transaction, delete).
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth

from kiosk.errors import ConfigError, DeliveryError, NotLetIn, NotProven, Rejected, Unreachable
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

FHIR_JSON = "application/fhir+json"
JSON_LIMIT = 16 * 1024 * 1024
CHUNK = 64 * 1024

_PAGES = ("text/html", "application/xhtml+xml")
_QUERY = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/?%|]{0,4096}")
_RELATIVE = re.compile(r"[A-Za-z0-9\-._~/$?=&%+]{1,512}")


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """HTTP Basic credentials; `password` is the content of its file, without the line end."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content_type: str
    body: bytearray
    retry_after: float | None


class FhirClient:
    """One server. Use it as a context manager, or call `close`.

    base_url: https://..., or http:// to a loopback address only (else ConfigError).
    timeout: seconds to connect and between two reads; `deadline`: seconds for one whole answer.
    ca_file: PEM file of the certificate authorities to trust; None: the list of the certifi package.
    Raises errors.DeliveryError subclasses from every request; NotLetIn where it was not this FHIR server that
    answered, or not as one: 401, 403, a redirect, a sign-in page, 404 at an address that every one has.
    """

    def __init__(
        self,
        base_url: str,
        *,
        auth: BasicAuth | None = None,
        timeout: tuple[float, float] = (5.0, 30.0),
        deadline: float = 300.0,
        ca_file: str | None = None,
    ) -> None:
        self.base_url = _checked_base(base_url)
        self._timeout = timeout
        self._deadline = deadline
        self._http = requests.Session()
        # Neither proxies nor .netrc nor CA bundles of the environment: only what the configuration says.
        self._http.trust_env = False
        self._http.verify = ca_file or True
        self._http.auth = HTTPBasicAuth(auth.user.encode(), auth.password.encode()) if auth else None
        adapter = HTTPAdapter(max_retries=0)
        self._http.mount("https://", adapter)
        self._http.mount("http://", adapter)

    def __enter__(self) -> FhirClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def capabilities(self) -> Resource:
        """The CapabilityStatement (GET metadata)."""
        return self._json("GET", f"{self.base_url}/metadata", "CapabilityStatement")

    def read(self, resource_type: str, id: str) -> Resource:
        """Read one resource by its logical id. Raises Rejected when it is not there."""
        if not is_id(id):
            raise Rejected(f"GET {resource_type}: not an id")
        return self._json("GET", f"{self.base_url}/{resource_type}/{id}", resource_type, may_lack=True)

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

    def search(self, resource_type: str, parameters: Mapping[str, str]) -> list[Resource]:
        """Search by POST; the first page's matches. Parameters that the server does not know are refused."""
        found = (part(e, "resource") for e in objects(self.search_page(resource_type, parameters), "entry"))
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
        url = path if path == self.base_url else self._below_base(path, "next page")
        if not _QUERY.fullmatch(query):
            raise NotProven("GET next page: the url does not lead to this server")
        return self._json("GET", f"{url}?{query}" if query else url, "Bundle", label="next page")

    def transaction(self, body: bytes | bytearray) -> Resource:
        """POST a transaction Bundle, given as JSON in UTF-8; the response Bundle, entries unchecked."""
        headers = {"Prefer": "return=minimal", "Content-Type": FHIR_JSON}
        return self._json("POST", self.base_url, "Bundle", body=body, headers=headers)

    def read_bytes(self, url: str, content_type: str, limit: int) -> bytearray:
        """Fetch what an attachment's url points at, at most `limit` bytes.

        `url` is relative to the base or absolute below it; anything else is NotProven, and nothing is sent
        there. A server that answers with a Binary resource as JSON is understood. A web page in place of the
        bytes is NotLetIn: nothing that is sent is one, so it says nothing about what is stored.
        """
        answer = self._send(
            "GET",
            self._below_base(url),
            "Binary",
            headers={"Accept": content_type, "Cache-Control": "no-cache"},
            limit=limit * 4 // 3 + CHUNK,
        )
        if answer.status in (404, 410):
            raise NotProven(f"GET Binary: {answer.status}")
        if answer.status != 200:
            raise error_for_status(answer.status, f"GET Binary: {answer.status}", answer.retry_after)
        if answer.content_type in _PAGES:
            raise NotLetIn("GET Binary: 200 with a page")
        data = answer.body
        if "json" in answer.content_type and content_type != answer.content_type:
            data = binary_data(parse_json(answer.body))
        if len(data) > limit:
            raise NotProven("GET Binary: more bytes than were sent")
        return data

    def _below_base(self, url: str, what: str = "Binary") -> str:
        relative = url[len(self.base_url) + 1 :] if url.startswith(f"{self.base_url}/") else url
        lowered = relative.lower()
        if (
            not _RELATIVE.fullmatch(relative)
            or relative.startswith("/")
            or ".." in relative
            or "%2e" in lowered
            or "%2f" in lowered
        ):
            raise NotProven(f"GET {what}: the url does not lead to this server")
        return f"{self.base_url}/{relative}"

    def _json(
        self,
        method: str,
        url: str,
        expected: str,
        *,
        body: bytes | bytearray | None = None,
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
        if answer.status == 404 and not may_lack:
            raise NotLetIn(f"{name}: 404, the base URL is not a FHIR server's")
        if answer.status not in (200, 201):
            raise error_for_status(answer.status, f"{name}: {answer.status}", answer.retry_after)
        resource = parse_json(answer.body)
        if resource is None or resource.get("resourceType") != expected:
            raise NotLetIn(f"{name}: {answer.status} without a FHIR {expected}")
        return resource

    def _send(
        self,
        method: str,
        url: str,
        label: str,
        *,
        headers: Mapping[str, str],
        limit: int,
        body: bytes | bytearray | None = None,
    ) -> _Answer:
        """One attempt. Nothing of the request or of the underlying error gets into what is raised."""
        fresh = {"X-Request-Id": str(uuid4()), "Accept-Encoding": "identity", **headers}
        started = time.monotonic()
        # requests takes any buffer and passes it on uncopied; its annotations know only bytes.
        payload: Any = body
        try:
            with self._http.request(
                method,
                url,
                data=payload,
                headers=fresh,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                content = bytearray()
                # read1 gives what has arrived; iter_content would wait for a whole chunk of a slow answer.
                while chunk := response.raw.read1(CHUNK, decode_content=True):
                    content += chunk
                    if len(content) > limit:
                        failure: DeliveryError = NotProven(f"{method} {label}: answer too long")
                        break
                    if time.monotonic() - started > self._deadline:
                        failure = Unreachable(f"{method} {label}: answer took too long")
                        break
                else:
                    return _Answer(
                        response.status_code,
                        response.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
                        content,
                        parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC)),
                    )
        except requests.exceptions.SSLError:
            failure = Unreachable(f"{method} {label}: certificate not trusted or TLS failed")
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
            failure = Unreachable(f"{method} {label}: timed out")
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError):
            failure = Unreachable(f"{method} {label}: no answer")
        # Raised out here: the library's error quotes the url, and must not be chained.
        raise failure


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


def _form(parameters: Mapping[str, str] | Sequence[tuple[str, str]]) -> bytes:
    return urlencode(parameters).encode()
