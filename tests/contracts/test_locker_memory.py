"""The memory locker keeps the contract of lockers."""

from __future__ import annotations

from pathlib import Path

import uvloop

from tests.contracts.locker import LONG, LockerContract
from tests.support.loops import on_loop
from tusd_py.locking.memory import MemoryLocker


class TestMemoryLocker(LockerContract):
    def open(self, directory: Path) -> MemoryLocker:
        return MemoryLocker()

    @on_loop
    async def test_keeps_nothing(self, tmp_path: Path) -> None:
        """Nothing is kept of an upload that nobody holds."""
        locker = self.open(tmp_path)
        for number in range(100):
            await (await locker.acquire(f"upload-{number}", LONG)).release()
        assert len(locker) == 0


class TestMemoryLockerUnderUvloop(TestMemoryLocker):
    loop_factory = staticmethod(uvloop.new_event_loop)
