"""The step ``quota``: settle what a complete upload was charged."""

from __future__ import annotations

from tusd_py.model.jobs import Job
from tusd_py.model.steps import QUOTA
from tusd_py.uploads.commit import Cause, update
from tusd_py.uploads.ports import Ports


class QuotasDisabled(Exception):
    """The settings of this worker have no quotas, unlike those of the server."""


async def settle(ports: Ports, job: Job) -> None:
    """Turn the reservation of the upload of ``job`` into use, once, in the transaction that completes the job.

    An upload that does not wait for this step is left unchanged. Raises ``QuotasDisabled`` or ``RecordsError``: retry
    the job later.
    """
    upload = await ports.records.find(job.upload_id)
    if upload is not None and QUOTA.is_next(upload):
        if ports.quotas is None:
            raise QuotasDisabled(QUOTA.disabled_reason)
        await update(ports, upload, upload.complete_step(QUOTA.name, ports.clock()), Cause(completed_job=job))
