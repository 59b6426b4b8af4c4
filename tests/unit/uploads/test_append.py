"""PATCH: what is saved while a body arrives, takeovers, and when an upload is complete."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from tests.faults.failing import FailingStore, Faults
from tests.support.harness import FakeBody, RecordingListener, UploadsHarness, cut
from tests.support.waiting import eventually
from tusd_py.contracts.body import BodyTimeout
from tusd_py.contracts.records import RecordConflict
from tusd_py.contracts.store import BytesMissing, StoreFull, StoreUnavailable
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.errors import (
    BodyIncomplete,
    ChecksumMismatch,
    InconsistentLength,
    LengthAlreadyKnown,
    LengthExceeded,
    MaxSizeExceeded,
    OffsetMismatch,
    ReadTimeout,
    ServerShutdown,
    UploadGone,
    UploadInterrupted,
    UploadNotFound,
)
from tusd_py.protocol.rules import Limits
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio


async def offset_of(harness: UploadsHarness, upload_id: str) -> int:
    upload = await harness.record(upload_id)
    assert upload is not None
    return upload.offset


def md5(content: bytes) -> Checksum:
    return Checksum("md5", hashlib.md5(content, usedforsecurity=False).digest())


async def saved(harness: UploadsHarness, upload_id: str, offset: int) -> None:
    """Return once the recorded offset is ``offset``."""
    deadline = asyncio.get_running_loop().time() + 5
    while await offset_of(harness, upload_id) != offset:
        assert asyncio.get_running_loop().time() < deadline, "it was not saved"
        await asyncio.sleep(0.002)


# What is saved on the way


async def test_append_stalled_saved_at_interval() -> None:
    """Received bytes are recorded after the save interval though no further byte arrives."""
    harness = UploadsHarness(policy=UploadPolicy(save_interval_seconds=0.01, save_small_bytes=0))
    upload_id = (await harness.create(10)).upload.id
    go = asyncio.Event()
    appending = asyncio.ensure_future(harness.append(upload_id, 0, body=FakeBody(b"0123", go, b"456789")))
    await saved(harness, upload_id, 4)
    go.set()
    assert (await appending).upload.is_complete


async def test_append_saved_by_bytes() -> None:
    """A fast body is saved after a number of bytes, which bounds what a crash can cost."""
    harness = UploadsHarness(policy=UploadPolicy(save_interval_seconds=3600, save_interval_bytes=4))
    upload_id = (await harness.create(10)).upload.id
    wait = asyncio.Event()
    appending = asyncio.ensure_future(harness.append(upload_id, 0, body=FakeBody(b"012", b"345", wait, b"6789")))
    await saved(harness, upload_id, 6)
    wait.set()
    assert (await appending).upload.is_complete


async def test_append_not_complete_before_body_ends() -> None:
    """With every byte received and the body still open the upload is incomplete: one more byte must be refused."""
    harness = UploadsHarness(policy=UploadPolicy(save_interval_seconds=0.005, save_interval_bytes=1))
    upload_id = (await harness.create(4)).upload.id
    wait = asyncio.Event()
    appending = asyncio.ensure_future(harness.append(upload_id, 0, body=FakeBody(b"01", b"23", wait, b"4")))
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


async def test_append_moves_expiry() -> None:
    """The expiry counts from the last save."""
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
async def test_append_takeover(newcomer: str) -> None:
    """The running PATCH saves its bytes and is refused; the other request sees the true offset."""
    harness = UploadsHarness()
    upload_id = (await harness.create(10)).upload.id
    late = asyncio.Event()
    body = FakeBody(b"0123", late, b"LATE")
    appending = asyncio.ensure_future(harness.append(upload_id, 0, body=body))
    await eventually(lambda: len(body._pieces) == 2)
    match newcomer:
        case "HEAD":
            assert (await harness.inspect(upload_id)).upload.offset == 4
        case "PATCH":
            assert (await harness.append(upload_id, 4, b"456789")).upload.is_complete
        case _:
            assert (await harness.terminate(upload_id)).upload.status is Status.TERMINATED
    late.set()
    with pytest.raises(UploadInterrupted) as raised:
        await appending
    assert raised.value.upload is not None
    assert raised.value.upload.offset == 4
    if newcomer == "PATCH":
        assert await harness.content(upload_id) == b"0123456789"
    elif newcomer == "DELETE":
        with pytest.raises(UploadNotFound):
            await harness.inspect(upload_id)


async def test_append_record_changed_by_other_process() -> None:
    """A request whose lock was lost gives up when the record has changed."""
    harness = UploadsHarness()
    upload_id = (await harness.create(10)).upload.id
    wait = asyncio.Event()
    body = FakeBody(b"0123", wait, b"456789")
    appending = asyncio.ensure_future(harness.append(upload_id, 0, body=body))
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
async def test_append_cut_keeps_bytes(last: Exception | None, refusal: type[Exception]) -> None:
    """A cut, a stalled client or a stopping server: the bytes are kept, and the refusal has the offset."""
    harness = UploadsHarness()
    upload_id = (await harness.create(10)).upload.id
    source = cut(b"0123") if last is None else FakeBody(b"0123", last)
    with pytest.raises(refusal) as raised:
        await harness.append(upload_id, 0, body=source)
    upload = getattr(raised.value, "upload", None)
    assert isinstance(upload, Upload)
    assert upload.offset == 4 == await offset_of(harness, upload_id)
    assert (await harness.append(upload_id, 4, b"456789")).upload.is_complete
    assert await harness.content(upload_id) == b"0123456789"


async def test_append_shorter_than_content_length() -> None:
    """Some servers end a cut body as if it were whole; the Content-Length reveals it."""
    harness = UploadsHarness()
    upload_id = (await harness.create(10)).upload.id
    with pytest.raises(BodyIncomplete):
        await harness.append(upload_id, 0, b"0123", content_length=6)
    assert await offset_of(harness, upload_id) == 4


@pytest.mark.parametrize("gone", [cut(b"01", b"23"), FakeBody(b"0123", BodyTimeout())])
async def test_append_cut_after_last_byte_complete(gone: FakeBody) -> None:
    """With exactly the missing bytes the upload completes though the connection broke."""
    harness = UploadsHarness()
    upload_id = (await harness.create(4)).upload.id
    assert (await harness.append(upload_id, 0, body=gone)).upload.is_complete
    assert [upload.id for upload in harness.completed] == [upload_id]


async def test_append_overlong_body_discarded() -> None:
    """Without Content-Length the excess shows only at the end; no byte of that body counts."""
    harness = UploadsHarness()
    upload_id = (await harness.create(4, b"0")).upload.id
    with pytest.raises(LengthExceeded):
        await harness.append(upload_id, 1, b"123", b"4")
    assert await offset_of(harness, upload_id) == 1
    assert (await harness.append(upload_id, 1, b"123")).upload.is_complete
    with pytest.raises(LengthExceeded):
        await harness.append(upload_id, 4, b"4")


async def test_append_empty_to_complete_upload() -> None:
    """A client that missed the response sends an empty body: no second completion, no second hook."""
    calls: list[str] = []
    harness = UploadsHarness(functions={Hook.POST_FINISH: lambda event: calls.append(event.upload.id)})
    upload_id = (await harness.create(4, b"0123")).upload.id
    await harness.drain()
    before = await harness.record(upload_id)
    assert (await harness.append(upload_id, 4)).upload == before
    await harness.drain()
    assert (calls, len(harness.completed)) == ([upload_id], 1)


# Checksums


async def test_append_checksum_all_or_nothing() -> None:
    """With a wrong checksum, a cut, a stall or a takeover no byte counts, not even by a save on the way."""
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
            await harness.append(upload_id, 0, body=source, checksum=md5(b"0124"))
        assert await offset_of(harness, upload_id) == 0
    large = b"4567" * 20_000
    assert (await harness.append(upload_id, 0, b"01", b"23", checksum=md5(b"0123"))).upload.offset == 4
    other = (await harness.create(len(large))).upload.id
    assert (await harness.append(other, 0, large, checksum=md5(large))).upload.is_complete


# Deferred length


async def test_append_deferred_length_declared_once() -> None:
    """DL2 to DL4: bytes may precede it; the same value again is accepted, another is refused."""
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
async def test_append_refused_declares_no_length(
    offset: int, length: int | None, body: bytes, content_length: int | None, refusal: type[Exception]
) -> None:
    """DL5, DL7, DL8: a refused request leaves the length open and the upload usable."""
    harness = UploadsHarness(limits=Limits(length_max=20))
    upload_id = (await harness.create(None, b"0123")).upload.id
    with pytest.raises(refusal):
        await harness.append(upload_id, offset, body, length=length, content_length=content_length)
    record = await harness.record(upload_id)
    assert record is not None
    assert (record.length, record.offset) == (None, 4)
    assert (await harness.append(upload_id, 4, b"45", length=6)).upload.is_complete


async def test_append_declare_reached_length_completes() -> None:
    """DL6: an empty body that declares the length completes the upload; the hook runs once."""
    calls: list[int | None] = []
    harness = UploadsHarness(functions={Hook.POST_FINISH: lambda event: calls.append(event.upload.length)})
    upload_id = (await harness.create(None, b"0123")).upload.id
    assert (await harness.append(upload_id, 4, length=4)).upload.is_complete
    await harness.drain()
    assert calls == [4]


# The world fails


async def test_append_full_disk_keeps_bytes() -> None:
    """The bytes that fitted are recorded, and the upload continues once there is space."""
    harness = UploadsHarness(store=MemoryStore(bytes_max=6))
    upload_id = (await harness.create(10)).upload.id
    with pytest.raises(StoreFull):
        await harness.append(upload_id, 0, b"0123", b"4567")
    assert await offset_of(harness, upload_id) == 6
    assert await harness.content(upload_id) == b"012345"


async def test_append_last_flush_failed() -> None:
    """After a failed final flush the last byte is not recorded: a client that saw "complete" would never come back."""
    store = MemoryStore(bytes_max=100)
    harness = UploadsHarness(store=FailingStore(store, Faults(nth=3)))  # create, write, flush
    upload_id = (await harness.create(4)).upload.id
    with pytest.raises(StoreUnavailable):
        await harness.append(upload_id, 0, b"0123")
    assert await offset_of(harness, upload_id) == 3
    assert (await harness.append(upload_id, 3, b"3")).upload.is_complete


# post-receive


async def test_append_file_truncated_meanwhile() -> None:
    """A file that became shorter lowers the offset, and the client continues from there."""
    harness = UploadsHarness()
    upload_id = (await harness.create(8, b"0123")).upload.id
    assert isinstance(harness.store, MemoryStore)
    del harness.store.uploads[upload_id][2:]
    with pytest.raises(BytesMissing):
        await harness.append(upload_id, 4, b"4567")
    assert await offset_of(harness, upload_id) == 2
    assert (await harness.append(upload_id, 2, b"234567")).upload.is_complete
    assert await harness.content(upload_id) == b"01234567"


async def recorded(harness: UploadsHarness, upload_id: str) -> Upload:
    upload = await harness.record(upload_id)
    assert upload is not None
    return upload


async def state_of(harness: UploadsHarness, upload_id: str) -> tuple[int, int | None, bool]:
    """Offset, length and completeness, as recorded."""
    upload = await recorded(harness, upload_id)
    return upload.offset, upload.length, upload.is_complete


@pytest.mark.parametrize("length", [0, 3])
async def test_append_not_last_stays_open(length: int) -> None:
    """With every byte stored the upload stays open until a request says that it is the last; counted once."""
    harness = UploadsHarness()
    made = await harness.create(length, b"abc"[:length], is_last=False)
    upload_id = made.upload.id
    assert await state_of(harness, upload_id) == (length, length, False)
    await harness.append(upload_id, length, is_last=False)
    assert (await recorded(harness, upload_id)).status is Status.UPLOADING
    assert harness.completed == []
    for _ in range(2):
        appended = await harness.append(upload_id, length, is_last=True)
        assert appended.upload.is_complete
    assert [upload.id for upload in harness.completed] == [upload_id]


async def test_append_last_ends_before_length() -> None:
    """The bytes are kept, the upload is incomplete, and it can be continued."""
    harness = UploadsHarness()
    upload_id = (await harness.create(4)).upload.id
    with pytest.raises(InconsistentLength) as refused:
        await harness.append(upload_id, 0, b"abc", is_last=True)
    assert refused.value.upload == await recorded(harness, upload_id)
    assert await state_of(harness, upload_id) == (3, 4, False)
    assert (await harness.append(upload_id, 3, b"d", is_last=True)).upload.is_complete


@pytest.mark.parametrize("length", [None, 3])
async def test_append_last_cut_after_last_byte(length: int | None) -> None:
    """Only the end of the body completes the upload: more bytes might have followed the cut."""
    harness = UploadsHarness()
    upload_id = (await harness.create(length, is_last=False)).upload.id
    with pytest.raises(BodyIncomplete):
        await harness.append(upload_id, 0, body=cut(b"abc"), is_last=True)
    assert await state_of(harness, upload_id) == (3, length, False)
    assert (await harness.append(upload_id, 3, is_last=True)).upload.is_complete


async def test_append_last_saves_up_to_length() -> None:
    """As the length alone completes nothing, the last bytes are saved before the body ends."""
    harness = UploadsHarness(policy=UploadPolicy(save_interval_bytes=1))
    upload_id = (await harness.create(3)).upload.id
    listener, never = RecordingListener(), asyncio.Event()
    appending = asyncio.ensure_future(
        harness.append(upload_id, 0, body=FakeBody(b"ab", b"c", never), is_last=True, listener=listener)
    )
    await eventually(lambda: listener.offsets == [2, 3])
    assert await state_of(harness, upload_id) == (3, 3, False)
    never.set()
    assert (await appending).upload.is_complete


@pytest.mark.parametrize("full", [False, True])
async def test_append_last_flush_failed_not_complete(full: bool) -> None:
    """The safe bytes are recorded without completion, and an empty body completes the upload later."""
    faults = Faults(full=full)
    harness = UploadsHarness()
    upload_id = (await harness.create(3)).upload.id
    harness.store = FailingStore(harness.store, faults)
    harness.restart()
    faults.nth = 2
    with pytest.raises(StoreFull if full else StoreUnavailable):
        await harness.append(upload_id, 0, b"abc", is_last=True)
    assert await state_of(harness, upload_id) == (3, 3, False)
    assert (await harness.append(upload_id, 3, is_last=True)).upload.is_complete


@pytest.mark.parametrize("content_length", [None, 3])
async def test_append_beyond_declared_length_fails_upload(content_length: int | None) -> None:
    """The draft: a body that exceeds the length invalidates the upload."""
    harness = UploadsHarness(policy=UploadPolicy(unfinished_seconds=50))
    upload_id = (await harness.create(4, b"ab", is_last=False)).upload.id
    with pytest.raises(LengthExceeded) as refused:
        await harness.append(upload_id, 2, b"cde", is_last=False, content_length=content_length)
    upload = await recorded(harness, upload_id)
    assert refused.value.upload == upload
    assert (upload.status, upload.offset) == (Status.FAILED, 2)
    assert upload.history[-1].reason
    assert upload.expires_at is not None
    with pytest.raises(UploadGone):
        await harness.inspect(upload_id)


async def test_append_beyond_complete_upload() -> None:
    """A body beyond the end of a complete upload is refused and changes nothing."""
    harness = UploadsHarness()
    upload_id = (await harness.create(2, b"ab", is_last=True)).upload.id
    with pytest.raises(LengthExceeded):
        await harness.append(upload_id, 2, b"c", is_last=True)
    assert (await recorded(harness, upload_id)).status is Status.READY


async def test_append_beyond_length_max() -> None:
    """Exceeding the limit of the server contradicts no length of the client: the upload stays unchanged."""
    harness = UploadsHarness(limits=Limits(length_max=4))
    upload_id = (await harness.create(None, b"ab", is_last=False)).upload.id
    with pytest.raises(MaxSizeExceeded):
        await harness.append(upload_id, 2, b"cde", is_last=False)
    assert await state_of(harness, upload_id) == (2, None, False)


@pytest.mark.parametrize("sent", [b"", b"ab", b"abc"])
async def test_append_cut_with_digest_kept(sent: bytes) -> None:
    """In the draft a cut body is kept though its digest was never verified, by PATCH and by POST."""
    harness = UploadsHarness()
    made = (await harness.create(3)).upload.id
    digest = md5(b"abc")
    with pytest.raises(BodyIncomplete):
        await harness.append(made, 0, body=cut(sent), is_last=True, checksum=digest, keep_partial=True)
    with pytest.raises(BodyIncomplete):
        await harness.create(3, body=cut(sent), is_last=True, checksum=digest, keep_partial=True)
    for upload_id in (made, "u2"):
        assert await state_of(harness, upload_id) == (len(sent), 3, False)
        assert await harness.content(upload_id) == sent


async def test_append_wrong_digest_discarded() -> None:
    """No byte of a whole body with a wrong digest is kept; the upload continues from before."""
    harness = UploadsHarness(policy=UploadPolicy(save_interval_bytes=1))
    upload_id = (await harness.create(3)).upload.id
    digest = md5(b"xyz")
    with pytest.raises(ChecksumMismatch):
        await harness.append(upload_id, 0, b"ab", b"c", is_last=True, checksum=digest, keep_partial=True)
    assert await state_of(harness, upload_id) == (0, 3, False)
    assert (
        await harness.append(upload_id, 0, b"xy", b"z", is_last=True, checksum=digest, keep_partial=True)
    ).upload.is_complete
