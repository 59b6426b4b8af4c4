"""PATCH: what is saved while a body runs, who takes over from whom, and when an upload is complete."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from tests.faults.failing import FailingStore, Faults
from tests.support.harness import FakeBody, UploadsHarness, cut
from tests.support.waiting import eventually
from tusd_py.contracts.body import BodyTimeout
from tusd_py.contracts.hooks import HookEvent, HookResponse
from tusd_py.contracts.records import RecordConflict
from tusd_py.contracts.store import BytesMissing, StoreFull, StoreUnavailable
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.errors import (
    BodyIncomplete,
    ChecksumMismatch,
    LengthAlreadyKnown,
    LengthExceeded,
    MaxSizeExceeded,
    OffsetMismatch,
    ReadTimeout,
    ServerShutdown,
    UploadGone,
    UploadInterrupted,
    UploadNotFound,
    UploadStopped,
)
from tusd_py.protocol.outcomes import ResponseOverride
from tusd_py.protocol.rules import Limits
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.policy import UploadPolicy


async def offset_of(harness: UploadsHarness, upload_id: str) -> int:
    upload = await harness.record(upload_id)
    assert upload is not None
    return upload.offset


def md5(content: bytes) -> Checksum:
    return Checksum("md5", hashlib.md5(content, usedforsecurity=False).digest())


async def saved(harness: UploadsHarness, upload_id: str, offset: int) -> None:
    """Return once the record says ``offset``."""
    deadline = asyncio.get_running_loop().time() + 5
    while await offset_of(harness, upload_id) != offset:
        assert asyncio.get_running_loop().time() < deadline, "it was not saved"
        await asyncio.sleep(0.002)


# What is saved on the way


@pytest.mark.anyio
async def test_stalled_body_is_saved_at_the_interval() -> None:
    """After a few bytes and then silence, the received bytes are recorded although no further byte arrives."""
    harness = UploadsHarness(policy=UploadPolicy(save_interval_seconds=0.01))
    upload_id = (await harness.create(10)).upload.id
    go = asyncio.Event()
    appending = asyncio.ensure_future(harness.append(upload_id, 0, source=FakeBody(b"0123", go, b"456789")))
    await saved(harness, upload_id, 4)
    go.set()
    assert (await appending).upload.is_complete


@pytest.mark.anyio
async def test_many_bytes_are_saved_before_the_interval() -> None:
    """With a fast client a save follows a number of bytes, which bounds what a crash costs."""
    harness = UploadsHarness(policy=UploadPolicy(save_interval_seconds=3600, save_interval_bytes=4))
    upload_id = (await harness.create(10)).upload.id
    wait = asyncio.Event()
    appending = asyncio.ensure_future(harness.append(upload_id, 0, source=FakeBody(b"012", b"345", wait, b"6789")))
    await saved(harness, upload_id, 6)
    wait.set()
    assert (await appending).upload.is_complete


@pytest.mark.anyio
async def test_all_bytes_without_the_end_are_not_complete() -> None:
    """While the body goes on the record waits, since one more byte must be refused."""
    harness = UploadsHarness(policy=UploadPolicy(save_interval_seconds=0.005, save_interval_bytes=1))
    upload_id = (await harness.create(4)).upload.id
    wait = asyncio.Event()
    appending = asyncio.ensure_future(harness.append(upload_id, 0, source=FakeBody(b"01", b"23", wait, b"4")))
    await saved(harness, upload_id, 2)
    for _ in range(5):
        await asyncio.sleep(0.005)
        assert await offset_of(harness, upload_id) == 2
    wait.set()
    with pytest.raises(LengthExceeded):
        await appending
    upload = await harness.record(upload_id)
    assert upload is not None
    assert (upload.offset, upload.is_complete) == (2, False)


@pytest.mark.anyio
async def test_every_save_moves_the_expiry() -> None:
    """The time of expiry counts from the last saved byte."""
    harness = UploadsHarness(policy=UploadPolicy(unfinished_seconds=100, save_interval_bytes=1))
    upload_id = (await harness.create(10)).upload.id
    harness.clock.move(99)
    await harness.append(upload_id, 0, b"0")
    harness.clock.move(99)
    assert (await harness.append(upload_id, 1, b"1")).upload.offset == 2
    harness.clock.move(101)
    with pytest.raises(UploadGone):
        await harness.append(upload_id, 2, b"2")


# Takeover


@pytest.mark.parametrize("newcomer", ["HEAD", "PATCH", "DELETE"])
@pytest.mark.anyio
async def test_takeover_keeps_received_bytes(newcomer: str) -> None:
    """The holder saves what arrived and is refused; later bytes do not count. The new request gets the true offset."""
    harness = UploadsHarness()
    upload_id = (await harness.create(10)).upload.id
    late = asyncio.Event()
    body = FakeBody(b"0123", late, b"LATE")
    appending = asyncio.ensure_future(harness.append(upload_id, 0, source=body))
    await eventually(lambda: len(body._pieces) == 2)
    match newcomer:
        case "HEAD":
            assert (await harness.inspect(upload_id)).upload.offset == 4
        case "PATCH":
            assert (await harness.append(upload_id, 4, b"456789")).upload.is_complete
        case _:
            assert (await harness.terminate(upload_id)).upload.status is Status.TERMINATED
    late.set()
    with pytest.raises(UploadInterrupted) as told:
        await appending
    assert told.value.upload is not None
    assert told.value.upload.offset == 4
    if newcomer == "PATCH":
        assert await harness.content(upload_id) == b"0123456789"
    elif newcomer == "DELETE":
        with pytest.raises(UploadNotFound):
            await harness.inspect(upload_id)


@pytest.mark.anyio
async def test_record_conflict_changes_nothing() -> None:
    """When another process changed the record (the lock was lost), the request gives up."""
    harness = UploadsHarness()
    upload_id = (await harness.create(10)).upload.id
    wait = asyncio.Event()
    body = FakeBody(b"0123", wait, b"456789")
    appending = asyncio.ensure_future(harness.append(upload_id, 0, source=body))
    await eventually(lambda: len(body._pieces) == 2)
    record = await harness.record(upload_id)
    assert record is not None
    elsewhere = await harness.records.update(record, record.expiring(None))
    wait.set()
    with pytest.raises(RecordConflict):
        await appending
    assert await harness.record(upload_id) == elsewhere


# How a body ends


@pytest.mark.parametrize(
    ("last", "refusal"),
    [(None, BodyIncomplete), (BodyTimeout(), ReadTimeout), (ServerShutdown(), ServerShutdown)],
)
@pytest.mark.anyio
async def test_received_bytes_are_kept(last: Exception | None, refusal: type[Exception]) -> None:
    """After a cut, a stall or a shutdown the offset counts what arrived, and the refusal reports it."""
    harness = UploadsHarness()
    upload_id = (await harness.create(10)).upload.id
    source = cut(b"0123") if last is None else FakeBody(b"0123", last)
    with pytest.raises(refusal) as told:
        await harness.append(upload_id, 0, source=source)
    upload = getattr(told.value, "upload", None)
    assert isinstance(upload, Upload)
    assert upload.offset == 4 == await offset_of(harness, upload_id)
    assert (await harness.append(upload_id, 4, b"456789")).upload.is_complete
    assert await harness.content(upload_id) == b"0123456789"


@pytest.mark.anyio
async def test_body_shorter_than_content_length_is_incomplete() -> None:
    """Some servers end a cut body like a complete one: its Content-Length reveals it."""
    harness = UploadsHarness()
    upload_id = (await harness.create(10)).upload.id
    with pytest.raises(BodyIncomplete):
        await harness.append(upload_id, 0, b"0123", content_length=6)
    assert await offset_of(harness, upload_id) == 4


@pytest.mark.parametrize("gone", [cut(b"01", b"23"), FakeBody(b"0123", BodyTimeout())])
@pytest.mark.anyio
async def test_cut_after_the_last_byte_is_complete(gone: FakeBody) -> None:
    """Every byte arrived and none after it: the upload completes although its client never learns it."""
    harness = UploadsHarness()
    upload_id = (await harness.create(4)).upload.id
    assert (await harness.append(upload_id, 0, source=gone)).upload.is_complete
    assert [upload.id for upload in harness.completed] == [upload_id]


@pytest.mark.anyio
async def test_overlong_body_never_completes() -> None:
    """Without Content-Length the excess shows only at the end: no byte of that body counts."""
    harness = UploadsHarness()
    upload_id = (await harness.create(4, b"0")).upload.id
    with pytest.raises(LengthExceeded):
        await harness.append(upload_id, 1, b"123", b"4")
    assert await offset_of(harness, upload_id) == 1
    assert (await harness.append(upload_id, 1, b"123")).upload.is_complete
    with pytest.raises(LengthExceeded):
        await harness.append(upload_id, 4, b"4")


@pytest.mark.anyio
async def test_empty_append_to_a_complete_upload_changes_nothing() -> None:
    """Clients that lost the response do this: no second completion, no second hook."""
    told: list[str] = []
    harness = UploadsHarness(functions={Hook.POST_FINISH: lambda event: told.append(event.upload.id)})
    upload_id = (await harness.create(4, b"0123")).upload.id
    await harness.settle()
    before = await harness.record(upload_id)
    assert (await harness.append(upload_id, 4)).upload == before
    await harness.settle()
    assert (told, len(harness.completed)) == ([upload_id], 1)


# Checksums


@pytest.mark.anyio
async def test_checksum_is_all_or_nothing() -> None:
    """After a mismatch, a cut, a stall or a takeover no byte counts, not even at a save; otherwise all do."""
    harness = UploadsHarness(policy=UploadPolicy(save_interval_bytes=1, save_interval_seconds=0.001))
    upload_id = (await harness.create(8)).upload.id
    for source, refusal in (
        (FakeBody(b"01", b"23"), ChecksumMismatch),
        (cut(b"01", b"23"), BodyIncomplete),
        (FakeBody(b"0123", BodyTimeout()), ReadTimeout),
        (FakeBody(b"0123", UploadInterrupted()), UploadInterrupted),
        (FakeBody(b"01234567", b"8"), LengthExceeded),
    ):
        with pytest.raises(refusal):
            await harness.append(upload_id, 0, source=source, checksum=md5(b"0124"))
        assert await offset_of(harness, upload_id) == 0
    large = b"4567" * 20_000
    assert (await harness.append(upload_id, 0, b"01", b"23", checksum=md5(b"0123"))).upload.offset == 4
    other = (await harness.create(len(large))).upload.id
    assert (await harness.append(other, 0, large, checksum=md5(large))).upload.is_complete


# Deferred length


@pytest.mark.anyio
async def test_deferred_length_is_declared_once() -> None:
    """DL2 to DL4: bytes may precede it; repeating the same length is accepted, another one is refused."""
    harness = UploadsHarness()
    upload_id = (await harness.create(None)).upload.id
    assert (await harness.append(upload_id, 0, b"0123")).upload.length is None
    assert (await harness.append(upload_id, 4, b"45", length=8)).upload.length == 8
    with pytest.raises(LengthAlreadyKnown):
        await harness.append(upload_id, 6, b"67", length=9)
    assert (await harness.append(upload_id, 6, b"67", length=8)).upload.is_complete


@pytest.mark.parametrize(
    ("offset", "length", "body", "content_length", "refusal"),
    [
        (4, 3, b"", None, LengthAlreadyKnown),
        (4, 5, b"45", 2, LengthExceeded),
        (4, 5, b"45", None, LengthExceeded),
        (4, 21, b"45", 2, MaxSizeExceeded),
        (3, 8, b"45", 2, OffsetMismatch),
        (4, None, b"4" * 17, None, MaxSizeExceeded),
    ],
)
@pytest.mark.anyio
async def test_refused_request_declares_no_length(
    offset: int, length: int | None, body: bytes, content_length: int | None, refusal: type[Exception]
) -> None:
    """DL5, DL7, DL8: too small, too large or at the wrong offset, the length stays open and the upload usable."""
    harness = UploadsHarness(limits=Limits(length_max=20))
    upload_id = (await harness.create(None, b"0123")).upload.id
    with pytest.raises(refusal):
        await harness.append(upload_id, offset, body, length=length, content_length=content_length)
    record = await harness.record(upload_id)
    assert record is not None
    assert (record.length, record.offset) == (None, 4)
    assert (await harness.append(upload_id, 4, b"45", length=6)).upload.is_complete


@pytest.mark.anyio
async def test_declaring_the_reached_length_completes() -> None:
    """DL6: streams end with an empty body that declares the length. It completes once."""
    told: list[int | None] = []
    harness = UploadsHarness(functions={Hook.POST_FINISH: lambda event: told.append(event.upload.length)})
    upload_id = (await harness.create(None, b"0123")).upload.id
    assert (await harness.append(upload_id, 4, length=4)).upload.is_complete
    await harness.settle()
    assert told == [4]


# The world fails


@pytest.mark.anyio
async def test_bytes_that_fitted_on_a_full_disk_are_kept() -> None:
    """The offset counts what is stored, and the upload continues once there is space."""
    harness = UploadsHarness(store=MemoryStore(bytes_max=6))
    upload_id = (await harness.create(10)).upload.id
    with pytest.raises(StoreFull):
        await harness.append(upload_id, 0, b"0123", b"4567")
    assert await offset_of(harness, upload_id) == 6
    assert await harness.content(upload_id) == b"012345"


@pytest.mark.anyio
async def test_failed_flush_at_the_end_asks_for_the_last_byte() -> None:
    """A client that is told the full offset would never return to make the bytes durable."""
    store = MemoryStore(bytes_max=100)
    harness = UploadsHarness(store=FailingStore(store, Faults(nth=3)))  # create, write, flush
    upload_id = (await harness.create(4)).upload.id
    with pytest.raises(StoreUnavailable):
        await harness.append(upload_id, 0, b"0123")
    assert await offset_of(harness, upload_id) == 3
    assert (await harness.append(upload_id, 3, b"3")).upload.is_complete


@pytest.mark.anyio
async def test_offset_follows_the_store_after_a_power_loss() -> None:
    """If the store has fewer bytes than a record from before the start, the client learns the true offset."""
    harness = UploadsHarness()
    store = harness.store
    assert isinstance(store, MemoryStore)
    ids = [(await harness.create(10, b"0123")).upload.id for _ in range(3)]
    for upload_id in ids[:2]:
        del store.uploads[upload_id][2:]
    harness.clock.move(1)
    harness.restart()
    assert (await harness.inspect(ids[0])).upload.offset == 2
    with pytest.raises(OffsetMismatch):
        await harness.append(ids[1], 4, b"x")
    assert (await harness.append(ids[1], 2, b"23456789")).upload.is_complete
    assert (await harness.inspect(ids[2])).upload.offset == 4
    # Counted once: from now on the record is of this process, and trusted.
    del store.uploads[ids[2]][1:]
    assert (await harness.inspect(ids[2])).upload.offset == 4


# post-receive


@pytest.mark.anyio
async def test_post_receive_may_stop_the_upload() -> None:
    """The hook is invoked after each save; ``stop`` ends request and upload with the response of the hook."""
    seen: list[int] = []
    ended: list[str] = []

    def received(event: HookEvent) -> HookResponse | None:
        seen.append(event.upload.offset)
        return HookResponse(stop=True, override=ResponseOverride(status=402)) if event.upload.offset >= 4 else None

    harness = UploadsHarness(
        policy=UploadPolicy(save_interval_bytes=1),
        functions={Hook.POST_RECEIVE: received, Hook.POST_TERMINATE: lambda event: ended.append(event.upload.id)},
    )
    upload_id = (await harness.create(100)).upload.id
    first, never = asyncio.Event(), asyncio.Event()
    appending = asyncio.ensure_future(harness.append(upload_id, 0, source=FakeBody(b"01", first, b"23", never, b"4")))
    await eventually(lambda: seen == [2])
    first.set()
    with pytest.raises(UploadStopped) as told:
        await appending
    await harness.settle()
    assert told.value.override == ResponseOverride(status=402)
    assert (seen, ended) == ([2, 4], [upload_id])
    record = await harness.record(upload_id)
    assert record is not None
    assert record.status is Status.TERMINATED
    assert isinstance(harness.store, MemoryStore)
    assert upload_id not in harness.store.uploads


@pytest.mark.anyio
async def test_post_receive_may_stop_a_creation() -> None:
    """Bytes of a creation are progress like any others: only the tombstone is left."""
    harness = UploadsHarness(
        policy=UploadPolicy(save_interval_bytes=1), functions={Hook.POST_RECEIVE: lambda _: HookResponse(stop=True)}
    )
    with pytest.raises(UploadStopped):
        await harness.create(10, source=FakeBody(b"01", asyncio.Event()))
    record = await harness.record("u1")
    assert record is not None
    assert record.status is Status.TERMINATED


@pytest.mark.anyio
async def test_slow_post_receive_gets_the_newest_state() -> None:
    """States saved while the hook is busy are skipped except the last, so no queue grows."""
    go = asyncio.Event()
    seen: list[int] = []

    async def received(event: HookEvent) -> None:
        seen.append(event.upload.offset)
        await go.wait()

    harness = UploadsHarness(policy=UploadPolicy(save_interval_bytes=1), functions={Hook.POST_RECEIVE: received})
    upload_id = (await harness.create(50)).upload.id
    body = FakeBody(*(b"x" for _ in range(50)))
    await harness.append(upload_id, 0, source=body)
    go.set()
    await harness.settle()
    assert seen[0] < 10
    assert seen[1:] == [50]


@pytest.mark.anyio
async def test_partial_upload_completes_without_hooks() -> None:
    """ "SHOULD NOT process these partial uploads until they are concatenated"."""
    harness = UploadsHarness(functions={Hook.POST_FINISH: lambda _: pytest.fail("told of a partial upload")})
    part = (await harness.create(4, b"0123", kind=Kind.PARTIAL)).upload
    await harness.settle()
    assert part.status is Status.READY
    assert harness.hooked == []


@pytest.mark.anyio
async def test_missing_bytes_lower_the_offset() -> None:
    """If the file became shorter while the server ran, the record is corrected and the client continues from there."""
    harness = UploadsHarness()
    upload_id = (await harness.create(8, b"0123")).upload.id
    assert isinstance(harness.store, MemoryStore)
    del harness.store.uploads[upload_id][2:]
    with pytest.raises(BytesMissing):
        await harness.append(upload_id, 4, b"4567")
    assert await offset_of(harness, upload_id) == 2
    assert (await harness.append(upload_id, 2, b"234567")).upload.is_complete
    assert await harness.content(upload_id) == b"01234567"
