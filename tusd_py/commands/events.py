"""``tusd-py events tail``: what has happened, and with ``--follow`` what happens."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from tusd_py.commands.console import Config, DataDir, say, settings_of
from tusd_py.commands.jobs import ask
from tusd_py.contracts.job_queue import JobQueue
from tusd_py.model.events import Event
from tusd_py.views import event_view, format_time

app = typer.Typer(help="What has happened to uploads.", no_args_is_help=True, rich_markup_mode=None)

_LOOK_SECONDS = 0.5
_PAGE = 500

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until interrupted.")]
Lines = Annotated[int, typer.Option("--lines", "-n", min=1, max=10_000, help="So many of the newest.")]
OfUpload = Annotated[str, typer.Option("--upload", help="Only events of the upload with this id.")]
AsJson = Annotated[bool, typer.Option("--json", help="A JSON object a line, for programs.")]


@app.callback()
def _group() -> None:
    """So that ``tail`` keeps its name: a single command would lose it."""


@app.command()
def tail(
    follow: Follow = False,
    lines: Lines = 20,
    upload: OfUpload = "",
    as_json: AsJson = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """The newest events, oldest first. All are there with events.record, else those that somebody is told of."""
    settings = settings_of(config, {"storage.data_dir": data_dir})

    async def run(job_queue: JobQueue) -> None:
        found = await job_queue.list_events(upload_id=upload, newest=True, limit=lines)
        after = 0
        while True:
            for place, event in found:
                after = max(after, place)
                say(json.dumps(event_view(event)) if as_json else _line(event))
            if not follow:
                return
            if len(found) < _PAGE:
                await asyncio.sleep(_LOOK_SECONDS)
            found = await job_queue.list_events(after=after, upload_id=upload, limit=_PAGE)

    try:
        ask(settings, run)
    except KeyboardInterrupt:
        # To interrupt is how following ends; what is only listed was cut short.
        if not follow:
            raise


def _line(event: Event) -> str:
    upload = event.upload
    length = "?" if upload.length is None else upload.length
    return f"{format_time(event.at)}  {event.type:<16}  {upload.id}  {upload.offset}/{length}  {upload.status}"
