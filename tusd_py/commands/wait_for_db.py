"""``tusd-py wait-for-db``: waits until the database accepts connections and has the newest schema."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from tusd_py.commands.console import Config, DataDir, fail, say, settings_of

_POLL_SECONDS = 0.5
_SECONDS_MAX = 86_400.0

Timeout = Annotated[str, typer.Option("--timeout", metavar="<seconds>", help="How long to wait at most.")]


def wait_for_db(timeout: Timeout = "60", config: Config = None, data_dir: DataDir = None) -> None:
    """Wait until the database accepts connections and is migrated.

    Exits with 0 when it is, and with 1 if it is not within the time; the last reason is on standard error. It applies
    no migration: a server that starts does, and tusd-py migrate.
    """
    from tusd_py.settings import describe_database, without_credentials
    from tusd_py.wiring.databases import database_problem

    settings = settings_of(config, {"storage.data_dir": data_dir})
    seconds = _seconds(timeout)
    if not settings.has_database:
        say("records are in memory: there is no database to wait for")
        return
    deadline = time.monotonic() + seconds
    while problem := database_problem(settings):
        left = deadline - time.monotonic()
        if left <= 0:
            reason = without_credentials(problem)
            typer.echo(f"the database {describe_database(settings)} is not ready after {timeout} s: {reason}", err=True)
            raise typer.Exit(1)
        time.sleep(min(_POLL_SECONDS, left))
    say(f"{describe_database(settings)} is ready")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _SECONDS_MAX:
        fail([f"--timeout is {text!r}; it must be a number of seconds, at most {_SECONDS_MAX:.0f}"])
    return seconds
