"""Takes the bytes of one request to a file: gathered in batches, written at explicit offsets by a thread."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Mapping, Sequence

from tusd_py.contracts.store import BytesMissing, StoreError
from tusd_py.contracts.zero_copy import SocketReader, Watcher
from tusd_py.model.upload import Upload
from tusd_py.storage.disk.custom_path import ChosenPath
from tusd_py.storage.disk.directory import Folder, store_error
from tusd_py.threads import ThreadPool, wait_until_done

#: A hop to a thread costs about as much as writing 100 KiB: at 1 MiB it no longer counts.
BATCH_BYTES_MAX = 1024 * 1024

#: What a slow upload may keep in memory; a thousand of them together stay below 64 MiB.
BATCH_BYTES_MIN = 64 * 1024

#: Given back when the disk is full: what the record, which may lie on the same disk, needs to say how far this came.
ROOM_BYTES = 64 * 1024

#: As many pieces as one call of the kernel takes (``IOV_MAX``); it also bounds what tiny pieces cost in memory.
PIECES_MAX = 1024

#: Of bytes that somebody watches on their way: so much is seen while the next so much is taken and written.
WATCHED_BYTES = 512 * 1024


class _Buffers(threading.local):
    """Two buffers for each thread that pours: kept, since memory that is new costs more than what it is filled with."""

    def __init__(self) -> None:
        self.pair = memoryview(bytearray(WATCHED_BYTES)), memoryview(bytearray(WATCHED_BYTES))


_buffers = _Buffers()


class DiskSink:
    """One request's bytes on their way to the upload's file. Two batches at most: one is written, one is gathered.

    The thread alone touches the file and says how far it came, so ``persisted_offset`` is true at every moment,
    whatever
    became of the task that waited. Bytes in the page cache survive ``kill -9``: written is safe. Every flush closes
    the file: a thousand idle uploads hold no descriptors, and a small body is one hop in all.
    """

    def __init__(
        self,
        folder: Folder | ChosenPath,
        threads: ThreadPool,
        upload: Upload,
        pouring_threads: ThreadPool | None = None,
    ) -> None:
        self._folder = folder
        self._threads = threads
        self._pouring_threads = pouring_threads or threads
        self._upload_id = upload.id
        self._state = upload.storage
        self._safe = upload.offset  # written by the thread while a job runs
        self._promised = upload.offset  # what the last flush returned
        self._pieces: list[bytes] = []
        self._gathered = 0  # bytes in _pieces
        self._since_flush = 0  # bytes handed to the thread since then
        self._job: asyncio.Future[None] | None = None
        self._failure: StoreError | None = None
        self._descriptor = -1
        self._file_bytes = 0  # length of the file while it is open
        self._durable = -1  # the offset up to which bytes and name survive the loss of power, where that is known

    @property
    def persisted_offset(self) -> int:
        return self._safe

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

    async def pour(self, tap: SocketReader, watcher: Watcher | None = None) -> None:
        if self._job is not None:
            await asyncio.shield(self._job)
        self._check()
        job = self._start(False, False, tap, watcher)
        await wait_until_done(job)
        job.result()
        self._check()

    async def flush(self, *, durable: bool = False) -> int:
        if self._job is not None:
            await asyncio.shield(self._job)
        self._check()
        if self._pieces or self._descriptor >= 0 or (durable and self._durable != self._safe):
            await asyncio.shield(self._start(True, durable))
            self._check()
            self._since_flush = 0
        self._promised = self._safe
        return self._safe

    async def close(self) -> None:
        # Who takes over writes at the same offsets: the thread must have ended before anybody else begins.
        if self._job is not None:
            await wait_until_done(self._job)
        self._pieces.clear()
        if self._descriptor >= 0:
            await self._threads.run(self._let_go)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _start(
        self, last: bool, durable: bool, tap: SocketReader | None = None, watcher: Watcher | None = None
    ) -> asyncio.Future[None]:
        pieces, self._pieces = self._pieces, []
        self._since_flush += self._gathered
        self._gathered = 0
        threads = self._threads if tap is None else self._pouring_threads
        self._job = threads.submit(self._work, pieces, last, durable, tap, watcher)
        return self._job

    # What follows runs in a thread, one job at a time.

    def _work(
        self, pieces: list[bytes], last: bool, durable: bool, tap: SocketReader | None, watcher: Watcher | None
    ) -> None:
        try:
            if self._descriptor < 0:
                self._open()
            for start in range(0, len(pieces), PIECES_MAX):
                self._write_out(pieces[start : start + PIECES_MAX])
            if tap is not None and tap.moves and watcher is None:
                self._drain(tap)
            elif tap is not None:
                self._drain_seen(tap, watcher)
        except OSError as error:
            self._failure = store_error(error)
            if error.errno in (errno.ENOSPC, errno.EDQUOT) and self._descriptor >= 0:
                self._settle(self._make_room)
        except StoreError as error:
            self._failure = error
        if durable and self._failure is None:
            self._settle(self._sync)
        if last or self._failure is not None:
            self._settle(self._let_go)

    def _open(self) -> None:
        try:
            self._descriptor, self._file_bytes = self._folder.open_for_writing(self._upload_id, self._safe)
        except FileNotFoundError:
            self._file_bytes = 0
        if self._file_bytes < self._safe:
            missing = self._safe - self._file_bytes
            self._safe = self._file_bytes
            raise BytesMissing(f"the file of this upload lacks {missing} bytes that were stored before")

    def _write_out(self, pieces: Sequence[bytes | memoryview]) -> None:
        while pieces:
            written = os.pwritev(self._descriptor, pieces, self._safe)
            if written == 0:
                raise OSError(errno.EIO, "the file took no bytes")
            self._safe += written
            pieces = _rest(pieces, written)
        self._file_bytes = max(self._file_bytes, self._safe)

    def _drain(self, tap: SocketReader) -> None:
        while moved := tap.move(self._descriptor, self._safe):
            self._safe += moved
            self._since_flush += moved
            self._file_bytes = max(self._file_bytes, self._safe)

    def _drain_seen(self, tap: SocketReader, watcher: Watcher | None) -> None:
        buffer, other = _buffers.pair
        try:
            while count := tap.take(buffer):
                if watcher is not None:
                    watcher.see(buffer[:count])
                self._write_out([buffer[:count]])
                self._since_flush += count
                buffer, other = other, buffer
        finally:
            if watcher is not None:
                watcher.done()

    def _make_room(self) -> None:
        """Shorten the file, but not by what a flush has promised."""
        kept = max(self._promised, self._safe - ROOM_BYTES)
        os.ftruncate(self._descriptor, kept)
        self._safe = self._file_bytes = kept

    def _sync(self) -> None:
        if self._file_bytes > self._safe:
            # An earlier crash left bytes beyond the offset; a complete upload must end where it ends.
            os.ftruncate(self._descriptor, self._safe)
        os.fsync(self._descriptor)
        if self._durable < 0:
            self._folder.sync()
        self._durable = self._safe

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _settle(self, step: Callable[[], None]) -> None:
        """Do a step whose failure puts all since the last flush in doubt.

        The kernel reports a failed write-back once and then forgets which pages it lost: only what an earlier flush
        has promised still counts.
        """
        try:
            step()
        except OSError as error:
            self._failure = self._failure or store_error(error)
            self._safe = min(self._safe, self._promised)


def _rest(pieces: Sequence[bytes | memoryview], written: int) -> Sequence[bytes | memoryview]:
    """What remains of ``pieces`` after their first ``written`` bytes."""
    for index, piece in enumerate(pieces):
        if written < len(piece):
            return [memoryview(piece)[written:], *pieces[index + 1 :]]
        written -= len(piece)
    return []
