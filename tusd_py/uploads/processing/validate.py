"""The step ``validation``: a complete upload is examined, and goes on or is rejected."""

from __future__ import annotations

from datetime import timedelta

from tusd_py.contracts.store import BytesMissing
from tusd_py.contracts.validator import ValidationResult, ValidatorUnavailable
from tusd_py.model.events import VALIDATION
from tusd_py.model.jobs import Job
from tusd_py.model.upload import Status, Upload
from tusd_py.uploads.commit import Cause, update
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.step_progress import StepProgress


async def validate(ports: Ports, job: Job) -> None:
    """Examine the upload that ``job`` is about, and end the job with the verdict.

    What waits for nothing any more is left as it is. Raises ``ValidatorUnavailable``, ``StoreError``,
    ``RecordsError``: then there is no verdict, and the job is to be tried again.
    """
    upload = await ports.records.find(job.upload_id)
    if upload is None:
        return
    if upload.status is Status.REJECTED and ports.policy.delete_rejected:
        await ports.store.delete(upload)  # a crash may have come between the verdict and this
        return
    if upload.status is not Status.PROCESSING or upload.pending_steps[:1] != (VALIDATION,):
        return
    if ports.validator is None:
        raise ValidatorUnavailable(
            "validation is switched off here while uploads wait for it: set validation.enabled to true"
        )
    progress = StepProgress(ports, upload, VALIDATION)
    try:
        content = ports.store.read(upload, 0, upload.offset)
        verdict = await ports.validator.validate(upload, content, progress.tell)
    except BytesMissing:
        await _end(
            ports, progress.upload, Status.FAILED, ValidationResult(("the bytes of this upload are gone",), {}), job
        )
        return
    if verdict.is_accepted:
        after = progress.upload.complete_step(VALIDATION, ports.clock(), details=verdict.details)
        await update(ports, progress.upload, after, Cause(completed_job=job))
    else:
        await _end(ports, progress.upload, Status.REJECTED, verdict, job)


async def _end(ports: Ports, upload: Upload, status: Status, verdict: ValidationResult, job: Job) -> None:
    now = ports.clock()
    after = upload.fail_step(VALIDATION, status, now, "; ".join(verdict.reasons), verdict.details)
    if status is Status.REJECTED and ports.policy.delete_rejected:
        # First the record, then the bytes, and only then the end of the job: after a crash in between it is run again.
        gone_at = now + timedelta(seconds=ports.policy.tombstone_seconds)
        after = await update(ports, upload, after.expiring(gone_at))
        await ports.store.delete(after)
        return
    await update(ports, upload, after.expiring(ports.policy.expiry(after, now)), Cause(completed_job=job))
