"""Reads a range of one file, in pieces or by zero-copy transfers. What blocks runs in threads."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from tusd_py.contracts.store import BytesMissing
from tusd_py.contracts.zero_copy import SocketWriter
from tusd_py.storage.disk.directory import FileLocation, store_error
from tusd_py.threads import ThreadPool

T = TypeVar("T")

#: A download keeps about this much in memory while its client is slow.
READ_BYTES = 256 * 1024
#: A client that takes a piece within this time is fast,
FAST_SECONDS = 0.02
#: and after so many of them, which are more than the kernel keeps for one connection (4 MiB),
FAST_PIECES = 16
#: so many pieces are read for it in one hop to a thread, which takes longer than reading one.
PIECES_AHEAD = 4
#: The first piece of what does not fit into one: it is sent before it is known whether the client reads.
FIRST_BYTES = 64 * 1024
#: The piece behind a transfer, when the connection already holds all it can: this much waits for the client in memory.
_READ_BYTES_AFTER_TRANSFER = 64 * 1024


class DiskContent:
    """The bytes ``start`` to ``stop`` of an upload's file.

    The first piece opens the file and the last one closes it, so that a small download is one hop to a thread. The file
    can be read to its end even if its name is removed meanwhile.
    """

    def __init__(
        self,
        location: FileLocation,
        upload_id: str,
        start: int,
        stop: int,
        threads: ThreadPool,
        zero_copy_threads: ThreadPool,
    ) -> None:
        self._location = location
        self._upload_id = upload_id
        self._start = start  # advanced by the thread while a job runs
        self._stop = stop
        self._threads = threads
        self._zero_copy_threads = zero_copy_threads
        self._descriptor = -1
        self._piece_bytes = READ_BYTES if stop - start <= READ_BYTES else FIRST_BYTES
        self._ahead: deque[bytes] = deque()  # read, and not returned yet
        self._returned_at = -FAST_SECONDS  # the last piece, by the clock of the event loop
        self._fast_pieces = 0  # taken fast, one after the other

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        clock = asyncio.get_running_loop().time
        if self._ahead:
            self._returned_at = clock()
            return self._ahead.popleft()
        if self._start >= self._stop:
            raise StopAsyncIteration
        is_fast = clock() - self._returned_at < FAST_SECONDS and self._piece_bytes == READ_BYTES
        self._fast_pieces = self._fast_pieces + 1 if is_fast else 0
        reads_ahead = self._fast_pieces >= FAST_PIECES
        piece = await self._run(self._threads, self._read_pieces if reads_ahead else self._read_piece)
        self._returned_at = clock()
        return piece

    async def transfer(self, writer: SocketWriter) -> None:
        """See ``ZeroCopyContent.transfer``."""
        if self._start < self._stop and not self._ahead:
            await self._run(self._zero_copy_threads, lambda: self._send(writer))

    async def aclose(self) -> None:
        self._start = self._stop
        self._ahead.clear()
        if self._descriptor >= 0:
            await self._threads.run(self._close)

    async def _run(self, threads: ThreadPool, work: Callable[[], T]) -> T:
        try:
            return await threads.run(work)
        except OSError as error:
            raise store_error(error) from error

    # The methods below run in a thread, one job at a time.

    def _read_pieces(self) -> bytes:
        """Return the next piece, and keep some more."""
        piece = self._read_piece()
        while self._start < self._stop and len(self._ahead) < PIECES_AHEAD - 1:
            self._ahead.append(self._read_piece())
        return piece

    def _read_piece(self) -> bytes:
        """Return the next bytes, at least one. Raises ``BytesMissing`` if the file has fewer."""
        self._open()
        try:
            piece = os.pread(self._descriptor, min(self._piece_bytes, self._stop - self._start), self._start)
        except OSError:
            self._close()
            raise
        if not piece:
            self._close()
            raise BytesMissing(f"the file of this upload ends at {self._start}: it was cut while it was read")
        self._piece_bytes = READ_BYTES
        self._advance(len(piece))
        return piece

    def _send(self, writer: SocketWriter) -> None:
        self._open()
        while sent := writer.sendfile(self._descriptor, self._start, self._stop - self._start):
            self._advance(sent)
            if self._descriptor < 0:
                return
        self._piece_bytes = _READ_BYTES_AFTER_TRANSFER

    def _open(self) -> None:
        if self._descriptor >= 0:
            return
        self._descriptor, stored = self._location.open_for_reading(self._upload_id)
        if stored < self._stop:
            self._close()
            raise BytesMissing(f"the file of this upload lacks {self._stop - stored} bytes that were stored")

    def _advance(self, count: int) -> None:
        self._start += count
        if self._start >= self._stop:
            self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
