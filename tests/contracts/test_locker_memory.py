"""The memory locker against the contract of lockers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.locker import LONG, LockerContract
from tusd_py.locking.memory import MemoryLocker


class TestMemoryLocker(LockerContract):
    def open(self, directory: Path) -> MemoryLocker:
        return MemoryLocker()

    async def test_free_uploads_are_forgotten(self, tmp_path: Path) -> None:
        """The locker keeps nothing of an upload that is not locked."""
        locker = self.open(tmp_path)
        for number in range(100):
            await (await locker.acquire(f"upload-{number}", LONG)).release()
        assert len(locker) == 0


class TestMemoryLockerUnderUvloop(TestMemoryLocker):
    @pytest.fixture
    def anyio_backend(self) -> object:
        return "asyncio", {"use_uvloop": True}
