"""A worker in threads of the test's process, with the test's own actors and database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from tusd_py.contracts.job_queue import JobQueue
from tusd_py.model.jobs import Job, JobState, NewJob
from tusd_py.settings import Settings
from tusd_py.wiring.clock import utc_now
from tusd_py.wiring.ports import close_ports, open_ports
from workers.actor import Actor
from workers.lifespan import Lifespan
from workers.process import start, stop

_keys = count()


def settings_of(data_dir: Path, *, records: Mapping[str, str] | None = None, **worker: Any) -> Settings:
    """Settings of a server in ``data_dir``; ``records`` and ``worker`` are those of the sections."""
    return Settings.model_validate({"storage": {"data_dir": str(data_dir)}, "records": records or {}, "worker": worker})


@contextmanager
def running_worker(settings: Settings, actors: Mapping[str, Actor]) -> Iterator[None]:
    """Run a worker during the block, and stop it in order."""
    failed: list[bool] = []
    worker = start(settings, Lifespan(settings, actors, lambda: failed.append(True)))
    try:
        yield
    finally:
        stop(worker)
    assert not failed, "the worker stopped by itself"


@asynccontextmanager
async def job_queue_of(settings: Settings) -> AsyncIterator[JobQueue]:
    """The job queue of the database, which other processes use too; adding jobs wakes workers, as in a server."""
    ports = await open_ports(settings)
    assert ports.job_queue is not None
    try:
        yield ports.job_queue
    finally:
        await close_ports(ports, settings)


def job(actor: str = "act", *, subscription: str = "", sequence_key: str = "", upload_id: str = "u") -> NewJob:
    """A job; without ``sequence_key`` it waits for no other job."""
    key = f"key {next(_keys)}"
    return NewJob(
        actor=actor, key=key, upload_id=upload_id, sequence_key=sequence_key or key, subscription=subscription
    )


async def jobs_in(job_queue: JobQueue, *states: JobState) -> list[Job]:
    return await job_queue.list_jobs(states=states, limit=10_000)


async def wait_for_jobs(job_queue: JobQueue, jobs: int, *states: JobState, timeout_seconds: float = 20.0) -> list[Job]:
    """Return the jobs in these states once there are so many; fail after the timeout."""
    deadline = utc_now() + timedelta(seconds=timeout_seconds)
    while len(found := await jobs_in(job_queue, *states)) < jobs:
        states_now = sorted((item.state.value, item.attempt, item.error) for item in await jobs_in(job_queue))
        assert utc_now() < deadline, f"not {jobs} jobs {states} within {timeout_seconds} s: {states_now}"
        await asyncio.sleep(0.01)
    return found
