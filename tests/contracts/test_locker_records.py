"""The lease locker on PostgreSQL against the contract of lockers: two lockers that share nothing but the database."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.contracts.locker import LockerContract
from tests.support.postgres import new_database
from tusd_py.contracts.locker import Locker
from tusd_py.locking.lease import LeaseLocker
from tusd_py.records.sql.leases import SqlLeases


@pytest.fixture(scope="module")
def database() -> str:
    return new_database()


class TestRecordsLocker(LockerContract):
    @pytest.fixture(autouse=True)
    def _use(self, database: str) -> None:
        self.url = database
        with psycopg.connect(database) as connection:
            connection.execute("DELETE FROM locks")

    def open(self, directory: Path) -> Locker:
        return LeaseLocker(SqlLeases(self.url, self.url), lease_seconds=15)

    def other(self, locker: Locker, directory: Path) -> Locker:
        return self.open(directory)
