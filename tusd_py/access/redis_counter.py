"""Counts acts of clients in a Redis server, for all processes and machines together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic, time

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tusd_py.access.local_counter import LocalCounter
from tusd_py.model.rates import Rate
from tusd_py.model.tls import tls_problem

log = logging.getLogger(__name__)

_CONNECTIONS_MAX = 8
#: A request waits this long for Redis, connection included. On a healthy network an answer takes a millisecond.
_ANSWER_SECONDS = 0.5
#: After a failure Redis is left alone for this long: requests must not all wait for a server that does not answer.
_PAUSE_SECONDS = 5.0
#: The time between two warnings while Redis stays away.
_WARN_SECONDS = 600.0


class RedisCounter:
    """See ``RateCounter``. While Redis is away this process counts for itself, so that clients are still served.

    The times are those of this machine: machines whose clocks differ by seconds have windows that differ by as much.
    """

    def __init__(
        self, url: str, *, answer_seconds: float = _ANSWER_SECONDS, pause_seconds: float = _PAUSE_SECONDS
    ) -> None:
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS_MAX,
            timeout=answer_seconds,
            socket_timeout=answer_seconds,
            socket_connect_timeout=answer_seconds,
            # Once more at once: a connection of the pool may be one to a server that has restarted since.
            retry=Retry(NoBackoff(), 1),
        )
        # The library reads only the scheme of its URL where a pool is given.
        storage = RedisStorage(
            "async+redis://",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix="tusd-py:rates",
            connection_pool=self._pool,  # type: ignore[arg-type]  # passed on to redis-py
        )
        self._limiter = MovingWindowRateLimiter(storage)
        self._local = LocalCounter()
        self._answer_seconds = answer_seconds
        self._pause_seconds = pause_seconds
        self._retry_at = 0.0
        self._warn_at = 0.0
        self._is_away = False

    @property
    def in_memory(self) -> None:
        """The counts are in Redis."""
        return None

    async def hit(self, rate: Rate, key: str) -> float:
        return await self._ask(lambda: self._hit(rate, key), lambda: self._local.hit(rate, key))

    async def wait_seconds(self, rate: Rate, key: str) -> float:
        return await self._ask(lambda: self._wait_seconds(rate, key), lambda: self._local.wait_seconds(rate, key))

    async def forget(self, rate: Rate, key: str) -> None:
        await self._local.forget(rate, key)
        await self._ask(lambda: self._forget(rate, key), lambda: self._local.wait_seconds(rate, key))

    async def close(self) -> None:
        await self._pool.disconnect()

    async def _hit(self, rate: Rate, key: str) -> float:
        return 0.0 if await self._limiter.hit(_item(rate), key) else await self._reset_seconds(rate, key)

    async def _wait_seconds(self, rate: Rate, key: str) -> float:
        return 0.0 if await self._limiter.test(_item(rate), key) else await self._reset_seconds(rate, key)

    async def _reset_seconds(self, rate: Rate, key: str) -> float:
        stats = await self._limiter.get_window_stats(_item(rate), key)
        # Never 0, which would permit the next one, nor more than the window because of clocks that differ.
        return min(max(0.001, stats.reset_time - time()), rate.seconds)

    async def _forget(self, rate: Rate, key: str) -> float:
        await self._limiter.clear(_item(rate), key)
        return 0.0

    async def _ask(self, redis: Callable[[], Awaitable[float]], local: Callable[[], Awaitable[float]]) -> float:
        """The answer of Redis, or of this process while Redis is away."""
        if monotonic() < self._retry_at:
            return await local()
        try:
            async with asyncio.timeout(self._answer_seconds):
                answer = await redis()
        except (StorageError, OSError) as error:  # a TimeoutError is an OSError
            self._on_failure(error)
            return await local()
        if self._is_away:
            self._is_away, self._warn_at = False, 0.0
            log.info("rates are counted in Redis again")
        return answer

    def _on_failure(self, error: Exception) -> None:
        now = monotonic()
        self._retry_at, self._is_away = now + self._pause_seconds, True
        if now >= self._warn_at:
            self._warn_at = now + _WARN_SECONDS
            # The class only, where the text may repeat the URL.
            cause = error.__cause__ or error
            log.warning(
                "Redis cannot count rates, each server process counts for itself meanwhile: %s",
                tls_problem("Redis", str(cause)) or type(cause).__name__,
            )


def _item(rate: Rate) -> RateLimitItem:
    """``rate`` as the library names it."""
    return RateLimitItemPerSecond(rate.amount, rate.seconds)
