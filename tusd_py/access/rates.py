"""How many uploads a client may create in a minute, counted in the memory of one process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from tusd_py.protocol.access_errors import TooManyCreations


class WindowedCreationRate:
    """Allows each client ``per_minute`` creations in every minute, at once or spread over it.

    A restart forgets the counts; what is older than a minute is not remembered.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.time) -> None:
        self._rate = RateLimitItemPerMinute(per_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._clock = clock

    def ensure_allowed(self, subject: str) -> None:
        """Count a creation of ``subject``. Raises ``TooManyCreations``, which says when the next one is allowed."""
        if not self._limiter.hit(self._rate, subject):
            reset_at = self._limiter.get_window_stats(self._rate, subject).reset_time
            raise TooManyCreations(self._rate.amount, max(1, math.ceil(reset_at - self._clock())))
