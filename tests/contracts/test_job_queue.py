"""The job queue on SQLite against its contract."""

from __future__ import annotations

from pathlib import Path

from tests.contracts.job_queue import JobQueueContract
from tests.support.postgres import empty_database
from tusd_py.records.sql.database import SqlDatabase


class TestSqliteJobQueue(JobQueueContract):
    """Beside the records in a SQLite file."""

    async def open(self, directory: Path) -> SqlDatabase:
        return await SqlDatabase.open(f"sqlite:///{directory}/records.sqlite3")


class TestPostgresJobQueue(JobQueueContract):
    """Beside the records in a PostgreSQL database."""

    async def open(self, directory: Path) -> SqlDatabase:
        return await SqlDatabase.open(empty_database())
