"""Random histories with quotas: never over a limit, no charge is lost, and the counters are the sum of the charges."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.database import empty_database
from tests.support.harness import CALLER, UploadsHarness, cut
from tusd_py.access.quota import QuotaPolicy, charged_bytes
from tusd_py.model.quota import Quota, QuotaLimits
from tusd_py.model.upload import Kind
from tusd_py.protocol.access_errors import QuotaReached
from tusd_py.protocol.errors import TusError
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.uploads.expire import sweep
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio

DAY, MONTH = 100, 150
PERIODS = {Quota.BYTES_PER_DAY: "2026-02-01", Quota.BYTES_PER_MONTH: "2026-02"}
LIMITS = QuotaLimits(bytes_per_day=DAY, bytes_per_month=MONTH)
#: One step of a history: what is done, to which of the uploads, and with how many bytes.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "create",
                "create",
                "partial",
                "deferred",
                "append",
                "append",
                "declare",
                "cut",
                "delete",
                "final",
                "day",
                "race",
            ]
        ),
        st.integers(0, 9),
        st.integers(0, 70),
    ),
    max_size=25,
)


class Ledger:
    """The use cases over a database with quotas, and what its tables say."""

    def __init__(self, database: SqlDatabase, path: Path) -> None:
        policy = UploadPolicy(unfinished_seconds=3 * 24 * 3600, tombstone_seconds=10**7, partial_seconds=0)
        self.harness = UploadsHarness(records=database.records, policy=policy)
        self.harness.caller = replace(CALLER, client="192.0.2.7")
        self.harness.ports = replace(
            self.harness.ports, quotas=QuotaPolicy(limits=LIMITS), quota_ledger=database.quota_ledger
        )
        self.database = database
        self.ids: list[str] = []
        self._path = path

    async def step(self, name: str, which: int, size: int) -> None:
        harness, upload_id = self.harness, self.ids[which % len(self.ids)] if self.ids else ""
        if name in ("create", "partial", "deferred", "race"):
            kind = Kind.PARTIAL if name == "partial" else Kind.REGULAR
            length = None if name == "deferred" else size
            count = 2 if name == "race" else 1
            made = await asyncio.gather(
                *(harness.create(length, kind=kind) for _ in range(count)), return_exceptions=True
            )
            for each in made:
                assert not isinstance(each, BaseException) or isinstance(each, QuotaReached), each
                if not isinstance(each, BaseException):
                    self.ids.append(each.upload.id)
        elif name == "day":
            harness.clock.move(size * 3600)
            await sweep(harness.ports)
        elif name == "final":
            parts = [each for each in self.ids if (found := await harness.record(each)) and found.kind is Kind.PARTIAL]
            if parts:
                self.ids.append((await harness.create(None, kind=Kind.FINAL, parts=parts[: which + 1])).upload.id)
        elif upload_id:
            upload = await harness.record(upload_id)
            assert upload is not None
            if name == "append":
                await harness.append(upload_id, upload.offset, b"x" * size)
            elif name == "cut":
                await harness.append(upload_id, upload.offset, body=cut(b"x" * size))
            elif name == "declare":
                await harness.append(upload_id, upload.offset, length=upload.offset + size)
            else:
                await harness.terminate(upload_id)

    async def check(self) -> None:
        """Counters are the sum of charges and never over a limit; every upload is charged as its record says."""
        with sqlite3.connect(self._path) as connection:
            counters = dict(connection.execute("SELECT period, bytes FROM quota_counters").fetchall())
            rows = connection.execute("SELECT upload_id, day, month, bytes, taken_by FROM quota_charges").fetchall()
        connection.close()
        sums: dict[str, int] = defaultdict(int)
        taken: dict[str, int] = defaultdict(int)
        for _, day, month, charged, taken_by in rows:
            sums[day] += charged
            sums[month] += charged
            taken[taken_by] += charged
        assert {period: count for period, count in counters.items() if count} == {p: c for p, c in sums.items() if c}
        assert all(count <= (MONTH if len(period) == 7 else DAY) for period, count in counters.items())
        for upload_id, _, _, charged, _ in rows:
            upload = await self.harness.record(upload_id)
            assert upload is not None
            expected = charged_bytes(upload)
            if upload.kind is Kind.FINAL and expected:
                expected = max(0, expected - taken[upload_id])
            assert charged == expected, upload
        assert len(rows) == len(self.ids)
        assert await self.database.quota_ledger.reconcile(repair=False) == []


@asynccontextmanager
async def ledger() -> AsyncIterator[Ledger]:
    directory = Path(tempfile.mkdtemp(prefix="tusd-py-test-"))
    path = directory / "records.sqlite3"
    path.write_bytes(empty_database())
    database = await SqlDatabase.open(f"sqlite:///{path}")
    opened = Ledger(database, path)
    try:
        yield opened
    finally:
        await opened.harness.drain()
        await database.close()
        shutil.rmtree(directory)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_histories(steps: list[tuple[str, int, int]]) -> None:
    """Whatever clients do in whatever order, the ledger is exact and no limit is exceeded."""

    async def run() -> None:
        async with ledger() as opened:
            for name, which, size in steps:
                try:
                    await opened.step(name, which, size)
                except TusError:
                    pass  # refused: the ledger must show nothing of it
                await opened.harness.drain()
                await opened.check()

    asyncio.run(run())


async def test_reconciliation_repairs_drift() -> None:
    """A counter or a charge that was changed by hand is found, and corrected only with ``repair``."""
    async with ledger() as opened:
        await opened.step("create", 0, 60)
        with sqlite3.connect(opened._path) as connection:
            connection.execute("UPDATE quota_counters SET bytes = 7 WHERE period = '2026-01'")
            connection.execute("UPDATE quota_charges SET bytes = 50")
        connection.close()
        quotas = opened.database.quota_ledger
        found = await quotas.reconcile(repair=False)
        assert {(drift.period, drift.counted, drift.charged) for drift in found} >= {("upload u1", 50, 60)}
        assert await quotas.reconcile(repair=False) == found
        await quotas.reconcile(repair=True)
        await opened.check()


async def test_two_processes_race_for_the_last_bytes() -> None:
    """Of creations through two connections to one database, exactly as many succeed as fit."""
    async with ledger() as opened:
        other = await SqlDatabase.open(f"sqlite:///{opened._path}")
        try:
            second = Ledger(other, opened._path)
            second.harness.ids = opened.harness.ids
            made = await asyncio.gather(
                *(each.harness.create(10) for each in (opened, second) * 10), return_exceptions=True
            )
            refused = [each for each in made if isinstance(each, QuotaReached)]
            assert (len(made), len(refused)) == (20, 10)
        finally:
            await other.close()


async def test_old_months_are_forgotten_whole() -> None:
    """What was charged before a month is forgotten with its counters; the ledger stays consistent."""
    async with ledger() as opened:
        await opened.step("create", 0, 60)
        await opened.step("append", 0, 30)
        await opened.step("delete", 0, 0)
        opened.harness.clock.move(31 * 24 * 3600)
        quotas = opened.database.quota_ledger
        await quotas.prune("2026-02")
        await opened.step("create", 0, 50)
        opened.ids = opened.ids[1:]
        await opened.check()
        assert [usage.used for usage in await quotas.usage("address:192.0.2.7", PERIODS)] == [50, 50]
