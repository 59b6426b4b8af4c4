"""Expiration: what is taken away, what is kept from it, and what a restart takes up again."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from tests.faults.failing import FailingRecords, FailingStore, Faults
from tests.support.heart import Feed, Heart
from tests.support.loops import eventually, on_loop
from tusd_py.contracts.hooks import HookEvent
from tusd_py.contracts.records import RecordConflict
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.errors import UploadGone, UploadNotFound
from tusd_py.records.memory import MemoryRecords
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads import expire
from tusd_py.uploads.expire import Swept, recover, sweep
from tusd_py.uploads.ports import UploadPolicy

PACE = UploadPolicy(unfinished_seconds=100, finished_seconds=1000, partial_seconds=300, tombstone_seconds=50)


async def status(heart: Heart, upload_id: str) -> Status | None:
    upload = await heart.record(upload_id)
    return upload.status if upload else None


@on_loop
async def test_expired_then_forgotten() -> None:
    """First 410 and no bytes, then, after the tombstone's time, nothing at all."""
    heart = Heart(pace=PACE)
    upload_id = (await heart.create(10, b"0123")).upload.id
    heart.clock.move(101)
    # Gone already before the sweeper has come.
    with pytest.raises(UploadGone):
        await heart.inspect(upload_id)
    assert await sweep(heart.ports) == Swept(expired=1)
    assert await status(heart, upload_id) is Status.EXPIRED
    assert isinstance(heart.store, MemoryStore)
    assert heart.store.uploads == {}
    with pytest.raises(UploadGone):
        await heart.inspect(upload_id)
    heart.clock.move(51)
    assert await sweep(heart.ports) == Swept(pruned=1)
    with pytest.raises(UploadNotFound):
        await heart.inspect(upload_id)


@on_loop
async def test_finished_uploads_have_a_time_of_their_own() -> None:
    """Retention counts from completion; 0 is for ever; complete uploads are given out until the sweeper comes."""
    heart = Heart(pace=PACE)
    kept = Heart(records=heart.records, store=heart.store, clock=heart.clock, ids=heart.ids)
    upload_id, forever = (await heart.create(2, b"01")).upload.id, (await kept.create(2, b"01")).upload.id
    heart.clock.move(999)
    assert await sweep(heart.ports) == Swept()
    heart.clock.move(2)
    assert (await heart.inspect(upload_id)).upload.is_complete
    assert await sweep(heart.ports) == Swept(expired=1)
    assert await status(heart, forever) is Status.READY


@on_loop
async def test_never_under_a_running_request() -> None:
    """Its time has come while its body runs: the sweeper goes by, and the next save moves the time."""
    heart = Heart(pace=UploadPolicy(unfinished_seconds=100, save_interval_bytes=1))
    upload_id = (await heart.create(10)).upload.id
    go = asyncio.Event()
    body = Feed(b"0123", go, b"456789")
    appending = asyncio.ensure_future(heart.append(upload_id, 0, source=body))
    await eventually(lambda: len(body._pieces) == 2)
    heart.clock.move(101)
    assert await sweep(heart.ports) == Swept(skipped=1)
    go.set()
    assert (await appending).upload.is_complete


@on_loop
async def test_parts_are_kept_for_their_final() -> None:
    """A complete part outlives its time while a final upload waits for another part; joined, it goes."""
    heart = Heart(pace=UploadPolicy(unfinished_seconds=100, partial_seconds=10, tombstone_seconds=50))
    one = (await heart.create(3, b"abc", kind=Kind.PARTIAL)).upload.id
    two = (await heart.create(2, kind=Kind.PARTIAL)).upload.id
    final = (await heart.create(None, kind=Kind.FINAL, parts=[one, two])).upload.id
    heart.clock.move(60)
    assert await sweep(heart.ports) == Swept(skipped=1)
    await heart.append(two, 0, b"d")
    heart.clock.move(50)  # the final upload's own time has come, but its part goes on
    assert await sweep(heart.ports) == Swept(skipped=2)
    await heart.append(two, 1, b"e")
    await heart.settle()
    assert await heart.content(final) == b"abcde"
    heart.clock.move(200)
    assert await sweep(heart.ports) == Swept(expired=2)
    assert await status(heart, final) is Status.READY


@on_loop
async def test_a_final_whose_parts_stand_still_goes_with_them() -> None:
    """Nobody sends the missing part: nothing keeps the others for ever."""
    heart = Heart(pace=PACE)
    one = (await heart.create(3, b"abc", kind=Kind.PARTIAL)).upload.id
    two = (await heart.create(2, kind=Kind.PARTIAL)).upload.id
    final = (await heart.create(None, kind=Kind.FINAL, parts=[one, two])).upload.id
    for _ in range(4):
        heart.clock.move(301)
        await sweep(heart.ports)
    assert [await status(heart, upload_id) for upload_id in (one, two, final)] == [None] * 3


@on_loop
async def test_a_part_is_looked_at_again_soon() -> None:
    """Kept for a final upload that never expires, it must go when that one is joined, not at the end of time."""
    heart = Heart(pace=UploadPolicy(unfinished_seconds=0, partial_seconds=10, tombstone_seconds=50))
    one = (await heart.create(3, b"abc", kind=Kind.PARTIAL)).upload.id
    two = (await heart.create(2, kind=Kind.PARTIAL)).upload.id
    await heart.create(None, kind=Kind.FINAL, parts=[one, two])
    heart.clock.move(20)
    assert await sweep(heart.ports) == Swept(skipped=1)
    await heart.append(two, 0, b"de")
    await heart.settle()
    heart.clock.move(2 * 86400)
    assert await sweep(heart.ports) == Swept(expired=2)


@on_loop
async def test_a_join_under_way_is_not_expired_but_pushed() -> None:
    """A final upload whose bytes are not joined yet, for want of room say, is tried again when its time comes."""
    heart = Heart(pace=UploadPolicy(unfinished_seconds=100, concatenate_at_once_bytes_max=0))
    one = (await heart.create(3, b"abc", kind=Kind.PARTIAL)).upload.id
    lock = await heart.locker.try_acquire("u2.join")
    assert lock is not None
    final = (await heart.create(None, kind=Kind.FINAL, parts=[one])).upload
    await heart.settle()
    await heart.records.update(final, final.with_status(Status.PROCESSING, heart.clock()))
    await lock.release()
    heart.clock.move(101)
    assert (await sweep(heart.ports)).expired == 0
    await heart.settle()
    assert await heart.content(final.id) == b"abc"


@on_loop
async def test_a_file_that_cannot_be_removed_stops_nobody() -> None:
    """The sweeper goes on with the next, and tries that one again at the end of its tombstone's time."""
    inner = MemoryStore(bytes_max=100)
    faults = Faults()
    heart = Heart(store=FailingStore(inner, faults), pace=PACE)
    ids = [(await heart.create(10, b"0123")).upload.id for _ in range(3)]
    heart.clock.move(101)
    faults.nth = faults.seen + 1
    assert await sweep(heart.ports) == Swept(expired=2, skipped=1)
    assert list(inner.uploads) == [ids[0]]
    heart.clock.move(51)
    assert await sweep(heart.ports) == Swept(pruned=3)
    assert inner.uploads == {}


@on_loop
async def test_more_than_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are due, and though some are in use, one pass takes all others."""
    monkeypatch.setattr(expire, "_BATCH", 2)
    heart = Heart(pace=PACE)
    ids = [(await heart.create(10)).upload.id for _ in range(9)]
    holds = [await heart.locker.try_acquire(upload_id) for upload_id in ids[:3]]
    heart.clock.move(101)
    assert await sweep(heart.ports) == Swept(expired=6, skipped=3)
    for lock in holds:
        assert lock is not None
        await lock.release()


class Moving(FailingRecords):
    """Records that somebody changes between the sweeper's question and its look."""

    moved: Upload | None = None
    conflict = False

    async def due(self, now: datetime, limit: int) -> list[Upload]:
        found = await super().due(now, limit)
        if found and self.moved is None:
            self.moved = await super().update(found[0], found[0].expiring(None))
        return found

    async def update(self, before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> Upload:
        if self.conflict:
            raise RecordConflict("somebody else was faster")
        return await super().update(before, after, effects)


@pytest.mark.parametrize(("conflict", "swept"), [(False, Swept()), (True, Swept(skipped=1))])
@on_loop
async def test_who_moved_on_meanwhile_is_left_alone(conflict: bool, swept: Swept) -> None:
    """Due when asked, but not any more when looked at, or changed at the last moment."""
    records = Moving(MemoryRecords(), Faults())
    heart = Heart(records=records, pace=PACE)
    upload = (await heart.create(10)).upload
    heart.clock.move(101)
    if conflict:
        records.moved, records.conflict = upload, True
    assert await sweep(heart.ports) == swept
    assert await status(heart, upload.id) is Status.UPLOADING


# What a restart takes up again


@on_loop
async def test_a_restart_tells_what_was_not_told() -> None:
    """post-finish had not returned when the process died: it is told again, once, and the upload is ready."""
    told: list[str] = []
    go = asyncio.Event()

    async def finished(event: HookEvent) -> None:
        told.append(event.upload.id)
        await go.wait()

    heart = Heart(functions={Hook.POST_FINISH: finished})
    upload_id = (await heart.create(2, b"01")).upload.id
    await eventually(lambda: told == [upload_id])
    # Not by the process that is at it.
    assert await recover(heart.ports) == 0
    await heart.ports.background.drain(0)
    heart.clock.move(1)
    heart.restart()
    go.set()
    assert await recover(heart.ports) == 1
    await heart.settle()
    assert told == [upload_id] * 2
    assert await status(heart, upload_id) is Status.READY
    assert await recover(heart.ports) == 0


@on_loop
async def test_what_failed_here_is_tried_again_after_a_while() -> None:
    """Without a restart too: the receiver was away, and is told some minutes later."""
    told: list[str] = []

    def finished(event: HookEvent) -> None:
        told.append(event.upload.id)
        if len(told) == 1:
            raise OSError("the receiver is away")

    heart = Heart(functions={Hook.POST_FINISH: finished})
    upload_id = (await heart.create(2, b"01")).upload.id
    await heart.settle()
    heart.clock.move(60)
    assert await recover(heart.ports) == 0
    heart.clock.move(300)
    assert await recover(heart.ports) == 1
    assert await recover(heart.ports) == 1
    await heart.settle()
    assert told == [upload_id] * 2
    assert await status(heart, upload_id) is Status.READY


@on_loop
async def test_what_is_gone_meanwhile_is_not_resumed() -> None:
    """Terminated between the list and the turn: nobody is told that it finished."""
    heart = Heart(functions={Hook.POST_FINISH: lambda _: None})
    upload_id = (await heart.create(2, b"01")).upload.id
    await heart.ports.background.drain(0)
    heart.clock.move(1)
    heart.restart()
    lock = await heart.locker.acquire(upload_id, 1)
    await recover(heart.ports)
    record = await heart.record(upload_id)
    assert record is not None
    await heart.records.delete(record)
    await lock.release()
    await heart.settle()
    assert heart.hooked == []
