"""Writes the bytes of one request to the upload's file: gathered in batches, written at explicit offsets in threads."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Mapping, Sequence

from tusd_py.cancellation import uninterrupted, wait_until_done
from tusd_py.contracts.store import BytesMissing, StoreError
from tusd_py.contracts.zero_copy import ByteObserver, SocketReader
from tusd_py.model.upload import Upload
from tusd_py.storage.disk.directory import FileLocation, store_error
from tusd_py.threads import ThreadPool

#: A hop to a thread costs about as much as writing 100 KiB: at 1 MiB it no longer counts.
BATCH_BYTES_MAX = 1024 * 1024

#: The bytes that a slow upload may keep in memory; a thousand of them together stay below 64 MiB.
BATCH_BYTES_MIN = 64 * 1024

#: Given back when the disk is full: the record, perhaps on the same disk, needs it to save the offset.
RESERVE_BYTES = 64 * 1024

#: As many pieces as one system call takes (``IOV_MAX``); it also bounds what tiny pieces cost in memory.
PIECES_MAX = 1024

#: While the observer looks at this much, the next as much is read and written.
OBSERVED_BYTES = 512 * 1024


_kept = threading.local()


def _buffers() -> tuple[memoryview, memoryview]:
    """Two buffers for each thread that transfers: kept, since new memory costs more than filling it."""
    try:
        pair: tuple[memoryview, memoryview] = _kept.pair
    except AttributeError:
        pair = _kept.pair = memoryview(bytearray(OBSERVED_BYTES)), memoryview(bytearray(OBSERVED_BYTES))
    return pair


class DiskSink:
    """Writes one request's bytes to the upload's file. At most two batches are kept: one being written, one gathered.

    Only the thread touches the file and counts what it wrote, so ``persisted_offset`` is correct at every moment,
    whatever became of the task that waited. Bytes in the page cache survive ``kill -9``: written is persisted. Every
    flush closes the file: a thousand idle uploads have no descriptors open, and a small body is one hop in all.
    """

    def __init__(
        self,
        location: FileLocation,
        threads: ThreadPool,
        upload: Upload,
        zero_copy_threads: ThreadPool | None = None,
    ) -> None:
        self._location = location
        self._threads = threads
        self._zero_copy_threads = zero_copy_threads or threads
        self._upload_id = upload.id
        self._state = upload.storage
        self._offset = upload.offset  # set by the thread while a job runs
        self._promised = upload.offset  # what the last flush returned
        self._pieces: list[bytes] = []
        self._gathered = 0  # bytes in _pieces
        self._since_flush = 0  # bytes handed to the thread since then
        self._job: asyncio.Future[None] | None = None
        self._failure: StoreError | None = None
        self._descriptor = -1
        self._file_bytes = 0  # length of the file while it is open
        self._durable = -1  # the offset up to which bytes and name survive a loss of power, once known

    @property
    def persisted_offset(self) -> int:
        return self._offset

    @property
    def state(self) -> Mapping[str, object]:
        return self._state

    async def write(self, pieces: Sequence[bytes]) -> None:
        self._check()
        for piece in pieces:
            if piece:
                self._pieces.append(piece)
                self._gathered += len(piece)
        # The faster the bytes come, the larger the batches: from 64 KiB up to 1 MiB.
        enough = min(max(self._since_flush, BATCH_BYTES_MIN), BATCH_BYTES_MAX)
        if self._gathered < enough and len(self._pieces) < PIECES_MAX:
            return
        if self._job is not None and not self._job.done():
            if self._gathered < BATCH_BYTES_MAX and len(self._pieces) < PIECES_MAX:
                return
            await asyncio.shield(self._job)
            self._check()
        self._start(False, False)

    def begin_flush(
        self, pieces: Sequence[bytes], on_done: Callable[[BaseException | None], None], *, durable: bool
    ) -> None:
        """Write ``pieces``, the only ones, and close the file; then call ``on_done`` with ``None`` or the failure."""

        def on_flushed(failure: BaseException | None) -> None:
            on_done(failure or self._failure)

        self._threads.begin(on_flushed, self._work, list(pieces), True, durable, None, None)

    @property
    def can_transfer(self) -> bool:
        return True

    async def transfer(self, reader: SocketReader, observer: ByteObserver | None = None) -> None:
        if self._job is not None:
            await asyncio.shield(self._job)
        self._check()
        await uninterrupted(self._start(False, False, reader, observer))
        self._check()

    async def flush(self, *, durable: bool = False, more_follows: bool = False) -> int:
        if self._job is not None:
            await asyncio.shield(self._job)
        self._check()
        if self._pieces or self._descriptor >= 0 or (durable and self._durable != self._offset):
            await asyncio.shield(self._start(True, durable))
            self._check()
            self._since_flush = 0
        self._promised = self._offset
        return self._offset

    async def committed(self) -> None:
        """Does nothing: later bytes are added to the same file, and no state becomes obsolete."""

    async def discard(self, offset: int) -> None:
        if self._job is not None:
            await wait_until_done(self._job)
        self._pieces.clear()
        self._job = self._threads.submit(self._discard, offset)
        await uninterrupted(self._job)

    async def close(self) -> None:
        # The next request writes at the same offsets: the thread must have ended before it begins.
        if self._job is not None:
            await wait_until_done(self._job)
        self._pieces.clear()
        if self._descriptor >= 0:
            await self._threads.run(self._close)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _start(
        self, last: bool, durable: bool, reader: SocketReader | None = None, observer: ByteObserver | None = None
    ) -> asyncio.Future[None]:
        pieces, self._pieces = self._pieces, []
        self._since_flush += self._gathered
        self._gathered = 0
        threads = self._threads if reader is None else self._zero_copy_threads
        self._job = threads.submit(self._work, pieces, last, durable, reader, observer)
        return self._job

    # The methods below run in a thread, one job at a time.

    def _work(
        self,
        pieces: list[bytes],
        last: bool,
        durable: bool,
        reader: SocketReader | None,
        observer: ByteObserver | None,
    ) -> None:
        try:
            if self._descriptor < 0:
                self._open()
            for start in range(0, len(pieces), PIECES_MAX):
                self._write_out(pieces[start : start + PIECES_MAX])
            if reader is not None and reader.can_splice and observer is None:
                self._splice(reader)
            elif reader is not None:
                self._read_and_write(reader, observer)
        except OSError as error:
            self._failure = store_error(error)
            if error.errno in (errno.ENOSPC, errno.EDQUOT) and self._descriptor >= 0:
                self._or_revert(self._release_space)
        except StoreError as error:
            self._failure = error
        if durable and self._failure is None:
            self._or_revert(self._sync)
        if last or self._failure is not None:
            self._or_revert(self._close)

    def _open(self) -> None:
        try:
            self._descriptor, self._file_bytes = self._location.open_for_writing(self._upload_id, self._offset)
        except FileNotFoundError:
            self._file_bytes = 0
        if self._file_bytes < self._offset:
            missing = self._offset - self._file_bytes
            self._offset = self._file_bytes
            raise BytesMissing(f"the file of this upload lacks {missing} bytes that were stored before")

    def _write_out(self, pieces: Sequence[bytes | memoryview]) -> None:
        while pieces:
            written = os.pwritev(self._descriptor, pieces, self._offset)
            if written == 0:
                raise OSError(errno.EIO, "the file took no bytes")
            self._offset += written
            pieces = _rest(pieces, written)
        self._file_bytes = max(self._file_bytes, self._offset)

    def _splice(self, reader: SocketReader) -> None:
        while moved := reader.splice(self._descriptor, self._offset):
            self._offset += moved
            self._since_flush += moved
            self._file_bytes = max(self._file_bytes, self._offset)

    def _read_and_write(self, reader: SocketReader, observer: ByteObserver | None) -> None:
        """Pass the bytes through two buffers: one is observed while the other is filled and written."""
        buffer, other = _buffers()
        observed = None
        try:
            while count := reader.read_into(buffer):
                if observer is not None:
                    if observed is not None:
                        observed.result()
                    observed = observer(buffer[:count])
                self._write_out([buffer[:count]])
                self._since_flush += count
                buffer, other = other, buffer
        finally:
            if observed is not None:
                observed.result()

    def _release_space(self) -> None:
        """Shorten the file, but not by what a flush has promised."""
        kept = max(self._promised, self._offset - RESERVE_BYTES)
        os.ftruncate(self._descriptor, kept)
        self._offset = self._file_bytes = kept

    def _discard(self, offset: int) -> None:
        try:
            if self._descriptor < 0:
                self._descriptor, self._file_bytes = self._location.open_for_writing(self._upload_id, offset)
            if self._file_bytes > offset:
                os.ftruncate(self._descriptor, offset)
            self._offset = self._file_bytes = min(self._file_bytes, offset)
        except FileNotFoundError:
            pass  # another program has moved it
        except OSError as error:
            raise store_error(error) from error

    def _sync(self) -> None:
        if self._file_bytes > self._offset:
            # An earlier crash left bytes after the offset. A complete upload must not have them.
            os.ftruncate(self._descriptor, self._offset)
        os.fsync(self._descriptor)
        if self._durable < 0:
            self._location.sync()
        self._durable = self._offset

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _or_revert(self, step: Callable[[], None]) -> None:
        """Do a step whose failure puts everything since the last flush in doubt.

        The kernel reports a failed write-back once and then forgets which pages it lost: only what an earlier flush
        has promised still counts.
        """
        try:
            step()
        except OSError as error:
            self._failure = self._failure or store_error(error)
            self._offset = min(self._offset, self._promised)


def _rest(pieces: Sequence[bytes | memoryview], written: int) -> Sequence[bytes | memoryview]:
    """Return ``pieces`` without their first ``written`` bytes."""
    for index, piece in enumerate(pieces):
        if written < len(piece):
            return [memoryview(piece)[written:], *pieces[index + 1 :]]
        written -= len(piece)
    return []
