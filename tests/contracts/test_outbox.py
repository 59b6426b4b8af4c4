"""The outbox on SQLite against its contract."""

from __future__ import annotations

from pathlib import Path

from tests.contracts.outbox import JobQueueContract, RecordsWithJobQueue
from tusd_py.records.sql.records import SqlRecords


class TestSqliteJobQueue(JobQueueContract):
    """Beside the records in a SQLite file."""

    async def open(self, directory: Path) -> RecordsWithJobQueue:
        return await SqlRecords.open(f"sqlite:///{directory}/records.sqlite3")
