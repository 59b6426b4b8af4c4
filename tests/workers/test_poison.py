"""A job that kills its worker: it alone is buried, and the jobs beside it are completed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.worker import job, job_queue_of, settings_of, wait_for_jobs
from tusd_py.model.jobs import JobState
from tusd_py.wiring.clock import utc_now

_CRASHES = 3


@pytest.mark.anyio
async def test_only_the_job_that_kills_is_buried(tmp_path: Path) -> None:
    """After the first crash the suspects run alone; the jobs beside the poison job lose no attempt."""
    settings = settings_of(tmp_path, lease_seconds=1, attempts_max=2, threads=16)
    command = [sys.executable, "-m", "tests.workers.poisoned_worker", settings.model_dump_json()]

    async with job_queue_of(settings) as job_queue:
        await job_queue.add_jobs([*(job() for _ in range(5)), job("poison"), *(job() for _ in range(20))], utc_now())
        for _ in range(_CRASHES):
            assert -signal.SIGKILL == await asyncio.to_thread(subprocess.call, command, timeout=30)
        worker = await asyncio.to_thread(subprocess.Popen, command)
        try:
            [dead] = await wait_for_jobs(job_queue, 1, JobState.DEAD)
            done = await wait_for_jobs(job_queue, 25, JobState.DONE)
        finally:
            worker.kill()
            worker.wait(10)
        assert ("poison", "gave up after 3 starts: its worker died each time") == (dead.actor, dead.error)
        assert {1} == {item.attempt for item in done}
