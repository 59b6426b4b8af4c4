"""The file locker against the contract of lockers: two lockers that share nothing but a directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.locker import LockerContract
from tests.support.lockers import open_file_locker
from tusd_py.contracts.locker import Locker
from tusd_py.locking.file import FileLocker


class TestFileLocker(LockerContract):
    def open(self, directory: Path) -> FileLocker:
        # Longer than the path of a socket may be.
        return open_file_locker(directory / ("a-name-of-some-length" * 6) / "locks")

    def other(self, locker: Locker, directory: Path) -> Locker:
        return self.open(directory)


class TestFileLockerUnderUvloop(TestFileLocker):
    @pytest.fixture
    def anyio_backend(self) -> object:
        return "asyncio", {"use_uvloop": True}
