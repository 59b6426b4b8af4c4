"""The server's maintenance of jobs: metrics of late and dead jobs, and deletion of old completed ones."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.test_metrics import samples
from tests.support.server import start_server
from tests.support.worker import job, job_queue_of, jobs_in, settings_of
from tusd_py.model.jobs import JobState
from tusd_py.wiring.clock import utc_now


@pytest.mark.anyio
async def test_late_and_dead_jobs_are_measured_and_old_ones_pruned(tmp_path: Path) -> None:
    """A due job without a worker and a dead job appear in the metrics; old completed jobs are deleted."""
    settings = settings_of(tmp_path / "data")
    async with job_queue_of(settings) as job_queue:
        long_ago, now = utc_now() - timedelta(days=1), utc_now()
        await job_queue.add_jobs([job() for _ in range(4)], long_ago)
        old, new, dead, _ = await job_queue.claim(long_ago, now, 4)
        await job_queue.complete(old, long_ago)
        await job_queue.complete(new, now)
        await job_queue.fail(dead, now, "HTTP 422")
        overrides = {"EXPIRATION__SWEEP_INTERVAL_SECONDS": "0.1", "EVENTS__KEEP_SECONDS": "3600"}
        server = await asyncio.to_thread(start_server, tmp_path / "data", settings=overrides)
        try:
            deadline = time.monotonic() + 15
            while not (values := await samples(server)).get("tusd_py_jobs_dead"):
                assert time.monotonic() < deadline, "the metric of dead jobs is never set"
                await asyncio.sleep(0.05)
            assert 1 == values["tusd_py_jobs_dead"]
            assert 0 < values["tusd_py_jobs_late_seconds"] < 60
            name = dead.subscription or dead.actor
            deadline = time.monotonic() + 15
            while (values := await samples(server)).get(f'tusd_py_jobs_waiting{{task="{name}"}}') != 1:
                assert time.monotonic() < deadline, "the metric of waiting jobs is never set"
                await asyncio.sleep(0.05)
            assert values[f'tusd_py_jobs_oldest_seconds{{task="{name}"}}'] > 80_000, "it was added a day ago"
            assert values["tusd_py_storage_free_bytes"] > 0
            assert [new.id] == [found.id for found in await jobs_in(job_queue, JobState.DONE)]
        finally:
            server.stop()
