"""The outbox on SQLite against its contract."""

from __future__ import annotations

from pathlib import Path

from tests.contracts.outbox import OutboxContract, RecordsWithOutbox
from tusd_py.records.sql.records import SqlRecords


class TestSqliteOutbox(OutboxContract):
    """Beside the records in a SQLite file."""

    async def open(self, directory: Path) -> RecordsWithOutbox:
        return await SqlRecords.open(f"sqlite:///{directory}/records.sqlite3")
