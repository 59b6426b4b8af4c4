"""``tusd-py jobs list | show | retry | drop``: the worker's jobs, among them those that failed for the last time."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tusd_py.commands.console import AsJson, Config, DataDir, choices, command_group, fail, row_limit, say, settings_of
from tusd_py.commands.operator_audit import operator_entries
from tusd_py.commands.output import say_empty
from tusd_py.model.jobs import Job, JobState

if TYPE_CHECKING:
    from tusd_py.contracts.job_queue import JobQueue
    from tusd_py.settings import Settings

T = TypeVar("T")

app = command_group("List, show, retry and drop the worker's jobs.")

# Numbers and states are text for the command line's library, so that mistakes in them are answered in our sentences.
JobId = Annotated[str, typer.Argument(metavar="<job id>", help="The id of the job, as shown by list.")]
JobIds = Annotated[list[str], typer.Argument(metavar="<job id>...", help="Ids of jobs, as shown by list.")]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state", metavar=f"<{'|'.join(JobState)}>", help="Only jobs in this state; may be given several times."
    ),
]
OfUpload = Annotated[str, typer.Option("--upload", metavar="<id>", help="Only jobs of the upload with this id.")]
Limit = Annotated[str, typer.Option("--limit", metavar="<number>", help="How many of the newest jobs.")]
#: The largest id that a database can have.
_ID_MAX = 2**63 - 1


@app.command("list")
def list_jobs(
    state: States = None,
    upload: OfUpload = "",
    limit: Limit = "50",
    as_json: AsJson = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """List jobs, newest first."""
    from tusd_py.views import job_view

    states, count = choices("--state", state or [], JobState), row_limit(limit)
    settings = settings_of(config, {"storage.data_dir": data_dir})
    jobs = with_job_queue(settings, lambda job_queue: job_queue.list_jobs(states=states, upload_id=upload, limit=count))
    for job in jobs:
        say(json.dumps(job_view(job)) if as_json else _line(job))
    if not jobs and not as_json:
        say_empty("no jobs")


@app.command()
def show(job_id: JobId, config: Config = None, data_dir: DataDir = None) -> None:
    """Print one job as JSON."""
    from tusd_py.views import job_view

    number = _ids([job_id])[0]
    settings = settings_of(config, {"storage.data_dir": data_dir})
    job = with_job_queue(settings, lambda job_queue: job_queue.find_job(number))
    if job is None:
        fail([_unknown(number)])
    say(json.dumps(job_view(job), indent=2))


@app.command()
def retry(job_ids: JobIds, config: Config = None, data_dir: DataDir = None) -> None:
    """Run dead or waiting jobs now, with all their attempts."""
    from tusd_py.model.audit import AuditKind
    from tusd_py.wiring.clock import utc_now

    settings = settings_of(config, {"storage.data_dir": data_dir})

    def requeue(queue: JobQueue, job_id: int) -> Awaitable[bool]:
        return queue.requeue(job_id, utc_now(), operator_entries(settings, "retry", AuditKind.JOB, str(job_id)))

    _each(settings, _ids(job_ids), requeue, "will be retried")


@app.command()
def drop(job_ids: JobIds, config: Config = None, data_dir: DataDir = None) -> None:
    """Delete jobs without running them."""
    from tusd_py.model.audit import AuditKind

    settings = settings_of(config, {"storage.data_dir": data_dir})

    def delete(queue: JobQueue, job_id: int) -> Awaitable[bool]:
        return queue.delete_job(job_id, operator_entries(settings, "drop", AuditKind.JOB, str(job_id)))

    _each(settings, _ids(job_ids), delete, "dropped")


def with_job_queue(settings: Settings, use: Callable[[JobQueue], Awaitable[T]]) -> T:
    """Open the job queue, return the result of ``use``, and close the queue. Problems exit with code 2."""
    from tusd_py.commands.database import with_database
    from tusd_py.wiring.databases import open_job_queue

    return with_database(settings, open_job_queue, use, "jobs and events need a database")


def _each(settings: Settings, job_ids: list[int], act: Callable[[JobQueue, int], Awaitable[bool]], done: str) -> None:
    """Act on each job, and say what was done or why not."""

    async def run(job_queue: JobQueue) -> list[Job | bool | None]:
        """``True`` for each job that was acted on; else the job as it is, ``None`` if there is none."""
        return [await act(job_queue, job_id) or await job_queue.find_job(job_id) for job_id in job_ids]

    problems = []
    for job_id, result in zip(job_ids, with_job_queue(settings, run), strict=True):
        if result is True:
            say(f"job {job_id} {done}")
        elif isinstance(result, Job):
            problems.append(f"job {job_id} is {result.state}: it was left as it is")
        else:
            problems.append(_unknown(job_id))
    if problems:
        fail(problems)


def _ids(texts: list[str]) -> list[int]:
    """The ids as numbers. Exits with a sentence for each text that is none."""
    if problems := [
        f"job {text!r} does not exist: the id of a job is a whole number" for text in texts if not _is_id(text)
    ]:
        fail(problems)
    return [int(text) for text in texts]


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _ID_MAX


def _unknown(job_id: int) -> str:
    return f"job {job_id} does not exist; tusd-py jobs list shows the newest jobs"


def _line(job: Job) -> str:
    from tusd_py.views import format_time

    name = f"{job.actor} {job.subscription}".strip()
    when = job.ended_at or job.next_attempt_at
    return f"{job.id:>8}  {job.state:<7}  {format_time(when)}  {name}  {job.upload_id}  {job.error}".rstrip()
