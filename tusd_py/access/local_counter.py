"""Counts acts of clients in the memory of one process."""

from __future__ import annotations

import time
from collections.abc import Callable

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from tusd_py.model.rates import Rate


class LocalCounter:
    """See ``RateCounter``. A restart forgets the counts; what is older than its window is not remembered."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._clock = clock

    async def hit(self, rate: Rate, key: str) -> float:
        item = item_of(rate)
        return 0.0 if self._limiter.hit(item, key) else self._reset_seconds(item, key)

    async def wait_seconds(self, rate: Rate, key: str) -> float:
        item = item_of(rate)
        return 0.0 if self._limiter.test(item, key) else self._reset_seconds(item, key)

    async def forget(self, rate: Rate, key: str) -> None:
        self._limiter.clear(item_of(rate), key)

    async def close(self) -> None:
        """There are no connections."""

    def _reset_seconds(self, item: RateLimitItem, key: str) -> float:
        return seconds_until(self._limiter.get_window_stats(item, key).reset_time, self._clock())


def item_of(rate: Rate) -> RateLimitItem:
    """``rate`` as the library names it."""
    return RateLimitItemPerSecond(rate.amount, rate.seconds)


def seconds_until(reset_time: float, now: float) -> float:
    """How long a client waits until its oldest act is out of the window; never 0, which would permit the next one."""
    return max(0.001, reset_time - now)
