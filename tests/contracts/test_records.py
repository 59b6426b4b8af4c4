"""Every backend of records against the one contract."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

from tests.contracts.records import RecordsContract
from tusd_py.contracts.records import Records
from tusd_py.records.memory import MemoryRecords
from tusd_py.records.sql import SqlRecords


class TestMemoryRecords(RecordsContract):
    """Records in memory."""

    async def open(self, directory: Path) -> Records:
        return MemoryRecords()

    def beneath(self, records: Records, directory: Path) -> dict[str, tuple[int, int]]:
        assert isinstance(records, MemoryRecords)
        return {upload_id: (upload.offset, upload.token) for upload_id, upload in records._uploads.items()}


class TestSqliteRecords(RecordsContract):
    """Records in a SQLite file, read beneath by a connection of the test's own."""

    durability: Literal["completion", "power"] = "completion"

    async def open(self, directory: Path) -> Records:
        return await SqlRecords.open(f"sqlite:///{directory}/records.sqlite3", durability=self.durability)

    def beneath(self, records: Records, directory: Path) -> dict[str, tuple[int, int]]:
        with closing(sqlite3.connect(directory / "records.sqlite3")) as connection:
            rows = connection.execute('SELECT id, "offset", token FROM uploads').fetchall()
        return {upload_id: (offset, token) for upload_id, offset, token in rows}


class TestSqliteRecordsSafeFromPowerLoss(TestSqliteRecords):
    """The same, with every commit on the disk before it is told."""

    durability = "power"
