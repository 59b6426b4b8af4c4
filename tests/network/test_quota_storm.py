"""Server and worker are killed at random while quotas are on: the ledger equals the truth, to the byte."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.network.chaos import Chaos
from tests.support.postgres import PostgresServer, shared_server
from tusd_py.records.sql.database import SqlDatabase


class Truth:
    """What the database of a storm says, in SQL that SQLite and PostgreSQL share."""

    def __init__(self, chaos: Chaos) -> None:
        self.url = chaos.records_url or f"sqlite:///{chaos.data_dir}/tusd.sqlite3"

    def rows(self, query: str) -> list[Any]:
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as database:
                return database.execute(query).fetchall()
        with closing(psycopg.connect(self.url)) as connection:
            return connection.execute(query.encode()).fetchall()

    def number(self, query: str) -> int:
        return int(self.rows(query)[0][0])

    def charged(self) -> tuple[dict[str, int], int, int]:
        """The counters by period, the bytes that the records account for, and how many charges wait to be settled."""
        counters = {period: int(count) for period, count in self.rows(_COUNTERS)}
        return counters, self.number(_FILLED) + self.number(_JOINED) - self.number(_PARTS), self.number(_UNSETTLED)

    def counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Files of the day and unfinished uploads: as counted, and as the records account for them."""
        counted = (self.number(_FILES.format("length(period) = 10")), self.number(_FILES.format("period = 'now'")))
        return counted, (self.number(_UPLOADS), self.number(f"{_UPLOADS} AND {_UNFINISHED}"))


_COUNTERS = "SELECT period, sum(bytes) FROM quota_counters GROUP BY period"
_FILES = "SELECT coalesce(sum(files), 0) FROM quota_counters WHERE {}"
_UPLOADS = "SELECT count(*) FROM uploads WHERE kind <> 'partial'"
_UNFINISHED = "completed_at IS NULL AND status IN ('uploading', 'processing')"
# Parts count once, whatever final upload they belong to ...
_FILLED = (
    "SELECT coalesce(sum(CASE WHEN status IN ('expired', 'terminated', 'failed') THEN \"offset\" "
    "ELSE coalesce(length, \"offset\") END), 0) FROM uploads WHERE kind <> 'final'"
)
# ... and once more for each further use: a client whose response a kill has cut creates its final upload again.
_JOINED = "SELECT coalesce(sum(length), 0) FROM uploads WHERE kind = 'final'"
_PARTS = "SELECT coalesce(sum(length), 0) FROM uploads WHERE id IN (SELECT part_id FROM upload_parts)"
_UNSETTLED = (
    "SELECT count(*) FROM quota_charges JOIN uploads ON id = upload_id "
    "WHERE NOT is_settled AND status = 'ready' AND kind <> 'partial'"
)


async def storm(directory: Path, uploads: int, kills: int, database: PostgresServer | None = None) -> None:
    quotas = {"QUOTAS__ENABLED": "true", "QUOTAS__BYTES_PER_DAY": "1GB"}
    quotas |= {"QUOTAS__FILES_PER_DAY": "10000", "QUOTAS__BYTES_STORED": "1GB", "QUOTAS__UPLOADS_AT_ONCE": "1000"}
    chaos = Chaos(
        directory / "data",
        "embedded",
        uploads=uploads,
        kills=kills,
        seed=5,
        more_settings=quotas,
        database=database,
    )
    await chaos.run()
    assert chaos.kills == sum(chaos.killed.values())
    truth = Truth(chaos)
    counters, filled, unsettled = truth.charged()
    months = [count for period, count in counters.items() if len(period) == 7]
    days = [count for period, count in counters.items() if len(period) == 10]
    assert (sum(months), sum(days), unsettled) == (filled, filled, 0)
    counted, recorded = truth.counts()
    assert counted == recorded
    opened = await SqlDatabase.open(truth.url)
    try:
        assert await opened.quota_ledger.reconcile(repair=False, counts_now=True) == []
    finally:
        await opened.close()
    print(f"killed {dict(chaos.killed)}, run again {dict(chaos.rerun)}, {filled} bytes charged")


@pytest.mark.timeout(180)
@pytest.mark.anyio
async def test_ledger_after_three_kills(tmp_path: Path) -> None:
    """Twenty uploads, some from parts: each is charged once and settled once."""
    await storm(tmp_path, uploads=20, kills=3)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
@pytest.mark.anyio
async def test_ledger_after_fifty_kills(tmp_path: Path, database: str) -> None:
    """The same with 300 uploads and 50 kills; PostgreSQL is restarted among them."""
    await storm(tmp_path, uploads=300, kills=50, database=shared_server() if database == "postgresql" else None)
