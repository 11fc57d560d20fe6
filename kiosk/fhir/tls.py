"""TLS to the record server: at least 1.2, always verified, and its failures in plain words.

Nothing of the environment counts (SSL_CERT_FILE, SSLKEYLOGFILE), and nothing turns verification off.
Sources: RFC 8446, 6.2 (alerts); OpenSSL's x509_vfy.h (verification codes); Python's ssl module.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from urllib3 import HTTPSConnectionPool
from urllib3.connection import HTTPSConnection

from kiosk.errors import ConfigError, NotLetIn, Problem

_UNKNOWN_ISSUER = "comes from an issuer that is not trusted here: put the hospital's CA into [fhir] ca_file"
_VERIFY = {
    9: "is not valid yet",
    10: "has expired",
    18: "is self-signed: put it, or better the hospital's CA, into [fhir] ca_file",
    19: _UNKNOWN_ISSUER,
    20: _UNKNOWN_ISSUER,
    21: _UNKNOWN_ISSUER,
    62: "is for another name than the one in [fhir] url or token_url",
    64: "is for another address than the one in [fhir] url or token_url",
}
_TIME = frozenset({9, 10})

_ALERTS = {
    "CERTIFICATE_REQUIRED": "the server asks for a client certificate: set [fhir] client_cert_file",
    "BAD_CERTIFICATE": "the server does not accept our client certificate",
    "UNKNOWN_CA": "the server does not know the issuer of our client certificate",
    "CERTIFICATE_UNKNOWN": "the server does not accept our client certificate",
    "CERTIFICATE_EXPIRED": "the server says that our client certificate has expired",
    "CERTIFICATE_REVOKED": "the server says that our client certificate is revoked",
    "UNSUPPORTED_CERTIFICATE": "the server does not take this kind of client certificate",
    "ACCESS_DENIED": "the server does not accept our client certificate",
}
_OTHER = {
    "PROTOCOL_VERSION": "the server speaks no TLS that is new enough: it must offer 1.2 or 1.3",
    "UNSUPPORTED_PROTOCOL": "the server speaks no TLS that is new enough: it must offer 1.2 or 1.3",
    "WRONG_VERSION_NUMBER": "the server does not speak TLS on this port",
    "HTTP_REQUEST": "the server does not speak TLS on this port",
    "HANDSHAKE_FAILURE": "the server broke off: no client certificate that it takes, or no cipher in common",
}


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """Our side of mutual TLS: PEM files of the certificate (with its chain) and of its key."""

    cert_file: str
    key_file: str


class Connection(HTTPSConnection):
    """Tells why a server closed while we were still sending: in TLS 1.3 it judges us after the handshake."""

    def send(self, data: Any) -> None:
        """As HTTPSConnection.send; raises the server's alert where there is one to be read."""
        try:
            super().send(data)
        except ssl.SSLEOFError:
            if self.sock is not None:
                self.sock.recv(1)
            raise


class Pool(HTTPSConnectionPool):
    """A pool of such connections."""

    ConnectionCls = Connection


def context(ca_file: str | None = None, client: ClientCertificate | None = None) -> ssl.SSLContext:
    """A context that verifies, TLS 1.2 or newer. ca_file: PEM of the only authorities to trust.

    Without ca_file it trusts nobody yet: the HTTP library brings its list.
    Raises ConfigError that names the file and what is allowed.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    complaint = None
    try:
        if ca_file is not None:
            made.load_verify_locations(cafile=ca_file)
    except (OSError, ValueError):
        complaint = (
            f"{ca_file}: [fhir] ca_file cannot be used; allowed: a readable file of certificates (PEM)"
        )
    try:
        if client is not None:
            # An empty password: OpenSSL would otherwise ask for one on the terminal.
            made.load_cert_chain(client.cert_file, client.key_file, password="")
    except (OSError, ValueError) as e:
        mismatch = isinstance(e, ssl.SSLError) and e.reason == "KEY_VALUES_MISMATCH"
        what = "do not belong together" if mismatch else "cannot be used"
        complaint = (
            f"{client.cert_file}, {client.key_file}: [fhir] client_cert_file and client_key_file {what}; "  # type: ignore[union-attr]
            "allowed: a certificate (PEM) and its key (PEM, without a passphrase)"
        )
    if complaint:
        raise ConfigError((complaint,))
    return made


def failure(error: BaseException, name: str) -> NotLetIn | None:
    """The error that names what is wrong with a certificate or with TLS; None where that is not it.

    error: what the HTTP library raised. name: the request, for the detail. All of these happen before the
    server has taken a request, so none was carried out.
    """
    for found in _inside(error):
        if isinstance(found, ssl.SSLCertVerificationError):
            return NotLetIn(f"{name}: {_verification(found)}", problem=Problem.CERTIFICATE)
        if isinstance(found, ssl.SSLError) and found.reason:
            for alert, text in _ALERTS.items():
                if found.reason.endswith(f"ALERT_{alert}"):
                    return NotLetIn(f"{name}: {text}", problem=Problem.CLIENT_CERTIFICATE)
            for reason, text in _OTHER.items():
                if found.reason.endswith(reason):
                    return NotLetIn(f"{name}: {text}")
    return None


def wants_certificate(status: int, content_type: str, body: bytes | bytearray) -> bool:
    """Whether this is nginx's page about a missing or wrong client certificate: it says 400, not 401."""
    return status == 400 and content_type == "text/html" and b"SSL certificate" in body


def _verification(error: ssl.SSLCertVerificationError) -> str:
    code = error.verify_code
    text = _VERIFY.get(code) or f"is refused: {error.verify_message}"
    if code in _TIME:
        text += f", by this kiosk's clock ({datetime.now(UTC):%Y-%m-%d %H:%M} UTC): check both"
    return f"the server's certificate {text}"


def _inside(error: BaseException) -> list[BaseException]:
    """The error and those that it wraps: requests and urllib3 keep them in args, reason and the chain."""
    found: list[BaseException] = []
    todo: list[object] = [error]
    while todo:
        one = todo.pop(0)
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            todo += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
    return found
