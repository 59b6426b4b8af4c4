"""Backends that fail by count: the n-th operation fails, once or from then on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tusd_py.contracts.locker import IsGone, Lock, Locker, LockTimeout
from tusd_py.contracts.records import Records, RecordsUnavailable, UploadPage
from tusd_py.contracts.store import OnProgress, Sink, Store, StoreFull, StoreUnavailable
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Upload
from tusd_py.protocol.listing import PageKey, UploadFilter


@dataclass
class Faults:
    """Counts operations. The one numbered ``nth`` fails, and with ``lasting`` all that follow."""

    nth: int = 0
    lasting: bool = False
    full: bool = False
    seen: int = 0

    @property
    def struck(self) -> bool:
        return 0 < self.nth <= self.seen

    def is_due(self) -> bool:
        self.seen += 1
        return self.nth > 0 and (self.seen == self.nth or (self.lasting and self.seen > self.nth))

    def records(self) -> None:
        if self.is_due():
            raise RecordsUnavailable("a fault of the test")

    def store(self) -> None:
        if self.is_due():
            raise StoreFull("a fault of the test") if self.full else StoreUnavailable("a fault of the test")

    def locker(self) -> None:
        if self.is_due():
            raise LockTimeout("a fault of the test")


class FailingRecords:
    def __init__(self, inner: Records, faults: Faults) -> None:
        self._inner, self._faults = inner, faults

    async def insert(self, upload: Upload, effects: Effects = NO_EFFECTS, *, part_uses_max: int = 0) -> None:
        self._faults.records()
        await self._inner.insert(upload, effects, part_uses_max=part_uses_max)

    async def find(self, upload_id: str, *, with_parts: bool = True) -> Upload | None:
        self._faults.records()
        return await self._inner.find(upload_id)

    async def find_all(self, upload_ids: Sequence[str], *, with_parts: bool = True) -> list[Upload | None]:
        self._faults.records()
        return await self._inner.find_all(upload_ids)

    async def update(self, before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> Upload:
        self._faults.records()
        return await self._inner.update(before, after, effects)

    async def delete(self, upload: Upload) -> None:
        self._faults.records()
        await self._inner.delete(upload)

    async def due(self, now: datetime, limit: int) -> list[Upload]:
        self._faults.records()
        return await self._inner.due(now, limit)

    async def search(self, wanted: UploadFilter, limit: int, after: PageKey | None = None) -> UploadPage:
        self._faults.records()
        return await self._inner.search(wanted, limit, after)

    async def page(self, after_id: str, limit: int) -> list[Upload]:
        self._faults.records()
        return await self._inner.page(after_id, limit)

    async def needing_recovery(self, limit: int, after_id: str = "") -> list[Upload]:
        self._faults.records()
        return await self._inner.needing_recovery(limit, after_id)

    async def finals_waiting(self, part_id: str) -> list[Upload]:
        self._faults.records()
        return await self._inner.finals_waiting(part_id)

    async def count_part_uses(self, part_ids: Collection[str]) -> Mapping[str, int]:
        self._faults.records()
        return await self._inner.count_part_uses(part_ids)

    async def find_empty(self, upload_ids: Collection[str]) -> set[str]:
        self._faults.records()
        return await self._inner.find_empty(upload_ids)

    async def probe(self) -> None:
        await self._inner.probe()

    async def close(self) -> None:
        await self._inner.close()


class FailingSink:
    def __init__(self, inner: Sink, faults: Faults) -> None:
        self._inner, self._faults = inner, faults

    @property
    def persisted_offset(self) -> int:
        return self._inner.persisted_offset

    @property
    def state(self) -> Mapping[str, object]:
        return self._inner.state

    async def write(self, pieces: Sequence[bytes]) -> None:
        self._faults.store()
        await self._inner.write(pieces)

    async def flush(self, *, durable: bool = False, more_follows: bool = False) -> int:
        self._faults.store()
        return await self._inner.flush(durable=durable, more_follows=more_follows)

    async def committed(self) -> None:
        # Never raises, and so is no operation that can fail.
        await self._inner.committed()

    async def discard(self, offset: int) -> None:
        self._faults.store()
        await self._inner.discard(offset)

    async def close(self) -> None:
        await self._inner.close()


class FailingStore:
    def __init__(self, inner: Store, faults: Faults) -> None:
        self._inner, self._faults = inner, faults

    async def create(self, upload: Upload) -> Mapping[str, object]:
        self._faults.store()
        return await self._inner.create(upload)

    def open(self, upload: Upload) -> FailingSink:
        return FailingSink(self._inner.open(upload), self._faults)

    async def read(self, upload: Upload, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        self._faults.store()
        async for piece in self._inner.read(upload, start, stop):
            yield piece

    async def concatenate(
        self, upload: Upload, parts: Sequence[Upload], on_progress: OnProgress | None = None
    ) -> Mapping[str, object]:
        self._faults.store()
        return await self._inner.concatenate(upload, parts, on_progress)

    async def ensure_space(self, count: int) -> None:
        self._faults.store()
        await self._inner.ensure_space(count)

    async def delete(self, upload: Upload) -> None:
        self._faults.store()
        await self._inner.delete(upload)

    async def find_old(self, before: datetime) -> AsyncGenerator[Sequence[str], None]:
        self._faults.store()
        async for ids in self._inner.find_old(before):
            yield ids

    async def purge(self, upload_id: str) -> None:
        self._faults.store()
        await self._inner.purge(upload_id)

    async def size(self, upload: Upload) -> int:
        self._faults.store()
        return await self._inner.size(upload)

    def location(self, upload: Upload) -> Mapping[str, str]:
        return self._inner.location(upload)

    async def probe(self) -> None:
        await self._inner.probe()

    async def close(self) -> None:
        await self._inner.close()


class FailingLocker:
    def __init__(self, inner: Locker, faults: Faults) -> None:
        self._inner, self._faults = inner, faults

    async def acquire(self, upload_id: str, timeout_seconds: float, is_gone: IsGone | None = None) -> Lock:
        self._faults.locker()
        return await self._inner.acquire(upload_id, timeout_seconds, is_gone)

    async def try_acquire(self, upload_id: str) -> Lock | None:
        self._faults.locker()
        return await self._inner.try_acquire(upload_id)

    async def probe(self) -> None:
        await self._inner.probe()

    async def close(self) -> None:
        await self._inner.close()
