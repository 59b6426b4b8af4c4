"""What counts acts of clients: in the memory of a process, and in Redis."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.redis import refusing_writes, restartable_redis, running_redis
from tusd_py.access.local_counter import LocalCounter
from tusd_py.access.redis_counter import RedisCounter
from tusd_py.contracts.rate_counter import RateCounter
from tusd_py.model.rates import Rate

pytestmark = pytest.mark.anyio

#: A busy machine may be slower than the counter allows Redis to be, and then the process would count for itself.
PATIENT_SECONDS = 60.0


@pytest.fixture(params=["memory", "redis"])
async def counter(request: pytest.FixtureRequest) -> AsyncIterator[RateCounter]:
    if request.param == "memory":
        yield LocalCounter()
        return
    with running_redis() as url:
        opened = RedisCounter(url, answer_seconds=PATIENT_SECONDS)
        yield opened
        await opened.close()


async def test_burst_then_wait(counter: RateCounter) -> None:
    """So many at once, then none, and the time to wait is that of the first; other keys and rates do not share it."""
    rate = Rate(3)
    assert [await counter.hit(rate, "create user:a/b") for _ in range(3)] == [0, 0, 0]
    assert 50 < await counter.hit(rate, "create user:a/b") <= 60
    assert 50 < await counter.wait_seconds(rate, "create user:a/b") <= 60
    assert await counter.hit(rate, "create user:a") == 0
    assert await counter.hit(Rate(4), "create user:a/b") == 0


async def test_window_moves(counter: RateCounter) -> None:
    """An act that is older than the window no longer counts; refused acts never did."""
    rate = Rate(2, seconds=1)
    assert await counter.hit(rate, "k") == 0
    await asyncio.sleep(0.5)
    assert await counter.hit(rate, "k") == 0
    wait = await counter.hit(rate, "k")
    assert 0 < wait <= 0.6
    await asyncio.sleep(wait + 0.05)
    assert await counter.hit(rate, "k") == 0
    assert await counter.hit(rate, "k") > 0


async def test_looking_does_not_count(counter: RateCounter) -> None:
    """``wait_seconds`` counts nothing; ``forget`` forgets everything."""
    rate = Rate(1)
    assert [await counter.wait_seconds(rate, "k") for _ in range(3)] == [0, 0, 0]
    assert await counter.hit(rate, "k") == 0
    assert await counter.wait_seconds(rate, "k") > 0
    await counter.forget(rate, "k")
    assert await counter.hit(rate, "k") == 0


async def test_two_processes_share_one_limit() -> None:
    """Of acts through two connections at the same time, exactly as many as permitted succeed."""
    with running_redis() as url:
        counters = [RedisCounter(url, answer_seconds=PATIENT_SECONDS) for _ in range(2)]
        waits = await asyncio.gather(*(each.hit(Rate(5), "k") for each in counters * 10))
        for each in counters:
            await each.close()
        assert sum(not wait for wait in waits) == 5


async def test_without_redis_the_process_counts(caplog: pytest.LogCaptureFixture) -> None:
    """While Redis is away acts are counted here, soon and with one warning; when it is back, it counts again."""
    with restartable_redis() as redis, caplog.at_level(logging.INFO, "tusd_py.access.redis_counter"):
        counter = RedisCounter(redis.url, pause_seconds=0.2)
        other = RedisCounter(redis.url, answer_seconds=PATIENT_SECONDS)
        assert await counter.hit(Rate(2), "k") == 0
        redis.stop()
        started = time.monotonic()
        assert [await counter.hit(Rate(2), "k") > 0 for _ in range(3)] == [False, False, True]
        assert time.monotonic() - started < 5
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        redis.start()
        assert await other.hit(Rate(1), "shared") == 0

        for _ in range(100):
            if await counter.wait_seconds(Rate(1), "shared"):
                break
            await asyncio.sleep(0.05)
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        with refusing_writes(redis.url):
            assert await counter.hit(Rate(1), "written") == 0
        await counter.close()
        await other.close()


async def test_redis_that_does_not_answer_is_not_waited_for() -> None:
    """A server that accepts connections and says nothing costs one request half a second, and the others nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        counter = RedisCounter(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        started = time.monotonic()
        assert [await counter.hit(Rate(2), "k") > 0 for _ in range(3)] == [False, False, True]
        assert time.monotonic() - started < 5
        await counter.close()
