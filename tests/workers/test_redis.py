"""Redis as the broker: unavailable, refusing writes, back without its data, and shared."""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import dramatiq
import pytest
from dramatiq import Message
from redis import Redis

from tests.support.redis import flush, redis_in
from tests.support.worker import job, job_queue_of, jobs_in, running_worker, settings_of, wait_for_jobs
from tusd_py.contracts.endpoint_states import DISPATCH
from tusd_py.model.jobs import JobState
from tusd_py.wiring.clock import utc_now
from tusd_py.wiring.databases import open_endpoint_states
from workers.actor import JobContext
from workers.broker import QUEUE


async def act(task: JobContext) -> None:
    return


@pytest.mark.anyio
async def test_redis_unavailable_jobs_wait(tmp_path: Path) -> None:
    """A worker without its Redis dispatches nothing and uses up no attempt; afterwards all jobs are completed."""

    async def make(first: int) -> None:
        async with job_queue_of(settings) as job_queue:
            await job_queue.add_jobs([job() for _ in range(20)], utc_now())
            if first:
                await wait_for_jobs(job_queue, first, JobState.DONE)
                return
            await asyncio.sleep(1.5)  # longer than a worker goes without looking
            assert 20 == len(await jobs_in(job_queue, JobState.WAITING)), "nothing can be dispatched"

    with tempfile.TemporaryDirectory(prefix="redis-") as directory, ExitStack() as worker:
        with redis_in(Path(directory)) as url:
            settings = settings_of(tmp_path, broker=url, lease_seconds=2)
            worker.enter_context(running_worker(settings, {"act": act}))
            await make(20)
        await make(0)
        with redis_in(Path(directory)):
            async with job_queue_of(settings) as job_queue:
                done = await wait_for_jobs(job_queue, 40, JobState.DONE)
                assert 2 >= max(item.attempt for item in done)
            worker.close()


@pytest.mark.anyio
async def test_redis_flushed_jobs_dispatched_again(tmp_path: Path, redis_url: str) -> None:
    """Flushed repeatedly while 300 jobs go through it, Redis costs time and no job."""

    settings = settings_of(tmp_path, broker=redis_url, lease_seconds=1)
    flush(redis_url)
    with running_worker(settings, {"act": act}):
        async with job_queue_of(settings) as job_queue:
            await job_queue.add_jobs([job() for _ in range(300)], utc_now())
            for done in (50, 100, 150, 200, 250):
                await wait_for_jobs(job_queue, done, JobState.DONE)
                flush(redis_url)
            await wait_for_jobs(job_queue, 300, JobState.DONE)


@pytest.mark.anyio
async def test_redis_refuses_writes_jobs_wait(tmp_path: Path, redis_url: str) -> None:
    """While Redis reads but does not write, all jobs wait without an attempt and the reason is known; then all run."""

    async def check(client: Redis) -> None:
        async with job_queue_of(settings) as job_queue, open_endpoint_states(settings) as states:
            client.config_set("min-replicas-to-write", 1)
            await job_queue.add_jobs([job() for _ in range(20)], utc_now())
            deadline = time.monotonic() + 20
            while (failure := await states.find_failure(DISPATCH)) is None:
                assert time.monotonic() < deadline, "the failure is reported"
                await asyncio.sleep(0.05)
            assert "NOREPLICAS" in failure.reason
            await asyncio.sleep(2)  # several more tries
            assert {0} == {item.attempt for item in await jobs_in(job_queue)}
            client.config_set("min-replicas-to-write", 0)
            # Far sooner than the lease of those that were returned: none has kept it.
            done = await wait_for_jobs(job_queue, 20, JobState.DONE)
            assert {1} == {item.attempt for item in done}
            assert await states.find_failure(DISPATCH) is None

    settings = settings_of(tmp_path, broker=redis_url, lease_seconds=300)
    flush(redis_url)
    with Redis.from_url(redis_url) as client, running_worker(settings, {"act": act}):
        try:
            await check(client)
        finally:
            client.config_set("min-replicas-to-write", 0)


@pytest.mark.anyio
async def test_old_message_does_not_keep_a_lease(tmp_path: Path, redis_url: str) -> None:
    """A message older than the job's lease is ignored: the lease expires, and the job runs."""

    settings = settings_of(tmp_path, broker=redis_url, lease_seconds=2)
    flush(redis_url)
    async with job_queue_of(settings) as job_queue:
        await job_queue.add_jobs([job()], utc_now())
        [lost] = await job_queue.claim(utc_now(), utc_now() + timedelta(seconds=3), 1)
        with running_worker(settings, {"act": act}):
            message: Message[None] = Message(
                queue_name=QUEUE, actor_name="act", args=(lost.id, lost.token - 1), kwargs={}, options={}
            )
            await asyncio.to_thread(dramatiq.get_broker().enqueue, message)
            await wait_for_jobs(job_queue, 1, JobState.DONE)
