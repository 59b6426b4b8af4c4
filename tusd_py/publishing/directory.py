"""The publisher that links or copies uploads into a directory, under names from a pattern."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from tusd_py.cancellation import uninterrupted
from tusd_py.contracts.publisher import PublishFailed
from tusd_py.contracts.store import Store
from tusd_py.model.upload import Upload
from tusd_py.publishing.names import FOLDERS, candidates, published_name, with_random_suffix
from tusd_py.publishing.placement import Placement
from tusd_py.threads import in_executor

P = ParamSpec("P")
T = TypeVar("T")

_threads = ThreadPoolExecutor(8, "publish")


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryPublisher:
    """Publishes into ``directory``, which is created when needed. ``pattern`` is that of ``published_name``."""

    directory: Path
    pattern: str
    links: bool = True  # hard links instead of copies, where the file system supports them
    file_mode: int = 0o640  # of published files, and so of uploads that are linked

    async def prepare(self, upload: Upload, store: Store) -> None:
        """See ``Publisher.prepare``."""
        try:
            placement = await self._placement(upload)
            is_complete = await in_executor(_threads, placement.prepare)
            if not is_complete and not await self._link(placement, upload, store):
                await self._copy(placement, upload, store)
        except OSError as error:
            raise _publish_failed(self.directory, error) from error

    async def place(self, upload: Upload) -> str:
        """See ``Publisher.place``."""
        placement = await self._placement(upload)
        return await self._in_thread(placement.publish, candidates(placement.name, upload.id))

    async def withdraw(self, upload: Upload, path: str) -> None:
        """See ``Publisher.withdraw``."""
        await self._in_thread((await self._placement(upload)).withdraw, path)

    async def cleanup(self, upload: Upload) -> None:
        """See ``Publisher.cleanup``."""
        await self._in_thread((await self._placement(upload)).cleanup)

    async def close(self) -> None:
        """See ``Publisher.close``. It holds nothing."""

    async def _placement(self, upload: Upload) -> Placement:
        name = published_name(self.pattern, upload)
        if FOLDERS in self.pattern:
            name = await self._in_thread(_beside_files, self.directory, name, upload.id)
        return Placement(self.directory, upload.id, name, file_mode=self.file_mode)

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await in_executor(_threads, work, *args, **kwargs)
        except OSError as error:
            raise _publish_failed(self.directory, error) from error

    async def _link(self, placement: Placement, upload: Upload, store: Store) -> bool:
        location = store.location(upload)
        # After a crash a file may be longer than its upload; then only the bytes of the upload are copied.
        if not self.links or location.get("Type") != "filestore" or await store.size(upload) != upload.offset:
            return False
        return await in_executor(_threads, placement.link, Path(location["Path"]))

    async def _copy(self, placement: Placement, upload: Upload, store: Store) -> None:
        try:
            await _in_thread(placement.open_copy)
            async with aclosing(store.read(upload, 0, upload.offset)) as content:
                async for chunk in content:
                    await _in_thread(placement.write_copy, chunk)
            await _in_thread(placement.finish_copy)
        finally:
            placement.close_copy()


async def _in_thread(work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Run ``work`` in a thread to its end, also when cancelled: the descriptor must not be closed beneath it."""
    await uninterrupted(asyncio.ensure_future(in_executor(_threads, work, *args, **kwargs)))


def _beside_files(directory: Path, name: str, upload_id: str) -> str:
    """``name`` with another name for the first folder that cannot be one, because a file has its name.

    Clients choose folders and files, so that one may have the name of the other. The new name follows from the id.
    """
    path = Path(name)
    for folder in reversed(path.parents[:-1]):
        if (directory / folder).exists() and not (directory / folder).is_dir():
            return str(folder.with_name(with_random_suffix(folder.name, upload_id)) / path.relative_to(folder))
    return name


def _publish_failed(directory: Path, error: OSError) -> PublishFailed:
    return PublishFailed(f"publishing into {directory} failed: {error.strerror or error}")
