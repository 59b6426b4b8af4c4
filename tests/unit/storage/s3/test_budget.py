"""``MemoryBudget``: bytes are taken in turn, and given back by waiters that are cancelled."""

from __future__ import annotations

import asyncio

import pytest

from tusd_py.storage.s3.budget import MemoryBudget

pytestmark = pytest.mark.anyio


async def run_tasks() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_waiters_are_served_in_turn() -> None:
    """A small request does not overtake a large one that waits."""
    budget = MemoryBudget(100)
    await budget.acquire(60)
    large = asyncio.ensure_future(budget.acquire(80))
    await run_tasks()
    small = asyncio.ensure_future(budget.acquire(10))
    await run_tasks()
    assert not budget.try_acquire(1)
    assert not large.done() and not small.done()
    budget.release(60)
    await asyncio.gather(large, small)
    assert budget.used == 90


async def test_cancelled_waiter_takes_nothing() -> None:
    """Neither before its turn, nor in the moment of its turn."""
    budget = MemoryBudget(100)
    await budget.acquire(100)
    early, late, last = (asyncio.ensure_future(budget.acquire(60)) for _ in range(3))
    await run_tasks()
    early.cancel()
    await run_tasks()
    budget.release(100)
    late.cancel()
    await last
    assert (late.cancelled(), budget.used) == (True, 60)


async def test_more_than_there_is_gets_everything() -> None:
    """It waits until nothing is used, and not forever."""
    budget = MemoryBudget(100)
    await budget.acquire(1)
    waiter = asyncio.ensure_future(budget.acquire(500))
    await run_tasks()
    assert not waiter.done()
    budget.release(1)
    await waiter
    budget.release(500)
    assert budget.used == 0
