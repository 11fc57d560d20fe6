"""The signed assertion by which a kiosk proves who it is to an authorization server, and its public key.

Source: SMART App Launch 2.2, "Client Authentication: Asymmetric"; RFC 7523 (JWT bearer), RFC 7638
(thumbprint), RFC 7517 (JWKS).
"""

from __future__ import annotations

import warnings
from typing import Any
from uuid import uuid4

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from kiosk.errors import ConfigError

LIFETIME = 240
"""Seconds. Five minutes are the most: a minute is left for a clock of ours that is ahead."""
ALGORITHMS = ("ES384", "RS384")

_RSA_BITS = 2048
_PEM_ALLOWED = (
    "allowed: a private key in PEM without a passphrase, EC on P-384 (signs ES384) "
    "or RSA of at least 2048 bits (signs RS384)"
)


class SigningKey:
    """One kiosk's private key. pem: its file's content; source: the file's name, for complaints.

    key_id: the `kid` under which the public key is registered; None: its RFC 7638 thumbprint.
    Raises ConfigError for a key that SMART servers do not take.
    """

    def __init__(self, pem: bytes, source: str, key_id: str | None = None) -> None:
        key = _load(pem)
        if isinstance(key, ECKey) and key.curve_name == "P-384":
            self.algorithm = "ES384"
        elif isinstance(key, RSAKey) and key.private_key and key.private_key.key_size >= _RSA_BITS:
            self.algorithm = "RS384"
        else:
            raise ConfigError((f"{source}: [fhir] key_file is not a key to sign with; {_PEM_ALLOWED}",))
        self._key = key
        self.key_id = key_id or key.thumbprint()

    def __repr__(self) -> str:
        return f"SigningKey({self.algorithm}, {self.key_id})"

    def assertion(self, client_id: str, token_url: str, now: float) -> str:
        """A compact JWT for one token request. now: seconds since 1970; every call has its own jti."""
        header = {"alg": self.algorithm, "kid": self.key_id, "typ": "JWT"}
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": token_url,
            "exp": int(now) + LIFETIME,
            "jti": str(uuid4()),
        }
        return jwt.encode(header, claims, self._key, algorithms=list(ALGORITHMS))

    def jwks(self) -> dict[str, Any]:
        """The public key as a JWK Set, to be hosted or registered."""
        public = self._key.as_dict(private=False)
        return {"keys": [{**public, "kid": self.key_id, "use": "sig", "alg": self.algorithm}]}


def _load(pem: bytes) -> ECKey | RSAKey | None:
    for kind in (ECKey, RSAKey):
        try:
            with warnings.catch_warnings():
                # joserfc warns of short keys; SigningKey refuses them.
                warnings.simplefilter("ignore")
                key = kind.import_key(pem)
        except (JoseError, ValueError, TypeError):
            continue
        if key.is_private:
            return key
    return None
