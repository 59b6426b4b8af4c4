"""Every backend of records against the one contract."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from tests.contracts.records import RecordsContract, an_upload
from tusd_py.contracts.records import Records
from tusd_py.model.jobs import Effects, NewJob
from tusd_py.records.memory import MemoryRecords
from tusd_py.records.sql.database import SqlDatabase


class TestMemoryRecords(RecordsContract):
    """Records in memory."""

    async def open(self, directory: Path) -> Records:
        return MemoryRecords()

    def beneath(self, records: Records, directory: Path) -> dict[str, tuple[int, int]]:
        assert isinstance(records, MemoryRecords)
        return {upload_id: (upload.offset, upload.token) for upload_id, upload in records._uploads.items()}


async def _add_with_a_job(records: MemoryRecords) -> None:
    job = NewJob(actor="act", key="k", upload_id="a", sequence_key="l")
    with pytest.raises(AssertionError, match="kept in a database"):
        await records.insert(an_upload("a"), Effects(jobs=(job,)))
    assert await records.find("a") is None


def test_memory_keeps_no_jobs() -> None:
    """Jobs that would be forgotten are a mistake of the wiring, not dropped in silence; nor is the record made."""
    asyncio.run(_add_with_a_job(MemoryRecords()))


class TestSqliteRecords(RecordsContract):
    """Records in a SQLite file, read beneath by a connection of the test's own."""

    durability: Literal["completion", "power"] = "completion"

    async def open(self, directory: Path) -> Records:
        return (await SqlDatabase.open(f"sqlite:///{directory}/records.sqlite3", durability=self.durability)).records

    def beneath(self, records: Records, directory: Path) -> dict[str, tuple[int, int]]:
        with closing(sqlite3.connect(directory / "records.sqlite3")) as connection:
            rows = connection.execute('SELECT id, "offset", token FROM uploads').fetchall()
        return {upload_id: (offset, token) for upload_id, offset, token in rows}


class TestSqliteRecordsSafeFromPowerLoss(TestSqliteRecords):
    """The same, with every commit on the disk before it is told."""

    durability = "power"
