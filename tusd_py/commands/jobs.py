"""``tusd-py jobs list | show | retry | drop``: what has to be done for uploads, and what nobody could do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from tusd_py.commands.console import Config, DataDir, fail, say, settings_of
from tusd_py.commands.serve import StartupError, prepare, reason
from tusd_py.contracts.job_queue import JobQueue
from tusd_py.contracts.records import RecordsError
from tusd_py.model.jobs import Job, JobState
from tusd_py.settings import Settings
from tusd_py.views import format_time, job_view
from tusd_py.wiring import open_outbox, utc_now

T = TypeVar("T")

app = typer.Typer(
    help="What has to be done for uploads: list it, try it again, drop it.", no_args_is_help=True, rich_markup_mode=None
)

Number = Annotated[int, typer.Argument(help="The number of the job, as list shows it.")]
Numbers = Annotated[list[int], typer.Argument(help="Numbers of jobs, as list shows them.")]
States = Annotated[list[JobState] | None, typer.Option("--state", help="Only jobs in this state; may be repeated.")]
OfUpload = Annotated[str, typer.Option("--upload", help="Only jobs of the upload with this id.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many, the newest.")]
AsJson = Annotated[bool, typer.Option("--json", help="A JSON object a line, for programs.")]


@app.command("list")
def list_jobs(
    state: States = None,
    upload: OfUpload = "",
    limit: Limit = 50,
    as_json: AsJson = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Jobs, newest first."""
    settings = settings_of(config, {"storage.data_dir": data_dir})
    jobs = ask(settings, lambda job_queue: job_queue.list_jobs(states=state or (), upload_id=upload, limit=limit))
    for job in jobs:
        say(json.dumps(job_view(job)) if as_json else _line(job))
    if not jobs and not as_json:
        say("no jobs")


@app.command()
def show(job_id: Number, config: Config = None, data_dir: DataDir = None) -> None:
    """All that is known of one job, as JSON."""
    settings = settings_of(config, {"storage.data_dir": data_dir})
    job = ask(settings, lambda job_queue: job_queue.find_job(job_id))
    if job is None:
        fail([f"there is no job {job_id}; tusd-py jobs list shows those there are"])
    say(json.dumps(job_view(job), indent=2))


@app.command()
def retry(job_ids: Numbers, config: Config = None, data_dir: DataDir = None) -> None:
    """Have dead or waiting jobs tried now, as if for the first time."""
    settings = settings_of(config, {"storage.data_dir": data_dir})
    _each(
        settings,
        job_ids,
        lambda job_queue, job_id: job_queue.requeue(job_id, utc_now()),
        "is tried again",
        "dead or waiting",
    )


@app.command()
def drop(job_ids: Numbers, config: Config = None, data_dir: DataDir = None) -> None:
    """Forget jobs; what they would have done is not done."""
    settings = settings_of(config, {"storage.data_dir": data_dir})
    _each(settings, job_ids, lambda job_queue, job_id: job_queue.delete_job(job_id), "is dropped", "there and at rest")


def ask(settings: Settings, question: Callable[[JobQueue], Awaitable[T]]) -> T:
    """What the outbox of these settings answers; whatever is wrong ends the program with a sentence."""
    if settings.database_path is None:
        fail(['records.url is "memory": jobs and events are kept in a database only'])

    async def run() -> T:
        async with open_outbox(settings) as job_queue:
            return await question(job_queue)

    try:
        prepare(settings)
        return asyncio.run(run())
    except StartupError as error:
        fail([str(error)])
    except (OSError, RecordsError) as error:
        fail([reason(error)])


def _each(
    settings: Settings, job_ids: list[int], act: Callable[[JobQueue, int], Awaitable[bool]], done: str, must_be: str
) -> None:
    async def run(job_queue: JobQueue) -> list[bool]:
        return [await act(job_queue, job_id) for job_id in job_ids]

    answers = dict(zip(job_ids, ask(settings, run), strict=True))
    for job_id, is_done in answers.items():
        if is_done:
            say(f"job {job_id} {done}")
    wrong = [job_id for job_id, is_done in answers.items() if not is_done]
    if wrong:
        fail([f"job {job_id} is not {must_be}" for job_id in wrong])


def _line(job: Job) -> str:
    who = f"{job.actor} {job.subscription}".strip()
    when = job.ended_at or job.next_attempt_at
    return f"{job.id:>8}  {job.state:<7}  {format_time(when)}  {who}  {job.upload_id}  {job.error}".rstrip()
