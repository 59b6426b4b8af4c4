"""A request may be cancelled at any await: the record stays true, what came is kept, and no file is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import FakeBody, RecordingListener, UploadsHarness
from tests.support.loops import on_loop
from tests.unit.uploads.cancelling import cancel_at
from tusd_py.cancellation import finish_despite_cancel, shielded
from tusd_py.locking.memory import MemoryLocker
from tusd_py.model.upload import Kind
from tusd_py.protocol.checksum import Checksum
from tusd_py.records.sql.migrate import migrate
from tusd_py.records.sql.records import SqlRecords
from tusd_py.storage.disk.store import DiskStore
from tusd_py.uploads.expire import recover, sweep
from tusd_py.uploads.policy import UploadPolicy

MD5_OF_CONTENT = Checksum("md5", bytes.fromhex("e2fc714c4727ee9395f324cd2e7f331f"))
CONTENT = b"abcd"
PIECES = (b"a", b"b", b"c", b"d")

Act = Callable[[UploadsHarness], Coroutine[Any, Any, object]]


@asynccontextmanager
async def on_disk(folder: Path) -> AsyncIterator[UploadsHarness]:
    """A heart over real files and a real database, whose every call is a suspension."""
    folder.mkdir(exist_ok=True)
    url = f"sqlite:///{folder / 'records.sqlite3'}"
    migrate(url)
    harness = UploadsHarness(
        records=await SqlRecords.open(url),
        store=DiskStore(folder / "uploads"),
        policy=UploadPolicy(save_interval_bytes=2),
    )
    try:
        yield harness
    finally:
        await harness.settle()
        await harness.records.close()
        await harness.store.close()


async def holds_released(harness: UploadsHarness) -> None:
    assert isinstance(harness.locker, MemoryLocker)
    assert len(harness.locker) == 0, "a hold was not released"


async def check_files(harness: UploadsHarness, folder: Path) -> None:
    """Every file belongs to a record, and has all bytes that the record claims."""
    await harness.settle()
    for file in (folder / "uploads").iterdir():
        upload = await harness.record(file.name)
        assert upload is not None, f"{file.name} is left alone"
        assert file.stat().st_size >= upload.offset


@pytest.mark.parametrize("checksum", [None, MD5_OF_CONTENT])
@on_loop
async def test_an_append_cancelled_anywhere(checksum: Checksum | None, tmp_path: Path) -> None:
    """The offset says what is stored, all that was read is kept but for a checksum, and the upload goes on from it."""
    async with on_disk(tmp_path) as harness:
        for nth in range(1, 200):
            upload_id = (await harness.create(4)).upload.id
            cancelled = await cancel_at(harness.append(upload_id, 0, source=FakeBody(*PIECES), checksum=checksum), nth)
            await holds_released(harness)
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
@on_loop
async def test_a_last_append_cancelled_anywhere(checksum: Checksum | None, tmp_path: Path) -> None:
    """Of a body that says it is the last, all that was read is kept too, digest or not, and it completes nothing."""
    async with on_disk(tmp_path) as harness:
        for nth in range(1, 200):
            upload_id = (await harness.create(None, completes=False)).upload.id
            body = FakeBody(*PIECES)
            cancelled = await cancel_at(
                harness.append(upload_id, 0, source=body, checksum=checksum, keep_partial=True, completes=True), nth
            )
            await holds_released(harness)
            record = await harness.record(upload_id)
            assert record is not None
            assert await harness.content(upload_id) == CONTENT[: record.offset]
            if not record.is_complete:
                rest = CONTENT[record.offset :]
                assert (await harness.append(upload_id, record.offset, rest, completes=True)).upload.is_complete
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
    return await harness.create(4, source=FakeBody(*PIECES))


async def _checked(harness: UploadsHarness) -> object:
    return await harness.create(4, source=FakeBody(*PIECES), checksum=MD5_OF_CONTENT)


async def _announced(harness: UploadsHarness) -> object:
    return await harness.create(4, source=FakeBody(*PIECES), completes=True, listener=RecordingListener())


async def _joined(harness: UploadsHarness) -> object:
    return await harness.create(None, kind=Kind.FINAL, parts=["u1", "u1"])


@pytest.mark.parametrize("act", [_plain, _empty, _filled, _checked, _announced, _joined])
@on_loop
async def test_a_creation_cancelled_anywhere(act: Act, tmp_path: Path) -> None:
    """Either there is a true record, or there is nothing: no file that nobody knows of."""
    async with on_disk(tmp_path) as harness:
        await harness.create(2, b"xy", kind=Kind.PARTIAL)
        for nth in range(1, 200):
            cancelled = await cancel_at(act(harness), nth)
            await holds_released(harness)
            await check_files(harness, tmp_path)
            record = await harness.record(f"u{nth + 1}")
            if record is not None:
                assert len(await harness.content(record.id)) == record.offset
            if not cancelled:
                assert record is not None
                return
    pytest.fail("it never passed")


@on_loop
async def test_a_termination_cancelled_anywhere(tmp_path: Path) -> None:
    """Either the upload is as it was, or it is gone, and its bytes go with its tombstone at the latest."""
    async with on_disk(tmp_path) as harness:
        for nth in range(1, 50):
            upload_id = (await harness.create(4, b"ab")).upload.id
            cancelled = await cancel_at(harness.terminate(upload_id), nth)
            await holds_released(harness)
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


@on_loop
async def test_a_join_cancelled_anywhere_is_taken_up_again(tmp_path: Path) -> None:
    """A final upload whose joining was cut is joined by the next start."""
    async with on_disk(tmp_path) as harness:
        part = (await harness.create(4, CONTENT, kind=Kind.PARTIAL)).upload
        harness.policy = UploadPolicy(concatenate_at_once_bytes_max=0)
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
            await harness.settle()
            assert await harness.content(final.id) == CONTENT * 2
            if nth > 10:
                return


@on_loop
async def test_cancelling_waits_for_what_must_be_finished() -> None:
    """Work under ``shielded`` is done when the cancellation is raised, however often it is asked for."""
    go, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    task = asyncio.ensure_future(shielded(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


@on_loop
async def test_a_failure_of_what_is_finished_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for it any more, so it is not raised."""

    async def fail() -> None:
        raise RuntimeError("the disk is gone")

    with caplog.at_level("INFO"):
        await finish_despite_cancel(fail())
    assert "the disk is gone" in caplog.text


@on_loop
async def test_what_cannot_be_finished_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs keeps nothing from ending for ever."""
    monkeypatch.setattr("tusd_py.cancellation._TIMEOUT_SECONDS", 0.01)
    never = asyncio.ensure_future(asyncio.Event().wait())
    await finish_despite_cancel(never)
    await asyncio.wait([never])
    assert never.cancelled()
