"""The store on a local disk: one file per upload, named by its id or at a path that a hook chose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar

from tusd_py.contracts.store import PATH, OnProgress, StoreFull
from tusd_py.model.ids import is_generated_id
from tusd_py.model.upload import NO_STATE, Kind, Upload
from tusd_py.storage.disk.chosen_ids import mark, unmark
from tusd_py.storage.disk.concatenation import Concatenation
from tusd_py.storage.disk.custom_path import CustomPath
from tusd_py.storage.disk.directory import FileLocation, UploadDirectory, store_error
from tusd_py.storage.disk.leftovers import old_ids, remove
from tusd_py.storage.disk.reader import DiskContent
from tusd_py.storage.disk.store_mark import read_store_mark, write_store_mark
from tusd_py.storage.disk.writer import DiskSink
from tusd_py.storage.verification import StoreVerification
from tusd_py.threads import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")

#: A concatenation copies this much at a time, and can be cancelled in between.
CONCATENATION_BYTES = 64 * 1024 * 1024

#: Enough for a disk to have several requests to order; writes that sync wait, they do not compute.
THREADS = 16

#: Zero-copy transfers have threads of their own: however many large bodies arrive, small ones find a thread at once.
ZERO_COPY_THREADS = 4

#: A thread looks at this many old files in one turn: some milliseconds.
_FOUND_PER_TURN = 200

#: Removing a file of this size takes no longer than writing a small one.
_SMALL_BYTES = 1024 * 1024

#: Concatenating and deleting large files takes seconds: only each other must wait for that.
SLOW_THREADS = 2


class DiskStore:
    """Keeps the bytes of an upload in ``<directory>/<id>``, or where a hook wants them below ``<directory>``.

    Creates the directory if it is missing (mode 0750) and raises ``OSError`` if it cannot. New files get ``file_mode``;
    the umask applies to both. Belongs to the event loop it is first used in.
    """

    def __init__(self, directory: Path, *, file_mode: int = 0o640) -> None:
        self._path = directory.absolute()
        self._directory = UploadDirectory(directory, file_mode)
        self._threads = ThreadPool(THREADS, "disk", quick=True)
        self._zero_copy_threads = ThreadPool(ZERO_COPY_THREADS, "disk-zero-copy")
        self._slow_threads = ThreadPool(SLOW_THREADS, "disk-slow")
        #: The bytes that running concatenations have yet to write; without it, two could count on the same free space.
        self._reserved_bytes = 0
        self._verification: StoreVerification | None = None

    async def create(self, upload: Upload) -> Mapping[str, object]:
        location = self._location_of(upload)
        if not isinstance(location, CustomPath):
            if not is_generated_id(upload.id):
                await self._run(self._threads, mark, self._directory, upload.id)
            return NO_STATE
        try:
            await self._run(self._threads, location.reserve, upload.id)
        except asyncio.CancelledError:
            await self._run(self._slow_threads, location.delete, upload.id)
            raise
        return upload.storage

    def open(self, upload: Upload) -> DiskSink:
        return DiskSink(self._location_of(upload), self._threads, upload, self._zero_copy_threads)

    def begin_write(
        self, upload: Upload, pieces: Sequence[bytes], on_done: Callable[[BaseException | None], None], *, durable: bool
    ) -> None:
        """See ``DirectStore``."""
        self.open(upload).begin_flush(pieces, on_done, durable=durable)

    def read(self, upload: Upload, start: int, stop: int) -> DiskContent:
        location = self._location_of(upload)
        return DiskContent(location, upload.id, start, stop, self._threads, self._zero_copy_threads)

    async def concatenate(
        self, upload: Upload, parts: Sequence[Upload], on_progress: OnProgress | None = None
    ) -> Mapping[str, object]:
        concatenation = Concatenation(self._location_of(upload), upload.id)
        is_committed = False
        done, total = 0, sum(part.offset for part in parts)
        await self.ensure_space(total)
        self._reserved_bytes += total
        try:
            await self._run(self._slow_threads, concatenation.begin)
            for part in parts:
                location = self._location_of(part)
                for start in range(0, part.offset, CONCATENATION_BYTES):
                    count = min(CONCATENATION_BYTES, part.offset - start)
                    await self._run(self._slow_threads, concatenation.append, location, part.id, start, count)
                    done += count
                    self._reserved_bytes -= count
                    if on_progress is not None:
                        await on_progress(done)
            await self._run(self._slow_threads, concatenation.commit)
            is_committed = True
        finally:
            self._reserved_bytes -= total - done
            if not is_committed:
                await self._run(self._slow_threads, concatenation.discard)
        return upload.storage

    async def ensure_space(self, count: int) -> None:
        available = await self._run(self._threads, self._directory.available_bytes)
        if count > available - self._reserved_bytes:
            raise StoreFull(f"{count} bytes do not fit on the disk, where {available} are free")

    async def delete(self, upload: Upload) -> None:
        location, threads = self._for_deletion(upload)
        await self._run(threads, location.delete, upload.id, upload.kind is Kind.FINAL)
        if location is self._directory and not is_generated_id(upload.id):
            await self._run(self._slow_threads, unmark, self._directory, upload.id)

    def begin_delete(self, upload: Upload, on_done: Callable[[BaseException | None], None]) -> None:
        """See ``DirectDeletion``."""
        assert is_generated_id(upload.id), "a chosen id has a mark as well"
        location, threads = self._for_deletion(upload)

        def on_deleted(failure: BaseException | None) -> None:
            on_done(store_error(failure) if isinstance(failure, OSError) else failure)

        threads.begin(on_deleted, location.delete, upload.id, upload.kind is Kind.FINAL)

    def _for_deletion(self, upload: Upload) -> tuple[FileLocation, ThreadPool]:
        """Where the bytes of ``upload`` are, and the threads that delete them."""
        location = self._location_of(upload)
        # The calls of one turn share a thread of the quick ones, for which a small file does not take long.
        is_small = upload.offset <= _SMALL_BYTES and location is self._directory
        return location, self._threads if is_small else self._slow_threads

    async def find_old(self, before: datetime) -> AsyncGenerator[Sequence[str], None]:
        ids = old_ids(self._directory, before.timestamp())
        try:
            while batch := await self._run(self._slow_threads, lambda: [*islice(ids, _FOUND_PER_TURN)]):
                yield batch
        finally:
            ids.close()

    async def purge(self, upload_id: str) -> None:
        await self._run(self._slow_threads, remove, self._directory, upload_id)

    async def size(self, upload: Upload) -> int:
        return await self._run(self._threads, self._location_of(upload).size, upload.id)

    def location(self, upload: Upload) -> Mapping[str, str]:
        path = str(path_of(self._path, upload))
        # tusd keeps its information about an upload in a file there. Here the records have it, and no such file exists.
        return {"Type": "filestore", "Path": path, "InfoPath": f"{path}.info"}

    async def read_mark(self) -> str:
        """See ``MarkedStore``."""
        return await self._run(self._threads, read_store_mark, self._directory)

    async def write_mark(self, mark: str) -> None:
        """See ``MarkedStore``."""
        await self._run(self._threads, write_store_mark, self._directory, mark)

    def guard(self, verify: Callable[[], Awaitable[str]]) -> None:
        """See ``MarkedStore``. Only ``probe`` runs it: to ask before each request would cost a system call."""
        self._verification = StoreVerification(verify, self.read_mark)

    async def probe(self) -> None:
        if self._verification is not None:
            await self._verification.renew()
        await self._run(self._threads, self._directory.probe)

    async def close(self) -> None:
        await self._threads.close()
        await self._zero_copy_threads.close()
        await self._slow_threads.close()
        self._directory.close()

    def _location_of(self, upload: Upload) -> FileLocation:
        path = upload.storage.get(PATH)
        return self._directory if path is None else CustomPath(self._directory, str(path))

    async def _run(self, threads: ThreadPool, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await threads.run(work, *args, **kwargs)
        except OSError as error:
            raise store_error(error) from error


def path_of(directory: Path, upload: Upload) -> Path:
    """Return the path of the upload's file in the store's ``directory``."""
    return directory / str(upload.storage.get(PATH, upload.id))
