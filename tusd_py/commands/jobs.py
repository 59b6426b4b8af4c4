"""``tusd-py jobs list | show | retry | drop``: the worker's jobs, among them those that failed for the last time."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from tusd_py.commands.console import AsJson, Config, DataDir, fail, say, settings_of
from tusd_py.commands.database import with_database
from tusd_py.contracts.job_queue import JobQueue
from tusd_py.model.jobs import Job, JobState
from tusd_py.settings import Settings
from tusd_py.views import format_time, job_view
from tusd_py.wiring import open_job_queue, utc_now

T = TypeVar("T")

app = typer.Typer(help="List, show, retry and drop the worker's jobs.", no_args_is_help=True, rich_markup_mode=None)

JobId = Annotated[int, typer.Argument(help="The id of the job, as shown by list.")]
JobIds = Annotated[list[int], typer.Argument(help="Ids of jobs, as shown by list.")]
States = Annotated[list[JobState] | None, typer.Option("--state", help="Only jobs in this state; may be repeated.")]
OfUpload = Annotated[str, typer.Option("--upload", help="Only jobs of the upload with this id.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many of the newest jobs.")]


@app.command("list")
def list_jobs(
    state: States = None,
    upload: OfUpload = "",
    limit: Limit = 50,
    as_json: AsJson = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """List jobs, newest first."""
    settings = settings_of(config, {"storage.data_dir": data_dir})
    jobs = with_job_queue(
        settings, lambda job_queue: job_queue.list_jobs(states=state or (), upload_id=upload, limit=limit)
    )
    for job in jobs:
        say(json.dumps(job_view(job)) if as_json else _line(job))
    if not jobs and not as_json:
        say("no jobs")


@app.command()
def show(job_id: JobId, config: Config = None, data_dir: DataDir = None) -> None:
    """Print one job as JSON."""
    settings = settings_of(config, {"storage.data_dir": data_dir})
    job = with_job_queue(settings, lambda job_queue: job_queue.find_job(job_id))
    if job is None:
        fail([f"job {job_id} does not exist; tusd-py jobs list shows all jobs"])
    say(json.dumps(job_view(job), indent=2))


@app.command()
def retry(job_ids: JobIds, config: Config = None, data_dir: DataDir = None) -> None:
    """Run dead or waiting jobs now, with all their attempts."""
    settings = settings_of(config, {"storage.data_dir": data_dir})
    _each(
        settings,
        job_ids,
        lambda job_queue, job_id: job_queue.requeue(job_id, utc_now()),
        "will be retried",
        "does not exist, or is neither dead nor waiting",
    )


@app.command()
def drop(job_ids: JobIds, config: Config = None, data_dir: DataDir = None) -> None:
    """Delete jobs without running them."""
    settings = settings_of(config, {"storage.data_dir": data_dir})
    _each(
        settings,
        job_ids,
        lambda job_queue, job_id: job_queue.delete_job(job_id),
        "dropped",
        "does not exist, or is running",
    )


def with_job_queue(settings: Settings, use: Callable[[JobQueue], Awaitable[T]]) -> T:
    """Open the job queue, return the result of ``use``, and close the queue. Problems exit with code 2."""
    return with_database(settings, open_job_queue, use, "jobs and events need a database")


def _each(
    settings: Settings, job_ids: list[int], act: Callable[[JobQueue, int], Awaitable[bool]], done: str, problem: str
) -> None:
    async def run(job_queue: JobQueue) -> list[bool]:
        return [await act(job_queue, job_id) for job_id in job_ids]

    results = dict(zip(job_ids, with_job_queue(settings, run), strict=True))
    for job_id, is_done in results.items():
        if is_done:
            say(f"job {job_id} {done}")
    wrong = [job_id for job_id, is_done in results.items() if not is_done]
    if wrong:
        fail([f"job {job_id} {problem}" for job_id in wrong])


def _line(job: Job) -> str:
    name = f"{job.actor} {job.subscription}".strip()
    when = job.ended_at or job.next_attempt_at
    return f"{job.id:>8}  {job.state:<7}  {format_time(when)}  {name}  {job.upload_id}  {job.error}".rstrip()
