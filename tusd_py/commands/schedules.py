"""``tusd-py schedules``: lists recurring work; ``tusd-py schedules run NAME`` makes it due now."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tusd_py.commands.console import AsJson, Config, DataDir, fail, say, settings_of
from tusd_py.commands.operator_audit import operator_entries
from tusd_py.commands.output import say_empty

if TYPE_CHECKING:
    from tusd_py.contracts.schedule_states import ScheduleStates
    from tusd_py.model.schedules import ScheduleState
    from tusd_py.settings import Settings

T = TypeVar("T")

app = typer.Typer(help="List recurring work, and run it now.", add_completion=False, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="<name>", help="The name of a schedule, as listed.")]


@app.callback(invoke_without_command=True)
def list_schedules(
    context: typer.Context, as_json: AsJson = False, config: Config = None, data_dir: DataDir = None
) -> None:
    """List the schedules that are on: their timing, last run, outcome and next run."""
    if context.invoked_subcommand is not None:
        return
    from tusd_py.schedules import enabled_schedules
    from tusd_py.views import schedule_view

    settings = settings_of(config, {"storage.data_dir": data_dir})
    on = {schedule.name for schedule in enabled_schedules(settings)}
    states = _call(settings, lambda states: states.list_states())
    shown = [state for state in states if state.name in on]
    for state in shown:
        say(json.dumps(schedule_view(state)) if as_json else _line(state))
    if waiting := sorted(on - {state.name for state in shown}):
        if not as_json:
            say_empty(f"not planned yet: {', '.join(waiting)}; the server plans them when it starts")
    elif not shown and not as_json:
        say_empty("no schedules are on")


@app.command()
def run(name: Name, config: Config = None, data_dir: DataDir = None) -> None:
    """Make a schedule due now: the running server begins it within some seconds."""
    from tusd_py.model.audit import AuditKind
    from tusd_py.schedules import enabled_schedules
    from tusd_py.wiring.clock import utc_now

    settings = settings_of(config, {"storage.data_dir": data_dir})
    on = [schedule.name for schedule in enabled_schedules(settings)]
    if name not in on:
        known = f"those that are on: {', '.join(on)}" if on else "none is on"
        fail([f"there is no schedule {name!r}; {known}"])
    audit = operator_entries(settings, "run", AuditKind.SCHEDULE, name)
    if not _call(settings, lambda states: states.make_due(name, utc_now(), audit)):
        fail([f"{name} is not planned yet: start the server, which plans it"])
    say(f"{name} is due now; tusd-py schedules shows its outcome")


def _line(state: ScheduleState) -> str:
    from tusd_py.logs import printable
    from tusd_py.views import format_time

    last = format_time(state.started_at) or "never"
    line = f"{state.name:<17} {state.timing:<30} last {last}  {state.outcome:<7} next {format_time(state.due_at)}"
    return printable(f"{line}  {state.detail}".rstrip())


def _call(settings: Settings, use: Callable[[ScheduleStates], Awaitable[T]]) -> T:
    from tusd_py.commands.database import with_database
    from tusd_py.wiring.databases import open_schedule_states

    return with_database(settings, open_schedule_states, use, "schedules need a database")
