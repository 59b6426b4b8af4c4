"""Random histories with quotas: never over a limit, no charge is lost, and the counters are the sum of the charges."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.database import empty_database
from tests.support.harness import CALLER, UploadsHarness, cut
from tusd_py.access.quota import QuotaPolicy
from tusd_py.model.quota import QuotaLimits, QuotaPeriods
from tusd_py.model.upload import Kind, Status
from tusd_py.protocol.access_errors import QuotaReached
from tusd_py.protocol.errors import TusError
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.uploads.commit import update
from tusd_py.uploads.expire import sweep
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio

DAY, MONTH, STORED = 100, 150, 120
FILES_PER_DAY, FILES_PER_MONTH, AT_ONCE = 6, 9, 3
PERIODS = QuotaPeriods("2026-02-01", "2026-02")
LIMITS = QuotaLimits(
    bytes_per_day=DAY,
    bytes_per_month=MONTH,
    files_per_day=FILES_PER_DAY,
    files_per_month=FILES_PER_MONTH,
    bytes_stored=STORED,
    uploads_at_once=AT_ONCE,
)
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
                "finish",
                "reject",
                "kill",
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

    def __init__(self, database: SqlDatabase, other: SqlDatabase, path: Path) -> None:
        policy = UploadPolicy(unfinished_seconds=3 * 24 * 3600, tombstone_seconds=10**7, partial_seconds=0)
        self.harness = UploadsHarness(records=database.records, policy=policy)
        self.harness.caller = replace(CALLER, client="192.0.2.7")
        self.harness.ports = replace(
            self.harness.ports,
            quotas=QuotaPolicy(limits=LIMITS, counts_now=True, deletes_rejected=True),
            quota_ledger=database.quota_ledger,
        )
        # Another process: the same uploads through a connection of its own.
        self.second = replace(self.harness, records=other.records)
        self.second.ports = replace(self.harness.ports, records=other.records, quota_ledger=other.quota_ledger)
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
                *(each.create(length, kind=kind) for each in (harness, self.second)[:count]), return_exceptions=True
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
            elif name == "finish":
                await harness.append(upload_id, upload.offset, b"x" * ((upload.length or 0) - upload.offset))
            elif name == "kill":
                await self._kill(upload_id, upload.offset, size)
            elif name == "reject":
                # As the step "validation" does it with validation.rejected = "delete".
                if upload.status is Status.PROCESSING and upload.is_complete:
                    after = upload.fail_step("validation", Status.REJECTED, harness.clock(), "no")
                    await update(harness.ports, upload, after)
            elif name == "declare":
                await harness.append(upload_id, upload.offset, length=upload.offset + size)
            else:
                await harness.terminate(upload_id)

    async def _kill(self, upload_id: str, offset: int, size: int) -> None:
        """Cancel a PATCH at some point, as the death of its process does: only the database remembers it."""
        work = asyncio.ensure_future(self.harness.append(upload_id, offset, b"x" * size))
        for _ in range(size % 7):
            await asyncio.sleep(0)
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work

    async def check(self) -> None:
        """Counters are the sum of charges and never over a limit; every upload is charged as its record says."""
        with sqlite3.connect(self._path) as connection:
            found = connection.execute("SELECT period, bytes, files FROM quota_counters").fetchall()
            rows = connection.execute(
                "SELECT upload_id, day, month, taken_by, bytes, files, stored, unfinished FROM quota_charges"
            ).fetchall()
        connection.close()
        counters = {period: (count, files) for period, count, files in found}
        sums: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        taken: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))

        def add(to: dict[str, tuple[int, int]], key: str, first: int, second: int) -> None:
            to[key] = (to[key][0] + first, to[key][1] + second)

        for _, day, month, taken_by, charged, files, stored, unfinished in rows:
            add(sums, day, charged, files)
            add(sums, month, charged, files)
            add(sums, "now", stored, unfinished)
            add(taken, taken_by, charged, stored)
        assert {period: count for period, count in counters.items() if any(count)} == {
            period: count for period, count in sums.items() if any(count)
        }
        maxima = {7: (MONTH, FILES_PER_MONTH), 10: (DAY, FILES_PER_DAY), 3: (STORED, AT_ONCE)}
        for period, (count, files) in counters.items():
            assert count <= maxima[len(period)][0] and files <= maxima[len(period)][1], (period, count, files)
        quotas = self.harness.ports.quotas
        assert quotas is not None
        for upload_id, _, _, _, *amounts in rows:
            upload = await self.harness.record(upload_id)
            assert upload is not None
            expected = quotas.amounts(upload)
            if upload.kind is Kind.FINAL:
                charged, stored = taken[upload_id]
                expected = expected._replace(
                    bytes=max(0, expected.bytes - charged) if expected.bytes else 0,
                    stored=max(0, expected.stored - stored) if expected.stored else 0,
                )
            assert tuple(amounts) == expected, upload
        assert len(rows) == len(self.ids)
        reconciled = await self.database.quota_ledger.reconcile(repair=False, counts_now=True, deletes_rejected=True)
        assert reconciled == []


@asynccontextmanager
async def ledger() -> AsyncIterator[Ledger]:
    directory = Path(tempfile.mkdtemp(prefix="tusd-py-test-"))
    path = directory / "records.sqlite3"
    path.write_bytes(empty_database())
    database = await SqlDatabase.open(f"sqlite:///{path}")
    other = await SqlDatabase.open(f"sqlite:///{path}")
    opened = Ledger(database, other, path)
    try:
        yield opened
    finally:
        await opened.harness.drain()
        await database.close()
        await other.close()
        shutil.rmtree(directory)


@pytest.mark.parametrize("examples", [15, pytest.param(200, marks=pytest.mark.long)])
def test_ledger_is_exact_after_any_history(examples: int) -> None:
    """Whatever clients do in whatever order, the ledger is exact and no limit is exceeded."""
    settings(max_examples=examples, deadline=None)(given(STEPS)(follow))()


def follow(steps: list[tuple[str, int, int]]) -> None:
    """Take the steps, and compare the ledger with the model after each."""

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
        found = await quotas.reconcile(repair=False, counts_now=True)
        assert {(drift.period, drift.counted, drift.charged) for drift in found} >= {("upload u1", 50, 60)}
        assert await quotas.reconcile(repair=False, counts_now=True) == found
        await quotas.reconcile(repair=True, counts_now=True)
        await opened.check()


async def test_reconciliation_without_drift_needs_no_write_lock() -> None:
    """On a busy server it holds up no writer: it succeeds while another process writes."""
    async with ledger() as opened:
        await opened.step("create", 0, 60)
        with sqlite3.connect(opened._path, isolation_level=None) as connection:
            connection.execute("BEGIN IMMEDIATE")
            found = await asyncio.wait_for(opened.database.quota_ledger.reconcile(repair=True, counts_now=True), 5)
            assert found == []
            connection.execute("ROLLBACK")
        connection.close()


async def test_two_processes_race_for_the_last_upload() -> None:
    """Of creations through two connections to one database, exactly as many succeed as may be unfinished at once."""
    async with ledger() as opened:
        made = await asyncio.gather(
            *(each.create(10) for each in (opened.harness, opened.second) * 10), return_exceptions=True
        )
        refused = [each for each in made if isinstance(each, QuotaReached)]
        assert (len(made), len(refused)) == (20, 20 - AT_ONCE)


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
        assert [usage.used for usage in (await quotas.usage("address:192.0.2.7", PERIODS))[:2]] == [50, 50]
