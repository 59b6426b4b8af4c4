"""``tusd-py events tail``: prints recorded events, and with ``--follow`` waits for new ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from tusd_py.commands.console import AsJson, Config, DataDir, command_group, row_limit, say, settings_of
from tusd_py.commands.jobs import with_job_queue
from tusd_py.commands.output import counted, say_empty

if TYPE_CHECKING:
    from tusd_py.contracts.job_queue import JobQueue
    from tusd_py.model.events import Event

app = command_group("Print the events of uploads.")

_POLL_SECONDS = 0.5
_PAGE = 500

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Wait for new events until interrupted.")]
Lines = Annotated[str, typer.Option("--lines", "-n", metavar="<number>", help="How many of the newest events.")]
OfUpload = Annotated[str, typer.Option("--upload", metavar="<id>", help="Only events of the upload with this id.")]


@app.callback()
def _group() -> None:
    """Keeps ``tail`` a subcommand: Typer would turn a single command into the program itself."""


@app.command()
def tail(
    follow: Follow = False,
    lines: Lines = "20",
    upload: OfUpload = "",
    as_json: AsJson = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Print the newest events, oldest first. Without events.record, only events with a subscriber are recorded."""
    import asyncio

    from tusd_py.views import event_view

    count = row_limit(lines, "--lines")
    settings = settings_of(config, {"storage.data_dir": data_dir})

    async def run(job_queue: JobQueue) -> None:
        found = await job_queue.list_events(upload_id=upload, newest=True, limit=count)
        if not found and not as_json:
            is_off = not settings.events.record and not settings.webhooks.endpoints
            say_empty("no events; events.record records those without a subscriber" if is_off else "no events")
        last = 0
        while True:
            for position, event in found:
                last = max(last, position)
                say(json.dumps(event_view(event)) if as_json else _line(event))
            if not follow:
                return
            if len(found) < _PAGE:
                await asyncio.sleep(_POLL_SECONDS)
            found = await job_queue.list_events(after=last, upload_id=upload, limit=_PAGE)

    try:
        with_job_queue(settings, run)
    except KeyboardInterrupt:
        # Ctrl-C is the way to end --follow; without it the listing is incomplete.
        if not follow:
            raise


def _line(event: Event) -> str:
    from tusd_py.views import format_time

    upload = event.upload
    if upload is None:
        code = event.code
        assert code is not None, "an event is about an upload or a code"
        return f"{format_time(event.at)}  {event.type:<16}  {code.grant}  {counted(code.files, 'file')}"
    length = "?" if upload.length is None else upload.length
    return f"{format_time(event.at)}  {event.type:<16}  {upload.id}  {upload.offset}/{length}  {upload.status}"
