"""``/api/jobs``: the jobs of the workers."""

from __future__ import annotations

from tusd_py.contracts.job_queue import JobQueue
from tusd_py.model.audit import AuditKind
from tusd_py.model.jobs import JobState
from tusd_py.model.principal import Verb
from tusd_py.views import job_view
from tusd_py.web.api.call import ApiRoute, Call, available
from tusd_py.web.api.cursors import NUMBER_MAX
from tusd_py.web.api.problems import ApiError


async def list_jobs(call: Call) -> object:
    jobs = await job_queue(call).list_jobs(
        states=call.query.choices("state", JobState),
        upload_id=call.query.text("upload"),
        before_id=call.query.number("before", NUMBER_MAX),
        limit=call.query.limit(),
    )
    return {"jobs": [job_view(job) for job in jobs]}


async def show_job(call: Call) -> object:
    job = await job_queue(call).find_job(_job_id(call))
    if job is None:
        raise ApiError(404, "no job has this number")
    return job_view(job)


async def retry_job(call: Call) -> object:
    job_id = _job_id(call)
    audit = call.audit("retry", AuditKind.JOB, str(job_id))
    if not await job_queue(call).requeue(job_id, call.ports.clock(), audit):
        raise ApiError(409, "no dead or waiting job has this number")
    return await show_job(call)


async def drop_job(call: Call) -> object:
    job_id = _job_id(call)
    if not await job_queue(call).delete_job(job_id, call.audit("drop", AuditKind.JOB, str(job_id))):
        raise ApiError(409, "no job with this number can be deleted; a running job cannot")
    return {"dropped": job_id}


def job_queue(call: Call) -> JobQueue:
    """The queue. Raises ``ApiError`` where records are kept in memory."""
    sentence = "records are kept in memory; jobs and events need a database (records.url)"
    return available(call.ports.job_queue, sentence)


def _job_id(call: Call) -> int:
    return call.path_number("job_id", "a job is named by its number")


ROUTES = (
    ApiRoute("GET", "/api/jobs", list_jobs, Verb.OBSERVE, query=("state", "upload", "before", "limit")),
    ApiRoute("GET", "/api/jobs/{job_id}", show_job, Verb.OBSERVE),
    ApiRoute("DELETE", "/api/jobs/{job_id}", drop_job, Verb.OPERATE),
    ApiRoute("POST", "/api/jobs/{job_id}/retry", retry_job, Verb.OPERATE),
)
