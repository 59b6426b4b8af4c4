"""The clock is set back while a worker runs, or before it starts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.harness import EPOCH
from tests.support.virtual_time import VIRTUAL_TIME
from tusd_py.contracts.records import RecordsUnavailable
from workers.clock_watch import ClockWatch
from workers.runner import JobRunner

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


class World:
    """A clock that runs with the event loop and can be set back, and a job queue that notes its calls."""

    def __init__(self) -> None:
        self.back_seconds = 0.0
        self.calls: list[Sequence[timedelta]] = []
        self.woken = 0
        self.is_broken = False

    def clock(self) -> datetime:
        return EPOCH + timedelta(seconds=asyncio.get_running_loop().time() - self.back_seconds)

    async def limit_waits(self, now: datetime, running: timedelta, waiting: Sequence[timedelta]) -> int:
        assert running == timedelta(seconds=30)
        if self.is_broken:
            raise RecordsUnavailable("no database")
        self.calls.append(waiting)
        return 3

    def wake(self) -> None:
        self.woken += 1


async def test_waits_are_limited_at_the_start_and_when_the_clock_is_set_back() -> None:
    """Not while the clock runs or goes forward; after a failure it is tried again."""
    world = World()
    runner: Any = SimpleNamespace(
        ports=SimpleNamespace(clock=world.clock), job_queue=world, lease=timedelta(seconds=30)
    )
    watch = asyncio.create_task(ClockWatch(cast(JobRunner, runner), world.wake).run())
    await asyncio.sleep(100)
    world.back_seconds -= 3600
    await asyncio.sleep(100)
    assert len(world.calls) == world.woken == 1
    assert world.calls[0][0] == timedelta(seconds=1) and world.calls[0][1] >= timedelta(days=1)
    world.back_seconds += 1800
    await asyncio.sleep(100)
    assert len(world.calls) == world.woken == 2
    assert world.calls[1][0] == timedelta(seconds=1), "a job that has not failed was due at once"
    assert world.calls[1][1:4] == [timedelta(seconds=60)] * 3 and world.calls[1][-1] == timedelta(hours=5)
    world.is_broken = True
    world.back_seconds += 10
    await asyncio.sleep(100)
    world.is_broken = False
    await asyncio.sleep(10)
    assert len(world.calls) == 3
    watch.cancel()
