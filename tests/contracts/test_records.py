"""Every backend of records against their contract."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

import psycopg
import pytest

from tests.contracts.records import RecordsContract, an_upload
from tests.support.postgres import empty_database
from tusd_py.contracts.records import Records
from tusd_py.model.jobs import Effects, NewJob
from tusd_py.records.memory import MemoryRecords
from tusd_py.records.sql.database import SqlDatabase


class TestMemoryRecords(RecordsContract):
    """Records in memory."""

    async def open(self, directory: Path) -> Records:
        return MemoryRecords()

    def read_directly(self, records: Records, directory: Path) -> dict[str, tuple[int, int]]:
        assert isinstance(records, MemoryRecords)
        return {upload_id: (upload.offset, upload.token) for upload_id, upload in records._uploads.items()}


async def _insert_with_job(records: MemoryRecords) -> None:
    job = NewJob(actor="act", key="k", upload_id="a", sequence_key="l")
    with pytest.raises(AssertionError, match="need a database"):
        await records.insert(an_upload("a"), Effects(jobs=(job,)))
    assert await records.find("a") is None


@pytest.mark.anyio
async def test_memory_records_refuse_effects() -> None:
    """Effects in memory are a mistake of the wiring: the insert fails and nothing is recorded."""
    await _insert_with_job(MemoryRecords())


class TestSqliteRecords(RecordsContract):
    """Records in a SQLite file, which the test also reads with a connection of its own."""

    durability: Literal["completion", "power"] = "completion"

    async def open(self, directory: Path) -> Records:
        return (await SqlDatabase.open(f"sqlite:///{directory}/records.sqlite3", durability=self.durability)).records

    def read_directly(self, records: Records, directory: Path) -> dict[str, tuple[int, int]]:
        with closing(sqlite3.connect(directory / "records.sqlite3")) as connection:
            rows = connection.execute('SELECT id, "offset", token FROM uploads').fetchall()
        return {upload_id: (offset, token) for upload_id, offset, token in rows}


class TestSqliteRecordsSafeFromPowerLoss(TestSqliteRecords):
    """The same, with an fsync for every commit."""

    durability = "power"


class TestPostgresRecords(RecordsContract):
    """Records in PostgreSQL, which the test also reads with a connection of its own."""

    async def open(self, directory: Path) -> Records:
        self.url = empty_database()
        return (await SqlDatabase.open(self.url)).records

    def read_directly(self, records: Records, directory: Path) -> dict[str, tuple[int, int]]:
        with psycopg.connect(self.url) as connection:
            rows = connection.execute('SELECT id, "offset", token FROM uploads').fetchall()
        return {upload_id: (offset, token) for upload_id, offset, token in rows}
