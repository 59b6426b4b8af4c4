"""The quota ledger of each database: charges, takeover, settlement, limits, reconciliation, and races."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.harness import CALLER, UploadsHarness
from tests.support.postgres import empty_database
from tusd_py.access.quota import QuotaPolicy
from tusd_py.model.jobs import Job
from tusd_py.model.quota import Quota, QuotaLimits
from tusd_py.model.upload import Kind, Status
from tusd_py.protocol.access_errors import QuotaReached
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.uploads.policy import UploadPolicy
from tusd_py.uploads.processing.settle import settle

pytestmark = pytest.mark.anyio

SUBJECT = "address:192.0.2.7"
PERIODS = {Quota.BYTES_PER_DAY: "2026-01-01", Quota.BYTES_PER_MONTH: "2026-01"}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return empty_database() if request.param == "postgresql" else f"sqlite:///{tmp_path}/records.sqlite3"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[UploadsHarness, SqlDatabase]]:
    """The use cases over the database at ``url``, with 100 bytes a day and 150 a month."""
    database = await SqlDatabase.open(url)
    harness = UploadsHarness(records=database.records, policy=UploadPolicy(steps=("quota",), partial_seconds=0))
    harness.caller = replace(CALLER, client="192.0.2.7")
    limits = QuotaLimits(bytes_per_day=100, bytes_per_month=150)
    harness.ports = replace(
        harness.ports,
        quotas=QuotaPolicy(limits=limits),
        quota_ledger=database.quota_ledger,
        job_queue=database.job_queue,
    )
    try:
        yield harness, database
    finally:
        await harness.drain()
        await database.close()


async def used(database: SqlDatabase) -> list[tuple[int, int]]:
    return [(each.used, each.reserved) for each in await database.quota_ledger.usage(SUBJECT, PERIODS)]


async def refused(work: Callable[[], object]) -> QuotaReached:
    with pytest.raises(QuotaReached) as reached:
        await work()  # type: ignore[misc]  # a coroutine function
    return reached.value


async def test_life_of_a_charge(url: str) -> None:
    """Reserved at creation, released to what was filled at the end, settled by the job that it completes."""
    async with opened(url) as (harness, database):
        upload = (await harness.create(60)).upload
        assert await used(database) == [(60, 60), (60, 60)]
        reached = await refused(lambda: harness.create(41))
        assert (reached.quota, reached.limit, reached.used) == ("bytes_per_day", 100, 60)
        await harness.append(upload.id, 0, b"x" * 20)
        await harness.terminate(upload.id)
        assert await used(database) == [(20, 0), (20, 0)]
        complete = (await harness.create(30, b"x" * 30)).upload
        assert await used(database) == [(50, 30), (50, 30)]
        (job,) = await database.job_queue.claim(harness.clock(), harness.clock() + timedelta(minutes=1), 1)
        assert isinstance(job, Job)
        for _ in range(2):  # a repetition changes nothing
            await settle(harness.ports, job)
        assert await used(database) == [(50, 0), (50, 0)]
        assert complete.id == job.upload_id


async def test_parallel_upload(url: str) -> None:
    """A final upload takes over its parts' charges; further uses of a part are charged."""
    async with opened(url) as (harness, database):
        parts = [(await harness.create(30, b"x" * 30, kind=Kind.PARTIAL)).upload.id for _ in range(2)]
        await harness.create(None, kind=Kind.FINAL, parts=parts)
        assert (await used(database))[0][0] == 60
        await harness.create(None, kind=Kind.FINAL, parts=[parts[0]])
        assert (await used(database))[0][0] == 90
        await refused(lambda: harness.create(None, kind=Kind.FINAL, parts=[parts[0]]))
        assert await database.quota_ledger.reconcile(repair=False) == []


async def test_deferred_length(url: str) -> None:
    """A deferred length is charged as it grows; a save that does not fit is refused and not recorded."""
    async with opened(url) as (harness, database):
        upload = (await harness.create(None)).upload
        await harness.append(upload.id, 0, b"x" * 70)
        assert (await used(database))[0][0] == 70
        await refused(lambda: harness.append(upload.id, 70, b"x" * 31))
        await refused(lambda: harness.append(upload.id, 70, length=101))
        found = await harness.record(upload.id)
        assert found is not None
        assert found.offset == 70
        await harness.append(upload.id, 70, length=100)
        assert (await used(database))[0][0] == 100


async def test_limits_of_one_subject(url: str) -> None:
    """Limits that were set come before those of the settings; removed, the settings apply again."""
    async with opened(url) as (harness, database):
        ledger = database.quota_ledger
        await ledger.set_limits(SUBJECT, QuotaLimits(bytes_per_month=110))
        await ledger.set_limits(SUBJECT, QuotaLimits(bytes_per_month=120))
        assert await ledger.find_limits(SUBJECT) == QuotaLimits(bytes_per_month=120)
        await harness.create(120)
        assert (await refused(lambda: harness.create(1))).quota == "bytes_per_month"
        await ledger.set_limits(SUBJECT, None)
        assert await ledger.find_limits(SUBJECT) is None
        assert (await refused(lambda: harness.create(1))).quota == "bytes_per_day"


async def test_two_servers_race_for_the_last_bytes(url: str) -> None:
    """Of creations through two connections, exactly as many succeed as fit."""
    async with opened(url) as (first, database), opened(url) as (second, _):
        second.ids = first.ids
        made = await asyncio.gather(*(harness.create(10) for harness in (first, second) * 10), return_exceptions=True)
        failures = [each for each in made if isinstance(each, BaseException)]
        assert [type(each) for each in failures] == [QuotaReached] * 10, failures
        assert (await used(database))[0] == (100, 100)
        assert await database.quota_ledger.reconcile(repair=False) == []


async def test_uploads_that_can_still_grow_keep_their_charge(url: str) -> None:
    """Old months are forgotten, except those of an owner with an unfinished upload: it would grow for free then."""
    async with opened(url) as (harness, database):
        upload = (await harness.create(None)).upload
        ended = (await harness.create(30)).upload
        await harness.append(upload.id, 0, b"x" * 10)
        await harness.append(ended.id, 0, b"x" * 5)
        await harness.terminate(ended.id)
        ledger = database.quota_ledger
        await ledger.prune("2026-01")
        await ledger.prune("2026-02")
        assert await used(database) == [(15, 10), (15, 10)]
        assert await ledger.reconcile(repair=False) == []
        assert (await refused(lambda: harness.append(upload.id, 10, b"x" * 90))).used == 15
        await harness.terminate(upload.id)
        await ledger.prune("2026-02")
        assert await used(database) == [(0, 0), (0, 0)]
        assert await ledger.reconcile(repair=False) == []


async def test_final_upload_beyond_the_quota_fails(url: str) -> None:
    """If the parts turn out too long for the quota once they are complete, the final upload fails; nothing is retried.

    One part that is named twice is charged twice.
    """
    async with opened(url) as (harness, database):
        part = (await harness.create(None, kind=Kind.PARTIAL)).upload
        final = (await harness.create(None, kind=Kind.FINAL, parts=[part.id, part.id])).upload
        await harness.append(part.id, 0, b"x" * 60, length=60)
        await harness.drain()
        failed = await harness.record(final.id)
        assert failed is not None
        assert failed.status is Status.FAILED
        assert "more than the quota of the owner allows" in failed.history[-1].reason
        assert (await used(database))[0][0] == 60
        assert await database.quota_ledger.reconcile(repair=False) == []
