"""Suspects run alone, for a bounded time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.contracts.records import NOW
from tests.support.virtual_time import VIRTUAL_TIME
from tusd_py.model.jobs import Job, JobState
from workers.isolation import Isolation

pytestmark = pytest.mark.anyio

JOB = Job(
    id=1,
    actor="act",
    subscription="",
    key="k",
    sequence_key="k",
    upload_id="u",
    event_id="",
    state=JobState.RUNNING,
    attempt=1,
    created_at=NOW,
    next_attempt_at=NOW,
)


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


class Runs:
    """Jobs that run for some seconds, with the times at which they start."""

    def __init__(self) -> None:
        self.isolation = Isolation(alone_seconds=10, delivery_alone_seconds=0.5)
        self.started: dict[int, float] = {}
        self.survived: list[int] = []
        self.begun = asyncio.get_running_loop().time()

    async def run(self, job_id: int, seconds: float, *, starts: int = 0, subscription: str = "") -> None:
        job = replace(JOB, id=job_id, starts=starts, subscription=subscription)
        await self.isolation.wait(job)
        with self.isolation.running(job, lambda: self.survived.append(job_id)):
            self.started[job_id] = asyncio.get_running_loop().time() - self.begun
            await asyncio.sleep(seconds)


async def test_jobs_run_side_by_side() -> None:
    """Without suspects nothing waits."""
    runs = Runs()
    await asyncio.gather(*(runs.run(number, 100) for number in range(20)))
    assert {0} == {round(at) for at in runs.started.values()}
    assert runs.survived == []


async def test_suspect_waits_for_jobs_and_jobs_wait_for_it() -> None:
    """It starts when the others have ended; the next starts when it has ended, in the order of their arrival."""
    runs = Runs()
    await asyncio.gather(runs.run(1, 3), runs.run(2, 5, starts=1), runs.run(3, 1, starts=2), runs.run(4, 1))
    assert {1: 0, 2: 3, 3: 8, 4: 9} == {job_id: round(at) for job_id, at in runs.started.items()}
    assert runs.survived == []


async def test_long_jobs_delay_others_for_a_bounded_time() -> None:
    """A suspect starts beside a job that has run for 10 s; after 10 s it is no suspect, and others start."""
    runs = Runs()
    await asyncio.gather(runs.run(1, 1000), runs.run(2, 1000, starts=1), runs.run(3, 1))
    assert {1: 0, 2: 10, 3: 20} == {job_id: round(at) for job_id, at in runs.started.items()}
    assert runs.survived == [2]


async def test_deliveries_that_hang_delay_others_briefly() -> None:
    """Eight of them, whose worker was killed: a job behind them starts after 4 s, not after 80 s."""
    runs = Runs()
    hanging = (runs.run(number, 15, starts=1, subscription="hanging") for number in range(8))
    await asyncio.gather(*hanging, runs.run(8, 1))
    assert [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0] == [round(runs.started[job_id], 1) for job_id in range(9)]
    assert runs.survived == list(range(8))


async def test_cancelled_suspect_lets_others_start() -> None:
    """Cancelled while it waits or while it runs."""
    runs = Runs()
    first = asyncio.create_task(runs.run(1, 5))
    waiting = asyncio.create_task(runs.run(2, 1, starts=1))
    await asyncio.sleep(1)
    waiting.cancel()
    await first
    running = asyncio.create_task(runs.run(3, 100, starts=1))
    await asyncio.sleep(1)
    running.cancel()
    await runs.run(4, 1)
    assert {1: 0, 3: 5, 4: 6} == {job_id: round(at) for job_id, at in runs.started.items()}
