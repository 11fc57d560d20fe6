"""The client of the record server, from [fhir]: which credentials, from which files, over which TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kiosk import secret_files
from kiosk.config import Fhir
from kiosk.errors import ConfigError

if TYPE_CHECKING:
    from kiosk.fhir.assertion import SigningKey
    from kiosk.fhir.auth import Auth
    from kiosk.fhir.client import FhirClient


def open_client(fhir: Fhir, *, most_s: float | None = None) -> FhirClient:
    """A client that signs on as [fhir] says. Raises ConfigError for files that cannot be used.

    most_s: seconds for one answer, where somebody waits who can also do without.
    """
    from kiosk.fhir.client import DEADLINE_S, FhirClient
    from kiosk.fhir.tls import ClientCertificate

    certificate = None
    if fhir.client_cert_file and fhir.client_key_file:
        # By its path: the key is copied nowhere.
        key = secret_files.checked_path(fhir.client_key_file, "client_key_file")
        certificate = ClientCertificate(fhir.client_cert_file, str(key))
    timeout = (fhir.connect_s, fhir.read_s)
    if most_s is not None:
        timeout = (min(timeout[0], most_s), min(timeout[1], most_s))
    return FhirClient(
        fhir.url,
        auth=_auth(fhir),
        timeout=timeout,
        deadline=DEADLINE_S if most_s is None else most_s,
        ca_file=fhir.ca_file,
        client_certificate=certificate,
        elsewhere=fhir.attachment_urls or (),
    )


def signing_key(fhir: Fhir) -> SigningKey:
    """The key of auth = "smart". Raises ConfigError where there is none, or not one to sign with."""
    from kiosk.fhir.assertion import SigningKey

    if fhir.key_file is None:
        raise ConfigError(('[fhir] key_file is not set; allowed: auth = "smart" with a key_file',))
    source = str(secret_files.locate(fhir.key_file, "key_file"))
    return SigningKey(secret_files.read(fhir.key_file, "key_file"), source, fhir.key_id)


def check_secrets(fhir: Fhir) -> None:
    """Raise ConfigError for every secret file that cannot be used; none of them is read."""
    complaints: list[str] = []
    for key, name in fhir.secrets.items():
        try:
            secret_files.checked_path(name, key)
        except ConfigError as e:
            complaints += e.complaints
    if complaints:
        raise ConfigError(tuple(complaints))


def secrets_here(fhir: Fhir) -> tuple[str, ...]:
    """Complaints about the secret files that are on this machine, whoever asks."""
    found = (secret_files.complaint(name, key) for key, name in fhir.secrets.items())
    return tuple(text for text in found if text)


def _auth(fhir: Fhir) -> Auth | None:
    from kiosk.fhir.auth import AssertionProof, BasicAuth, CertificateProof, Proof, SecretProof, TokenAuth

    if fhir.auth == "basic" and fhir.user and fhir.password_file:
        return BasicAuth(fhir.user, secret_files.read_text(fhir.password_file, "password_file"))
    proof: Proof
    if fhir.client_id is None:
        return None
    if fhir.auth == "client-secret" and fhir.client_secret_file:
        secret = secret_files.read_text(fhir.client_secret_file, "client_secret_file")
        proof = SecretProof(fhir.client_id, secret, in_form=fhir.client_secret_method == "post")  # noqa: S105 - no secret
    elif fhir.auth == "smart":
        proof = AssertionProof(fhir.client_id, signing_key(fhir))
    else:
        proof = CertificateProof(fhir.client_id)
    return TokenAuth(proof, base_url=fhir.url, token_url=fhir.token_url, scopes=fhir.scopes)
