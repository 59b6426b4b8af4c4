"""The sweeper: what expires, what is kept, and what a restart recovers."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from tests.faults.failing import FailingRecords, FailingStore, Faults
from tests.support.harness import FakeBody, UploadsHarness
from tests.support.waiting import eventually
from tusd_py.contracts.hooks import HookEvent
from tusd_py.contracts.records import RecordConflict
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.errors import UploadGone, UploadNotFound
from tusd_py.records.memory import MemoryRecords
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads import expire
from tusd_py.uploads.background import TaskKind, task_key
from tusd_py.uploads.expire import Swept, recover, sweep
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio

PACE = UploadPolicy(unfinished_seconds=100, finished_seconds=1000, partial_seconds=300, tombstone_seconds=50)


async def status(harness: UploadsHarness, upload_id: str) -> Status | None:
    upload = await harness.record(upload_id)
    return upload.status if upload else None


async def test_sweep_expires_then_prunes() -> None:
    """An expired upload answers 410 and loses its bytes; after the tombstone's time it is unknown."""
    harness = UploadsHarness(policy=PACE)
    upload_id = (await harness.create(10, b"0123")).upload.id
    harness.clock.move(101)
    # Gone already before the sweeper has come.
    with pytest.raises(UploadGone):
        await harness.inspect(upload_id)
    assert await sweep(harness.ports) == Swept(expired=1)
    assert await status(harness, upload_id) is Status.EXPIRED
    assert isinstance(harness.store, MemoryStore)
    assert harness.store.uploads == {}
    with pytest.raises(UploadGone):
        await harness.inspect(upload_id)
    harness.clock.move(51)
    assert await sweep(harness.ports) == Swept(pruned=1)
    with pytest.raises(UploadNotFound):
        await harness.inspect(upload_id)


async def test_sweep_finished_uploads() -> None:
    """Their retention counts from completion, 0 means never, and they can be downloaded until they are swept."""
    harness = UploadsHarness(policy=PACE)
    kept = UploadsHarness(records=harness.records, store=harness.store, clock=harness.clock, ids=harness.ids)
    upload_id, forever = (await harness.create(2, b"01")).upload.id, (await kept.create(2, b"01")).upload.id
    harness.clock.move(999)
    assert await sweep(harness.ports) == Swept()
    harness.clock.move(2)
    assert (await harness.inspect(upload_id)).upload.is_complete
    assert await sweep(harness.ports) == Swept(expired=1)
    assert await status(harness, forever) is Status.READY


async def test_sweep_skips_running_request() -> None:
    """An upload that is due while its body arrives is skipped, and the next save moves its expiry."""
    harness = UploadsHarness(policy=UploadPolicy(unfinished_seconds=100, save_interval_bytes=1))
    upload_id = (await harness.create(10)).upload.id
    go = asyncio.Event()
    body = FakeBody(b"0123", go, b"456789")
    appending = asyncio.ensure_future(harness.append(upload_id, 0, body=body))
    await eventually(lambda: len(body._pieces) == 2)
    harness.clock.move(101)
    assert await sweep(harness.ports) == Swept(skipped=1)
    go.set()
    assert (await appending).upload.is_complete


async def test_sweep_keeps_parts_of_waiting_final() -> None:
    """A complete part is kept while a final upload waits for another part, and expires after the assembly."""
    harness = UploadsHarness(policy=UploadPolicy(unfinished_seconds=100, partial_seconds=10, tombstone_seconds=50))
    one = (await harness.create(3, b"abc", kind=Kind.PARTIAL)).upload.id
    two = (await harness.create(2, kind=Kind.PARTIAL)).upload.id
    final = (await harness.create(None, kind=Kind.FINAL, parts=[one, two])).upload.id
    harness.clock.move(60)
    assert await sweep(harness.ports) == Swept(skipped=1)
    await harness.append(two, 0, b"d")
    harness.clock.move(50)  # the final upload's own time has come, but its part goes on
    assert await sweep(harness.ports) == Swept(skipped=2)
    await harness.append(two, 1, b"e")
    await harness.drain()
    assert await harness.content(final) == b"abcde"
    harness.clock.move(200)
    assert await sweep(harness.ports) == Swept(expired=2)
    assert await status(harness, final) is Status.READY


async def test_sweep_expires_stalled_final() -> None:
    """If the missing part is never sent, the final upload and its parts expire."""
    harness = UploadsHarness(policy=PACE)
    one = (await harness.create(3, b"abc", kind=Kind.PARTIAL)).upload.id
    two = (await harness.create(2, kind=Kind.PARTIAL)).upload.id
    final = (await harness.create(None, kind=Kind.FINAL, parts=[one, two])).upload.id
    for _ in range(4):
        harness.clock.move(301)
        await sweep(harness.ports)
    assert [await status(harness, upload_id) for upload_id in (one, two, final)] == [None] * 3


async def test_sweep_rechecks_kept_part() -> None:
    """A part kept for a final upload without expiry is checked again within a day."""
    harness = UploadsHarness(policy=UploadPolicy(unfinished_seconds=0, partial_seconds=10, tombstone_seconds=50))
    one = (await harness.create(3, b"abc", kind=Kind.PARTIAL)).upload.id
    two = (await harness.create(2, kind=Kind.PARTIAL)).upload.id
    await harness.create(None, kind=Kind.FINAL, parts=[one, two])
    harness.clock.move(20)
    assert await sweep(harness.ports) == Swept(skipped=1)
    await harness.append(two, 0, b"de")
    await harness.drain()
    harness.clock.move(2 * 86400)
    assert await sweep(harness.ports) == Swept(expired=2)


async def test_sweep_reschedules_assembly() -> None:
    """A final upload that is not assembled yet is scheduled again instead of expired."""
    harness = UploadsHarness(policy=UploadPolicy(unfinished_seconds=100, concatenate_at_once_bytes_max=0))
    one = (await harness.create(3, b"abc", kind=Kind.PARTIAL)).upload.id
    lock = await harness.locker.try_acquire(task_key(TaskKind.ASSEMBLE, "u2"))
    assert lock is not None
    final = (await harness.create(None, kind=Kind.FINAL, parts=[one])).upload
    await harness.drain()
    await harness.records.update(final, final.with_status(Status.PROCESSING, harness.clock()))
    await lock.release()
    harness.clock.move(101)
    assert (await sweep(harness.ports)).expired == 0
    await harness.drain()
    assert await harness.content(final.id) == b"abc"


async def test_sweep_file_cannot_be_deleted() -> None:
    """The sweeper continues with the next upload, and tries that one again with its tombstone."""
    inner = MemoryStore(bytes_max=100)
    faults = Faults()
    harness = UploadsHarness(store=FailingStore(inner, faults), policy=PACE)
    ids = [(await harness.create(10, b"0123")).upload.id for _ in range(3)]
    harness.clock.move(101)
    faults.nth = faults.seen + 1
    assert await sweep(harness.ports) == Swept(expired=2, skipped=1)
    assert list(inner.uploads) == [ids[0]]
    harness.clock.move(51)
    assert await sweep(harness.ports) == Swept(pruned=3)
    assert inner.uploads == {}


async def test_sweep_more_than_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass handles all due uploads, though some are in use."""
    monkeypatch.setattr(expire, "_BATCH", 2)
    harness = UploadsHarness(policy=PACE)
    ids = [(await harness.create(10)).upload.id for _ in range(9)]
    holds = [await harness.locker.try_acquire(upload_id) for upload_id in ids[:3]]
    harness.clock.move(101)
    assert await sweep(harness.ports) == Swept(expired=6, skipped=3)
    for lock in holds:
        assert lock is not None
        await lock.release()


class Moving(FailingRecords):
    """Records that change between the sweeper's query and its check."""

    moved: Upload | None = None
    conflict = False

    async def due(self, now: datetime, limit: int) -> list[Upload]:
        found = await super().due(now, limit)
        if found and self.moved is None:
            self.moved = await super().update(found[0], found[0].expiring(None))
        return found

    async def update(self, before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> Upload:
        if self.conflict:
            raise RecordConflict("another process was faster")
        return await super().update(before, after, effects)


@pytest.mark.parametrize(("conflict", "swept"), [(False, Swept()), (True, Swept(skipped=1))])
async def test_sweep_record_changed_meanwhile(conflict: bool, swept: Swept) -> None:
    """An upload that is no longer due, or changes at the last moment, is left unchanged."""
    records = Moving(MemoryRecords(), Faults())
    harness = UploadsHarness(records=records, policy=PACE)
    upload = (await harness.create(10)).upload
    harness.clock.move(101)
    if conflict:
        records.moved, records.conflict = upload, True
    assert await sweep(harness.ports) == swept
    assert await status(harness, upload.id) is Status.UPLOADING


# What a restart takes up again


async def test_recover_runs_post_finish_again() -> None:
    """If the process died during post-finish, the hook runs again, once, and the upload becomes ready."""
    calls: list[str] = []
    go = asyncio.Event()

    async def finished(event: HookEvent) -> None:
        calls.append(event.upload.id)
        await go.wait()

    harness = UploadsHarness(functions={Hook.POST_FINISH: finished})
    upload_id = (await harness.create(2, b"01")).upload.id
    await eventually(lambda: calls == [upload_id])
    # Not by the process that is at it.
    assert await recover(harness.ports) == 0
    await harness.ports.background.drain(0)
    harness.clock.move(1)
    harness.restart()
    go.set()
    assert await recover(harness.ports) == 1
    await harness.drain()
    assert calls == [upload_id] * 2
    assert await status(harness, upload_id) is Status.READY
    assert await recover(harness.ports) == 0


async def test_recover_failed_hook_after_grace() -> None:
    """A failed hook is invoked again after some minutes, without a restart."""
    calls: list[str] = []

    def finished(event: HookEvent) -> None:
        calls.append(event.upload.id)
        if len(calls) == 1:
            raise OSError("the receiver is away")

    harness = UploadsHarness(functions={Hook.POST_FINISH: finished})
    upload_id = (await harness.create(2, b"01")).upload.id
    await harness.drain()
    harness.clock.move(60)
    assert await recover(harness.ports) == 0
    harness.clock.move(300)
    assert await recover(harness.ports) == 1
    assert await recover(harness.ports) == 1
    await harness.drain()
    assert calls == [upload_id] * 2
    assert await status(harness, upload_id) is Status.READY


async def test_recover_after_clock_was_set_back() -> None:
    """An upload that was interrupted before the clock was set back is finished at once, not when it has caught up."""
    calls: list[str] = []
    go = asyncio.Event()

    async def finished(event: HookEvent) -> None:
        calls.append(event.upload.id)
        await go.wait()

    harness = UploadsHarness(functions={Hook.POST_FINISH: finished})
    upload_id = (await harness.create(2, b"01")).upload.id
    await eventually(lambda: calls == [upload_id])
    await harness.ports.background.drain(0)
    harness.clock.move(-30 * 86400)
    harness.restart()
    go.set()
    assert await recover(harness.ports) == 1
    await harness.drain()
    assert await status(harness, upload_id) is Status.READY
    assert await recover(harness.ports) == 0


async def test_recover_terminated_meanwhile() -> None:
    """An upload that is terminated after it was listed does not finish."""
    harness = UploadsHarness(functions={Hook.POST_FINISH: lambda _: None})
    upload_id = (await harness.create(2, b"01")).upload.id
    await harness.ports.background.drain(0)
    harness.clock.move(1)
    harness.restart()
    lock = await harness.locker.acquire(upload_id, 1)
    await recover(harness.ports)
    record = await harness.record(upload_id)
    assert record is not None
    await harness.records.delete(record)
    await lock.release()
    await harness.drain()
    assert harness.hooked == []
