"""The step ``publishing``: link or copy a complete upload to a readable path."""

from __future__ import annotations

from tusd_py.contracts.locker import LocksUnavailable, LockTimeout
from tusd_py.contracts.publisher import Publisher, PublishFailed
from tusd_py.contracts.records import RecordConflict
from tusd_py.contracts.store import BytesMissing
from tusd_py.model.jobs import Job
from tusd_py.model.steps import PUBLISHING
from tusd_py.model.upload import Status, Upload
from tusd_py.uploads.commit import Cause, update
from tusd_py.uploads.locking import locked
from tusd_py.uploads.ports import Ports


async def publish(ports: Ports, job: Job) -> None:
    """Publish the upload of ``job`` and record its path.

    The caller completes the job, so that a repetition after a crash finds the path and cleans up. Raises
    ``PublishFailed``, ``StoreError`` or ``RecordsError``: retry the job later.
    """
    upload = await ports.records.find(job.upload_id)
    if upload is None:
        return
    publisher = ports.publisher
    if PUBLISHING.is_next(upload):
        if publisher is None:
            raise PublishFailed(PUBLISHING.disabled_reason)
        await _publish(ports, publisher, upload)
    if publisher is not None:
        # The record is durable by now: without it, these names are all that shows that the upload is published.
        await publisher.cleanup(upload)


async def _publish(ports: Ports, publisher: Publisher, upload: Upload) -> None:
    try:
        await publisher.prepare(upload, ports.store)
    except BytesMissing:
        newest = await ports.records.find(upload.id)
        if newest is not None and PUBLISHING.is_next(newest):
            now = ports.clock()
            failed = newest.fail_step(PUBLISHING.name, Status.FAILED, now, "the bytes of this upload are gone")
            await update(ports, newest, failed.expiring(ports.policy.expiry(failed, now)))
        return
    try:
        # Copying may have taken an hour, in which a client may have terminated the upload; none can while it is locked.
        async with locked(ports, upload.id):
            await _place(ports, publisher, upload.id)
    except (LockTimeout, LocksUnavailable) as error:
        raise PublishFailed(str(error)) from error


async def _place(ports: Ports, publisher: Publisher, upload_id: str) -> None:
    """Place the prepared file and record its path. The caller holds the lock of the upload."""
    upload = await ports.records.find(upload_id)
    if upload is None or not PUBLISHING.is_next(upload):
        return
    path = await publisher.place(upload)
    published = upload.complete_step(PUBLISHING.name, ports.clock(), details={"path": path})
    try:
        await update(ports, upload, published, Cause(durable=True))
    except RecordConflict:
        newest = await ports.records.find(upload_id)
        if newest is not None and not newest.has_ended:
            raise
        await publisher.withdraw(upload, path)
