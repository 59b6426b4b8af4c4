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

pytestmark = pytest.mark.anyio


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
async def test_not_the_last_one(length: int) -> None:
    """With every byte there the upload stays open, until an empty body says that this is all; counted once."""
    harness = UploadsHarness()
    made = await harness.create(length, b"abc"[:length], is_last=False)
    upload_id = made.upload.id
    assert await stands(harness, upload_id) == (length, length, False)
    await harness.append(upload_id, length, is_last=False)
    assert (await recorded(harness, upload_id)).status is Status.UPLOADING
    assert harness.completed == []
    for _ in range(2):
        appended = await harness.append(upload_id, length, is_last=True)
        assert appended.upload.is_complete
    assert [upload.id for upload in harness.completed] == [upload_id]


async def test_an_empty_upload_that_is_not_the_last_one() -> None:
    """Length 0 and no body at all: open as well."""
    harness = UploadsHarness()
    upload_id = (await harness.create(0, is_last=False)).upload.id
    assert await stands(harness, upload_id) == (0, 0, False)
    assert (await harness.create(0, is_last=True)).upload.is_complete


async def test_the_last_one_tells_the_length() -> None:
    """Of an upload without a length the end of the last body is the length, by POST and by PATCH."""
    harness = UploadsHarness()
    assert (await harness.create(None, b"ab", b"c", is_last=True)).upload.length == 3
    assert (await harness.create(None, body=FakeBody(), is_last=True)).upload.is_complete
    upload_id = (await harness.create(None, b"abc", is_last=False)).upload.id
    assert await stands(harness, upload_id) == (3, None, False)
    await harness.append(upload_id, 3, b"de", is_last=True)
    assert await stands(harness, upload_id) == (5, 5, True)


async def test_the_last_one_ends_too_early() -> None:
    """Two words about the length that differ: the bytes are kept, nothing is complete, and the upload goes on."""
    harness = UploadsHarness()
    upload_id = (await harness.create(4)).upload.id
    with pytest.raises(InconsistentLength) as refused:
        await harness.append(upload_id, 0, b"abc", is_last=True)
    assert refused.value.upload == await recorded(harness, upload_id)
    assert await stands(harness, upload_id) == (3, 4, False)
    assert (await harness.append(upload_id, 3, b"d", is_last=True)).upload.is_complete


@pytest.mark.parametrize("length", [None, 3])
async def test_a_cut_after_the_last_byte(length: int | None) -> None:
    """Only the end of the body completes: without it more might have followed. The client comes back for that."""
    harness = UploadsHarness()
    upload_id = (await harness.create(length, is_last=False)).upload.id
    with pytest.raises(BodyIncomplete):
        await harness.append(upload_id, 0, body=cut(b"abc"), is_last=True)
    assert await stands(harness, upload_id) == (3, length, False)
    assert (await harness.append(upload_id, 3, is_last=True)).upload.is_complete


async def test_progress_is_saved_up_to_the_length() -> None:
    """Where the length alone completes nothing, the last bytes need not wait for the body's end to be saved."""
    harness = UploadsHarness(policy=UploadPolicy(save_interval_bytes=1))
    upload_id = (await harness.create(3)).upload.id
    hearing, never = RecordingListener(), asyncio.Event()
    appending = asyncio.ensure_future(
        harness.append(upload_id, 0, body=FakeBody(b"ab", b"c", never), is_last=True, listener=hearing)
    )
    await eventually(lambda: hearing.offsets == [2, 3])
    assert await stands(harness, upload_id) == (3, 3, False)
    never.set()
    assert (await appending).upload.is_complete


@pytest.mark.parametrize("full", [False, True])
async def test_the_last_bytes_cannot_be_made_safe_for_good(full: bool) -> None:
    """The store fails at the very end: what is safe is told, not complete, and an empty body makes up for it."""
    faults = Faults(full=full)
    harness = UploadsHarness()
    upload_id = (await harness.create(3)).upload.id
    harness.store = FailingStore(harness.store, faults)
    harness.restart()
    faults.nth = 2
    with pytest.raises(StoreFull if full else StoreUnavailable):
        await harness.append(upload_id, 0, b"abc", is_last=True)
    assert await stands(harness, upload_id) == (3, 3, False)
    assert (await harness.append(upload_id, 3, is_last=True)).upload.is_complete


async def test_who_ends_at_the_length() -> None:
    """A client for whom the length is the end takes such an upload for done: being told so completes it, once."""
    harness = UploadsHarness(functions={Hook.POST_FINISH: lambda event: None})
    upload_id = (await harness.create(3, b"abc", is_last=False)).upload.id
    assert not (await harness.inspect(upload_id)).upload.is_complete
    for _ in range(2):
        assert (await harness.inspect(upload_id, length_completes=True)).upload.is_complete
    await harness.settle()
    assert (await recorded(harness, upload_id)).status is Status.READY
    assert len(harness.completed) == 1
    assert harness.hooked.count((Hook.POST_FINISH, False)) == 1


async def test_who_ends_at_the_length_while_the_store_fails() -> None:
    """Nobody is told that it is done before it is safe for good; the next look makes it so."""
    faults = Faults()
    harness = UploadsHarness()
    upload_id = (await harness.create(3, b"abc", is_last=False)).upload.id
    harness.store = FailingStore(harness.store, faults)
    harness.restart()
    faults.nth = 1
    with pytest.raises(StoreUnavailable):
        await harness.inspect(upload_id, length_completes=True)
    assert not (await recorded(harness, upload_id)).is_complete
    assert (await harness.inspect(upload_id, length_completes=True)).upload.is_complete


async def test_who_ends_at_the_length_does_not_end_what_is_joined() -> None:
    """A final upload of no bytes stands at its length before it is joined: that is not its end."""
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
async def test_a_body_beyond_the_length_ends_the_upload(content_length: int | None) -> None:
    """Whoever says itself where its upload ends and goes beyond that, in bytes or in words, has lost it."""
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


async def test_what_is_complete_stays_so() -> None:
    """A body beyond the end of a complete upload is refused, and nothing else."""
    harness = UploadsHarness()
    upload_id = (await harness.create(2, b"ab", is_last=True)).upload.id
    with pytest.raises(LengthExceeded):
        await harness.append(upload_id, 2, b"c", is_last=True)
    assert (await recorded(harness, upload_id)).status is Status.READY


async def test_a_body_beyond_the_greatest_length() -> None:
    """That is no contradiction of the client: the upload stays as it was."""
    harness = UploadsHarness(limits=Limits(length_max=4))
    upload_id = (await harness.create(None, b"ab", is_last=False)).upload.id
    with pytest.raises(MaxSizeExceeded):
        await harness.append(upload_id, 2, b"cde", is_last=False)
    assert await stands(harness, upload_id) == (2, None, False)


# Digests


@pytest.mark.parametrize("sent", [b"", b"ab", b"abc"])
async def test_a_cut_body_with_a_digest(sent: bytes) -> None:
    """Where a cut counts, what came is kept though its digest was never compared; PATCH as POST."""
    harness = UploadsHarness()
    made = (await harness.create(3)).upload.id
    digest = md5(b"abc")
    with pytest.raises(BodyIncomplete):
        await harness.append(made, 0, body=cut(sent), is_last=True, checksum=digest, keep_partial=True)
    with pytest.raises(BodyIncomplete):
        await harness.create(3, body=cut(sent), is_last=True, checksum=digest, keep_partial=True)
    for upload_id in (made, "u2"):
        assert await stands(harness, upload_id) == (len(sent), 3, False)
        assert await harness.content(upload_id) == sent


async def test_a_wrong_digest() -> None:
    """Nothing of a body is kept that came whole and is not what its digest says; the upload stays, and goes on."""
    harness = UploadsHarness(policy=UploadPolicy(save_interval_bytes=1))
    upload_id = (await harness.create(3)).upload.id
    digest = md5(b"xyz")
    with pytest.raises(ChecksumMismatch):
        await harness.append(upload_id, 0, b"ab", b"c", is_last=True, checksum=digest, keep_partial=True)
    assert await stands(harness, upload_id) == (0, 3, False)
    assert (
        await harness.append(upload_id, 0, b"xy", b"z", is_last=True, checksum=digest, keep_partial=True)
    ).upload.is_complete
