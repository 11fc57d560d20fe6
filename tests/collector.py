"""A real syslog collector: rsyslogd with its gnutls driver, on loopback, and certificates for it."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DEADLINE = 30.0


class Authority:
    """A certificate authority of the test, and the files it writes."""

    def __init__(self, directory: Path, name: str = "Test CA") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _subject(name)
        self.file = directory / f"{name.replace(' ', '-')}.pem"
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        made = _builder(self._name, self._name, self._key.public_key()).add_extension(usage, critical=True)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        key_id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        made = made.add_extension(key_id, critical=False)
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def certify(self, name: str, alternative: str | None = None) -> tuple[Path, Path]:
        """A certificate and its key, for a host name or address."""
        key = ec.generate_private_key(ec.SECP256R1())
        host = alternative or name
        try:
            san: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            san = x509.DNSName(host)
        made = _builder(_subject(name), self._name, key.public_key())
        made = made.add_extension(x509.SubjectAlternativeName([san]), critical=False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = made.add_extension(authority, critical=False)
        certificate, private = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        certificate.write_bytes(
            made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, private


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


class Collector:
    """rsyslogd on a free loopback port; stays on that port when it is stopped and started again."""

    def __init__(
        self,
        directory: Path,
        authority: Authority,
        certificate: tuple[Path, Path],
        peer: str | None = None,
        *,
        templates: str = "",
        rule: str = "",
    ) -> None:
        """`templates` and `rule`: more of rsyslog's configuration, outside and inside the ruleset."""
        self._directory = directory
        found = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin")
        assert found, "rsyslogd is missing: scripts/setup.sh tests installs it"
        # A copy: where AppArmor confines the system's rsyslogd by its path, it may not read our directory.
        self._program = shutil.copy(found, directory / "rsyslogd")
        self.messages = directory / "messages"
        self.raw = directory / "raw"
        self._port_file = directory / "port"
        self.port = 0
        self._files = (authority.file, *certificate)
        self._peer = peer
        self._more = (templates, rule)
        self._process: subprocess.Popen[bytes] | None = None

    def _configuration(self) -> str:
        ca, certificate, key = self._files
        mode = "anon" if self._peer is None else "x509/name"
        peer = "" if self._peer is None else f'permittedPeer="{self._peer}"'
        data = "%structured-data%"
        templates, rule = self._more
        return f"""
global(workDirectory="{self._directory}" defaultNetstreamDriver="gtls"
       defaultNetstreamDriverCAFile="{ca}" defaultNetstreamDriverCertFile="{certificate}"
       defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="{mode}" {peer})
template(name="entry" type="string" string="%msg%\\n")
template(name="header" type="string"
         string="%pri% %timestamp:::date-rfc3339% %hostname% %app-name% %procid% %msgid% {data}\\n")
{templates}
ruleset(name="in") {{
    {rule}
    action(type="omfile" file="{self.messages}" template="entry")
    action(type="omfile" file="{self.raw}" template="header")
}}
input(type="imtcp" address="127.0.0.1" port="{self.port}" listenPortFileName="{self._port_file}" ruleset="in")
"""

    def start(self) -> Self:
        # Killed, it leaves its process id behind, which may be somebody else's by now.
        (self._directory / "pid").unlink(missing_ok=True)
        configuration = self._directory / "rsyslog.conf"
        configuration.write_text(self._configuration())
        log = (self._directory / "rsyslogd.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self._program, "-n", "-f", configuration, "-i", self._directory / "pid"],
                stdout=log,
                stderr=log,
            )
        if not self.port:
            # Written for a port of its own choice only.
            until(lambda: self._port_file.exists() and self._port_file.read_text().strip() != "")
            self.port = int(self._port_file.read_text())
        until(self._listens)
        return self

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End it, as a restart or a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE)
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def lines(self) -> list[bytes]:
        """What arrived."""
        return self.messages.read_bytes().splitlines() if self.messages.exists() else []


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)
