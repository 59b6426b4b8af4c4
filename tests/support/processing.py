"""The use cases over a real database, and access to the jobs in it, for tests of steps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

from tests.support.harness import UploadsHarness
from tusd_py.contracts.store import Store
from tusd_py.model.jobs import Job, JobState
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.policy import UploadPolicy
from tusd_py.uploads.ports import Ports

_LEASE = timedelta(seconds=30)


def with_ports(harness: UploadsHarness, **changes: object) -> Ports:
    """Replace ports or policy fields of ``harness`` and return the new ports."""
    known = {field.name for field in fields(UploadPolicy)}
    policy = replace(harness.ports.policy, **{name: value for name, value in changes.items() if name in known})  # type: ignore[arg-type]
    others = {name: value for name, value in changes.items() if name not in known}
    harness.ports = replace(harness.ports, policy=policy, **others)  # type: ignore[arg-type]  # whatever fields the test names
    return harness.ports


@asynccontextmanager
async def a_harness(tmp_path: Path, store: Store | None = None, **changes: object) -> AsyncIterator[UploadsHarness]:
    """The use cases with records and jobs in a database, and ``changes`` of the ports."""
    database = await SqlDatabase.open(f"sqlite:///{tmp_path}/records.sqlite3")
    harness = UploadsHarness(records=database.records, store=store or MemoryStore(bytes_max=2**30))
    with_ports(harness, job_queue=database.job_queue, **changes)
    try:
        yield harness
    finally:
        await harness.drain()
        await database.close()


async def job(harness: UploadsHarness, upload_id: str, actor: str) -> Job:
    """The job of ``actor`` for this upload, claimed as by a worker; an earlier worker's lease is expired first.

    A job that has ended is returned unchanged, as for a worker that is too late.
    """
    job_queue = harness.ports.job_queue
    assert job_queue is not None
    (found,) = (each for each in await job_queue.list_jobs(upload_id=upload_id, limit=100) if each.actor == actor)
    if found.state in (JobState.WAITING, JobState.RUNNING):
        harness.clock.now = max(harness.clock.now, found.next_attempt_at)
        claimed = await job_queue.claim(harness.clock(), harness.clock() + _LEASE, 100)
        (found,) = (each for each in claimed if each.id == found.id)
    return found


async def states(harness: UploadsHarness, upload_id: str) -> dict[str, JobState]:
    """The states of the jobs of an upload, by actor."""
    job_queue = harness.ports.job_queue
    assert job_queue is not None
    return {each.actor: each.state for each in await job_queue.list_jobs(upload_id=upload_id, limit=100)}
