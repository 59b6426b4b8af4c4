"""The memory locker: waiters that are cancelled or time out."""

from __future__ import annotations

import asyncio

import pytest

from tusd_py.contracts.locker import LockTimeout
from tusd_py.locking.memory import MemoryLocker

pytestmark = pytest.mark.anyio


async def test_cancelled_and_timed_out_waiters_are_forgotten() -> None:
    """Waiters that time out or are cancelled are forgotten at once, and the upload when it is released."""
    locker = MemoryLocker()
    lock = await locker.acquire("an-upload", 1)
    waiting = [asyncio.create_task(locker.acquire("an-upload", 0.01 * (number % 2))) for number in range(10)]
    gone = asyncio.create_task(locker.acquire("an-upload", 100))
    await asyncio.sleep(0)
    assert len(lock.waiters) == 11
    gone.cancel()
    outcomes = await asyncio.gather(gone, *waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, *[LockTimeout] * 10]
    assert len(lock.waiters) == 0
    await lock.release()
    assert len(locker) == 0


async def test_release_skips_cancelled_waiter() -> None:
    """If the first waiter is cancelled in the same turn of the event loop, a release serves the second."""
    locker = MemoryLocker()
    lock = await locker.acquire("an-upload", 1)
    first = asyncio.create_task(locker.acquire("an-upload", 100))
    second = asyncio.create_task(locker.acquire("an-upload", 100))
    await asyncio.sleep(0)
    first.cancel()
    await lock.release()
    await (await second).release()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(locker) == 0


async def test_waiter_cancelled_after_release_passes_lock_on() -> None:
    """A waiter that is cancelled after it got the lock, before it could run, releases it."""
    locker = MemoryLocker()
    lock = await locker.acquire("an-upload", 1)
    first = asyncio.create_task(locker.acquire("an-upload", 100))
    await asyncio.sleep(0)
    await lock.release()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(locker) == 0
