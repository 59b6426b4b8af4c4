"""Taking the hold of an upload, and finding it as it truly is once held."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tusd_py.contracts.locker import Hold
from tusd_py.protocol import rules
from tusd_py.protocol.upload import Upload
from tusd_py.uploads.ports import Ports


@asynccontextmanager
async def held(ports: Ports, upload_id: str) -> AsyncIterator[Hold]:
    """Hold the upload; whoever held it has been asked to save and let go. Raises ``LockTimeout``."""
    hold = await ports.locker.acquire(upload_id, ports.pace.lock_timeout_seconds)
    try:
        yield hold
    finally:
        await hold.release()


async def find(ports: Ports, upload_id: str) -> Upload:
    """The upload, which the caller holds. Raises ``UploadNotFound`` or ``UploadGone``."""
    return await truthful(ports, rules.found(await ports.records.find(upload_id), ports.clock()))


async def truthful(ports: Ports, upload: Upload) -> Upload:
    """The upload with no more bytes claimed than are stored.

    A record saved by this process never claims too much. One that was saved before it started may, if the machine lost
    its power meanwhile: its bytes are counted once, and the record put right.
    """
    if upload.is_complete or not upload.offset or upload.updated_at >= ports.opened_at:
        return upload
    stored = await ports.store.stored_bytes(upload)
    now = ports.clock()
    after = upload.lose(stored, now) if stored < upload.offset else upload.advance(upload.offset, now)
    return await ports.records.replace(upload, after)
