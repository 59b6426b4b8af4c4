"""``tusd-py endpoints list | open``: the webhook endpoints that are closed because they answered 410 Gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from tusd_py.commands.console import AsJson, Config, DataDir, fail, say, settings_of
from tusd_py.commands.startup import StartupError, prepare, reason
from tusd_py.contracts.endpoint_states import EndpointStates
from tusd_py.contracts.records import RecordsError
from tusd_py.settings import Settings
from tusd_py.views import endpoint_view, format_time
from tusd_py.wiring import open_endpoint_states

T = TypeVar("T")

app = typer.Typer(help="List and open closed webhook endpoints.", no_args_is_help=True, rich_markup_mode=None)

Names = Annotated[list[str], typer.Argument(help="Names of endpoints, as list shows them.")]


@app.command("list")
def list_endpoints(as_json: AsJson = False, config: Config = None, data_dir: DataDir = None) -> None:
    """List closed endpoints, by name."""
    closed = _call(settings_of(config, {"storage.data_dir": data_dir}), lambda states: states.list_closed())
    for endpoint in closed:
        line = f"closed  {format_time(endpoint.since)}  {endpoint.name}  {endpoint.reason}"
        say(json.dumps(endpoint_view(endpoint)) if as_json else line)
    if not closed and not as_json:
        say("no closed endpoints")


@app.command("open")
def open_endpoints(names: Names, config: Config = None, data_dir: DataDir = None) -> None:
    """Deliver events to closed endpoints again, from the next event on; tusd-py jobs retry delivers missed ones."""

    async def run(states: EndpointStates) -> list[bool]:
        return [await states.open_endpoint(name) for name in names]

    opened = dict(zip(names, _call(settings_of(config, {"storage.data_dir": data_dir}), run), strict=True))
    for name, is_opened in opened.items():
        if is_opened:
            say(f"{name} is open")
    not_closed = [name for name, is_opened in opened.items() if not is_opened]
    if not_closed:
        fail([f"{name} is not closed; tusd-py endpoints list shows those that are" for name in not_closed])


def _call(settings: Settings, use: Callable[[EndpointStates], Awaitable[T]]) -> T:
    if settings.database_path is None:
        fail(['records.url is "memory": there are no webhooks without a database'])

    async def run() -> T:
        async with open_endpoint_states(settings) as states:
            return await use(states)

    try:
        prepare(settings)
        return asyncio.run(run())
    except StartupError as error:
        fail([str(error)])
    except (OSError, RecordsError) as error:
        fail([reason(error)])
