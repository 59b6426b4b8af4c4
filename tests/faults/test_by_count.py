"""The first, second, third ... operation on disk, database and locks fails, until a run has no fault."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from tests.faults.failing import FailingLocker, FailingRecords, FailingStore, Faults
from tests.support.harness import Clock, FakeBody, UploadsHarness, cut
from tusd_py.contracts.locker import LockTimeout
from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import StoreError
from tusd_py.locking.memory import MemoryLocker
from tusd_py.model.upload import Kind, Status
from tusd_py.protocol.errors import TusError
from tusd_py.records.memory import MemoryRecords
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.migrate import migrate
from tusd_py.storage.disk.store import DiskStore
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.expire import recover, sweep
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio

T = TypeVar("T")

_CONTENT = bytes(range(256)) * 40
_RUNS_MAX = 200
# What a caller of the use cases must be prepared for; anything else is a mistake of ours.
_EXPECTED = (TusError, StoreError, RecordsError, LockTimeout)


@dataclass
class Story:
    """A run of everything that clients do, over backends that may fail, checked after each step."""

    harness: UploadsHarness
    sound: UploadsHarness  # the same world without faults
    ids: list[str] = field(default_factory=list)

    async def attempt(self, step: Callable[[], Awaitable[T]]) -> T | None:
        try:
            return await step()
        except _EXPECTED:
            return None

    async def upload(self, kind: Kind, content: bytes) -> str:
        """Create with the first bytes, lose the connection, and continue from the offset until every byte is stored."""
        made = None
        for _ in range(2):
            made = await self.attempt(lambda: self.harness.create(len(content), content[:1000], kind=kind))
            if made is not None:
                break
        if made is None:
            made = await self.sound.create(len(content), content[:1000], kind=kind)
        upload_id = made.upload.id
        self.ids.append(upload_id)
        await self.check(upload_id, content)
        offset = made.upload.offset
        await self.attempt(
            lambda: self.harness.append(upload_id, offset, body=cut(content[1000:3000], content[3000:4000]))
        )
        await self.check(upload_id, content)
        await self.attempt(lambda: self.go_on(self.harness, upload_id, content))
        await self.check(upload_id, content)
        await self.go_on(self.sound, upload_id, content)
        await self.sound.drain()
        assert content == await self.sound.content(upload_id)
        return upload_id

    async def go_on(self, harness: UploadsHarness, upload_id: str, content: bytes) -> None:
        """As every client does: HEAD, then send the rest."""
        offset = (await harness.inspect(upload_id)).upload.offset
        rest = content[offset:]
        await harness.append(
            upload_id, offset, body=FakeBody(*(rest[start : start + 3000] for start in range(0, len(rest), 3000)))
        )

    async def check(self, upload_id: str, content: bytes) -> None:
        """No byte is recorded that is not stored, and the stored bytes are those that were sent."""
        upload = await self.sound.record(upload_id)
        if upload is None or upload.has_ended:
            return
        assert upload.offset <= await self.sound.store.size(upload)
        assert content[: upload.offset] == await self.sound.content(upload_id)
        assert upload.is_complete == (upload.offset == len(content))

    async def run(self) -> None:
        parts = [await self.upload(Kind.PARTIAL, _CONTENT), await self.upload(Kind.PARTIAL, _CONTENT[::-1])]
        final = await self.attempt(lambda: self.harness.create(None, kind=Kind.FINAL, parts=parts))
        if final is None:
            final = await self.sound.create(None, kind=Kind.FINAL, parts=parts)
        await self.harness.drain()
        final_id = final.upload.id
        # Whatever failed in the background is taken up by the next look, or the next start.
        await self.sound.inspect(final_id)
        await self.sound.drain()
        assert _CONTENT + _CONTENT[::-1] == await self.sound.content(final_id)
        gone = await self.upload(Kind.REGULAR, _CONTENT)
        await self.attempt(lambda: self.harness.terminate(gone))
        upload = await self.sound.record(gone)
        assert upload is not None
        if not upload.has_ended:
            assert _CONTENT == await self.sound.content(gone)
            await self.sound.terminate(gone)
        abandoned = await self.sound.create(len(_CONTENT), _CONTENT[:10])
        self.sound.clock.move(1000)
        await self.attempt(lambda: sweep(self.harness.ports))
        await self.attempt(lambda: recover(self.harness.ports))
        await self.harness.drain()
        await sweep(self.sound.ports)
        record = await self.sound.record(abandoned.upload.id)
        assert record is not None
        assert record.status is Status.EXPIRED
        self.sound.clock.move(5000)
        await sweep(self.sound.ports)
        for ended in (gone, abandoned.upload.id):
            assert await self.sound.record(ended) is None


async def _world(kind: str, folder: Path) -> UploadsHarness:
    policy = UploadPolicy(
        unfinished_seconds=900, partial_seconds=0, tombstone_seconds=3000, concatenate_at_once_bytes_max=15000
    )
    if kind == "memory":
        return UploadsHarness(records=MemoryRecords(), store=MemoryStore(bytes_max=2**24), clock=Clock(), policy=policy)
    folder.mkdir()
    url = f"sqlite:///{folder / 'records.sqlite3'}"
    migrate(url)
    return UploadsHarness(
        records=(await SqlDatabase.open(url)).records, store=DiskStore(folder / "uploads"), clock=Clock(), policy=policy
    )


async def _run(sound: UploadsHarness, faults: Faults) -> None:
    """One run; backends are otherwise in the state that earlier runs have left."""
    failing = UploadsHarness(
        records=FailingRecords(sound.records, faults),
        store=FailingStore(sound.store, faults),
        locker=FailingLocker(sound.locker, faults),
        clock=sound.clock,
        policy=sound.policy,
        ids=sound.ids,
    )
    await Story(failing, sound).run()
    assert isinstance(sound.locker, MemoryLocker)
    assert len(sound.locker) == 0, "a lock was not released"


# On disk every run waits for real fsyncs, and its ways to fail are the same: one kind of fault will do.
@pytest.mark.parametrize(
    ("backends", "fault"), [("memory", "once"), ("memory", "lasting"), ("memory", "full"), ("disk", "once")]
)
async def test_record_true_after_any_fault(backends: str, fault: str, tmp_path: Path) -> None:
    """Whichever operation fails: no byte is recorded that is not stored, and the upload can be continued."""
    world = await _world(backends, tmp_path / "world")
    try:
        for nth in range(1, _RUNS_MAX):
            faults = Faults(nth, lasting=fault != "once", full=fault == "full")
            await _run(world, faults)
            if not faults.struck:
                assert nth > 20, "the story has more operations than that"
                return
        pytest.fail("the story never passed untouched")
    finally:
        await world.records.close()
        await world.store.close()
