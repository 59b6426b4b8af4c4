"""``/api/jobs``: the jobs of the workers."""

from __future__ import annotations

from collections.abc import Collection

from tusd_py.contracts.job_queue import JobQueue
from tusd_py.model.audit import AuditKind
from tusd_py.model.jobs import JobState
from tusd_py.model.principal import Verb
from tusd_py.views import job_view
from tusd_py.web.api.call import ApiRoute, Call, available
from tusd_py.web.api.cursors import NUMBER_MAX, format_cursor, parse_cursor
from tusd_py.web.api.problems import ApiError

#: How many jobs one request may retry or drop.
BULK_MAX = 1000


async def list_jobs(call: Call) -> object:
    """Jobs, newest first."""
    query, limit = call.query, call.query.limit()
    before = query.number("before", NUMBER_MAX)
    if "cursor" in query:
        before = min(before, int(parse_cursor(query.text("cursor"), "jobs", int)[0]))
    jobs = await job_queue(call).list_jobs(
        states=query.choices("state", JobState), upload_id=query.text("upload"), before_id=before, limit=limit
    )
    following = format_cursor("jobs", jobs[-1].id) if len(jobs) == limit else None
    return {"jobs": [job_view(job) for job in jobs], "next": following}


async def retry_jobs(call: Call) -> object:
    """Retry the jobs that ``ids`` names, or those in ``state``, at most as many as one request may."""
    queue, now = job_queue(call), call.ports.clock()
    ids = await _named(call, queue, (JobState.DEAD, JobState.WAITING))
    done = [job_id for job_id in ids if await queue.requeue(job_id, now)]
    return {"retried": done, "skipped": sorted(set(ids).difference(done))}


async def drop_jobs(call: Call) -> object:
    """Delete jobs, selected as in ``retry_jobs``."""
    queue = job_queue(call)
    ids = await _named(call, queue, (JobState.DEAD, JobState.WAITING, JobState.DONE))
    done = [job_id for job_id in ids if await queue.delete_job(job_id)]
    return {"dropped": done, "skipped": sorted(set(ids).difference(done))}


async def _named(call: Call, queue: JobQueue, states: Collection[JobState]) -> list[int]:
    body = (await call.json()).only("ids", "state", "upload")
    if ("ids" in body) == ("state" in body):
        raise ApiError(400, "name the jobs by ids, or by state and perhaps upload")
    if "ids" in body and "upload" in body:
        raise ApiError(400, "upload goes with state; ids name the jobs already")
    if "ids" in body:
        return list(dict.fromkeys(body.numbers("ids", items_max=BULK_MAX)))
    state = JobState(body.choice("state", states))
    jobs = await queue.list_jobs(states=[state], upload_id=body.text("upload", ""), limit=BULK_MAX)
    return [job.id for job in jobs]


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
    ApiRoute("GET", "/api/jobs", list_jobs, Verb.OBSERVE, query=("state", "upload", "before", "limit", "cursor")),
    # Before the paths with a number, which they match as well.
    ApiRoute("POST", "/api/jobs/retry", retry_jobs, Verb.OPERATE),
    ApiRoute("POST", "/api/jobs/drop", drop_jobs, Verb.OPERATE),
    ApiRoute("GET", "/api/jobs/{job_id}", show_job, Verb.OBSERVE),
    ApiRoute("DELETE", "/api/jobs/{job_id}", drop_job, Verb.OPERATE),
    ApiRoute("POST", "/api/jobs/{job_id}/retry", retry_job, Verb.OPERATE),
)
