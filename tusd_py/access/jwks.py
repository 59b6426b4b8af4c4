"""The keys that an identity provider publishes at a URL (JWKS), fetched in the background of requests and cached.

Providers replace their keys. A token with an unknown key id makes the set be fetched again, at most once a minute, so
that clients cannot make this server flood the provider. While the URL cannot be fetched, the known keys stay valid.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from tusd_py.access.errors import KeyInvalid, KeysUnavailable
from tusd_py.access.verification_keys import VerificationKey, only_key, parse_jwks
from tusd_py.contracts.key_set import FetchFailed, FetchKeys

log = logging.getLogger(__name__)

#: The set is fetched again this long after the last success: removed keys are accepted no longer than this.
REFRESH_SECONDS = 600.0
#: After an attempt, whatever its result, unknown key ids cause no further one for this long.
UNKNOWN_SECONDS = 60.0
#: While no key is known, an attempt is made this often.
_RETRY_SECONDS = 5.0


class JwksCache:
    """The keys at one URL. Belongs to one event loop. ``clock`` is monotonic."""

    def __init__(self, fetch: FetchKeys, clock: Callable[[], float]) -> None:
        self.generation = 0
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str | None, VerificationKey] = {}
        self._refresh_at = 0.0
        self._attempted_at: float | None = None
        self._fetching = asyncio.Lock()

    def is_stale(self, now: float) -> bool:
        return now >= self._refresh_at and not self._fetching.locked()

    async def refresh(self) -> None:
        """Fetch the set again if it is due. Requests that come meanwhile use the known keys, or wait for the first."""
        if self._keys and self._fetching.locked():
            return
        async with self._fetching:
            now = self._clock()
            if now >= self._refresh_at:
                await self._load(now)

    async def find(self, key_id: str | None) -> VerificationKey | None:
        now = self._clock()
        if now >= self._refresh_at or (not self._keys and self._fetching.locked()):
            await self.refresh()
        if (key := self._lookup(key_id)) is None and self._may_ask(now):
            async with self._fetching:
                if (key := self._lookup(key_id)) is None and self._may_ask(now := self._clock()):
                    await self._load(now)
                    key = self._lookup(key_id)
        if key is None and not self._keys:
            raise KeysUnavailable("the keys of tokens could not be fetched")
        return key

    def _lookup(self, key_id: str | None) -> VerificationKey | None:
        return only_key([*self._keys.values()]) if key_id is None else self._keys.get(key_id)

    def _may_ask(self, now: float) -> bool:
        return self._attempted_at is None or now >= self._attempted_at + UNKNOWN_SECONDS

    async def _load(self, now: float) -> None:
        before = self._attempted_at, self._refresh_at
        self._attempted_at = now
        self._refresh_at = now + (UNKNOWN_SECONDS if self._keys else _RETRY_SECONDS)
        try:
            keys = parse_jwks(await self._fetch())
        except (FetchFailed, KeyInvalid) as failure:
            self._retry_later()
            log.warning("could not fetch the keys of tokens (jwt.jwks_url): %s", failure)
            return
        except asyncio.CancelledError:
            # The client of this request has gone; the next one tries again.
            self._attempted_at, self._refresh_at = before
            raise
        if not keys:
            self._retry_later()
            log.warning("the key set at jwt.jwks_url has no key that can be used")
            return
        self._refresh_at = now + REFRESH_SECONDS
        if _identities(keys) != _identities(self._keys):
            self._keys = keys
            self.generation += 1

    def _retry_later(self) -> None:
        # From the end of the attempt, which may have taken as long as the time between two: each of the requests that
        # have waited for it would make an attempt of its own, one after the other.
        self._refresh_at = max(self._refresh_at, self._clock() + _RETRY_SECONDS)


def _identities(keys: Mapping[str | None, VerificationKey]) -> dict[str | None, tuple[object, ...]]:
    """Values that compare equal for equal sets of keys, which the key objects themselves do not."""
    return {key_id: (key.key, key.type, key.algorithm) for key_id, key in keys.items()}
