"""The step ``publishing``: a finished upload appears under a name for people."""

from __future__ import annotations

from tusd_py.contracts.publisher import PublishFailed
from tusd_py.contracts.store import BytesMissing
from tusd_py.model.jobs import Job
from tusd_py.model.upload import Status, Upload
from tusd_py.uploads.commit import update
from tusd_py.uploads.ports import Ports

#: The name of the step (``Upload.pending_steps``).
PUBLISHING = "publishing"


async def publish(ports: Ports, job: Job) -> None:
    """Publish the upload that ``job`` is about, and record its path.

    The job is ended by who gives it out: after a crash it is done once more, and finds what was done. Raises
    ``PublishFailed``, ``StoreError`` or ``RecordsError``: then it is to be tried again.
    """
    upload = await ports.records.find(job.upload_id)
    if upload is None:
        return
    if ports.publisher is None:
        if upload.pending_steps[:1] == (PUBLISHING,):
            raise PublishFailed("publishing is switched off here while uploads wait for it: set publishing.directory")
        return
    if upload.status is Status.PROCESSING and upload.pending_steps[:1] == (PUBLISHING,):
        upload = await _published(ports, upload, job)
    await ports.publisher.cleanup(upload)


async def _published(ports: Ports, upload: Upload, job: Job) -> Upload:
    assert ports.publisher is not None
    try:
        path = await ports.publisher.publish(upload, ports.store)
    except BytesMissing:
        now = ports.clock()
        failed = upload.fail_step(PUBLISHING, Status.FAILED, now, "the bytes of this upload are gone")
        return await update(ports, upload, failed.expiring(ports.policy.expiry(failed, now)))
    return await update(ports, upload, upload.complete_step(PUBLISHING, ports.clock(), details={"path": path}))
