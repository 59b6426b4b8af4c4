"""End an upload on behalf of the operator, without asking a hook: delete it, or let it expire now."""

from __future__ import annotations

from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.uploads.commit import update
from tusd_py.uploads.locking import locked
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.terminate import terminate_locked


class CannotEnd(Exception):
    """The upload cannot be ended; the text says why."""


async def delete_upload(ports: Ports, upload_id: str) -> Upload:
    """Terminate the upload, as a client's DELETE does, without pre-terminate. A running request is stopped first.

    Raises ``CannotEnd``, ``LockTimeout`` or ``RecordConflict``.
    """
    async with locked(ports, upload_id):
        return await terminate_locked(ports, await _find_living(ports, upload_id), None)


async def expire_upload(ports: Ports, upload_id: str) -> Upload:
    """Expire the upload now, as the sweeper does when its time has come. Raises like ``delete_upload``."""
    async with locked(ports, upload_id):
        upload = await _find_living(ports, upload_id)
        now = ports.clock()
        ended = upload.with_status(Status.EXPIRED, now)
        ended = await update(ports, upload, ended.expiring(ports.policy.expiry(ended, now)))
        await ports.store.delete(ended)
        return ended


async def _find_living(ports: Ports, upload_id: str) -> Upload:
    upload = await ports.records.find(upload_id)
    if upload is None:
        raise CannotEnd("does not exist; tusd-py uploads list shows the newest uploads")
    if upload.has_ended:
        raise CannotEnd(f"is {upload.status} already")
    if upload.kind is Kind.PARTIAL and await ports.records.finals_waiting(upload.id):
        raise CannotEnd("is needed by an unfinished final upload; end that one first")
    return upload
