"""An upload between its id and its record: nobody else may have the id, and a failure leaves no bytes behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

from tusd_py.cancellation import finish_despite_cancel, shielded
from tusd_py.contracts.locker import Lock
from tusd_py.contracts.records import RecordExists
from tusd_py.contracts.store import PathTaken
from tusd_py.model.upload import Upload
from tusd_py.uploads.commit import Cause, insert
from tusd_py.uploads.locking import locked
from tusd_py.uploads.ports import Ports


def locked_for_creation(ports: Ports, upload: Upload, *, by_hook: bool) -> AbstractAsyncContextManager[Lock]:
    """Hold an upload that is about to be made. Raises ``RecordExists`` where a hook chose an id that is taken."""
    return _claimed_by_hook(ports, upload) if by_hook else locked(ports, upload.id)


@asynccontextmanager
async def _claimed_by_hook(ports: Ports, upload: Upload) -> AsyncIterator[Lock]:
    async with locked(ports, upload.id) as lock:
        # Known before the store is touched: bytes of the upload that has the id would be overwritten, then erased.
        if await ports.records.find(upload.id) is not None:
            raise RecordExists(f"upload {upload.id} is already recorded")
        yield lock


@asynccontextmanager
async def rollback_on_error(ports: Ports, upload: Upload) -> AsyncIterator[None]:
    """Store bytes and record ``upload`` inside: where that fails, or is cancelled, its bytes are erased again."""
    try:
        yield
    except RecordExists:
        raise  # whatever bears this id is not ours to erase
    except Exception:
        await ports.store.delete(upload)
        raise
    except asyncio.CancelledError:
        await finish_despite_cancel(delete_unrecorded(ports, upload))
        raise


async def reserve_storage(ports: Ports, upload: Upload) -> Upload:
    """``upload`` with the place that the store keeps for it. Raises ``PathTaken`` or ``StoreError``.

    A path that a hook chose may belong to a creation that a crash ended before there was a record: it is freed then.
    """
    try:
        return upload.with_storage(await ports.store.create(upload))
    except PathTaken as taken:
        if taken.owner_id is None or not await _reclaim(ports, upload, taken.owner_id):
            raise
    return upload.with_storage(await ports.store.create(upload))


async def _reclaim(ports: Ports, upload: Upload, by: str) -> bool:
    # Uploads that have a path are held from their creation to their record: one that can be held now is not being made.
    lock = await ports.locker.try_acquire(by)
    if lock is None:
        return False
    try:
        if await ports.records.find(by) is not None:
            return False
        await ports.store.delete(replace(upload, id=by))
        return True
    finally:
        await lock.release()


async def insert_reserved(ports: Ports, upload: Upload, change: Cause) -> None:
    """Record an upload without bytes; where that fails, a place that the store has kept for it is free again."""
    if not upload.storage:
        await insert(ports, upload, change)
        return
    async with rollback_on_error(ports, upload):
        await shielded(insert(ports, upload, change))


async def delete_unrecorded(ports: Ports, upload: Upload) -> None:
    """Erase the bytes of a creation that was cancelled, unless its record was made in the same instant."""
    if await ports.records.find(upload.id) is None:
        await ports.store.delete(upload)
