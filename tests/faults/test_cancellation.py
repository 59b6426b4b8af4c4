"""A request is cancelled at each of its awaits: the record stays true, bytes are kept, no file is orphaned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import FakeBody, RecordingListener, UploadsHarness
from tests.unit.uploads.cancelling import cancel_at
from tusd_py.locking.memory import MemoryLocker
from tusd_py.model.upload import Kind
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.rules import Limits
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.migrate import migrate
from tusd_py.storage.disk.store import DiskStore
from tusd_py.uploads.expire import recover, sweep
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio

MD5_OF_CONTENT = Checksum("md5", bytes.fromhex("e2fc714c4727ee9395f324cd2e7f331f"))
CONTENT = b"abcd"
PIECES = (b"a", b"b", b"c", b"d")

Act = Callable[[UploadsHarness], Coroutine[Any, Any, object]]


@asynccontextmanager
async def on_disk(folder: Path) -> AsyncIterator[UploadsHarness]:
    """The use cases over real files and a real database, of which every call suspends."""
    folder.mkdir(exist_ok=True)
    url = f"sqlite:///{folder / 'records.sqlite3'}"
    migrate(url)
    harness = UploadsHarness(
        records=(await SqlDatabase.open(url)).records,
        store=DiskStore(folder / "uploads"),
        policy=UploadPolicy(save_interval_bytes=2),
    )
    try:
        yield harness
    finally:
        await harness.drain()
        await harness.records.close()
        await harness.store.close()


async def locks_released(harness: UploadsHarness) -> None:
    assert isinstance(harness.locker, MemoryLocker)
    assert len(harness.locker) == 0, "a lock was not released"


async def check_files(harness: UploadsHarness, folder: Path) -> None:
    """Every file belongs to a record and has all bytes up to the recorded offset."""
    await harness.drain()
    for file in (folder / "uploads").iterdir():
        if file.is_dir():
            continue  # the marks of ids that are not in the server's own form
        upload = await harness.record(file.name)
        assert upload is not None, f"{file.name} is left alone"
        assert file.stat().st_size >= upload.offset


@pytest.mark.parametrize("checksum", [None, MD5_OF_CONTENT])
async def test_append_cancelled_anywhere(checksum: Checksum | None, tmp_path: Path) -> None:
    """All bytes read so far are kept, except with a checksum, and the upload can be continued."""
    async with on_disk(tmp_path) as harness:
        for nth in range(1, 200):
            upload_id = (await harness.create(4)).upload.id
            cancelled = await cancel_at(harness.append(upload_id, 0, body=FakeBody(*PIECES), checksum=checksum), nth)
            await locks_released(harness)
            record = await harness.record(upload_id)
            assert record is not None
            assert await harness.content(upload_id) == CONTENT[: record.offset]
            assert record.is_complete == (record.offset == 4)
            assert checksum is None or record.offset in (0, 4)
            if not record.is_complete:
                rest = CONTENT[record.offset :]
                assert (await harness.append(upload_id, record.offset, rest)).upload.is_complete
            await check_files(harness, tmp_path)
            if not cancelled:
                assert record.is_complete
                assert nth > 6
                return
    pytest.fail("it never passed")


@pytest.mark.parametrize("checksum", [None, MD5_OF_CONTENT])
async def test_last_append_cancelled_anywhere(checksum: Checksum | None, tmp_path: Path) -> None:
    """In the draft all bytes read so far are kept, with or without a digest, and nothing is completed."""
    async with on_disk(tmp_path) as harness:
        for nth in range(1, 200):
            upload_id = (await harness.create(None, is_last=False)).upload.id
            body = FakeBody(*PIECES)
            cancelled = await cancel_at(
                harness.append(upload_id, 0, body=body, checksum=checksum, keep_partial=True, is_last=True), nth
            )
            await locks_released(harness)
            record = await harness.record(upload_id)
            assert record is not None
            assert await harness.content(upload_id) == CONTENT[: record.offset]
            if not record.is_complete:
                rest = CONTENT[record.offset :]
                assert (await harness.append(upload_id, record.offset, rest, is_last=True)).upload.is_complete
            await check_files(harness, tmp_path)
            if not cancelled:
                assert record.is_complete
                assert nth > 6
                return
    pytest.fail("it never passed")


async def _plain(harness: UploadsHarness) -> object:
    return await harness.create(4)


async def _empty(harness: UploadsHarness) -> object:
    return await harness.create(0)


async def _filled(harness: UploadsHarness) -> object:
    return await harness.create(4, body=FakeBody(*PIECES))


async def _checked(harness: UploadsHarness) -> object:
    return await harness.create(4, body=FakeBody(*PIECES), checksum=MD5_OF_CONTENT)


async def _announced(harness: UploadsHarness) -> object:
    return await harness.create(4, body=FakeBody(*PIECES), is_last=True, listener=RecordingListener())


async def _joined(harness: UploadsHarness) -> object:
    return await harness.create(None, kind=Kind.FINAL, parts=["u1", "u1"])


@pytest.mark.parametrize("act", [_plain, _empty, _filled, _checked, _announced, _joined])
async def test_create_cancelled_anywhere(act: Act, tmp_path: Path) -> None:
    """There is either a true record or nothing at all, no orphaned file."""
    async with on_disk(tmp_path) as harness:
        await harness.create(2, b"xy", kind=Kind.PARTIAL)
        for nth in range(1, 200):
            cancelled = await cancel_at(act(harness), nth)
            await locks_released(harness)
            await check_files(harness, tmp_path)
            record = await harness.record(f"u{nth + 1}")
            if record is not None:
                assert len(await harness.content(record.id)) == record.offset
            if not cancelled:
                assert record is not None
                return
    pytest.fail("it never passed")


async def test_terminate_cancelled_anywhere(tmp_path: Path) -> None:
    """The upload is either unchanged or ended, and its bytes go with its tombstone at the latest."""
    async with on_disk(tmp_path) as harness:
        for nth in range(1, 50):
            upload_id = (await harness.create(4, b"ab")).upload.id
            cancelled = await cancel_at(harness.terminate(upload_id), nth)
            await locks_released(harness)
            record = await harness.record(upload_id)
            assert record is not None
            assert record.has_ended or await harness.content(upload_id) == b"ab"
            if record.has_ended:
                harness.clock.move(harness.policy.tombstone_seconds + 1)
                await sweep(harness.ports)
                assert not (tmp_path / "uploads" / upload_id).exists()
            if not cancelled:
                assert record.has_ended
                return
    pytest.fail("it never passed")


async def test_assembly_cancelled_anywhere_recovered(tmp_path: Path) -> None:
    """The next start completes an assembly that was cancelled."""
    async with on_disk(tmp_path) as harness:
        part = (await harness.create(4, CONTENT, kind=Kind.PARTIAL)).upload
        harness.policy = UploadPolicy(concatenate_at_once_bytes_max=0)
        harness.limits = Limits(part_uses_max=0)
        harness.restart()
        for nth in range(1, 50):
            final = (await harness.create(None, kind=Kind.FINAL, parts=[part.id, part.id])).upload
            # What `create` has left to the background, cut after as many steps of the event loop.
            for _ in range(nth):
                await asyncio.sleep(0.0002)
            await harness.ports.background.drain(0)
            harness.locker = MemoryLocker()
            harness.restart()
            await recover(harness.ports)
            await harness.drain()
            assert await harness.content(final.id) == CONTENT * 2
            if nth > 10:
                return
