"""The disk store besides its contract: open files, cancelled concatenations, threads."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import aclosing
from pathlib import Path

import pytest

from tests.contracts.store import MIB, an_upload, append
from tests.support.content import content
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.storage.disk.reader import FIRST_BYTES
from tusd_py.storage.disk.store import CONCATENATION_BYTES, SLOW_THREADS, DiskStore


def open_files(directory: Path) -> list[str]:
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return [os.readlink(link) for link in links if os.path.lexists(link) and f"{directory}/" in os.readlink(link)]


@pytest.mark.anyio
async def test_aborted_download_closes_the_file(tmp_path: Path) -> None:
    """A download that stops halfway, or is cancelled there, leaves no file open."""
    store = DiskStore(tmp_path)
    upload = await append(store, an_upload(), [bytes(content(41, MIB))])
    async with aclosing(store.read(upload, 0, MIB)) as pieces:
        assert len(await anext(pieces)) == FIRST_BYTES
        assert len(open_files(tmp_path)) == 1
    assert open_files(tmp_path) == []
    for turns in range(6):

        async def download() -> None:
            async with aclosing(store.read(upload, 0, MIB)) as pieces:
                async for _ in pieces:
                    pass

        task = asyncio.create_task(download())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert open_files(tmp_path) == []
    await store.close()


@pytest.mark.anyio
async def test_concatenation_can_be_cancelled(tmp_path: Path) -> None:
    """It stops between its steps, and leaves neither a file of the final upload nor an open one."""
    store = DiskStore(tmp_path)
    (tmp_path / "part").touch()
    os.truncate(tmp_path / "part", 3 * CONCATENATION_BYTES)  # a hole: it costs no room
    part = an_upload("part", offset=3 * CONCATENATION_BYTES)
    for turns in (0, 1, 2, 3, 5, 8):
        concatenating = asyncio.create_task(store.concatenate(an_upload("final"), [part]))
        for _ in range(turns):
            await asyncio.sleep(0)
        concatenating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await concatenating
        assert [path.name for path in tmp_path.iterdir()] == ["part"]
        assert open_files(tmp_path) == []
    await store.close()


@pytest.mark.anyio
async def test_planted_link_is_unavailable(tmp_path: Path) -> None:
    """A symbolic link under an upload's id is ``StoreUnavailable``, and its target is unchanged."""
    store, elsewhere = DiskStore(tmp_path / "uploads"), tmp_path / "elsewhere"
    elsewhere.write_bytes(b"not ours")
    (tmp_path / "uploads" / "an-upload").symlink_to(elsewhere)
    for upload in (an_upload(), an_upload(offset=3)):
        with pytest.raises(StoreUnavailable):
            await append(store, upload, [b"overwritten"])
    with pytest.raises(StoreUnavailable):
        await anext(store.read(an_upload(offset=3), 0, 3))
    with pytest.raises(StoreUnavailable):
        await store.size(an_upload())
    await store.delete(an_upload())
    assert elsewhere.read_bytes() == b"not ours"
    assert (await append(store, an_upload(), [b"ours"])).offset == 4
    await store.close()


@pytest.mark.anyio
async def test_concatenations_have_their_own_threads(tmp_path: Path) -> None:
    """However many concatenations and deletions are running, bytes of other uploads are written."""
    store, may_run = DiskStore(tmp_path), threading.Event()
    for _ in range(SLOW_THREADS):
        store._slow_threads.submit(may_run.wait, 20)
    concatenating = asyncio.create_task(store.concatenate(an_upload("final"), []))
    await append(store, an_upload(), [b"quick"])
    assert not concatenating.done()
    may_run.set()
    await concatenating
    assert sorted(path.name for path in tmp_path.iterdir()) == ["an-upload", "final"]
    await store.close()


def test_directory_that_cannot_be_created(tmp_path: Path) -> None:
    """A path that leads through a file is refused when the store is made, not at the first upload."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        DiskStore(tmp_path / "file" / "uploads")
