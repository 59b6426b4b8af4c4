"""Backends in memory that also offer what requests without a task need. Each can be told to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tusd_py.contracts.direct import OnDone, OnFound
from tusd_py.model.jobs import Effects
from tusd_py.model.upload import Upload
from tusd_py.records.memory import MemoryRecords
from tusd_py.storage.memory import MemoryStore


class DirectChangesMemoryRecords(MemoryRecords):
    """Records that find and update without a task of the caller. The failures are what the next calls end with."""

    find_failure: Exception | None = None
    update_failure: Exception | None = None
    effects: Effects | None = None  # of the last update; records in memory have no jobs

    def begin_find(self, upload_id: str, on_found: OnFound) -> None:
        self.running = asyncio.ensure_future(self._find(upload_id, on_found))

    async def _find(self, upload_id: str, on_found: OnFound) -> None:
        failure, self.find_failure = self.find_failure, None
        on_found(None if failure else await self.find(upload_id), failure)

    def begin_update(self, before: Upload, after: Upload, effects: Effects, on_done: OnDone) -> Upload:
        self.effects = effects
        self.running = asyncio.ensure_future(self._update(before, after, on_done))
        return after.with_token(before.token + 1)

    async def _update(self, before: Upload, after: Upload, on_done: OnDone) -> None:
        failure, self.update_failure = self.update_failure, None
        if failure is None:
            await self.update(before, after)
        on_done(failure)


class DirectChangesMemoryStore(MemoryStore):
    """A store that writes and deletes without a task of the caller. ``failure`` is what the next call ends with."""

    failure: Exception | None = None
    durable: bool | None = None  # the last write

    def begin_write(self, upload: Upload, pieces: Sequence[bytes], on_done: OnDone, *, durable: bool) -> None:
        self.durable = durable
        self.running = asyncio.ensure_future(self._write(upload, pieces, on_done))

    async def _write(self, upload: Upload, pieces: Sequence[bytes], on_done: OnDone) -> None:
        failure, self.failure = self.failure, None
        if failure is None:
            sink = self.open(upload)
            await sink.write(pieces)
            await sink.flush()
            await sink.close()
        on_done(failure)

    def begin_delete(self, upload: Upload, on_done: OnDone) -> None:
        self.running = asyncio.ensure_future(self._delete(upload, on_done))

    async def _delete(self, upload: Upload, on_done: OnDone) -> None:
        failure, self.failure = self.failure, None
        if failure is None:
            await self.delete(upload)
        on_done(failure)
