"""The file locker keeps the contract of lockers, between two of them that share nothing but a directory."""

from __future__ import annotations

from pathlib import Path

import uvloop

from tests.contracts.locker import LockerContract
from tusd_py.contracts.locker import Locker
from tusd_py.locking.file import FileLocker


class TestFileLocker(LockerContract):
    def open(self, directory: Path) -> FileLocker:
        return FileLocker(directory / ("a-name-of-some-length" * 6) / "locks")  # no socket's path may be so long

    def other(self, locker: Locker, directory: Path) -> Locker:
        return self.open(directory)


class TestFileLockerUnderUvloop(TestFileLocker):
    loop_factory = staticmethod(uvloop.new_event_loop)
