"""Keys that verify the signatures of tokens: what each may be used for, and parsing them from PEM and JWKS."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jwt

from tusd_py.access.errors import KeyInvalid

#: The algorithms of each type of key (RFC 7518, 6.1; RFC 8037). A token never decides how a key is used.
_FAMILIES: Mapping[str, tuple[str, ...]] = {
    "oct": ("HS256", "HS384", "HS512"),
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
#: More keys than any provider publishes; a larger set is refused.
_KEYS_MAX = 100


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key, its type as in JWK, and the only algorithm that it may be used with, if its publisher names one."""

    key: Any
    type: str
    algorithm: str | None = None

    def allows(self, algorithm: str) -> bool:
        """Whether a signature of this ``algorithm`` may be verified with the key."""
        return algorithm in _FAMILIES[self.type] and self.algorithm in (None, algorithm)


class KeySource(Protocol):
    """Where the keys of tokens come from. ``generation`` grows whenever a key was added, changed or removed."""

    generation: int

    def is_stale(self, now: float) -> bool:
        """Whether ``refresh`` should be called before a key is used."""
        ...

    async def refresh(self) -> None:
        """Fetch the keys again, in bounded time; keep the present ones if that fails."""
        ...

    async def find(self, key_id: str | None) -> VerificationKey | None:
        """The key with this id; without an id the only key, if there is only one. Raises ``KeysUnavailable``."""
        ...


class StaticKey:
    """One key from the settings; the key id of a token does not matter."""

    generation = 0

    def __init__(self, key: VerificationKey) -> None:
        self._key = key

    def is_stale(self, now: float) -> bool:
        return False

    async def refresh(self) -> None:
        """The settings do not change while the server runs."""

    async def find(self, key_id: str | None) -> VerificationKey | None:
        return self._key


def secret_key(secret: str) -> VerificationKey:
    """The key of tokens that are signed with a shared secret."""
    return VerificationKey(secret.encode(), "oct")


def public_key(pem: bytes) -> VerificationKey:
    """A public key in PEM. Raises ``KeyInvalid``."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError:
        raise KeyInvalid("public keys need the package cryptography: install tusd-py[jwt]") from None
    types: tuple[tuple[Any, str], ...] = (
        (rsa.RSAPublicKey, "RSA"),
        (ec.EllipticCurvePublicKey, "EC"),
        ((ed25519.Ed25519PublicKey, ed448.Ed448PublicKey), "OKP"),
    )
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyInvalid("it is not a public key in PEM (BEGIN PUBLIC KEY)") from None
    for kind, name in types:
        if isinstance(key, kind):
            return VerificationKey(key, name)
    raise KeyInvalid("it is neither an RSA, an EC nor an Ed25519 key")


def parse_jwks(document: bytes) -> dict[str | None, VerificationKey]:
    """The usable keys of a JWK set by their id. Raises ``KeyInvalid`` if it is not one.

    RFC 7517, 5: "Implementations SHOULD ignore JWKs within a JWK Set that use 'kty' values that are not understood by
    them". Symmetric keys are ignored as well: a published secret is none.
    """
    try:
        found = json.loads(document)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise KeyInvalid("it is not a JWK set (RFC 7517)") from None
    if not isinstance(found, list) or len(found) > _KEYS_MAX:
        raise KeyInvalid(f"it is not a JWK set (RFC 7517) of at most {_KEYS_MAX} keys")
    keys: dict[str | None, VerificationKey] = {}
    for item in found:
        if isinstance(item, dict) and (key := _from_jwk(item)) is not None:
            key_id = item.get("kid")
            keys[key_id if isinstance(key_id, str) else None] = key
    return keys


def _from_jwk(item: dict[str, Any]) -> VerificationKey | None:
    kind, algorithm = item.get("kty"), item.get("alg")
    if kind not in ("RSA", "EC", "OKP") or item.get("use", "sig") != "sig" or "d" in item:
        return None
    if algorithm is not None and algorithm not in _FAMILIES[kind]:
        return None
    try:
        key = jwt.PyJWK.from_dict(item).key
    except jwt.PyJWTError:
        return None
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError):
        return None  # a malformed number in a key of another publisher
    return VerificationKey(key, kind, algorithm)


def only_key(keys: Sequence[VerificationKey]) -> VerificationKey | None:
    """The key of a token without a key id."""
    return keys[0] if len(keys) == 1 else None
