"""The command line: ``tusd-py serve | worker | check | config | migrate | sweep | jobs | events | endpoints``.

Exit codes: 0 done or stopped, 1 stopped by force, 2 for problems that the operator must fix; each of these is printed
as one sentence on standard error.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from tusd_py.commands import endpoints, events, jobs
from tusd_py.commands.check import check
from tusd_py.commands.config import print_config
from tusd_py.commands.migrate import migrate
from tusd_py.commands.serve import serve
from tusd_py.commands.sweep import sweep
from tusd_py.commands.worker import worker

app = typer.Typer(
    name="tusd-py",
    help="A resumable-upload server: tus 1.0 with every extension. Settings: flags, TUSD_PY_SECTION__KEY, config.toml.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

for command in (serve, worker, check, migrate, sweep):
    app.command()(command)
app.add_typer(jobs.app, name="jobs")
app.add_typer(events.app, name="events")
app.add_typer(endpoints.app, name="endpoints")
app.command("config")(print_config)


def main() -> None:
    """The entry point of the program."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(0)


@app.callback(invoke_without_command=True)
def _program(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if show_version:
        typer.echo(f"tusd-py {version('tusd-py')}")
        raise typer.Exit
