"""Taking the hold of an upload, and finding it as it truly is once held."""

from __future__ import annotations

from tusd_py.contracts.locker import Lock
from tusd_py.model.upload import Upload
from tusd_py.protocol import rules
from tusd_py.uploads.commit import update
from tusd_py.uploads.ports import Ports


def locked(ports: Ports, upload_id: str) -> LockedUpload:
    """Hold the upload; whoever held it has been asked to save and let go. Raises ``LockTimeout``."""
    return LockedUpload(ports, upload_id)


class LockedUpload:
    """The hold of one upload for a block. A generator would do the same for twice the time, in every request."""

    __slots__ = ("_hold", "_ports", "_upload_id")

    def __init__(self, ports: Ports, upload_id: str) -> None:
        self._ports = ports
        self._upload_id = upload_id

    async def __aenter__(self) -> Lock:
        self._hold = await self._ports.locker.acquire(self._upload_id, self._ports.policy.lock_timeout_seconds)
        return self._hold

    async def __aexit__(self, *_: object) -> None:
        await self._hold.release()


async def load(ports: Ports, upload_id: str) -> Upload:
    """The upload, which the caller holds. Raises ``UploadNotFound`` or ``UploadGone``."""
    return await verify_offset(ports, rules.ensure_available(await ports.records.find(upload_id), ports.clock()))


async def verify_offset(ports: Ports, upload: Upload) -> Upload:
    """The upload with no more bytes claimed than are stored.

    A record saved by this process never claims too much. One that was saved before it started may, if the machine lost
    its power meanwhile: its bytes are counted once, and the record put right.
    """
    if upload.is_complete or not upload.offset or upload.updated_at >= ports.opened_at:
        return upload
    stored = await ports.store.size(upload)
    now = ports.clock()
    after = upload.truncate_to(stored, now) if stored < upload.offset else upload.advance(upload.offset, now)
    return await update(ports, upload, after)
