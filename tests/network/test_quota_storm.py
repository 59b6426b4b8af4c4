"""Server and worker are killed at random while quotas are on: the ledger equals the truth, to the byte."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.network.chaos import Chaos
from tusd_py.records.sql.database import SqlDatabase


def charged(data_dir: Path) -> tuple[dict[str, int], int, int]:
    """The counters by period, the bytes that the records account for, and how many charges wait to be settled."""
    with closing(sqlite3.connect(data_dir / "tusd.sqlite3")) as connection:
        counters = dict(connection.execute("SELECT period, sum(bytes) FROM quota_counters GROUP BY period").fetchall())
        # Parts count once, whatever final upload they belong to ...
        (filled,) = connection.execute(
            "SELECT sum(CASE WHEN status IN ('expired', 'terminated', 'failed') THEN \"offset\" "
            "ELSE coalesce(length, \"offset\") END) FROM uploads WHERE kind <> 'final'"
        ).fetchone()
        # ... and once more for each further use: a client whose response a kill has cut creates its final upload again.
        (joined,) = connection.execute("SELECT coalesce(sum(length), 0) FROM uploads WHERE kind = 'final'").fetchone()
        (parts,) = connection.execute(
            "SELECT coalesce(sum(length), 0) FROM uploads WHERE id IN (SELECT part_id FROM upload_parts)"
        ).fetchone()
        (unsettled,) = connection.execute(
            "SELECT count(*) FROM quota_charges JOIN uploads ON id = upload_id "
            "WHERE NOT is_settled AND status = 'ready' AND kind <> 'partial'"
        ).fetchone()
    return counters, filled + joined - parts, unsettled


def counts(data_dir: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """Files of the day and unfinished uploads: as counted, and as the records account for them."""
    with closing(sqlite3.connect(data_dir / "tusd.sqlite3")) as connection:
        (files,) = connection.execute(
            "SELECT coalesce(sum(files), 0) FROM quota_counters WHERE length(period) = 10"
        ).fetchone()
        (unfinished,) = connection.execute(
            "SELECT coalesce(sum(files), 0) FROM quota_counters WHERE period = 'now'"
        ).fetchone()
        truth = connection.execute(
            "SELECT count(*), coalesce(sum(completed_at IS NULL AND status IN ('uploading', 'processing')), 0) "
            "FROM uploads WHERE kind <> 'partial'"
        ).fetchone()
    return (files, unfinished), truth


async def storm(directory: Path, uploads: int, kills: int) -> None:
    quotas = {"QUOTAS__ENABLED": "true", "QUOTAS__BYTES_PER_DAY": "1GB"}
    quotas |= {"QUOTAS__FILES_PER_DAY": "10000", "QUOTAS__BYTES_STORED": "1GB", "QUOTAS__UPLOADS_AT_ONCE": "1000"}
    chaos = Chaos(directory / "data", "embedded", uploads=uploads, kills=kills, seed=5, more_settings=quotas)
    await chaos.run()
    assert chaos.kills == sum(chaos.killed.values())
    counters, filled, unsettled = charged(chaos.data_dir)
    months = [count for period, count in counters.items() if len(period) == 7]
    days = [count for period, count in counters.items() if len(period) == 10]
    assert (sum(months), sum(days), unsettled) == (filled, filled, 0)
    counted, truth = counts(chaos.data_dir)
    assert counted == truth
    database = await SqlDatabase.open(f"sqlite:///{chaos.data_dir}/tusd.sqlite3")
    try:
        assert await database.quota_ledger.reconcile(repair=False, counts_now=True) == []
    finally:
        await database.close()
    print(f"killed {dict(chaos.killed)}, run again {dict(chaos.rerun)}, {filled} bytes charged")


@pytest.mark.timeout(180)
@pytest.mark.anyio
async def test_ledger_after_three_kills(tmp_path: Path) -> None:
    """Twenty uploads, some from parts: each is charged once and settled once."""
    await storm(tmp_path, uploads=20, kills=3)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.anyio
async def test_ledger_after_fifty_kills(tmp_path: Path) -> None:
    """The same with 300 uploads and 50 kills."""
    await storm(tmp_path, uploads=300, kills=50)
