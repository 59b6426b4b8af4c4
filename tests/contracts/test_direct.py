"""What backends offer for requests without a task, against what they do for those with one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.records import an_upload
from tests.support.lockers import open_file_locker
from tests.support.postgres import empty_database
from tusd_py.contracts.direct import DirectDeletion, DirectLocker, DirectRecordChanges, DirectStore, DirectTransitions
from tusd_py.contracts.locker import Lock
from tusd_py.contracts.records import RecordConflict
from tusd_py.contracts.store import BytesMissing
from tusd_py.locking.file import FileLocker
from tusd_py.locking.memory import MemoryLocker
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Status, Upload
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.storage.disk.store import DiskStore

pytestmark = pytest.mark.anyio

ID = "0123456789abcdef" * 2


async def called_back(begin: Callable[[Callable[..., None]], object]) -> tuple[object, ...]:
    """The arguments of the callback that ``begin`` is given. It is not called before ``begin`` returns."""
    done: asyncio.Future[tuple[object, ...]] = asyncio.get_running_loop().create_future()
    begin(lambda *arguments: done.set_result(arguments))
    assert not done.done()
    return await done


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_records_find_and_update(tmp_path: Path, kind: str) -> None:
    """As ``find`` and ``update``: a second update of the same state is a conflict and changes nothing."""
    url = f"sqlite:///{tmp_path}/records.sqlite3" if kind == "sqlite" else empty_database()
    database = await SqlDatabase.open(url)
    records = database.records
    assert isinstance(records, DirectRecordChanges)
    try:
        assert (None, None) == await called_back(partial(records.begin_find, ID))
        upload = an_upload(ID)
        await records.insert(upload)
        assert (upload, None) == await called_back(partial(records.begin_find, ID))
        after = upload.advance(50, datetime(2026, 3, 2, tzinfo=UTC))
        saved: list[Upload] = []

        def begin(done: Any) -> None:
            saved.append(records.begin_update(upload, after, NO_EFFECTS, done))

        assert (None,) == await called_back(begin)
        assert saved == [await records.find(ID)]
        (failure,) = await called_back(begin)
        assert isinstance(failure, RecordConflict)
        assert saved[0] == await records.find(ID)
    finally:
        await database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_records_find_and_update_in_one_step(tmp_path: Path, kind: str) -> None:
    """What the caller decides is recorded, unless it raises: then nothing changes, also for others of the batch."""
    url = f"sqlite:///{tmp_path}/records.sqlite3" if kind == "sqlite" else empty_database()
    database = await SqlDatabase.open(url)
    records = database.records
    assert isinstance(records, DirectTransitions)
    seen: list[Upload | None] = []

    def decide(upload: Upload | None) -> tuple[Upload, Effects]:
        seen.append(upload)
        if upload is None:
            raise LookupError
        return upload.with_status(Status.TERMINATED, datetime(2026, 3, 2, tzinfo=UTC)), NO_EFFECTS

    try:
        upload = an_upload(ID)
        await records.insert(upload)
        if kind == "postgresql":
            assert not records.begin_transition(ID, decide, print, durable=True)
            return
        changed, failed = await asyncio.gather(
            *(called_back(partial(records.begin_transition, each, decide, durable=True)) for each in (ID, "0" * 32))
        )
        assert seen == [upload, None]
        assert changed == (await records.find(ID), None)
        assert isinstance(changed[0], Upload) and changed[0].status is Status.TERMINATED
        assert failed[0] is None and isinstance(failed[1], LookupError)
    finally:
        await database.close()


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_lockers_lock_without_waiting(tmp_path: Path, kind: str) -> None:
    """The lock excludes every other one, of whatever way it was taken; ``release_now`` wakes a waiter."""
    locker: MemoryLocker | FileLocker = MemoryLocker() if kind == "memory" else open_file_locker(tmp_path / "locks")
    assert isinstance(locker, DirectLocker)
    lock = locker.try_acquire_now("an-upload")
    assert lock is not None and not lock.was_abandoned
    assert locker.try_acquire_now("an-upload") is None
    assert await locker.try_acquire("an-upload") is None

    async def wait() -> Lock:
        return await locker.acquire("an-upload", 30)

    waiter = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    lock.release_now()
    held = await waiter
    assert locker.try_acquire_now("an-upload") is None
    await held.release()
    again = locker.try_acquire_now("an-upload")
    assert again is not None
    again.release_now()
    await locker.close()


async def test_disk_store_writes_at_the_offset_and_deletes(tmp_path: Path) -> None:
    """Bytes are added where the upload ends; a file that is too short is a failure; deleting twice is none."""
    store = DiskStore(tmp_path)
    assert isinstance(store, DirectStore) and isinstance(store, DirectDeletion)
    upload = an_upload(ID)
    try:
        for durable in (False, True):
            write = partial(store.begin_write, upload, [b"01", b"234"], durable=durable)
            assert (None,) == await called_back(write)
            upload = upload.advance(upload.offset + 5, upload.updated_at)
        assert b"0123401234" == (tmp_path / ID).read_bytes()
        beyond = upload.advance(11, upload.updated_at)
        (failure,) = await called_back(partial(store.begin_write, beyond, [b"x"], durable=False))
        assert isinstance(failure, BytesMissing)
        for _ in range(2):
            assert (None,) == await called_back(partial(store.begin_delete, upload))
        assert not (tmp_path / ID).exists()
    finally:
        await store.close()
