"""The step ``validation``: check a complete upload against the rules, and accept or reject it."""

from __future__ import annotations

from datetime import timedelta

from tusd_py.contracts.store import BytesMissing
from tusd_py.contracts.validator import ValidationResult, ValidatorUnavailable
from tusd_py.model.jobs import Job
from tusd_py.model.steps import VALIDATION
from tusd_py.model.upload import Status, Upload
from tusd_py.uploads.commit import Cause, update
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.step_progress import StepProgress


async def validate(ports: Ports, job: Job) -> None:
    """Validate the upload of ``job``, and complete the job in the transaction that saves the result.

    An upload that does not wait for this step is left unchanged. Raises ``ValidatorUnavailable``, ``StoreError`` or
    ``RecordsError``: there is no result, retry the job later.
    """
    upload = await ports.records.find(job.upload_id)
    if upload is None:
        return
    if upload.status is Status.REJECTED and ports.policy.delete_rejected:
        await ports.store.delete(upload)  # a crash may have come between the result and the deletion
        return
    if not VALIDATION.is_next(upload):
        return
    if ports.validator is None:
        raise ValidatorUnavailable(VALIDATION.disabled_reason)
    progress = StepProgress(ports, upload, VALIDATION)
    try:
        content = ports.store.read(upload, 0, upload.offset)
        result = await ports.validator.validate(upload, content, progress.report)
    except BytesMissing:
        gone = ValidationResult(("the bytes of this upload are gone",), {})
        await _fail(ports, progress.upload, Status.FAILED, gone, job)
        return
    if result.is_accepted:
        after = progress.upload.complete_step(VALIDATION.name, ports.clock(), details=result.details)
        await update(ports, progress.upload, after, Cause(completed_job=job))
    else:
        await _fail(ports, progress.upload, Status.REJECTED, result, job)


async def _fail(ports: Ports, upload: Upload, status: Status, result: ValidationResult, job: Job) -> None:
    now = ports.clock()
    after = upload.fail_step(VALIDATION.name, status, now, "; ".join(result.reasons), result.details)
    if status is Status.REJECTED and ports.policy.delete_rejected:
        # First the record, then the bytes, then the end of the job: after a crash in between the job runs again.
        gone_at = now + timedelta(seconds=ports.policy.tombstone_seconds)
        after = await update(ports, upload, after.expiring(gone_at))
        await ports.store.delete(after)
        return
    await update(ports, upload, after.expiring(ports.policy.expiry(after, now)), Cause(completed_job=job))
