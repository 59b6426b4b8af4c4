"""The creation of an upload before its record: reserve the id and the storage, and delete the bytes on failure."""

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
    """Lock an upload that is about to be created. Raises ``RecordExists`` if a hook chose an id that is in use."""
    return _locked_unused(ports, upload) if by_hook else locked(ports, upload.id)


@asynccontextmanager
async def _locked_unused(ports: Ports, upload: Upload) -> AsyncIterator[Lock]:
    async with locked(ports, upload.id) as lock:
        # Checked before the store is touched: the bytes of the upload that has this id would be overwritten.
        if await ports.records.find(upload.id) is not None:
            raise RecordExists(f"upload {upload.id} is already recorded")
        yield lock


@asynccontextmanager
async def rollback_on_error(ports: Ports, upload: Upload) -> AsyncIterator[None]:
    """Delete the stored bytes of ``upload`` if the block, which stores and records it, raises or is cancelled."""
    try:
        yield
    except RecordExists:
        raise  # the bytes are those of the upload that has this id
    except Exception:
        await ports.store.delete(upload)
        raise
    except asyncio.CancelledError:
        await finish_despite_cancel(delete_unrecorded(ports, upload))
        raise


async def reserve_storage(ports: Ports, upload: Upload) -> Upload:
    """``upload`` with the storage that the store has reserved for it. Raises ``PathTaken`` or ``StoreError``.

    A path that a hook chose may still be reserved by a creation that crashed before its record was saved; it is
    reclaimed then.
    """
    try:
        return upload.with_storage(await ports.store.create(upload))
    except PathTaken as taken:
        if taken.owner_id is None or not await _reclaim(ports, upload, taken.owner_id):
            raise
    return upload.with_storage(await ports.store.create(upload))


async def _reclaim(ports: Ports, upload: Upload, owner_id: str) -> bool:
    """Delete the reservation of upload ``owner_id`` if it has no record and no creation of it is running."""
    # An upload with a path is locked from its creation to its record, so a free lock means that no creation is running.
    lock = await ports.locker.try_acquire(owner_id)
    if lock is None:
        return False
    try:
        if await ports.records.find(owner_id) is not None:
            return False
        await ports.store.delete(replace(upload, id=owner_id))
        return True
    finally:
        await lock.release()


async def insert_reserved(ports: Ports, upload: Upload, cause: Cause) -> None:
    """Record an upload without bytes; if that fails, release what the store has reserved for it."""
    if not upload.storage:
        await insert(ports, upload, cause)
        return
    async with rollback_on_error(ports, upload):
        await shielded(insert(ports, upload, cause))


async def delete_unrecorded(ports: Ports, upload: Upload) -> None:
    """Delete the bytes of a cancelled creation, unless its record was saved in the same moment."""
    if await ports.records.find(upload.id) is None:
        await ports.store.delete(upload)
