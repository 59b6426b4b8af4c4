"""``Pace``: units a second, in the order of the calls."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.virtual_time import VIRTUAL_TIME
from tusd_py.pace import Pace

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


async def test_units_a_second() -> None:
    """The first call does not wait. After a pause calls are no faster than before it."""
    loop = asyncio.get_running_loop()
    pace = Pace(10)
    for _ in range(3):
        await pace.take()
    assert loop.time() == pytest.approx(0.2)
    await asyncio.sleep(100)
    await pace.take(5)
    await pace.take()
    assert loop.time() == pytest.approx(100.7)


async def test_all_tasks_share_it() -> None:
    """In the order of their calls."""
    pace, done = Pace(1), []

    async def take(number: int) -> None:
        await pace.take()
        done.append((number, asyncio.get_running_loop().time()))

    await asyncio.gather(*map(take, range(3)))
    assert done == [(0, 0), (1, 1), (2, 2)]
