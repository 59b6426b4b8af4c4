"""Lock an upload and load it, reconciling the record with the stored bytes."""

from __future__ import annotations

from tusd_py.contracts.locker import IsGone, Lock
from tusd_py.contracts.records import RecordConflict
from tusd_py.model.caller import Caller
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol import rules
from tusd_py.protocol.errors import LockLost, UploadInterrupted
from tusd_py.uploads.commit import update
from tusd_py.uploads.ports import Ports


def locked(ports: Ports, upload_id: str, caller: Caller | None = None) -> LockedUpload:
    """Lock the upload for a block; the present holder is asked to save and release. Raises ``LockTimeout``.

    ``caller`` is that of a request that gives up if its client leaves while it waits.
    """
    return LockedUpload(ports, upload_id, None if caller is None else caller.is_gone)


class LockedUpload:
    """The lock of one upload for a block. A generator would take twice as long, in every request."""

    __slots__ = ("_is_gone", "_lock", "_ports", "_upload_id")

    def __init__(self, ports: Ports, upload_id: str, is_gone: IsGone | None) -> None:
        self._ports = ports
        self._upload_id = upload_id
        self._is_gone = is_gone

    async def __aenter__(self) -> Lock:
        seconds = self._ports.policy.lock_timeout_seconds
        self._lock = await self._ports.locker.acquire(self._upload_id, seconds, self._is_gone)
        if self._lock.was_abandoned:
            try:
                await fence(self._ports, self._upload_id)
            except BaseException:
                await self._lock.release()
                raise
        return self._lock

    async def __aexit__(self, *_: object) -> None:
        await self._lock.release()


def interruption_of(lock: Lock) -> UploadInterrupted:
    """The error for the request that holds ``lock`` and has to release it."""
    return LockLost() if lock.is_lost else UploadInterrupted()


async def fence(ports: Ports, upload_id: str) -> None:
    """Give the record a new token, so that the earlier holder, if it still runs, can save nothing any more.

    Bytes that it has written by then and not saved are beyond the offset: they do not count.
    """
    while True:
        upload = await ports.records.find(upload_id)
        if upload is None or upload.is_complete or upload.status is not Status.UPLOADING:
            return
        try:
            await update(ports, upload, upload.advance(upload.offset, ports.clock()))
        except RecordConflict:
            continue  # the earlier holder has just saved
        return


async def load(ports: Ports, upload_id: str) -> Upload:
    """The upload, whose lock the caller holds. Raises what ``rules.ensure_available`` raises."""
    return await verify_offset(ports, rules.ensure_available(await ports.records.find(upload_id), ports.clock()))


def may_be_ahead_of_bytes(ports: Ports, upload: Upload) -> bool:
    """Whether the stored bytes must be counted before the offset is used: see ``verify_offset``."""
    return not upload.is_complete and bool(upload.offset) and upload.updated_at < ports.opened_at


async def verify_offset(ports: Ports, upload: Upload) -> Upload:
    """The upload with an offset no greater than the number of stored bytes.

    A record that this process has saved is never ahead of the bytes. One that was saved before it started may be, if
    the machine lost power since: the stored bytes are counted once and the record is corrected.
    """
    if not may_be_ahead_of_bytes(ports, upload):
        return upload
    stored = await ports.store.size(upload)
    now = ports.clock()
    after = upload.truncate_to(stored, now) if stored < upload.offset else upload.advance(upload.offset, now)
    return await update(ports, upload, after)
