"""Verifies signed tokens (JWT, RFC 7519) and remembers those it has seen.

Which algorithms and keys are accepted is decided by the settings alone. What a token says of its own verification
(``jwk``, ``jku``, ``x5u``, ``x5c``) is never used; of ``kid`` only a lookup is made.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jwt

from tusd_py.access.bounded_cache import BoundedCache
from tusd_py.access.claims import ClaimInvalid, ClaimNames, principal_of
from tusd_py.access.errors import TokenExpired, TokenInvalid
from tusd_py.access.verification_keys import KeySource
from tusd_py.model.principal import Principal

#: Longer tokens are refused unread.
TOKEN_BYTES_MAX = 8192
#: How many verified tokens are remembered; the oldest are forgotten first.
CACHE_TOKENS_MAX = 10_000
_KEY_ID_CHARACTERS_MAX = 512
# Everything about times is checked here: PyJWT has no clock that could be passed to it.
_OPTIONS: Any = {
    "verify_signature": True,
    "verify_aud": True,
    "verify_iss": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_sub": False,  # the subject may be another claim
    "verify_jti": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtRules:
    """What a token must have."""

    algorithms: tuple[str, ...]
    issuer: str = ""
    audience: tuple[str, ...] = ()
    required_claims: tuple[str, ...] = ()
    leeway_seconds: float = 30.0
    expired_head_seconds: float = 3600.0
    names: ClaimNames = field(default_factory=ClaimNames)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A verified token: its principal, when it expires, and the generation of the keys that verified it."""

    principal: Principal
    expires_at: float
    generation: int


class JwtVerifier:
    """Turns tokens into principals. Belongs to one event loop.

    ``clock`` returns seconds since 1970, ``monotonic`` the time for the age of keys.
    """

    def __init__(
        self, rules: JwtRules, keys: KeySource, clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._rules = rules
        self._keys = keys
        self._clock = clock
        self._monotonic = monotonic
        # By the digest of the token, so that a dump of the memory has no tokens.
        self._seen = BoundedCache[bytes, _Seen](CACHE_TOKENS_MAX)

    async def verify(self, token: bytes, *, allow_expired: bool = False) -> Principal:
        """The principal of ``token``. Raises ``TokenInvalid`` or ``KeysUnavailable``.

        ``allow_expired`` accepts a genuine token for a while after its expiry; the principal says so then.
        """
        keys = self._keys
        if keys.is_stale(self._monotonic()):
            await keys.refresh()
        digest = hashlib.sha256(token).digest()
        seen = self._seen.get(digest)
        if seen is None or seen.generation != keys.generation:
            seen = await self._verify(token)
            self._seen.remember(digest, seen)
        late_seconds = self._clock() - seen.expires_at
        if late_seconds < self._rules.leeway_seconds:
            return seen.principal
        if not allow_expired or late_seconds >= self._rules.expired_head_seconds:
            raise TokenExpired("the token has expired")
        return replace(seen.principal, is_expired=True)

    def recall(self, token: bytes) -> Principal | None:
        """See ``TokenVerifier.recall``. A token counts until its keys are due or changed, or it expires."""
        keys = self._keys
        if keys.is_stale(self._monotonic()):
            return None
        seen = self._seen.get(hashlib.sha256(token).digest())
        if seen is None or seen.generation != keys.generation:
            return None
        return seen.principal if self._clock() - seen.expires_at < self._rules.leeway_seconds else None

    async def _verify(self, token: bytes) -> _Seen:
        if len(token) > TOKEN_BYTES_MAX:
            raise TokenInvalid("the token is too long")
        algorithm, key_id = _header(token)
        if algorithm not in self._rules.algorithms:
            raise TokenInvalid("the algorithm of the token is not allowed")
        key = await self._keys.find(key_id)
        generation = self._keys.generation
        if key is None or not key.allows(algorithm):
            raise TokenInvalid("no key for this token is known")
        claims = self._claims(token, key.key, algorithm)
        expires_at = self._check_times(claims)
        try:
            principal = principal_of(claims, self._rules.names)
        except ClaimInvalid as invalid:
            raise TokenInvalid(f"the token is not accepted: {invalid}") from None
        return _Seen(principal, expires_at, generation)

    def _claims(self, token: bytes, key: Any, algorithm: str) -> Mapping[str, Any]:
        rules = self._rules
        options: Any = {**_OPTIONS, "require": ["exp", *rules.required_claims]}
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                options=options,
                audience=rules.audience or None,
                issuer=rules.issuer or None,
            )
        except jwt.MissingRequiredClaimError as missing:
            raise TokenInvalid(f"the token has no claim {missing.claim}") from None
        except jwt.InvalidAudienceError:
            raise TokenInvalid("the token is meant for another audience") from None
        except jwt.InvalidIssuerError:
            raise TokenInvalid("the token is from another issuer") from None
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            # Hostile tokens reach corners of the parsers that raise more than the library's own errors.
            raise TokenInvalid("the token is malformed or its signature is wrong") from None
        return claims

    def _check_times(self, claims: Mapping[str, Any]) -> float:
        """The time of expiry. Raises ``TokenInvalid`` for a token that is not valid yet."""
        latest = self._clock() + self._rules.leeway_seconds
        for name in ("nbf", "iat"):
            if name in claims and _instant(claims, name) > latest:
                raise TokenInvalid("the token is not valid yet")
        return _instant(claims, "exp")


def _header(token: bytes) -> tuple[str, str | None]:
    """The algorithm and the key id that the token names; nothing else of its header is used."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise TokenInvalid("the token is malformed or its signature is wrong") from None
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        raise TokenInvalid("the token is malformed or its signature is wrong")
    if key_id is not None and (not isinstance(key_id, str) or len(key_id) > _KEY_ID_CHARACTERS_MAX):
        raise TokenInvalid("no key for this token is known")
    return algorithm, key_id


def _instant(claims: Mapping[str, Any], name: str) -> float:
    """RFC 7519, 2, NumericDate: a number of seconds. Raises ``TokenInvalid``."""
    value = claims[name]
    try:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise TokenInvalid(f"the claim {name} is not a time")
        return float(value)
    except OverflowError:
        raise TokenInvalid(f"the claim {name} is not a time") from None
