"""Bodies that are lent: who pours and who reads, nothing lost or counted twice, whatever ends it."""

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
from tests.support.harness import FakeBody, UploadsHarness
from tests.support.loops import on_loop
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
    """Gives the first piece of a body by reading, and the rest on loan: one piece waits, the others are moved."""

    def __init__(self, body: bytes, *, ends_early: bool = False, failure: OSError | None = None) -> None:
        pieces = [body[start : start + PIECE] for start in range(0, len(body), PIECE)]
        super().__init__(*pieces)
        self.bursts = 0
        self.pieces: Sequence[bytes] = ()
        self.bytes_read = 0
        self._moving: list[bytes] = []
        self._left = len(pieces) - ends_early
        self._failure = failure
        self._was_read = False

    async def read(self, wait_seconds: float | None = None) -> Sequence[bytes] | None:
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
        waiting, moving = self._pieces[:2]
        assert isinstance(waiting, bytes)
        assert isinstance(moving, bytes)
        self._pieces = self._pieces[2:]
        self._left -= 2
        self.pieces, self.bytes_read, self._moving = (waiting,), 0, [moving]
        return self

    def splice(self, descriptor: int, offset: int) -> int:
        if not self._moving:
            return 0
        moving = self._moving.pop()
        self.bytes_read += len(moving)
        if self._failure is not None:
            raise self._failure
        return os.pwrite(descriptor, moving, offset)

    can_splice = True

    def read_into(self, buffer: memoryview) -> int:
        if not self._moving:
            return 0
        moving = self._moving.pop()
        self.bytes_read += len(moving)
        buffer[: len(moving)] = moving
        return len(moving)

    def close(self) -> None:
        self._moving.clear()


class WatchedRecords(MemoryRecords):
    """Remembers the offsets that were saved."""

    def __init__(self) -> None:
        super().__init__()
        self.offsets: list[int] = []

    async def update(self, before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> Upload:
        self.offsets.append(after.offset)
        return await super().update(before, after, effects)


@asynccontextmanager
async def on_disk(folder: Path, **policy: int) -> AsyncIterator[UploadsHarness]:
    harness = UploadsHarness(
        records=WatchedRecords(),
        store=DiskStore(folder / "uploads"),
        policy=UploadPolicy(**policy),  # type: ignore[arg-type]  # whatever figures the test names
    )
    try:
        yield harness
    finally:
        await harness.settle()
        await harness.store.close()


@on_loop
async def test_a_large_body_is_poured(tmp_path: Path) -> None:
    """Read, waiting and moved bytes stand in the file in their order, and the upload is complete once."""
    async with on_disk(tmp_path) as harness:
        upload_id = (await harness.create(len(BODY))).upload.id
        source = ZeroCopyFakeBody(BODY)
        appended = await harness.append(upload_id, 0, body=source, content_length=len(BODY))
        assert appended.upload.is_complete
        assert source.bursts == 1
        assert await harness.content(upload_id) == BODY
        assert len(harness.completed) == 1


@on_loop
async def test_progress_is_saved_between_moments(tmp_path: Path) -> None:
    """Poured bytes count for the next save as read ones do: a crash in the middle leaves them claimed."""
    async with on_disk(tmp_path, save_interval_bytes=2 * PIECE) as harness:
        upload_id = (await harness.create(8 * PIECE)).upload.id
        body = bytes(content(91, 5 * PIECE))
        source = ZeroCopyFakeBody(body)
        await harness.append(upload_id, 0, body=source, content_length=len(body))
        assert source.bursts == 2
        assert isinstance(harness.records, WatchedRecords)
        assert harness.records.offsets == [3 * PIECE, 5 * PIECE]
        assert await harness.content(upload_id) == body


@pytest.mark.parametrize("reason", ["length unknown", "small", "memory"])
@on_loop
async def test_who_is_read_all_the_same(reason: str, tmp_path: Path) -> None:
    """Nothing is lent where bytes could be too many, are few, or have no file to go to."""
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
@on_loop
async def test_a_checksum_over_what_is_poured(algorithm: str, tmp_path: Path) -> None:
    """Read, waiting and poured bytes are hashed in order; of a body that is not what it was to be, none is kept."""
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
        assert isinstance(harness.records, WatchedRecords)
        assert harness.records.offsets == [len(body)]


@on_loop
async def test_a_poured_append_with_a_checksum_cancelled_anywhere(tmp_path: Path) -> None:
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


@on_loop
async def test_a_body_that_ends_early(tmp_path: Path) -> None:
    """What came is kept, and the client told to go on from there."""
    async with on_disk(tmp_path) as harness:
        upload_id = (await harness.create(len(BODY))).upload.id
        source = ZeroCopyFakeBody(BODY, ends_early=True)
        with pytest.raises(BodyIncomplete):
            await harness.append(upload_id, 0, body=source, content_length=len(BODY))
        assert source.bursts == 1
        assert (await harness.inspect(upload_id)).upload.offset == 3 * PIECE
        assert await harness.content(upload_id) == BODY[: 3 * PIECE]


@on_loop
async def test_a_file_that_fails(tmp_path: Path) -> None:
    """A full disk is told; what stands in the file but for a little is claimed, and what was lost is not."""
    async with on_disk(tmp_path) as harness:
        upload_id = (await harness.create(len(BODY))).upload.id
        source = ZeroCopyFakeBody(BODY, failure=OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(StoreFull):
            await harness.append(upload_id, 0, body=source, content_length=len(BODY))
        offset = (await harness.inspect(upload_id)).upload.offset
        assert PIECE <= offset <= 2 * PIECE
        assert await harness.content(upload_id) == BODY[:offset]


@on_loop
async def test_a_poured_append_cancelled_anywhere(tmp_path: Path) -> None:
    """The offset says what is stored, and the upload is complete exactly if all of its bytes are."""
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
