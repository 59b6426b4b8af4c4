"""The store on a local disk: one file an upload, named by its id. ThreadPool do all that blocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from tusd_py.contracts.store import PATH, OnProgress
from tusd_py.model.upload import NO_STATE, Upload
from tusd_py.storage.disk.concatenation import Joining
from tusd_py.storage.disk.custom_path import ChosenPath
from tusd_py.storage.disk.directory import Folder, store_error
from tusd_py.storage.disk.reader import Reading
from tusd_py.storage.disk.writer import DiskSink
from tusd_py.threads import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")

#: A join looks up this often, so that it can be cancelled.
JOIN_BYTES = 64 * 1024 * 1024

#: Enough for a disk to have several things to order; synced writes wait, they do not compute.
THREADS = 16

#: What is poured takes its turn here: however many large bodies come, small ones find a thread at once.
POURING_THREADS = 4

#: Joins and removals of large files take seconds: they wait for each other, and for nobody else.
SLOW_THREADS = 2


class DiskStore:
    """Keeps the bytes of an upload in ``<directory>/<id>``, or where a hook wants them below ``<directory>``.

    Makes the directory if it is missing (mode 0750) and raises ``OSError`` if it cannot. New files get ``file_mode``,
    both less what the umask takes. Belongs to the event loop it is first used in.
    """

    def __init__(self, directory: Path, *, file_mode: int = 0o640) -> None:
        self._directory = directory.absolute()
        self._folder = Folder(directory, file_mode)
        self._threads = ThreadPool(THREADS, "disk")
        self._pouring_threads = ThreadPool(POURING_THREADS, "disk-pour")
        self._slow_threads = ThreadPool(SLOW_THREADS, "disk-slow")

    async def create(self, upload: Upload) -> Mapping[str, object]:
        folder = self._folder_of(upload)
        if isinstance(folder, Folder):
            return NO_STATE
        try:
            await self._try(self._threads, folder.reserve, upload.id)
        except asyncio.CancelledError:
            await self._try(self._slow_threads, folder.erase, upload.id)
            raise
        return upload.storage

    def open(self, upload: Upload) -> DiskSink:
        return DiskSink(self._folder_of(upload), self._threads, upload, self._pouring_threads)

    def read(self, upload: Upload, start: int, stop: int) -> Reading:
        return Reading(self._folder_of(upload), upload.id, start, stop, self._threads, self._pouring_threads)

    async def concatenate(
        self, upload: Upload, parts: Sequence[Upload], tell: OnProgress | None = None
    ) -> Mapping[str, object]:
        joining = Joining(self._folder_of(upload), upload.id)
        finished = False
        done = 0
        try:
            await self._try(self._slow_threads, joining.begin)
            for part in parts:
                for start in range(0, part.offset, JOIN_BYTES):
                    count = min(JOIN_BYTES, part.offset - start)
                    await self._try(self._slow_threads, joining.append, self._folder_of(part), part.id, start, count)
                    done += count
                    if tell is not None:
                        await tell(done)
            await self._try(self._slow_threads, joining.finish)
            finished = True
        finally:
            if not finished:
                await self._try(self._slow_threads, joining.abandon)
        return upload.storage

    async def delete(self, upload: Upload) -> None:
        await self._try(self._slow_threads, self._folder_of(upload).erase, upload.id)

    async def size(self, upload: Upload) -> int:
        return await self._try(self._threads, self._folder_of(upload).stored_size, upload.id)

    def location(self, upload: Upload) -> Mapping[str, str]:
        path = str(self._directory / str(upload.storage.get(PATH, upload.id)))
        # tusd writes what it knows of an upload into a file there; here that is in the records, and no such file.
        return {"Type": "filestore", "Path": path, "InfoPath": f"{path}.info"}

    async def probe(self) -> None:
        await self._try(self._threads, self._folder.probe)

    async def close(self) -> None:
        await self._threads.close()
        await self._pouring_threads.close()
        await self._slow_threads.close()
        self._folder.close()

    def _folder_of(self, upload: Upload) -> Folder | ChosenPath:
        path = upload.storage.get(PATH)
        return self._folder if path is None else ChosenPath(self._folder, str(path))

    async def _try(self, threads: ThreadPool, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await threads.run(work, *args, **kwargs)
        except OSError as error:
            raise store_error(error) from error
