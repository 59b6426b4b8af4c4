"""Gives out a range of one file: piece by piece, or poured. ThreadPool do what blocks."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from tusd_py.contracts.store import BytesMissing
from tusd_py.contracts.zero_copy import SocketWriter
from tusd_py.storage.disk.custom_path import ChosenPath
from tusd_py.storage.disk.directory import Folder, store_error
from tusd_py.threads import ThreadPool

T = TypeVar("T")

#: A download keeps about this much in memory while its client is slow;
READ_BYTES = 256 * 1024
#: this much where all that the connection holds has been poured: what is read then waits for the client.
_WAITING_BYTES = 64 * 1024


class Reading:
    """The bytes ``start`` to ``stop`` of an upload's file, opened by the first piece and closed by the last.

    So a small download is one hop to a thread. The file stays readable to its end even if its name is removed.
    """

    def __init__(
        self,
        folder: Folder | ChosenPath,
        upload_id: str,
        start: int,
        stop: int,
        threads: ThreadPool,
        pouring_threads: ThreadPool,
    ) -> None:
        self._folder = folder
        self._upload_id = upload_id
        self._start = start  # moved on by the thread while a job runs
        self._stop = stop
        self._threads = threads
        self._pouring_threads = pouring_threads
        self._descriptor = -1
        self._piece_bytes = READ_BYTES

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._start >= self._stop:
            raise StopAsyncIteration
        return await self._try(self._threads, self._piece)

    async def pour(self, spout: SocketWriter) -> None:
        """See ``ZeroCopyContent.pour``."""
        if self._start < self._stop:
            await self._try(self._pouring_threads, lambda: self._move(spout))

    async def aclose(self) -> None:
        self._start = self._stop
        if self._descriptor >= 0:
            await self._threads.run(self._close)

    async def _try(self, threads: ThreadPool, work: Callable[[], T]) -> T:
        try:
            return await threads.run(work)
        except OSError as error:
            raise store_error(error) from error

    # What follows runs in a thread, one job at a time.

    def _piece(self) -> bytes:
        """The next bytes, at least one. Raises ``BytesMissing`` where the file has fewer."""
        self._open()
        try:
            piece = os.pread(self._descriptor, min(self._piece_bytes, self._stop - self._start), self._start)
        except OSError:
            self._close()
            raise
        if not piece:
            self._close()
            raise BytesMissing(f"the file of this upload ends at {self._start}: it has been cut while it was read")
        self._piece_bytes = READ_BYTES
        self._advance(len(piece))
        return piece

    def _move(self, spout: SocketWriter) -> None:
        self._open()
        while moved := spout.move(self._descriptor, self._start, self._stop - self._start):
            self._advance(moved)
            if self._descriptor < 0:
                return
        self._piece_bytes = _WAITING_BYTES

    def _open(self) -> None:
        if self._descriptor >= 0:
            return
        self._descriptor, stored = self._folder.open_for_reading(self._upload_id)
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
