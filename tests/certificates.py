"""Certificates made in the test that needs them: an authority, and what it has issued."""

from __future__ import annotations

import ipaddress
import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_numbers = itertools.count(1)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Files:
    """PEM files of one certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority of its own; `file` is its certificate in PEM."""

    def __init__(self, directory: Path, name: str = "Test CA") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        self._cert = (
            x509.CertificateBuilder(
                self._name, self._name, self._key.public_key(), x509.random_serial_number()
            )
            .not_valid_before(now - 400 * _DAY)
            .not_valid_after(now + 400 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = directory / f"ca-{next(_numbers)}.pem"
        self.file.write_bytes(self._cert.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str = "127.0.0.1", *, first: int = -1, last: int = 30, own: bool = False) -> Files:
        """A certificate for a host name or address. first, last: days from now; own: signed by itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        try:
            san: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            san = x509.DNSName(name)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert = (
            x509.CertificateBuilder(
                subject if own else self._name, subject, key.public_key(), x509.random_serial_number()
            )
            .not_valid_before(now + first * _DAY)
            .not_valid_after(now + last * _DAY)
            .add_extension(x509.SubjectAlternativeName([san]), critical=False)
            .sign(key if own else self._key, hashes.SHA256())
        )
        number = next(_numbers)
        files = Files(self._directory / f"cert-{number}.pem", self._directory / f"key-{number}.pem")
        files.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        files.key.write_bytes(pem(key))
        files.key.chmod(0o600)
        return files


def pem(key: ec.EllipticCurvePrivateKey | object, password: bytes | None = None) -> bytes:
    """A private key as PKCS #8 in PEM."""
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
