"""Tokens (JWT) for tests: signed with a shared secret, or with keys that a test publishes as a JWK set."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET = "a secret of the tests, 32 bytes or more"
#: Modules make tokens when they are collected; their tests may run at the end of everything.
LIFETIME_SECONDS = 6 * 3600.0


def token(
    subject: str = "alice",
    *,
    seconds: float = LIFETIME_SECONDS,
    key: Any = SECRET,
    algorithm: str = "HS256",
    **claims: Any,
) -> str:
    """A token of ``subject`` that expires in ``seconds``; ``headers`` in ``claims`` go to its header."""
    headers = claims.pop("headers", None)
    return jwt.encode({"sub": subject, "exp": time.time() + seconds, **claims}, key, algorithm, headers=headers)


def bearer(subject: str = "alice", **claims: Any) -> dict[str, str]:
    """The header that carries such a token."""
    return {"Authorization": f"Bearer {token(subject, **claims)}"}


def forged(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """A token with exactly this header and these claims."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


class Signer:
    """A private key, and its public half as PEM and as JWK."""

    def __init__(self, key_id: str = "k1", algorithm: str = "ES256") -> None:
        self.key_id, self.algorithm = key_id, algorithm
        self.private: Any = (
            ec.generate_private_key(ec.SECP256R1())
            if algorithm == "ES256"
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )

    @property
    def pem(self) -> bytes:
        found: bytes = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return found

    @property
    def jwk(self) -> dict[str, Any]:
        kind = jwt.get_algorithm_by_name(self.algorithm)
        return {**json.loads(kind.to_jwk(self.private.public_key())), "kid": self.key_id, "use": "sig"}

    def token(self, subject: str = "alice", **claims: Any) -> str:
        headers = {"kid": self.key_id, **claims.pop("headers", {})}
        return token(subject, key=self.private, algorithm=self.algorithm, headers=headers, **claims)


def key_set(*signers: Signer) -> bytes:
    """The JWK set of these keys."""
    return json.dumps({"keys": [signer.jwk for signer in signers]}).encode()
