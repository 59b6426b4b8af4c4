"""Makes and verifies API keys: ``tusd_key_ID_SECRET``. Only the digest of the secret is kept."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from tusd_py.access.bounded_cache import BoundedCache
from tusd_py.access.errors import TokenInvalid
from tusd_py.contracts.accounts import Accounts, ApiKeys
from tusd_py.contracts.records import RecordsError
from tusd_py.model.account import ApiKey
from tusd_py.model.principal import NO_LIMITS, Principal, PrincipalLimits, Role, Verb

log = logging.getLogger(__name__)

METHOD = "key"
PREFIX = "tusd_key_"
#: How long a key is believed without another look into the database.
KEY_SECONDS = 2.0
#: The time of the last use is as exact as this.
_USED_EVERY = timedelta(minutes=1)
_ENTRIES_MAX = 10_000
_TOKEN_BYTES_MAX = 256


class _KnownKey(NamedTuple):
    principal: Principal
    expires_at: datetime | None
    looked_at: float


def new_key(
    *,
    owner: str,
    label: str,
    roles: frozenset[Role],
    verbs: frozenset[Verb] | None,
    now: datetime,
    expires_at: datetime | None,
    limits: PrincipalLimits = NO_LIMITS,
) -> tuple[ApiKey, str]:
    """A key, and its text, which is shown once."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    key = ApiKey(
        id=key_id,
        digest=_digest(secret.encode()),
        label=label,
        owner=owner,
        roles=roles,
        verbs=verbs,
        created_at=now,
        expires_at=expires_at,
        limits=limits,
    )
    return key, f"{PREFIX}{key_id}_{secret}"


class ApiKeyVerifier:
    """Turns keys into principals. Belongs to one event loop. ``monotonic`` is for the age of what is known.

    Keys of an owner that has an account end with it, and have no more roles than it.
    """

    def __init__(
        self, keys: ApiKeys, accounts: Accounts, clock: Callable[[], datetime], monotonic: Callable[[], float]
    ) -> None:
        self._keys = keys
        self._accounts = accounts
        self._clock = clock
        self._monotonic = monotonic
        # By the digest of the whole token, so that a dump of the memory has none.
        self._known = BoundedCache[bytes, _KnownKey](_ENTRIES_MAX)

    async def verify(self, token: bytes, *, allow_expired: bool = False) -> Principal:
        """The principal of a key. Raises ``TokenInvalid``; a key that has expired is as one that was revoked."""
        if len(token) > _TOKEN_BYTES_MAX:
            raise TokenInvalid("the key is not accepted")
        digest = hashlib.sha256(token).digest()
        known = self._known.get(digest)
        if known is None or self._monotonic() - known.looked_at >= KEY_SECONDS:
            known = await self._look(token, digest)
        if known.expires_at is not None and self._clock() >= known.expires_at:
            raise TokenInvalid("the key is not accepted")
        return known.principal

    def recall(self, token: bytes) -> Principal | None:
        """See ``TokenVerifier.recall``. A key counts for two seconds."""
        known = self._known.get(hashlib.sha256(token).digest())
        if known is None or self._monotonic() - known.looked_at >= KEY_SECONDS:
            return None
        return known.principal if known.expires_at is None or self._clock() < known.expires_at else None

    async def is_valid(self, credential: str) -> bool:
        """Whether the key with this id was not revoked; that it has expired meanwhile does not matter."""
        key = await self._keys.find(credential)
        return key is not None and key.revoked_at is None and await self._roles(key) is not None

    async def _look(self, token: bytes, digest: bytes) -> _KnownKey:
        now = self._monotonic()
        key_id, _, secret = token[len(PREFIX) :].partition(b"_")
        key = await self._keys.find(key_id.decode("latin-1")) if key_id.isalnum() else None
        expected = _digest(secret) if key is None else key.digest
        is_right = hmac.compare_digest(_digest(secret), expected)
        roles = await self._roles(key) if key is not None and is_right and key.is_valid(self._clock()) else None
        if key is None or roles is None:
            self._known.pop(digest, None)
            raise TokenInvalid("the key is not accepted")
        principal = Principal(
            subject=key.owner, roles=roles, method=METHOD, credential=key.id, verbs=key.verbs, limits=key.limits
        )
        known = _KnownKey(principal, key.expires_at, now)
        self._known.remember(digest, known)
        await self._note_use(key)
        return known

    async def _roles(self, key: ApiKey) -> frozenset[Role] | None:
        """The roles of a key; ``None`` if its owner has an account that is disabled."""
        account = await self._accounts.find(key.owner)
        if account is None:
            return key.roles
        return None if account.is_disabled else key.roles & account.roles

    async def _note_use(self, key: ApiKey) -> None:
        now = self._clock()
        if key.last_used_at is None or now >= key.last_used_at + _USED_EVERY:
            try:
                await self._keys.used(key.id, now)
            except RecordsError as failure:
                log.warning("could not note the use of the key %s: %s", key.id, failure)


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()
