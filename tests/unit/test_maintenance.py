"""The periodic tasks run in one of the processes that share the data, and survive failures."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.harness import CALLER, Clock, FakeBody
from tests.support.waiting import eventually
from tusd_py.contracts.hook_counts import HookCount
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import NewJob
from tusd_py.model.upload import Status
from tusd_py.protocol.requests import Create
from tusd_py.service import Service
from tusd_py.settings import Settings
from tusd_py.settings.backends import RecordsSettings
from tusd_py.uploads.create import create


def settings_of(folder: Path) -> Settings:
    return Settings.model_validate(
        {
            "storage": {"data_dir": str(folder)},
            "expiration": {"unfinished_seconds": 10, "sweep_interval_seconds": 0.01},
        }
    )


def is_leader(service: Service) -> bool:
    return service.maintenance is not None and service.maintenance.is_leader


@pytest.mark.anyio
async def test_one_leader_at_a_time(tmp_path: Path) -> None:
    """Of two services on one directory one removes expired uploads; when it is closed, the other takes over."""
    clock = Clock(datetime.now(UTC))
    settings = settings_of(tmp_path)
    first, second = Service(settings, clock=clock), Service(settings, clock=clock)
    await first.open()
    await eventually(lambda: is_leader(first))
    await second.open()
    ports = await second.ports()
    for leader in (first, second):
        created = (await create(ports, Create(length=3), CALLER, FakeBody())).upload
        clock.move(11)
        expired = leader.metrics.expired
        await eventually(lambda expired=expired: expired._value.get() == 1)  # type: ignore[misc]
        record = await ports.records.find(created.id)
        assert record is not None
        assert record.status is Status.EXPIRED
        if leader is first:
            assert not is_leader(second)
            await first.close()
    await second.close()


@pytest.mark.anyio
async def test_failure_is_logged_and_retried(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A pass that fails is logged, and the next one removes the expired upload."""
    clock = Clock(datetime.now(UTC))
    settings = settings_of(tmp_path)
    service = Service(settings, clock=clock)
    ports = await service.ports()
    await eventually(lambda: is_leader(service))
    await create(ports, Create(length=3), CALLER, FakeBody())
    clock.now = "no time"  # type: ignore[assignment]  # makes the pass fail
    await eventually(lambda: "maintenance failed" in caplog.text)
    clock.now = datetime.now(UTC) + timedelta(seconds=20)
    await eventually(lambda: service.metrics.expired._value.get() == 1)
    await service.close()


@pytest.mark.anyio
async def test_dead_jobs_of_unknown_uploads_are_deleted(tmp_path: Path) -> None:
    """After ``events.keep_dead_seconds``, and counted in the metrics."""
    clock = Clock(datetime.now(UTC))
    service = Service(settings_of(tmp_path), clock=clock)
    ports = await service.ports()
    assert ports.job_queue is not None
    await ports.job_queue.add_jobs([NewJob(actor="a", key="k", upload_id="gone", sequence_key="s")], clock())
    (job,) = await ports.job_queue.claim(clock(), clock() + timedelta(seconds=1), 1)
    await ports.job_queue.fail(job, clock(), "never")
    await eventually(lambda: service.metrics.jobs_dead._value.get() == 1)
    assert service.metrics.jobs_dead_pruned._value.get() == 0
    clock.move(31 * 86400)
    await eventually(lambda: service.metrics.jobs_dead_pruned._value.get() == 1)
    assert await ports.job_queue.list_jobs(limit=1) == []
    await service.close()


@pytest.mark.anyio
async def test_leftovers_are_removed_by_an_old_enough_process(tmp_path: Path) -> None:
    """Bytes without a record go after a day, but not in the first day of a process; never with records in memory."""
    clock = Clock(datetime.now(UTC))
    for name, records, removes in (("sql", "", True), ("memory", "memory", False)):
        settings = settings_of(tmp_path / name).model_copy(update={"records": RecordsSettings(url=records)})
        service = Service(settings, clock=clock)
        await service.open()
        lost = tmp_path / name / "uploads" / ("a" * 32)
        lost.write_bytes(b"0123")
        os.utime(lost, (1, 1))
        for _ in range(2):
            await asyncio.sleep(0.1)
            assert lost.exists()
        clock.move(24 * 3600)
        if removes:
            await eventually(lambda lost=lost: not lost.exists())  # type: ignore[misc]
        else:
            await asyncio.sleep(0.1)
            assert lost.exists()
        await service.close()


@pytest.mark.anyio
async def test_hooks_delivered_by_workers_are_counted(tmp_path: Path) -> None:
    """Those since the start of this server, at each pass."""
    service = Service(settings_of(tmp_path))
    counts = (await service.ports()).hook_counts
    assert counts is not None
    await service.open()
    try:
        # What was counted before the first pass is of earlier servers.
        await eventually(lambda: service.maintenance is not None and service.maintenance._hook_totals is not None)
        await counts.add(Hook.POST_FINISH, HookCount(3, 1))
        expected = (
            b'tusd_hook_invocations_total{hooktype="post-finish"} 3.0',
            b'tusd_hook_errors_total{hooktype="post-finish"} 1.0',
        )
        await eventually(lambda: all(line in service.metrics.exposition() for line in expected))
    finally:
        await service.close()
