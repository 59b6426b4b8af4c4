"""The creation of an upload before its record: reserve the id and the storage, and delete the bytes on failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from tusd_py.cancellation import finish_despite_cancel, shielded
from tusd_py.contracts.locker import Lock
from tusd_py.contracts.records import RecordExists
from tusd_py.contracts.store import PATH, PathTaken
from tusd_py.model.ids import is_generated_id, is_upload_id
from tusd_py.model.jobs import JobState
from tusd_py.model.upload import Upload
from tusd_py.uploads.commit import Cause, insert
from tusd_py.uploads.locking import locked
from tusd_py.uploads.ports import Ports


@asynccontextmanager
async def locked_for_creation(ports: Ports, upload: Upload, *, by_hook: bool) -> AsyncIterator[tuple[Lock, Upload]]:
    """Lock an upload that is about to be created, and return it as it is to be recorded.

    Raises ``RecordExists`` if a hook chose an id that is in use.
    """
    async with locked(ports, upload.id) as lock:
        # Checked before the store is touched: the bytes of the upload that has this id would be overwritten.
        yield lock, await _replacing(ports, upload) if by_hook else upload


async def _replacing(ports: Ports, upload: Upload) -> Upload:
    """``upload`` with a token that lets it replace the tombstone with its id, if there is one.

    Raises ``RecordExists`` if the earlier upload is alive, or if bytes, unfinished jobs or unfinished final uploads of
    it are left.
    """
    earlier = await ports.records.find(upload.id)
    if earlier is None:
        # The store knows the names that it gave, except those in the form of the server's own.
        if is_generated_id(upload.id) and not upload.storage and await ports.store.size(upload):
            raise RecordExists(f"a file that belongs to no upload has the name {upload.id}")
        return upload
    if not earlier.has_ended:
        raise RecordExists(f"upload {upload.id} is already recorded")
    if (
        await ports.store.size(earlier)
        or await _has_jobs(ports, earlier)
        or await ports.records.finals_waiting(earlier.id)
    ):
        raise RecordExists(f"upload {upload.id} has ended, but not all of its work is done")
    return upload.with_token(earlier.token + 1)


async def _has_jobs(ports: Ports, upload: Upload) -> bool:
    if ports.job_queue is None:
        return False
    unended = (JobState.WAITING, JobState.RUNNING)
    return bool(await ports.job_queue.list_jobs(states=unended, upload_id=upload.id, limit=1))


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
    await _ensure_no_upload_in_path(ports, upload)
    try:
        return upload.with_storage(await ports.store.create(upload))
    except PathTaken as taken:
        if taken.owner_id is None or not await _reclaim(ports, upload, taken.owner_id):
            raise
    return upload.with_storage(await ports.store.create(upload))


async def _ensure_no_upload_in_path(ports: Ports, upload: Upload) -> None:
    """Raise ``PathTaken`` if the first directory of the path would have the name of another upload's file."""
    directory, slash, _ = str(upload.storage.get(PATH, "")).partition("/")
    if slash and is_upload_id(directory):
        other = await ports.records.find(directory)
        if other is not None and not other.has_ended and not other.storage:
            raise PathTaken(f"upload {directory} has the name of a directory in the path")


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
    recorded = await ports.records.find(upload.id)
    # The tombstone that it would have replaced has an earlier token.
    if recorded is None or recorded.token < upload.token:
        await ports.store.delete(upload)
