"""The dispatcher over a real database with Dramatiq's threads: dispatch, retries, failures, leases and stopping."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.worker import job, job_queue_of, jobs_in, running_worker, settings_of, wait_for_jobs
from tusd_py.model.jobs import Job, JobState
from tusd_py.wiring.clock import utc_now
from workers.actor import GiveUp, JobContext, Retry
from workers.runner import backoff_seconds

DONE, DEAD, WAITING, RUNNING = JobState.DONE, JobState.DEAD, JobState.WAITING, JobState.RUNNING


@pytest.mark.anyio
async def test_dispatch_each_job_once(tmp_path: Path, broker: str) -> None:
    """Each of 200 jobs runs once and is completed at its first attempt."""
    seen: list[int] = []

    async def act(task: JobContext) -> None:
        seen.append(task.job.id)

    settings = settings_of(tmp_path, broker=broker)
    with running_worker(settings, {"act": act}):
        async with job_queue_of(settings) as job_queue:
            await job_queue.add_jobs([job() for _ in range(200)], utc_now())
            done = await wait_for_jobs(job_queue, 200, DONE)
            assert {1} == {item.attempt for item in done}
            assert sorted(item.id for item in done) == sorted(seen)


@pytest.mark.anyio
async def test_dispatch_woken_by_new_job(tmp_path: Path, broker: str) -> None:
    """An idle worker is woken by a new job: the median delay of 20 is far below the polling interval."""
    began: dict[int, float] = {}

    async def act(task: JobContext) -> None:
        began[task.job.id] = time.monotonic()

    settings = settings_of(tmp_path, broker=broker)
    with running_worker(settings, {"act": act}):
        waits = []
        async with job_queue_of(settings) as job_queue:
            for number in range(1, 21):
                await job_queue.add_jobs([job()], utc_now())
                made_at = time.monotonic()
                await wait_for_jobs(job_queue, number, DONE)
                waits.append(began[number] - made_at)
        assert sorted(waits)[10] < 0.25, waits


@pytest.mark.anyio
async def test_retry_give_up_and_unexpected_errors(tmp_path: Path, broker: str) -> None:
    """``Retry`` runs again after its seconds, ``GiveUp`` never; unexpected errors are retried with their text kept."""
    attempts: dict[str, int] = {"later": 0, "never": 0, "broken": 0}

    async def later(task: JobContext) -> None:
        attempts["later"] += 1
        if task.job.attempt < 3:
            raise Retry("not yet", 0.05)

    async def never(task: JobContext) -> None:
        attempts["never"] += 1
        raise GiveUp("it is gone")

    async def broken(task: JobContext) -> None:
        attempts["broken"] += 1
        raise ValueError("see http://user:secret@host/path")

    settings = settings_of(tmp_path, broker=broker)
    with running_worker(settings, {"later": later, "never": never, "broken": broken}):
        async with job_queue_of(settings) as job_queue:
            await job_queue.add_jobs([job("later"), job("never"), job("broken")], utc_now())
            [done] = await wait_for_jobs(job_queue, 1, DONE)
            assert 3 == done.attempt
            [dead] = await wait_for_jobs(job_queue, 1, DEAD)
            assert "it is gone" == dead.error
            assert dead.ended_at is not None
            failed = next(item for item in await jobs_in(job_queue) if item.actor == "broken")
            assert "ValueError" in failed.error
            assert "secret" not in failed.error
    assert (3, 1) == (attempts["later"], attempts["never"])


@pytest.mark.anyio
async def test_job_dead_after_attempts_max(tmp_path: Path, broker: str) -> None:
    """After ``worker.attempts_max`` attempts a job is dead, with the reason of the last failure."""

    async def act(task: JobContext) -> None:
        raise Retry("the receiver is away", 0)

    settings = settings_of(tmp_path, broker=broker, attempts_max=3)
    with running_worker(settings, {"act": act}):
        async with job_queue_of(settings) as job_queue:
            await job_queue.add_jobs([job()], utc_now())
            [dead] = await wait_for_jobs(job_queue, 1, DEAD)
            assert 3 == dead.attempt
            assert "gave up after 3 attempts: the receiver is away" == dead.error


@pytest.mark.anyio
async def test_time_limit_interrupts_actor(tmp_path: Path, broker: str) -> None:
    """An actor that exceeds ``worker.time_limit_seconds`` is cancelled, cleans up, and its job is retried."""
    cut = threading.Event()

    async def act(task: JobContext) -> None:
        if task.job.attempt == 1:
            try:
                await asyncio.Event().wait()
            finally:
                cut.set()

    settings = settings_of(tmp_path, broker=broker, time_limit_seconds=0.5)
    with running_worker(settings, {"act": act}):
        async with job_queue_of(settings) as job_queue:
            await job_queue.add_jobs([job()], utc_now())
            [done] = await wait_for_jobs(job_queue, 1, DONE)
            assert 2 == done.attempt
            assert "longer than 0.5 s" in done.error
    assert cut.is_set()


@pytest.mark.anyio
async def test_slow_subscription_delays_only_itself(tmp_path: Path, broker: str) -> None:
    """While 50 jobs of each of two subscriptions hang, all jobs of a third are completed."""
    hanging = asyncio.Event()

    async def act(task: JobContext) -> None:
        if task.job.subscription.startswith("slow"):
            await hanging.wait()

    settings = settings_of(tmp_path, broker=broker, threads=8, shutdown_timeout_seconds=0.1)
    with running_worker(settings, {"act": act}):
        async with job_queue_of(settings) as job_queue:
            slow = [job(subscription=f"slow {number % 2}") for number in range(100)]
            await job_queue.add_jobs([*slow, *(job(subscription="quick") for _ in range(50))], utc_now())
            done = await wait_for_jobs(job_queue, 50, DONE)
            assert {"quick"} == {item.subscription for item in done}
            running = await jobs_in(job_queue, RUNNING)
            assert 4 <= len(running) < 8, "the slow ones have their share, and leave room"


@pytest.mark.anyio
async def test_progress_reports_delay_no_other_event(tmp_path: Path, broker: str) -> None:
    """While 100 post-receives hang, all other jobs of the same subscription are completed."""
    hanging = asyncio.Event()

    async def act(task: JobContext) -> None:
        if task.job.lane != task.job.subscription:
            await hanging.wait()

    settings = settings_of(tmp_path, broker=broker, threads=8, shutdown_timeout_seconds=0.1)
    with running_worker(settings, {"act": act}):
        async with job_queue_of(settings) as job_queue:
            await job_queue.add_jobs([replace(job(subscription="s"), is_progress=True) for _ in range(100)], utc_now())
            await job_queue.add_jobs([job(subscription="s") for _ in range(50)], utc_now())
            await wait_for_jobs(job_queue, 50, DONE)
            assert 1 <= len(await jobs_in(job_queue, RUNNING)) <= 2, "a quarter of the threads"


@pytest.mark.anyio
async def test_sequence_key_keeps_order(tmp_path: Path, broker: str) -> None:
    """Jobs of each sequence key run in order though attempts fail."""
    seen: list[Job] = []

    async def act(task: JobContext) -> None:
        if task.job.attempt == 1 and task.job.id % 3 == 0:
            raise Retry("once more", 0)
        seen.append(task.job)

    settings = settings_of(tmp_path, broker=broker)
    with running_worker(settings, {"act": act}):
        async with job_queue_of(settings) as job_queue:
            await job_queue.add_jobs([job(sequence_key=f"key {number % 2}") for number in range(30)], utc_now())
            await wait_for_jobs(job_queue, 30, DONE)
    for sequence_key in ("key 0", "key 1"):
        ids = [item.id for item in seen if item.sequence_key == sequence_key]
        assert sorted(ids) == ids
        assert 15 == len(ids)


@pytest.mark.anyio
async def test_stop_waits_then_returns_jobs(tmp_path: Path, broker: str) -> None:
    """A job that ends within the grace period is completed; another is interrupted and waits for the next worker."""
    begun = threading.Barrier(3)

    async def act(task: JobContext) -> None:
        await asyncio.to_thread(begun.wait, 10)
        await asyncio.sleep(0.1 if task.job.subscription == "quick" else 60)

    settings = settings_of(tmp_path, broker=broker, shutdown_timeout_seconds=0.6)
    with running_worker(settings, {"act": act}):
        async with job_queue_of(settings) as job_queue:
            await job_queue.add_jobs([job(subscription="quick"), job(subscription="slow")], utc_now())
        begun.wait(10)
    async with job_queue_of(settings) as job_queue:
        found = {item.subscription: item for item in await jobs_in(job_queue)}
        assert (DONE, WAITING) == (found["quick"].state, found["slow"].state)
        assert found["slow"].next_attempt_at <= utc_now()


@pytest.mark.anyio
async def test_lease_renewed_while_actor_runs(tmp_path: Path, broker: str) -> None:
    """A job that takes longer than several leases is completed at its first attempt, once."""
    begun: list[int] = []

    async def act(task: JobContext) -> None:
        begun.append(task.job.attempt)
        await asyncio.sleep(1.5)

    settings = settings_of(tmp_path, broker=broker, lease_seconds=0.5)
    with running_worker(settings, {"act": act}):
        async with job_queue_of(settings) as job_queue:
            await job_queue.add_jobs([job()], utc_now())
            [done] = await wait_for_jobs(job_queue, 1, DONE)
            assert 1 == done.attempt
    assert [1] == begun


@pytest.mark.anyio
async def test_expired_lease_dispatched_again(tmp_path: Path, broker: str) -> None:
    """A lease without a start ends unnoticed; a job whose worker died at each of its starts is dead."""

    async def act(task: JobContext) -> None:
        return

    settings = settings_of(tmp_path, broker=broker, attempts_max=3)
    async with job_queue_of(settings) as job_queue:
        await job_queue.add_jobs([job(subscription="unlucky"), job(), job(subscription="not begun")], utc_now())
        for starts in (2, 1, 1):
            now = utc_now()
            for item in (await job_queue.claim(now, now, 3))[:starts]:
                await job_queue.start(item)
    with running_worker(settings, {"act": act}):
        async with job_queue_of(settings) as job_queue:
            done = {item.subscription: item.attempt for item in await wait_for_jobs(job_queue, 2, DONE)}
            assert {"": 1, "not begun": 1} == done
            [dead] = await wait_for_jobs(job_queue, 1, DEAD)
            assert ("unlucky", "gave up after 3 starts: its worker died each time") == (dead.subscription, dead.error)


@pytest.mark.anyio
async def test_lost_lease_cancels_actor(tmp_path: Path, broker: str) -> None:
    """An actor whose job another worker has claimed is cancelled and records no result."""
    begun, stopped = threading.Event(), threading.Event()

    async def act(task: JobContext) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    settings = settings_of(tmp_path, broker=broker, lease_seconds=1)
    with running_worker(settings, {"act": act}):
        async with job_queue_of(settings) as job_queue:
            await job_queue.add_jobs([job()], utc_now())
            assert await asyncio.to_thread(begun.wait, 10)
            later = utc_now() + timedelta(minutes=5)
            [taken] = await job_queue.claim(later, later + timedelta(minutes=5), 1)
            assert await asyncio.to_thread(stopped.wait, 10)
            await job_queue.complete(taken, utc_now())


@pytest.mark.anyio
async def test_unknown_actor_waits(tmp_path: Path, broker: str) -> None:
    """A worker older than the server leaves unknown jobs for a newer worker, with the reason in the job."""

    settings = settings_of(tmp_path, broker=broker)
    with running_worker(settings, {}):
        async with job_queue_of(settings) as job_queue:
            await job_queue.add_jobs([job("unheard")], utc_now())
            deadline = time.monotonic() + 10
            while not (waiting := await jobs_in(job_queue, WAITING))[:1] or not waiting[0].error:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
            assert "no actor 'unheard'" in waiting[0].error


def test_backoff_doubles_up_to_four_hours() -> None:
    """The first wait is one second, plus or minus a quarter; thirty attempts take about three days."""
    assert (0.75, 1.25) == (backoff_seconds(1, lambda: 0.0), backoff_seconds(1, lambda: 1.0))
    assert [1, 2, 4, 8] == [backoff_seconds(attempt, lambda: 0.5) for attempt in (1, 2, 3, 4)]
    assert 4 * 3600 == backoff_seconds(40, lambda: 0.5) == backoff_seconds(10_000, lambda: 0.5)
    assert 2.5 < sum(backoff_seconds(attempt, lambda: 0.5) for attempt in range(1, 30)) / 86400 < 3.5
