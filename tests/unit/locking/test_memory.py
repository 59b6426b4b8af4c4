"""What the memory locker does beyond the contract."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.loops import on_loop
from tusd_py.contracts.locker import LockTimeout
from tusd_py.locking.memory import MemoryLocker


@on_loop
async def test_keeps_nothing_of_those_who_gave_up() -> None:
    """Waiting ones that time out or are cancelled are forgotten at once, and the upload when it is released."""
    locker = MemoryLocker()
    lock = await locker.acquire("an-upload", 1)
    waiting = [asyncio.create_task(locker.acquire("an-upload", 0.01 * (number % 2))) for number in range(10)]
    gone = asyncio.create_task(locker.acquire("an-upload", 100))
    await asyncio.sleep(0)
    assert len(lock.waiting) == 11
    gone.cancel()
    outcomes = await asyncio.gather(gone, *waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, *[LockTimeout] * 10]
    assert len(lock.waiting) == 0
    await lock.release()
    assert len(locker) == 0


@on_loop
async def test_passes_by_those_who_gave_up() -> None:
    """In the very turn in which the first in line is cancelled, a release serves the second."""
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


@on_loop
async def test_turn_and_cancellation_in_one_instant() -> None:
    """Whoever is cancelled after its turn came, before it could run, passes the upload on."""
    locker = MemoryLocker()
    lock = await locker.acquire("an-upload", 1)
    first = asyncio.create_task(locker.acquire("an-upload", 100))
    await asyncio.sleep(0)
    await lock.release()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(locker) == 0
