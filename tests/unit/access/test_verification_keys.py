"""Keys of tokens: PEM and JWK sets, and which algorithms a key may be used with."""

from __future__ import annotations

import json

import jwt
import pytest

from tests.support.tokens import Signer, key_set
from tusd_py.access.errors import KeyInvalid
from tusd_py.access.verification_keys import parse_jwks, public_key, secret_key

EC, RSA = Signer("ec"), Signer("rsa", "RS256")
#: A private key that its owner has published by mistake: every client could sign with it.
PRIVATE = {**json.loads(jwt.get_algorithm_by_name("ES256").to_jwk(EC.private)), "kid": "private"}


def test_keys_allow_their_own_algorithms_only() -> None:
    """A public key is never used as a shared secret, and no key with the algorithm of another type."""
    assert public_key(EC.pem).allows("ES256")
    assert public_key(RSA.pem).allows("PS512")
    for key in (public_key(EC.pem), public_key(RSA.pem)):
        for algorithm in ("HS256", "none", "None", "", "EdDSA"):
            assert not key.allows(algorithm)
    assert secret_key("x").allows("HS512")
    assert not secret_key("x").allows("RS256")


@pytest.mark.parametrize(
    "pem", [b"", b"nonsense", EC.pem[:60], b"-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----"]
)
def test_invalid_pem(pem: bytes) -> None:
    """What is no public key is refused with a sentence."""
    with pytest.raises(KeyInvalid, match="PEM"):
        public_key(pem)


def test_usable_keys_of_a_set() -> None:
    """Keys of unknown types, for encryption, private or symmetric ones and broken ones are ignored, the others kept."""
    others = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"},
        {**EC.jwk, "kid": "enc", "use": "enc"},
        PRIVATE,
        {**EC.jwk, "kid": "mixed", "alg": "HS256"},
        {"kty": "EC", "crv": "P-256", "x": 5, "y": [], "kid": "broken"},
        {"kty": "RSA", "n": "", "e": "", "kid": "empty"},
        {"kty": "new"},
        "text",
        None,
    ]
    keys = parse_jwks(json.dumps({"keys": [*others, EC.jwk, {**RSA.jwk, "alg": "RS512"}]}).encode())
    assert set(keys) == {"ec", "rsa"}
    assert keys["rsa"].allows("RS512")
    assert not keys["rsa"].allows("RS256")


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b"null", b'{"keys": 5}', b"\xff", b"[" * 100_000])
def test_invalid_sets(document: bytes) -> None:
    """What is no JWK set is refused."""
    with pytest.raises(KeyInvalid):
        parse_jwks(document)


def test_large_set_is_refused() -> None:
    """A set of more than a hundred keys is refused."""
    document = json.loads(key_set(EC))
    with pytest.raises(KeyInvalid):
        parse_jwks(json.dumps({"keys": document["keys"] * 101}).encode())
