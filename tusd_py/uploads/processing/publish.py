"""The step ``publishing``: link or copy a complete upload to a readable path."""

from __future__ import annotations

from tusd_py.contracts.publisher import Publisher, PublishFailed
from tusd_py.contracts.store import BytesMissing
from tusd_py.model.jobs import Job
from tusd_py.model.steps import PUBLISHING
from tusd_py.model.upload import Status, Upload
from tusd_py.uploads.commit import update
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
        upload = await _publish(ports, publisher, upload)
    if publisher is not None:
        await publisher.cleanup(upload)


async def _publish(ports: Ports, publisher: Publisher, upload: Upload) -> Upload:
    try:
        path = await publisher.publish(upload, ports.store)
    except BytesMissing:
        now = ports.clock()
        failed = upload.fail_step(PUBLISHING.name, Status.FAILED, now, "the bytes of this upload are gone")
        return await update(ports, upload, failed.expiring(ports.policy.expiry(failed, now)))
    return await update(ports, upload, upload.complete_step(PUBLISHING.name, ports.clock(), details={"path": path}))
