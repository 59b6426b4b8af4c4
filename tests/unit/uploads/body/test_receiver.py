"""``BodyReceiver`` with zero-copy transfers: when they are used; nothing is lost or counted twice, however they end."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.content import content
from tests.support.fake_s3 import FakeS3, FakeS3Store
from tests.support.harness import FakeBody, UploadsHarness
from tests.unit.uploads.cancelling import cancel_at
from tusd_py.contracts.store import StoreFull
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Upload
from tusd_py.protocol.checksum import Checksum, new_digest
from tusd_py.protocol.errors import BodyIncomplete, ChecksumMismatch
from tusd_py.records.memory import MemoryRecords
from tusd_py.storage.disk.store import DiskStore
from tusd_py.uploads.body.receiver import ZERO_COPY_BYTES_MIN
from tusd_py.uploads.policy import UploadPolicy

PIECE = ZERO_COPY_BYTES_MIN // 4
BODY = bytes(content(90, 4 * PIECE))


class ZeroCopyFakeBody(FakeBody):
    """A zero-copy body: its first piece is read, then each burst has one waiting piece and one to transfer."""

    def __init__(self, body: bytes, *, ends_early: bool = False, failure: OSError | None = None) -> None:
        pieces = [body[start : start + PIECE] for start in range(0, len(body), PIECE)]
        super().__init__(*pieces)
        self.bursts = 0
        self.pieces: Sequence[bytes] = ()
        self.bytes_read = 0
        self._unread: list[bytes] = []
        self._left = len(pieces) - ends_early
        self._failure = failure
        self._was_read = False

    async def read(self, wait_seconds: float | None = None, bytes_min: int = 1) -> Sequence[bytes] | None:
        self._was_read = True
        self._left -= 1
        if self._left < 0:
            await asyncio.sleep(0)
            return ()
        return await super().read(wait_seconds)

    def acquire_socket(self) -> ZeroCopyFakeBody | None:
        if not self._was_read or self._left < 2:
            return None
        self.bursts += 1
        waiting, piece = self._pieces[:2]
        assert isinstance(waiting, bytes)
        assert isinstance(piece, bytes)
        self._pieces = self._pieces[2:]
        self._left -= 2
        self.pieces, self.bytes_read, self._unread = (waiting,), 0, [piece]
        return self

    def splice(self, descriptor: int, offset: int) -> int:
        if not self._unread:
            return 0
        piece = self._unread.pop()
        self.bytes_read += len(piece)
        if self._failure is not None:
            raise self._failure
        return os.pwrite(descriptor, piece, offset)

    can_splice = True

    def read_into(self, buffer: memoryview) -> int:
        if not self._unread:
            return 0
        piece = self._unread.pop()
        self.bytes_read += len(piece)
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._unread.clear()


class RecordingRecords(MemoryRecords):
    """Records the offsets that were saved."""

    def __init__(self) -> None:
        super().__init__()
        self.offsets: list[int] = []

    async def update(self, before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> Upload:
        self.offsets.append(after.offset)
        return await super().update(before, after, effects)


@asynccontextmanager
async def on_disk(folder: Path, **policy: int) -> AsyncIterator[UploadsHarness]:
    harness = UploadsHarness(
        records=RecordingRecords(),
        store=DiskStore(folder / "uploads"),
        policy=UploadPolicy(**policy),  # type: ignore[arg-type]  # whatever figures the test names
    )
    try:
        yield harness
    finally:
        await harness.drain()
        await harness.store.close()


@pytest.mark.anyio
async def test_large_body_is_transferred(tmp_path: Path) -> None:
    """Read, waiting and transferred bytes are in the file in order, and the upload completes once."""
    async with on_disk(tmp_path) as harness:
        upload_id = (await harness.create(len(BODY))).upload.id
        source = ZeroCopyFakeBody(BODY)
        appended = await harness.append(upload_id, 0, body=source, content_length=len(BODY))
        assert appended.upload.is_complete
        assert source.bursts == 1
        assert await harness.content(upload_id) == BODY
        assert len(harness.completed) == 1


@pytest.mark.anyio
async def test_progress_is_saved_between_bursts(tmp_path: Path) -> None:
    """Transferred bytes count for the next save like read ones, so a crash halfway keeps them."""
    async with on_disk(tmp_path, save_interval_bytes=2 * PIECE) as harness:
        upload_id = (await harness.create(8 * PIECE)).upload.id
        body = bytes(content(91, 5 * PIECE))
        source = ZeroCopyFakeBody(body)
        await harness.append(upload_id, 0, body=source, content_length=len(body))
        assert source.bursts == 2
        assert isinstance(harness.records, RecordingRecords)
        assert harness.records.offsets == [3 * PIECE, 5 * PIECE]
        assert await harness.content(upload_id) == body


@pytest.mark.parametrize("reason", ["length unknown", "small", "memory"])
@pytest.mark.anyio
async def test_bodies_that_are_read_in_pieces(reason: str, tmp_path: Path) -> None:
    """No transfer if the bytes could be too many, are few, or have no file to go to."""
    async with on_disk(tmp_path) as disk:
        harness = UploadsHarness() if reason == "memory" else disk
        body = BODY[: 3 * PIECE] if reason == "small" else BODY
        upload_id = (await harness.create(len(body))).upload.id
        source = ZeroCopyFakeBody(body)
        length = None if reason == "length unknown" else len(body)
        append = harness.append(upload_id, 0, body=source, content_length=length)
        assert (await append).upload.is_complete
        assert source.bursts == 0


@pytest.mark.parametrize("algorithm", ["sha1", "crc32"])
@pytest.mark.anyio
async def test_checksum_of_a_transferred_body(algorithm: str, tmp_path: Path) -> None:
    """Read, waiting and transferred bytes are hashed in order; after a mismatch none is kept."""
    async with on_disk(tmp_path, save_interval_bytes=PIECE) as harness:
        body = bytes(content(92, 9 * PIECE))
        digest = new_digest(algorithm)
        digest.update(body)
        checksum = Checksum(algorithm, digest.digest())
        upload_id = (await harness.create(len(body))).upload.id
        wrong = ZeroCopyFakeBody(body[:-1] + b"!")
        with pytest.raises(ChecksumMismatch):
            await harness.append(upload_id, 0, body=wrong, content_length=len(body), checksum=checksum)
        assert (await harness.inspect(upload_id)).upload.offset == 0
        right = ZeroCopyFakeBody(body)
        appended = await harness.append(upload_id, 0, body=right, content_length=len(body), checksum=checksum)
        assert appended.upload.is_complete
        assert await harness.content(upload_id) == body
        assert wrong.bursts == right.bursts == 4
        assert isinstance(harness.records, RecordingRecords)
        assert harness.records.offsets == [len(body)]


@pytest.mark.anyio
async def test_transfer_with_checksum_cancelled_anywhere(tmp_path: Path) -> None:
    """All or nothing: the record has the whole body or none of it."""
    checksum = Checksum("sha1", hashlib.sha1(BODY).digest())
    async with on_disk(tmp_path) as harness:
        for nth in range(1, 100):
            upload_id = (await harness.create(len(BODY))).upload.id
            source = ZeroCopyFakeBody(BODY)
            append = harness.append(upload_id, 0, body=source, content_length=len(BODY), checksum=checksum)
            cancelled = await cancel_at(append, nth)
            record = await harness.record(upload_id)
            assert record is not None
            assert record.offset in (0, len(BODY))
            assert await harness.content(upload_id) == BODY[: record.offset]
            if not cancelled:
                break
        assert not cancelled
        assert record is not None
        assert record.is_complete
        assert nth > 5


@pytest.mark.anyio
async def test_incomplete_transferred_body_is_kept(tmp_path: Path) -> None:
    """The received bytes are kept, and the client continues from there."""
    async with on_disk(tmp_path) as harness:
        upload_id = (await harness.create(len(BODY))).upload.id
        source = ZeroCopyFakeBody(BODY, ends_early=True)
        with pytest.raises(BodyIncomplete):
            await harness.append(upload_id, 0, body=source, content_length=len(BODY))
        assert source.bursts == 1
        assert (await harness.inspect(upload_id)).upload.offset == 3 * PIECE
        assert await harness.content(upload_id) == BODY[: 3 * PIECE]


@pytest.mark.anyio
async def test_disk_full_during_a_transfer(tmp_path: Path) -> None:
    """The client gets ``StoreFull``; the offset counts what is in the file, and no lost byte."""
    async with on_disk(tmp_path) as harness:
        upload_id = (await harness.create(len(BODY))).upload.id
        source = ZeroCopyFakeBody(BODY, failure=OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(StoreFull):
            await harness.append(upload_id, 0, body=source, content_length=len(BODY))
        offset = (await harness.inspect(upload_id)).upload.offset
        assert PIECE <= offset <= 2 * PIECE
        assert await harness.content(upload_id) == BODY[:offset]


@pytest.mark.anyio
async def test_transfer_cancelled_anywhere(tmp_path: Path) -> None:
    """The offset says what is stored, and the upload is complete exactly if all bytes are."""
    async with on_disk(tmp_path, save_interval_bytes=PIECE) as harness:
        for nth in range(1, 100):
            upload_id = (await harness.create(len(BODY))).upload.id
            append = harness.append(upload_id, 0, body=ZeroCopyFakeBody(BODY), content_length=len(BODY))
            cancelled = await cancel_at(append, nth)
            record = await harness.record(upload_id)
            assert record is not None
            assert await harness.content(upload_id) == BODY[: record.offset]
            assert record.is_complete is (record.offset == len(BODY))
            rest = BODY[record.offset :]
            if rest:
                again = await harness.append(
                    upload_id, record.offset, body=ZeroCopyFakeBody(rest), content_length=len(rest)
                )
                assert again.upload.is_complete
            assert await harness.content(upload_id) == BODY
            if not cancelled:
                break
        assert not cancelled
        assert nth > 5


@pytest.mark.parametrize("way", ["a length that is reached", "the last of all", "a HEAD that completes"])
@pytest.mark.parametrize("size", [40, 200, 250])
@pytest.mark.anyio
async def test_end_without_a_byte_records_where_the_bytes_are(size: int, way: str) -> None:
    """The last flush makes one object of parts and tails: the record names it, though no byte arrived."""
    fake = FakeS3()
    harness = UploadsHarness(store=FakeS3Store(fake))
    sent = bytes(content(92, size))
    made = await harness.create(None if way == "a length that is reached" else size, is_last=False)
    upload_id = made.upload.id
    await harness.append(upload_id, 0, sent, is_last=False)
    if way == "a length that is reached":
        completed = (await harness.append(upload_id, size, length=size)).upload
    elif way == "the last of all":
        completed = (await harness.append(upload_id, size, is_last=True)).upload
    else:
        completed = (await harness.inspect(upload_id, length_completes=True)).upload
    assert completed.is_complete
    assert await harness.content(upload_id) == sent
    assert list(fake.objects.values()) == [sent], "tails are left"
    assert fake.multiparts == {}
    await harness.drain()


@pytest.mark.anyio
async def test_empty_body_that_makes_bytes_durable_records_where_they_are() -> None:
    """The same where the upload goes on: with ``durability = "power"`` each flush makes one object."""
    fake = FakeS3()
    harness = UploadsHarness(store=FakeS3Store(fake))
    sent = bytes(content(93, 250))
    upload_id = (await harness.create(300)).upload.id
    await harness.append(upload_id, 0, sent)
    harness.policy = UploadPolicy(durable_saves=True)
    harness.restart()
    await harness.append(upload_id, 250)
    assert await harness.content(upload_id) == sent
    await harness.append(upload_id, 250, bytes(50))
    assert await harness.content(upload_id) == sent + bytes(50)
    await harness.drain()
