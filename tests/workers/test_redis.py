"""Redis as the broker: unavailable, back without its data, and shared."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.support.redis import flush, redis_in
from tests.support.worker import job, job_queue_of, jobs_in, running_worker, settings_of, wait_for_jobs
from tusd_py.model.jobs import JobState
from tusd_py.wiring import utc_now
from workers.actor import JobContext


async def act(task: JobContext) -> None:
    return


def test_redis_unavailable_jobs_wait(tmp_path: Path) -> None:
    """A worker without its Redis dispatches nothing and uses up no attempt; afterwards all jobs are completed."""

    async def make(first: int) -> None:
        async with job_queue_of(settings) as job_queue:
            await job_queue.add_jobs([job() for _ in range(20)], utc_now())
            if first:
                await wait_for_jobs(job_queue, first, JobState.DONE)
                return
            await asyncio.sleep(1.5)  # longer than a worker goes without looking
            assert 20 == len(await jobs_in(job_queue, JobState.WAITING)), "nothing can be dispatched"

    async def all_done() -> None:
        async with job_queue_of(settings) as job_queue:
            done = await wait_for_jobs(job_queue, 40, JobState.DONE)
            assert 2 >= max(item.attempt for item in done)

    with tempfile.TemporaryDirectory(prefix="redis-") as directory, ExitStack() as worker:
        with redis_in(Path(directory)) as url:
            settings = settings_of(tmp_path, broker=url, lease_seconds=2)
            worker.enter_context(running_worker(settings, {"act": act}))
            asyncio.run(make(20))
        asyncio.run(make(0))
        with redis_in(Path(directory)):
            asyncio.run(all_done())
            worker.close()


def test_redis_flushed_jobs_dispatched_again(tmp_path: Path, redis_url: str) -> None:
    """Flushed repeatedly while 300 jobs go through it, Redis costs time and no job."""

    async def check() -> None:
        async with job_queue_of(settings) as job_queue:
            await job_queue.add_jobs([job() for _ in range(300)], utc_now())
            for done in (50, 100, 150, 200, 250):
                await wait_for_jobs(job_queue, done, JobState.DONE)
                flush(redis_url)
            await wait_for_jobs(job_queue, 300, JobState.DONE)

    settings = settings_of(tmp_path, broker=redis_url, lease_seconds=1)
    flush(redis_url)
    with running_worker(settings, {"act": act}):
        asyncio.run(check())
