"""Every fault that we know of a server and the way to it, while a real server stands behind.

For each: the sentence on the screen, what is on the server at the end, what is left here, and memory.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kiosk import errors
from kiosk.demo.patients import demo_patients
from kiosk.demo.station import Options
from kiosk.demo.supervisor import Demo
from kiosk.destinations.fhir import FhirDestination
from kiosk.errors import Problem
from kiosk.fhir.client import FhirClient
from tests.contract.test_destination import FILING, Album, make_session, marked, marker_patient, nothing
from tests.flow.story import PHOTO, PROOF, SEND, SMALL, TO_PREVIEW, events, play
from tests.peers.fault_proxy import Fault, FaultProxy, Kind
from tests.peers.real_server import RealFhirServer, Repository

WHOLE = {"Consent": 3, "DocumentReference": 2, "Binary": 1, "Provenance": 1}
NOTHING = dict.fromkeys(WHOLE, 0)
CLAIM = "The record gave back exactly what was sent."
TRANSACTION, BINARY, SEARCH = r"^POST \S+/fhir/R4$", r"^(GET|PUT|POST) \S+/Binary", r"_search$"

RETRIES = {"first_retry_s": 4.0, "max_retry_s": 4.0, "probe_s": 0.5}
"""Long enough for a sentence to be read between two attempts on a busy machine."""

# --- the whole kiosk ---------------------------------------------------------------------------------


@dataclass
class Kiosk:
    demo: Demo
    proxy: FaultProxy
    server: Repository

    def counts(self) -> dict[str, int]:
        return {kind: self.server.count(kind) for kind in WHOLE}

    def under_way(self) -> bool:
        """Whether a committed session is still to be delivered."""
        spool = self.demo.directory / "spool"
        return any(any((spool / name).iterdir()) for name in ("ready", "sending"))

    def sealed(self) -> set[Path]:
        """The files of every session that is still here."""
        return {path for path in (self.demo.directory / "spool").rglob("*") if path.is_file()}


@pytest.fixture
def kiosk(shared_kiosk: Kiosk) -> Iterator[Kiosk]:
    demo = shared_kiosk.demo
    for event in ("receipt", "parked", "delivery-put-off"):
        while demo.wait_for(event, 0):
            continue
    yield shared_kiosk
    if demo.state() != "LOCKED":
        # A story that failed must not take the next ones along: what it sent arrives, or stays, first.
        demo.kill("ui")
        deadline = time.monotonic() + 30
        while shared_kiosk.under_way() and time.monotonic() < deadline:
            time.sleep(0.1)


@pytest.fixture(scope="module")
def shared_kiosk(real_fhir: RealFhirServer) -> Iterator[Kiosk]:
    """One kiosk for all stories: each of them is a session of its own."""
    with FaultProxy(real_fhir.port) as proxy:
        origin = f"http://127.0.0.1:{proxy.port}"
        server = real_fhir.repository(demo_patients(), origin=origin)
        options = Options(still=SMALL, delivery=RETRIES)
        with Demo(options=options, fhir=origin + server.path) as demo:
            yield Kiosk(demo, proxy, server)


PASSES = {
    "latency": ([Fault(Kind.LATENCY, 0.7)], None),
    "cut before the request": ([Fault(Kind.CUT_BEFORE, on=TRANSACTION)], Problem.UNREACHABLE),
    "cut in the request": ([Fault(Kind.CUT_IN_REQUEST, on=TRANSACTION)], Problem.UNREACHABLE),
    "cut after the request": ([Fault(Kind.CUT_AFTER_REQUEST, on=TRANSACTION)], Problem.UNREACHABLE),
    "cut after the commit": ([Fault(Kind.CUT_AFTER_COMMIT, on=TRANSACTION)], Problem.UNREACHABLE),
    "half an answer": ([Fault(Kind.HALF_AN_ANSWER, on=TRANSACTION)], Problem.UNREACHABLE),
    "half a photograph": ([Fault(Kind.HALF_AN_ANSWER, on=BINARY)], Problem.UNREACHABLE),
    "401 in the middle": ([Fault(Kind.STATUS, 401, on=BINARY)], Problem.NOT_LET_IN),
    "429": (
        [Fault(Kind.STATUS, 429, on=TRANSACTION, headers={"Retry-After": "1"})],
        Problem.SERVER_BUSY,
    ),
    "a storm of 5xx": (
        [
            *(Fault(Kind.STATUS, status, on=TRANSACTION, times=1) for status in (500, 502, 504)),
            Fault(Kind.STATUS, 503, on=TRANSACTION),
        ],
        Problem.SERVER_BUSY,
    ),
    "a page to sign in": ([Fault(Kind.LOGIN_PAGE, on=TRANSACTION)], Problem.NOT_LET_IN),
    "a page in place of the photograph": ([Fault(Kind.LOGIN_PAGE, on=BINARY)], Problem.NOT_LET_IN),
}
"""What passes -> the faults, and what the screen says meanwhile."""


@pytest.mark.parametrize("name", PASSES)
def test_it_passes_and_everything_is_there_once(kiosk: Kiosk, name: str) -> None:
    faults, problem = PASSES[name]
    before, sealed = kiosk.counts(), kiosk.sealed()
    play(kiosk.demo, TO_PREVIEW, PHOTO)
    kiosk.proxy.add(*(Fault(f.kind, f.amount, f.on, f.times, f.headers) for f in faults))
    try:
        play(kiosk.demo, SEND)
        if problem is not None:
            play(kiosk.demo, "wait delivery-put-off 60", f'expect "{problem.sentence}"', f'absent "{CLAIM}"')
            assert kiosk.sealed() - sealed, "still here, sealed"
    finally:
        kiosk.proxy.calm()
    play(kiosk.demo, PROOF)
    assert {kind: n - before[kind] for kind, n in kiosk.counts().items()} == WHOLE
    assert kiosk.sealed() == sealed, "forgotten when proven"


PARKS = {
    "413": ([Fault(Kind.STATUS, 413, on=TRANSACTION)], Problem.REJECTED, NOTHING),
    "wrong bytes": ([Fault(Kind.WRONG_BYTES, on=BINARY)], Problem.NOT_PROVEN, WHOLE),
    "urn:uuid stays": ([Fault(Kind.DANGLING_URL, on=TRANSACTION)], Problem.NOT_PROVEN, WHOLE),
    "an endless answer": ([Fault(Kind.ENDLESS_ANSWER, on=SEARCH)], Problem.NOT_PROVEN, NOTHING),
}
"""What does not pass by itself -> the faults, what the screen says, and what is on the server."""


@pytest.mark.parametrize("name", PARKS)
def test_it_stays_here_and_says_so(kiosk: Kiosk, name: str) -> None:
    faults, problem, there = PARKS[name]
    before, sealed = kiosk.counts(), kiosk.sealed()
    parked, receipts = len(events(kiosk.demo, "parked")), len(events(kiosk.demo, "receipt"))
    play(kiosk.demo, TO_PREVIEW, PHOTO)
    kiosk.proxy.add(*(Fault(f.kind, f.amount, f.on, f.times, f.headers) for f in faults))
    try:
        play(kiosk.demo, SEND, "wait parked 60", f'expect "{problem.sentence}"', f'absent "{CLAIM}"')
    finally:
        kiosk.proxy.calm()
    play(kiosk.demo, 'tap "Done"', "wait LOCKED")
    assert [e["problem"] for e in events(kiosk.demo, "parked")[parked:]] == [problem.code]
    assert len(events(kiosk.demo, "receipt")) == receipts
    assert {kind: n - before[kind] for kind, n in kiosk.counts().items()} == there
    assert len(kiosk.sealed() - sealed) >= 2, "the photograph and the manifest are kept, sealed"


# --- memory ------------------------------------------------------------------------------------------

DELIVER = """
import json, sys
from kiosk import errors
from kiosk.destinations.fhir import FhirDestination
from kiosk.fhir.client import FhirClient
from tests.contract.test_destination import FILING, Album, make_session, marked, nothing
def high():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) // 1024
album = Album()
session = make_session(marked(1), (album.add(1),))
with FhirClient(sys.argv[1], timeout=(2.0, 10.0)) as client:
    destination = FhirDestination(client, FILING)
    destination.deliver(make_session(marked(1), (album.add(1),)), album.open, nothing)
    before = high()
    sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
    try:
        destination.deliver(session, album.open, nothing)
        error = "none"
    except errors.DeliveryError as e:
        error = type(e).__name__
    print(json.dumps({"error": error, "mib": high() - before}))
"""


@pytest.mark.parametrize("on", [SEARCH, TRANSACTION, BINARY], ids=["search", "transaction", "photograph"])
def test_three_gigabytes_are_not_taken(real_fhir: RealFhirServer, on: str) -> None:
    with FaultProxy(real_fhir.port) as proxy:
        server = real_fhir.repository([marker_patient(marked(1))])
        base = f"http://127.0.0.1:{proxy.port}{server.path}"
        with subprocess.Popen(
            [sys.executable, "-c", DELIVER, base], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as run:
            assert run.stdin is not None
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n"
            proxy.add(Fault(Kind.ENDLESS_ANSWER, on=on))
            out, _ = run.communicate("go\n", timeout=120)
        told = json.loads(out)
        assert told["error"] == "NotProven"
        assert told["mib"] < 64, "MiB more than a delivery needs anyway"
        assert 0 < proxy.sent < 64 * 1024 * 1024
        server.forget()


# --- TLS ---------------------------------------------------------------------------------------------

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def authority(text: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        _builder(text, text, key.public_key(), -365, 365)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(key, builder.sign(key, hashes.SHA256()))


def _builder(
    subject: str, issuer: str, key: ec.EllipticCurvePublicKey, start: int, end: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + start * DAY)
        .not_valid_after(NOW + end * DAY)
    )


def context(directory: Path, by: Authority, names: list[x509.GeneralName], end: int) -> ssl.SSLContext:
    """A server's context with a fresh certificate for these names that ends in `end` days."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = by.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    certificate = (
        _builder("record server", str(issuer), key.public_key(), -30, end)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False
        )
        .sign(by.key, hashes.SHA256())
    )
    pem = directory / "server.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pem)
    return made


LOOPBACK: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
ELSEWHERE: list[x509.GeneralName] = [x509.DNSName("fhir.hospital.example")]


@pytest.mark.parametrize(
    ("ours", "names", "end", "accepted"),
    [
        (True, LOOPBACK, 30, True),
        (True, LOOPBACK, -1, False),
        (True, ELSEWHERE, 30, False),
        (False, LOOPBACK, 30, False),
    ],
    ids=["good", "expired", "wrong name", "unknown authority"],
)
def test_certificates(
    real_fhir: RealFhirServer,
    tmp_path: Path,
    ours: bool,
    names: list[x509.GeneralName],
    end: int,
    accepted: bool,
) -> None:
    trusted = authority("Hospital CA")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(trusted.certificate.public_bytes(serialization.Encoding.PEM))
    tls = context(tmp_path, trusted if ours else authority("Somebody else's CA"), names, end)
    server = real_fhir.repository([marker_patient(marked(1))])
    album = Album()
    session = make_session(marked(1), (album.add(1),))
    with (
        FaultProxy(real_fhir.port, tls) as proxy,
        FhirClient(f"https://127.0.0.1:{proxy.port}{server.path}", ca_file=str(ca)) as client,
    ):
        destination = FhirDestination(client, FILING)
        if accepted:
            assert destination.deliver(session, album.open, nothing).photos == 1
        else:
            with pytest.raises(errors.NotLetIn, match="certificate") as raised:
                destination.deliver(session, album.open, nothing)
            assert raised.value.problem is Problem.CERTIFICATE
            assert raised.value.retryable
            assert proxy.requests == [], "nothing was said to a stranger"
    counts = {kind: server.count(kind) for kind in WHOLE}
    assert counts == (WHOLE if accepted else NOTHING)
