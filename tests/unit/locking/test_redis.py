"""Messages in Redis: a subscription whose connection has died is made again."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support.redis import running_redis
from tests.support.waiting import eventually
from tusd_py.locking.redis import RedisLeases

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


def time_out(connection: Any) -> None:
    """The system gives the connection up, because its packets are not acknowledged."""
    connection._reader.set_exception(TimeoutError(errno.ETIMEDOUT, "Connection timed out"))


def fall_silent(connection: Any) -> None:
    """Nothing comes over it any more, and neither end learns of it."""
    connection._writer.transport.pause_reading()


@pytest.fixture
async def leases() -> AsyncIterator[RedisLeases]:
    with running_redis() as url:
        opened = RedisLeases(url)
        yield opened
        await opened.close()


@pytest.mark.parametrize("fault", [time_out, fall_silent])
async def test_subscription_is_made_again(leases: RedisLeases, fault: Callable[[Any], None]) -> None:
    """After its connection has died messages arrive again, and nothing else waits meanwhile."""
    received: list[str] = []
    leases.open(received.append)

    def has_arrived() -> bool:
        leases.send(leases.address, "hello")
        return bool(received)

    await eventually(has_arrived)
    await eventually(lambda: not leases._sending, "all messages are sent")
    (connection,) = (one for one in leases._redis.connection_pool._in_use_connections if one._writer is not None)
    fault(connection)
    await asyncio.sleep(0.01)  # returns only if the subscription does not keep the event loop
    received.clear()
    await eventually(has_arrived, timeout_seconds=30)
