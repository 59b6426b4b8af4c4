"""The quota ledger of each database: charges, takeover, settlement, limits, reconciliation, and races."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.harness import CALLER, UploadsHarness
from tests.support.waiting import eventually
from tusd_py.access.quota import QuotaPolicy
from tusd_py.contracts.records import QuotaExhausted, RecordExists
from tusd_py.model.jobs import NO_EFFECTS, Effects, Job
from tusd_py.model.principal import Principal, PrincipalLimits
from tusd_py.model.quota import Quota, QuotaLimits, QuotaPeriods
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.access_errors import QuotaReached
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.uploads.expire import sweep
from tusd_py.uploads.policy import UploadPolicy
from tusd_py.uploads.processing.settle import settle

pytestmark = pytest.mark.anyio

SUBJECT = "address:192.0.2.7"
PERIODS = QuotaPeriods("2026-01-01", "2026-01")


@asynccontextmanager
async def opened(
    url: str, limits: QuotaLimits | None = None, policy: UploadPolicy | None = None
) -> AsyncIterator[tuple[UploadsHarness, SqlDatabase]]:
    """The use cases over the database at ``url``, with 100 bytes a day and 150 a month unless ``limits`` are given."""
    database = await SqlDatabase.open(url)
    harness = UploadsHarness(
        records=database.records, policy=policy or UploadPolicy(steps=("quota",), partial_seconds=0)
    )
    harness.caller = replace(CALLER, client="192.0.2.7")
    counts_now = limits is not None
    limits = limits or QuotaLimits(bytes_per_day=100, bytes_per_month=150)
    harness.ports = replace(
        harness.ports,
        quotas=QuotaPolicy(limits=limits, counts_now=counts_now),
        quota_ledger=database.quota_ledger,
        job_queue=database.job_queue,
    )
    try:
        yield harness, database
    finally:
        await harness.drain()
        await database.close()


async def used(database: SqlDatabase) -> list[tuple[int, int]]:
    return [(each.used, each.reserved) for each in (await database.quota_ledger.usage(SUBJECT, PERIODS))[:2]]


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
    """Limits that were set come before those of the settings, which apply to other quotas, and again once removed."""
    day, month = Quota.BYTES_PER_DAY, Quota.BYTES_PER_MONTH
    async with opened(url) as (harness, database):
        ledger = database.quota_ledger
        await ledger.change_limits(SUBJECT, {day: None})
        await ledger.change_limits(SUBJECT, {month: 110})
        await ledger.change_limits(SUBJECT, {month: 120})
        assert await ledger.find_limits(SUBJECT) == {day: None, month: 120}
        await harness.create(120)
        assert (await refused(lambda: harness.create(1))).quota == "bytes_per_month"
        await ledger.change_limits(SUBJECT, {}, [month])
        assert await ledger.find_limits(SUBJECT) == {day: None}
        await harness.create(30)  # 150 a month are those of the settings
        assert (await refused(lambda: harness.create(1))).quota == "bytes_per_month"
        await ledger.change_limits(SUBJECT, {}, [*Quota])
        assert await ledger.find_limits(SUBJECT) == {}
        assert (await refused(lambda: harness.create(1))).quota == "bytes_per_day"


async def test_changes_of_limits_at_once_all_last(url: str) -> None:
    """Two servers change different limits of one subject at the same time."""
    async with opened(url) as (_, first), opened(url) as (_, second):
        ledgers = [first.quota_ledger, second.quota_ledger]
        changes = [
            ledgers[number % 2].change_limits(SUBJECT, {quota: number}) for number, quota in enumerate([*Quota] * 2)
        ]
        await asyncio.gather(*changes)
        found = await ledgers[0].find_limits(SUBJECT)
        assert [found[quota] in (place, place + 6) for place, quota in enumerate(Quota)] == [True] * 6


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


async def counted(database: SqlDatabase) -> dict[str, int]:
    """What is used of each quota, and a look that nothing has drifted."""
    assert await database.quota_ledger.reconcile(repair=False, counts_now=True) == []
    return {each.quota.value: each.used for each in await database.quota_ledger.usage(SUBJECT, PERIODS)}


async def test_files_are_counted_once_403(url: str) -> None:
    """A file stays counted when it ends; the parts of a parallel upload are no files."""
    async with opened(url, QuotaLimits(files_per_day=2, files_per_month=3)) as (harness, database):
        upload = (await harness.create(5)).upload
        await harness.terminate(upload.id)
        parts = [(await harness.create(1, b"x", kind=Kind.PARTIAL)).upload.id for _ in range(3)]
        await harness.create(None, kind=Kind.FINAL, parts=parts)
        reached = await refused(lambda: harness.create(1))
        assert (reached.status, reached.quota, reached.limit, reached.used) == (403, "files_per_day", 2, 2)
        harness.clock.move(24 * 3600)
        await harness.create(1)
        assert (await refused(lambda: harness.create(1))).quota == "files_per_month"
        assert (await counted(database))["files_per_month"] == 3


async def test_uploads_at_once_403(url: str) -> None:
    """An upload that completes or ends lets the next one begin."""
    async with opened(url, QuotaLimits(uploads_at_once=2)) as (harness, database):
        first, second = [(await harness.create(5)).upload.id for _ in range(2)]
        reached = await refused(lambda: harness.create(5))
        assert (reached.status, reached.quota, reached.used, reached.resets_at) == (403, "uploads_at_once", 2, "")
        await harness.create(5, b"x" * 5)  # complete at once
        await harness.append(first, 0, b"x" * 5)
        await harness.create(5)
        await refused(lambda: harness.create(5))
        await harness.terminate(second)
        await harness.create(5)
        assert (await counted(database))["uploads_at_once"] == 2


async def test_stored_bytes_are_released_by_the_end(url: str) -> None:
    """Unlike the bytes of a day, those that are stored are released when the upload is deleted, rejected or expires."""
    policy = UploadPolicy(finished_seconds=3600, unfinished_seconds=3600)
    async with opened(url, QuotaLimits(bytes_stored=100), policy) as (harness, database):
        complete = (await harness.create(60, b"x" * 60)).upload
        assert (await refused(lambda: harness.create(41))).quota == "bytes_stored"
        await harness.terminate(complete.id)
        await harness.create(100)
        await refused(lambda: harness.create(1))
        harness.clock.move(4000)
        await sweep(harness.ports)
        await harness.create(90, b"x" * 90)
        assert await counted(database) == {
            "bytes_per_day": 150,
            "bytes_per_month": 150,
            "files_per_day": 3,
            "files_per_month": 3,
            "bytes_stored": 90,
            "uploads_at_once": 0,
        }


@pytest.mark.parametrize("parts_first", [True, False], ids=["parts end first", "final ends first"])
async def test_stored_bytes_of_a_parallel_upload_count_once(url: str, parts_first: bool) -> None:
    """While parts and final exist, when the parts are deleted, and until the last of them has ended."""
    async with opened(url, QuotaLimits(bytes_stored=100), UploadPolicy()) as (harness, database):
        parts = [(await harness.create(30, b"x" * 30, kind=Kind.PARTIAL)).upload.id for _ in range(2)]
        final = (await harness.create(None, kind=Kind.FINAL, parts=parts)).upload
        assert (await counted(database))["bytes_stored"] == 60
        ended = [*parts, final.id] if parts_first else [final.id, *parts]
        for upload_id, left in zip(ended, [60, 60, 0] if parts_first else [60, 30, 0], strict=True):
            await harness.terminate(upload_id)
            assert (await counted(database))["bytes_stored"] == left
        await harness.create(100)


async def test_final_is_assembled_under_the_quota_of_its_token(url: str) -> None:
    """The limits of the credentials that created an upload apply where no request is: 60 bytes a day would not do."""
    async with opened(url) as (harness, database):
        limits = PrincipalLimits(bytes_per_day=500, bytes_per_month=500)
        harness.caller = replace(harness.caller, principal=Principal(subject="a", limits=limits))
        part = (await harness.create(None, kind=Kind.PARTIAL)).upload
        final = (await harness.create(None, kind=Kind.FINAL, parts=[part.id, part.id])).upload
        await harness.append(part.id, 0, b"x" * 90, length=90)
        await harness.drain()
        found = await harness.record(final.id)
        assert found is not None
        assert found.is_complete
        assert (await used(database))[0][0] == 180


async def test_reconciliation_after_quotas_are_switched_on(url: str) -> None:
    """What exists already is counted by a repair; without limits on it nothing is counted, and that is no drift."""
    async with opened(url) as (harness, database):
        upload = (await harness.create(60)).upload
        await harness.append(upload.id, 0, b"x" * 20)
        ledger = database.quota_ledger
        assert await ledger.reconcile(repair=False) == []
        found = await ledger.reconcile(repair=True, counts_now=True)
        assert {(drift.unit, drift.counted, drift.charged) for drift in found} == {
            ("stored", 0, 60),
            ("unfinished", 0, 1),
        }
        assert (await counted(database))["bytes_stored"] == 60
        assert await ledger.reconcile(repair=True)
        assert await ledger.reconcile(repair=False) == []


async def test_forgotten_subject(url: str) -> None:
    """Nothing is left of it, and its uploads are not charged any more."""
    async with opened(url) as (harness, database):
        upload = (await harness.create(60)).upload
        await database.quota_ledger.change_limits(SUBJECT, {Quota.BYTES_PER_DAY: 1})
        await database.quota_ledger.forget(SUBJECT)
        assert await database.quota_ledger.find_limits(SUBJECT) == {}
        await harness.append(upload.id, 0, b"x" * 60)
        assert await used(database) == [(0, 0), (0, 0)]


async def test_insertions_of_one_transaction_share_a_quota(url: str) -> None:
    """Those that fit together are charged together; of those that do not, each is accepted or refused by itself."""
    async with opened(url) as (harness, database):
        policy = harness.ports.quotas
        assert policy is not None

        async def insert(*lengths: int) -> list[BaseException | None]:
            outcomes: list[BaseException | None] = []
            for length in lengths:
                now = harness.clock()
                upload = Upload(id=harness.ports.new_id(), length=length, created_at=now, updated_at=now)
                effects = Effects(quota=policy.new_charge(upload, "192.0.2.7"))
                database.records.begin_insert(upload, effects, outcomes.append)
            await eventually(lambda: len(outcomes) == len(lengths))
            return outcomes

        assert await insert(20, 30) == [None, None]
        assert await used(database) == [(50, 50), (50, 50)]
        first, second, third = await insert(40, 40, 10)
        assert first is None and isinstance(second, QuotaExhausted) and third is None
        assert await used(database) == [(100, 100), (100, 100)]


async def test_insertion_of_a_recorded_id_is_refused_alone(url: str) -> None:
    """The insertions that share its transaction are recorded."""
    async with opened(url) as (harness, database):
        now = harness.clock()
        first, second = (Upload(id=each, length=1, created_at=now, updated_at=now) for each in ("a" * 32, "b" * 32))
        await database.records.insert(first)
        outcomes: list[BaseException | None] = []
        for upload in (second, first):
            database.records.begin_insert(upload, NO_EFFECTS, outcomes.append)
        await eventually(lambda: len(outcomes) == 2)
        assert outcomes[0] is None and isinstance(outcomes[1], RecordExists)
        assert await database.records.find(second.id) == second


async def test_charged_insertion_of_a_recorded_id_is_refused_alone(url: str) -> None:
    """It is charged nothing; those that share its transaction are recorded and charged."""
    async with opened(url) as (harness, database):
        policy, now = harness.ports.quotas, harness.clock()
        assert policy is not None
        first, second = (Upload(id=each, length=30, created_at=now, updated_at=now) for each in ("a" * 32, "b" * 32))
        await database.records.insert(first)
        outcomes: list[BaseException | None] = []
        for upload in (second, first):
            effects = Effects(quota=policy.new_charge(upload, "192.0.2.7"))
            database.records.begin_insert(upload, effects, outcomes.append)
        await eventually(lambda: len(outcomes) == 2)
        assert outcomes[0] is None and isinstance(outcomes[1], RecordExists)
        assert await used(database) == [(30, 30), (30, 30)]


async def test_servers_that_charge_several_subjects_at_once(url: str) -> None:
    """Creations of many subjects by two servers, in any order, wait for each other and never fail or lose a charge."""
    async with opened(url) as (harness, first), opened(url) as (_, second):
        policy = harness.ports.quotas
        assert policy is not None
        outcomes: list[BaseException | None] = []
        for number in range(60):
            now = harness.clock()
            upload = Upload(id=f"{number:032}", length=5, created_at=now, updated_at=now)
            address = f"192.0.2.{(number * 7 if number % 2 else -number * 7) % 5}"
            effects = Effects(quota=policy.new_charge(upload, address))
            (first, second)[number % 2].records.begin_insert(upload, effects, outcomes.append)
        await eventually(lambda: len(outcomes) == 60, timeout_seconds=60)
        assert outcomes == [None] * 60
        sums = [await first.quota_ledger.usage(f"address:192.0.2.{number}", PERIODS) for number in range(5)]
        assert sum(usage[0].used for usage in sums) == 300
        assert await first.quota_ledger.reconcile(repair=False) == []
