"""How many uploads a client may create in a minute, counted in memory or in Redis."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.storage import storage_from_string

from tusd_py.protocol.access_errors import TooManyCreations

log = logging.getLogger(__name__)

#: A creation waits no longer for Redis.
_STORAGE_SECONDS = 0.5
_PREFIX = "tusd-py:creations"


class WindowedCreationRate:
    """Allows each client ``per_minute`` creations in every minute, at once or spread over it.

    Belongs to one event loop. While the storage fails, creations are not counted: what protects against floods must
    not become what stops everybody.
    """

    def __init__(self, per_minute: int, storage: Storage, clock: Callable[[], float] = time.time) -> None:
        self._rate = RateLimitItemPerMinute(per_minute)
        self._limiter = MovingWindowRateLimiter(storage)
        self._clock = clock

    async def ensure_allowed(self, subject: str) -> None:
        """Count a creation of ``subject``. Raises ``TooManyCreations``, which says when the next one is allowed."""
        try:
            async with asyncio.timeout(_STORAGE_SECONDS):
                if await self._limiter.hit(self._rate, _PREFIX, subject):
                    return
                reset_at = (await self._limiter.get_window_stats(self._rate, _PREFIX, subject)).reset_time
        except Exception as failure:  # noqa: BLE001 - each storage has exceptions of its own
            log.warning("creations are not counted: %s", type(failure).__name__)
            return
        raise TooManyCreations(self._rate.amount, max(1, math.ceil(reset_at - self._clock())))


def storage_of(url: str) -> Storage:
    """The storage at the ``redis`` URL; an empty one is the memory of this process."""
    if not url:
        return MemoryStorage()
    if url.startswith("unix://"):
        url = f"redis+{url}"
    storage = storage_from_string(f"async+{url}", implementation="redispy")
    assert isinstance(storage, Storage), "the scheme names an asynchronous storage"
    return storage
