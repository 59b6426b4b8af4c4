"""Workers on PostgreSQL: woken by other machines, each job to one of them, by the clock of the database."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.postgres import empty_database
from tests.support.waiting import eventually
from tests.support.worker import job, job_queue_of, running_worker, settings_of, wait_for_jobs
from tusd_py.contracts.job_queue import JobQueue
from tusd_py.model.jobs import JobState
from tusd_py.settings import Settings
from tusd_py.wiring.clock import utc_now
from workers.actor import JobContext

pytestmark = pytest.mark.anyio


def machine(directory: Path, url: str, name: str, **worker: object) -> Settings:
    """The settings of a machine that shares the database and the uploads, and nothing else."""
    data = directory / name / "data"
    data.mkdir(parents=True, exist_ok=True)
    (directory / "uploads").mkdir(exist_ok=True)
    if not (data / "uploads").exists():
        (data / "uploads").symlink_to(directory / "uploads")
    return settings_of(directory / name / "data", records={"url": url}, **worker)


async def test_job_of_another_machine_wakes_a_worker(tmp_path: Path) -> None:
    """A job begins at once although its machine wakes no worker through a directory; a poll takes longer."""
    url, began = empty_database(), dict[str, float]()

    async def note(context: JobContext) -> None:
        began[context.job.key] = time.monotonic()

    waits = []
    with running_worker(machine(tmp_path, url, "one"), {"act": note}):
        async with job_queue_of(machine(tmp_path, url, "two")) as job_queue:
            await job_queue.add_jobs([job()], utc_now())
            await wait_for_jobs(job_queue, 1, JobState.DONE)
            await asyncio.sleep(1.2)  # the worker listens by now
            for _ in range(9):
                new = job()
                added = time.monotonic()
                await job_queue.add_jobs([new], utc_now())
                await eventually(lambda key=new.key: key in began)  # type: ignore[misc]
                waits.append(began[new.key] - added)
    print(f"median {statistics.median(waits) * 1000:.1f} ms")
    assert statistics.median(waits) < 0.25


async def test_four_machines_claim_each_job_once(tmp_path: Path) -> None:
    """Four machines claim two hundred jobs at the same time: each job is leased once, and no machine waits for all."""
    url = empty_database()

    async def claim_all(queue: JobQueue) -> list[str]:
        keys: list[str] = []
        while jobs := await queue.claim(utc_now(), utc_now() + timedelta(seconds=60), 7):
            keys += [each.key for each in jobs]
        return keys

    async with AsyncExitStack() as stack:
        queues = [
            await stack.enter_async_context(job_queue_of(machine(tmp_path, url, f"machine-{number}")))
            for number in range(4)
        ]
        await queues[0].add_jobs([job() for _ in range(200)], utc_now())
        claimed = await asyncio.gather(*(claim_all(queue) for queue in queues))
    keys = [key for some in claimed for key in some]
    assert len(keys) == len(set(keys))
    assert len(keys) + 7 * 4 >= 200, "rows that another claim had locked are left to the next claim"
    assert sum(bool(some) for some in claimed) > 1


async def test_clock_of_a_machine_does_not_count(tmp_path: Path) -> None:
    """On a machine whose clock is an hour ahead, leases and due times are those of the database's clock."""
    url = empty_database()
    settings = machine(tmp_path, url, "here")
    environment = {
        **os.environ,
        "TUSD_PY_RECORDS__URL": url,
        "TUSD_PY_STORAGE__DATA_DIR": str(tmp_path / "here" / "data"),
    }
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", _CLAIM_AN_HOUR_AHEAD],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    async with job_queue_of(settings) as job_queue:
        (leased,) = await job_queue.list_jobs(states=(JobState.RUNNING,), limit=9)
    assert timedelta(seconds=0) < leased.next_attempt_at - utc_now() < timedelta(seconds=61)


_CLAIM_AN_HOUR_AHEAD = """
import asyncio, datetime, time
real = time.time

class Ahead(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(real() + 3600, tz)

datetime.datetime = Ahead
time.time = lambda: real() + 3600
from tests.support.worker import job
from tusd_py.settings import load
from tusd_py.wiring.ports import close_ports, open_ports
import os

async def main():
    settings = load(None, os.environ)
    ports = await open_ports(settings)
    now = ports.clock()
    await ports.job_queue.add_jobs([job()], now)
    (claimed,) = await ports.job_queue.claim(now, now + datetime.timedelta(seconds=60), 9)
    await close_ports(ports, settings)

asyncio.run(main())
"""
