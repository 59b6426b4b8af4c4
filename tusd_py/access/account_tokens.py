"""Verifies the access tokens of accounts. What changes about an account shows in every process within seconds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from tusd_py.access.bounded_cache import BoundedCache
from tusd_py.access.errors import TokenExpired, TokenInvalid
from tusd_py.access.login import ACCESS_PREFIX, METHOD
from tusd_py.access.signing import SignatureInvalid, TokenSigner
from tusd_py.contracts.accounts import Accounts
from tusd_py.model.principal import Principal

#: How long a session is believed without another look into the database.
SESSION_SECONDS = 2.0
#: How many tokens, and how many sessions, are remembered; the oldest are forgotten first.
_ENTRIES_MAX = 10_000


class _AccessToken(NamedTuple):
    session_id: str
    generation: int
    expires_at: int


class _Known(NamedTuple):
    principal: Principal
    generation: int
    looked_at: float


class AccountTokenVerifier:
    """Turns access tokens into principals. Belongs to one event loop. ``monotonic`` is for the age of what is known."""

    def __init__(
        self,
        accounts: Accounts,
        signer: TokenSigner,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        expired_head_seconds: float,
    ) -> None:
        self._accounts = accounts
        self._signer = signer
        self._clock = clock
        self._monotonic = monotonic
        self._expired_head_seconds = expired_head_seconds
        self._tokens = BoundedCache[bytes, _AccessToken](_ENTRIES_MAX)
        self._sessions = BoundedCache[str, _Known](_ENTRIES_MAX)

    async def verify(self, token: bytes, *, allow_expired: bool = False) -> Principal:
        """The principal of ``token``, for a while after its expiry with ``allow_expired``. Raises ``TokenInvalid``."""
        # By the digest of the token, so that a dump of the memory has no tokens.
        digest = hashlib.sha256(token).digest()
        parsed = self._tokens.get(digest)
        if parsed is None:
            parsed = self._parse(token)
            self._tokens.remember(digest, parsed)
        known = self._sessions.get(parsed.session_id)
        if known is None or self._monotonic() - known.looked_at >= SESSION_SECONDS:
            known = await self._look(parsed.session_id)
        if known.generation != parsed.generation:
            raise TokenInvalid("the token was revoked")
        late_seconds = self._clock().timestamp() - parsed.expires_at
        if late_seconds < 0:
            return known.principal
        if not allow_expired or late_seconds >= self._expired_head_seconds:
            raise TokenExpired("the token has expired")
        return replace(known.principal, is_expired=True)

    def recall(self, token: bytes) -> Principal | None:
        """See ``TokenVerifier.recall``. A session counts for two seconds."""
        parsed = self._tokens.get(hashlib.sha256(token).digest())
        known = None if parsed is None else self._sessions.get(parsed.session_id)
        if parsed is None or known is None or self._monotonic() - known.looked_at >= SESSION_SECONDS:
            return None
        is_current = known.generation == parsed.generation and self._clock().timestamp() < parsed.expires_at
        return known.principal if is_current else None

    async def is_valid(self, credential: str) -> bool:
        """Whether the account exists, is not disabled, and has had no new password since then; logging out is fine."""
        name, _, generation = credential.partition(" ")
        account = await self._accounts.find(name)
        return account is not None and not account.is_disabled and str(account.generation) == generation.split(" ")[0]

    def _parse(self, token: bytes) -> _AccessToken:
        try:
            payload = self._signer.verify("access", token[len(ACCESS_PREFIX) :])
        except SignatureInvalid:
            raise TokenInvalid("the token is malformed or its signature is wrong") from None
        session_id, generation, expires_at = payload.decode().split(" ")
        return _AccessToken(session_id, int(generation), int(expires_at))

    async def _look(self, session_id: str) -> _Known:
        now = self._monotonic()
        found = await self._accounts.find_session(session_id)
        if found is None or found[1].is_disabled:
            self._sessions.pop(session_id, None)
            raise TokenInvalid("the token was revoked")
        session, account = found
        principal = Principal(
            subject=account.name,
            roles=account.roles,
            method=METHOD,
            credential=f"{account.name} {account.generation} {session.id}",
        )
        known = _Known(principal, account.generation, now)
        self._sessions.remember(session_id, known)
        return known


def session_of(principal: Principal) -> str:
    """The id of the session that an access token belongs to."""
    return principal.credential.rpartition(" ")[2]
