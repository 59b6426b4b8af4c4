"""Where a request says itself whether it is the last one: the length alone then completes nothing."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from tests.faults.failing import FailingStore, Faults
from tests.support.harness import FakeBody, RecordingListener, UploadsHarness, cut
from tests.support.waiting import eventually
from tusd_py.contracts.store import StoreFull, StoreUnavailable
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.errors import (
    BodyIncomplete,
    ChecksumMismatch,
    InconsistentLength,
    LengthExceeded,
    MaxSizeExceeded,
    UploadGone,
)
from tusd_py.protocol.rules import Limits
from tusd_py.uploads.policy import UploadPolicy


async def recorded(harness: UploadsHarness, upload_id: str) -> Upload:
    upload = await harness.record(upload_id)
    assert upload is not None
    return upload


async def stands(harness: UploadsHarness, upload_id: str) -> tuple[int, int | None, bool]:
    """Offset, length and completeness, as the record has them."""
    upload = await recorded(harness, upload_id)
    return upload.offset, upload.length, upload.is_complete


def md5(content: bytes) -> Checksum:
    return Checksum("md5", hashlib.md5(content, usedforsecurity=False).digest())


@pytest.mark.parametrize("length", [0, 3])
@pytest.mark.anyio
async def test_more_to_follow_is_never_complete(length: int) -> None:
    """With every byte stored the upload stays open until an empty body ends it. It is counted once."""
    harness = UploadsHarness()
    made = await harness.create(length, b"abc"[:length], completes=False)
    upload_id = made.upload.id
    assert await stands(harness, upload_id) == (length, length, False)
    await harness.append(upload_id, length, completes=False)
    assert (await recorded(harness, upload_id)).status is Status.UPLOADING
    assert harness.completed == []
    for _ in range(2):
        appended = await harness.append(upload_id, length, completes=True)
        assert appended.upload.is_complete
    assert [upload.id for upload in harness.completed] == [upload_id]


@pytest.mark.anyio
async def test_empty_upload_with_more_to_follow_stays_open() -> None:
    """Length 0 and no body: not complete either."""
    harness = UploadsHarness()
    upload_id = (await harness.create(0, completes=False)).upload.id
    assert await stands(harness, upload_id) == (0, 0, False)
    assert (await harness.create(0, completes=True)).upload.is_complete


@pytest.mark.anyio
async def test_last_body_declares_the_length() -> None:
    """The end of the last body is the length, by POST and by PATCH."""
    harness = UploadsHarness()
    assert (await harness.create(None, b"ab", b"c", completes=True)).upload.length == 3
    assert (await harness.create(None, source=FakeBody(), completes=True)).upload.is_complete
    upload_id = (await harness.create(None, b"abc", completes=False)).upload.id
    assert await stands(harness, upload_id) == (3, None, False)
    await harness.append(upload_id, 3, b"de", completes=True)
    assert await stands(harness, upload_id) == (5, 5, True)


@pytest.mark.anyio
async def test_last_body_shorter_than_the_length() -> None:
    """The two lengths differ: the bytes are kept, nothing completes, and the upload continues."""
    harness = UploadsHarness()
    upload_id = (await harness.create(4)).upload.id
    with pytest.raises(InconsistentLength) as refused:
        await harness.append(upload_id, 0, b"abc", completes=True)
    assert refused.value.upload == await recorded(harness, upload_id)
    assert await stands(harness, upload_id) == (3, 4, False)
    assert (await harness.append(upload_id, 3, b"d", completes=True)).upload.is_complete


@pytest.mark.parametrize("length", [None, 3])
@pytest.mark.anyio
async def test_cut_after_the_last_byte_is_not_complete(length: int | None) -> None:
    """Only the end of the body completes, since more bytes might have followed. The client returns for that."""
    harness = UploadsHarness()
    upload_id = (await harness.create(length, completes=False)).upload.id
    with pytest.raises(BodyIncomplete):
        await harness.append(upload_id, 0, source=cut(b"abc"), completes=True)
    assert await stands(harness, upload_id) == (3, length, False)
    assert (await harness.append(upload_id, 3, completes=True)).upload.is_complete


@pytest.mark.anyio
async def test_progress_is_saved_up_to_the_length() -> None:
    """If the length does not complete the upload, its last bytes are saved before the body's end."""
    harness = UploadsHarness(policy=UploadPolicy(save_interval_bytes=1))
    upload_id = (await harness.create(3)).upload.id
    hearing, never = RecordingListener(), asyncio.Event()
    appending = asyncio.ensure_future(
        harness.append(upload_id, 0, source=FakeBody(b"ab", b"c", never), completes=True, listener=hearing)
    )
    await eventually(lambda: hearing.offsets == [2, 3])
    assert await stands(harness, upload_id) == (3, 3, False)
    never.set()
    assert (await appending).upload.is_complete


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.anyio
async def test_failed_flush_at_the_end_is_not_complete(full: bool) -> None:
    """The store fails at the end: the persisted offset is reported, and an empty body completes the upload later."""
    faults = Faults(full=full)
    harness = UploadsHarness()
    upload_id = (await harness.create(3)).upload.id
    harness.store = FailingStore(harness.store, faults)
    harness.restart()
    faults.nth = 2
    with pytest.raises(StoreFull if full else StoreUnavailable):
        await harness.append(upload_id, 0, b"abc", completes=True)
    assert await stands(harness, upload_id) == (3, 3, False)
    assert (await harness.append(upload_id, 3, completes=True)).upload.is_complete


@pytest.mark.anyio
async def test_head_by_a_tus_client_completes_at_the_length() -> None:
    """A tus 1.0 client takes an upload at its length for complete: HEAD completes it, once."""
    harness = UploadsHarness(functions={Hook.POST_FINISH: lambda event: None})
    upload_id = (await harness.create(3, b"abc", completes=False)).upload.id
    assert not (await harness.inspect(upload_id)).upload.is_complete
    for _ in range(2):
        assert (await harness.inspect(upload_id, length_completes=True)).upload.is_complete
    await harness.settle()
    assert (await recorded(harness, upload_id)).status is Status.READY
    assert len(harness.completed) == 1
    assert harness.hooked.count((Hook.POST_FINISH, False)) == 1


@pytest.mark.anyio
async def test_failing_store_does_not_complete_at_the_length() -> None:
    """The upload is complete only when its bytes are durable; the next HEAD completes it."""
    faults = Faults()
    harness = UploadsHarness()
    upload_id = (await harness.create(3, b"abc", completes=False)).upload.id
    harness.store = FailingStore(harness.store, faults)
    harness.restart()
    faults.nth = 1
    with pytest.raises(StoreUnavailable):
        await harness.inspect(upload_id, length_completes=True)
    assert not (await recorded(harness, upload_id)).is_complete
    assert (await harness.inspect(upload_id, length_completes=True)).upload.is_complete


@pytest.mark.anyio
async def test_empty_final_upload_is_not_completed_by_head() -> None:
    """A final upload of no bytes is at its length before it is concatenated."""
    harness = UploadsHarness(policy=UploadPolicy(concatenate_at_once_bytes_max=-1))
    part = (await harness.create(0, kind=Kind.PARTIAL)).upload.id
    final = (await harness.create(None, kind=Kind.FINAL, parts=[part])).upload
    assert not final.is_complete
    await harness.inspect(final.id, length_completes=True)
    await harness.settle()
    assert (await recorded(harness, final.id)).is_complete
    assert len(harness.completed) == 2


# Beyond the length


@pytest.mark.parametrize("content_length", [None, 3])
@pytest.mark.anyio
async def test_body_beyond_the_length_invalidates_the_upload(content_length: int | None) -> None:
    """A client of the draft that exceeds its own length, by bytes or by a header, loses the upload."""
    harness = UploadsHarness(policy=UploadPolicy(unfinished_seconds=50))
    upload_id = (await harness.create(4, b"ab", completes=False)).upload.id
    with pytest.raises(LengthExceeded) as refused:
        await harness.append(upload_id, 2, b"cde", completes=False, content_length=content_length)
    upload = await recorded(harness, upload_id)
    assert refused.value.upload == upload
    assert (upload.status, upload.offset) == (Status.FAILED, 2)
    assert upload.history[-1].reason
    assert upload.expires_at is not None
    with pytest.raises(UploadGone):
        await harness.inspect(upload_id)


@pytest.mark.anyio
async def test_complete_upload_is_not_invalidated() -> None:
    """A body beyond the end of a complete upload is refused, and nothing else changes."""
    harness = UploadsHarness()
    upload_id = (await harness.create(2, b"ab", completes=True)).upload.id
    with pytest.raises(LengthExceeded):
        await harness.append(upload_id, 2, b"c", completes=True)
    assert (await recorded(harness, upload_id)).status is Status.READY


@pytest.mark.anyio
async def test_body_beyond_the_size_limit() -> None:
    """The client does not contradict itself: the upload stays as it was."""
    harness = UploadsHarness(limits=Limits(length_max=4))
    upload_id = (await harness.create(None, b"ab", completes=False)).upload.id
    with pytest.raises(MaxSizeExceeded):
        await harness.append(upload_id, 2, b"cde", completes=False)
    assert await stands(harness, upload_id) == (2, None, False)


# Digests


@pytest.mark.parametrize("sent", [b"", b"ab", b"abc"])
@pytest.mark.anyio
async def test_cut_body_with_a_digest_is_kept(sent: bytes) -> None:
    """If a cut keeps its bytes, they are kept although the digest was not compared; PATCH like POST."""
    harness = UploadsHarness()
    made = (await harness.create(3)).upload.id
    digest = md5(b"abc")
    with pytest.raises(BodyIncomplete):
        await harness.append(made, 0, source=cut(sent), completes=True, checksum=digest, keep_partial=True)
    with pytest.raises(BodyIncomplete):
        await harness.create(3, source=cut(sent), completes=True, checksum=digest, keep_partial=True)
    for upload_id in (made, "u2"):
        assert await stands(harness, upload_id) == (len(sent), 3, False)
        assert await harness.content(upload_id) == sent


@pytest.mark.anyio
async def test_wrong_digest_keeps_nothing() -> None:
    """Nothing of a complete body with another digest is kept; the upload stays and continues."""
    harness = UploadsHarness(policy=UploadPolicy(save_interval_bytes=1))
    upload_id = (await harness.create(3)).upload.id
    digest = md5(b"xyz")
    with pytest.raises(ChecksumMismatch):
        await harness.append(upload_id, 0, b"ab", b"c", completes=True, checksum=digest, keep_partial=True)
    assert await stands(harness, upload_id) == (0, 3, False)
    assert (
        await harness.append(upload_id, 0, b"xy", b"z", completes=True, checksum=digest, keep_partial=True)
    ).upload.is_complete
