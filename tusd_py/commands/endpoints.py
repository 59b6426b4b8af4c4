"""``tusd-py endpoints list | open``: the webhook endpoints that are closed because they answered 410 Gone."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tusd_py.commands.console import AsJson, Config, DataDir, command_group, fail, say, settings_of
from tusd_py.commands.operator_audit import operator_entries
from tusd_py.commands.output import say_empty

if TYPE_CHECKING:
    from tusd_py.contracts.endpoint_states import EndpointStates
    from tusd_py.contracts.job_queue import JobQueue
    from tusd_py.model.jobs import ClosedEndpoint
    from tusd_py.settings import Settings

T = TypeVar("T")

app = command_group("List and open closed webhook endpoints.")

_PAGE = 500

Names = Annotated[list[str], typer.Argument(metavar="<name>...", help="Names of endpoints, as list shows them.")]

WithRetry = Annotated[bool, typer.Option("--retry", help="Retry the jobs that died while they were closed.")]


@app.command("list")
def list_endpoints(as_json: AsJson = False, config: Config = None, data_dir: DataDir = None) -> None:
    """List closed endpoints, by name."""
    from tusd_py.views import endpoint_view, format_time

    closed = _call(settings_of(config, {"storage.data_dir": data_dir}), lambda states: states.list_closed())
    for endpoint in closed:
        line = f"closed  {format_time(endpoint.since)}  {endpoint.name}  {endpoint.reason}"
        say(json.dumps(endpoint_view(endpoint)) if as_json else line)
    if not closed and not as_json:
        say_empty("no closed endpoints")


@app.command("open")
def open_endpoints(names: Names, retry: WithRetry = False, config: Config = None, data_dir: DataDir = None) -> None:
    """Deliver events to closed endpoints again, from the next event on; with --retry also the missed ones."""
    settings = settings_of(config, {"storage.data_dir": data_dir})

    async def run(states: EndpointStates) -> list[int | None]:
        return [await _open(settings, states, name, retry=retry) for name in names]

    opened = dict(zip(names, _call(settings, run), strict=True))
    for name, retried in opened.items():
        if retried is not None:
            say(f"{name} is open; jobs to be retried: {retried}" if retry else f"{name} is open")
    not_closed = [name for name, retried in opened.items() if retried is None]
    if not_closed:
        fail([_why_not_opened(settings, name) for name in not_closed])


def _why_not_opened(settings: Settings, name: str) -> str:
    from tusd_py.wiring.hooks import webhook_endpoints

    names = [endpoint.name for endpoint in webhook_endpoints(settings)]
    if name in names:
        return f"{name} is not closed: events are delivered to it"
    known = f"those of the settings are {', '.join(names)}" if names else "the settings have none"
    return f"{name} is not closed, and no webhook endpoint of the settings has this name; {known}"


async def _open(settings: Settings, states: EndpointStates, name: str, *, retry: bool) -> int | None:
    """Open an endpoint and return how many jobs are retried, ``None`` if it is not closed."""
    from tusd_py.model.audit import AuditKind

    closed = await states.find_closed(name)
    audit = operator_entries(settings, "open", AuditKind.ENDPOINT, name)
    if closed is None or not await states.open_endpoint(name, audit):
        return None
    if not retry:
        return 0
    from tusd_py.wiring.databases import open_job_queue

    async with open_job_queue(settings) as job_queue:
        return await _requeue_missed(job_queue, closed)


async def _requeue_missed(job_queue: JobQueue, closed: ClosedEndpoint) -> int:
    """Requeue the jobs that died since the endpoint was closed."""
    from tusd_py.model.jobs import JobState
    from tusd_py.wiring.clock import utc_now

    count, before_id = 0, None
    while jobs := await job_queue.list_jobs(states=(JobState.DEAD,), before_id=before_id, limit=_PAGE):
        for job in jobs:
            if job.subscription == closed.name and job.ended_at is not None and job.ended_at >= closed.since:
                count += await job_queue.requeue(job.id, utc_now())
        before_id = jobs[-1].id
    return count


def _call(settings: Settings, use: Callable[[EndpointStates], Awaitable[T]]) -> T:
    from tusd_py.commands.database import with_database
    from tusd_py.wiring.databases import open_endpoint_states

    return with_database(settings, open_endpoint_states, use, "there are no webhooks without a database")
