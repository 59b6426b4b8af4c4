"""The lease locker on PostgreSQL against the contract of lockers: two lockers that share nothing but the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.locker import LockerContract
from tests.support.postgres import empty_database
from tusd_py.contracts.locker import Locker
from tusd_py.locking.lease import LeaseLocker
from tusd_py.records.sql.leases import SqlLeases


class TestRecordsLocker(LockerContract):
    @pytest.fixture(autouse=True)
    def _use(self) -> None:
        self.url = empty_database()

    def open(self, directory: Path) -> Locker:
        return LeaseLocker(SqlLeases(self.url, self.url), lease_seconds=15)

    def other(self, locker: Locker, directory: Path) -> Locker:
        return self.open(directory)
