"""``tusd-py check --live``: asks the running server whether it is healthy.

Containers run it every few seconds, so it loads the settings and a socket, not the server.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tusd_py.commands.console import Config, DataDir, say, settings_of

Live = Annotated[bool, typer.Option("--live", help="Ask the running server for /healthz; exits with 1 if it fails.")]


def check_live(config: Path | None, flags: dict[str, str | None]) -> NoReturn:
    """Exit with 0 if the server of these settings is healthy, else with 1 and one sentence on standard error.

    ``flags`` are values by name of the setting. Exits with 2 if the settings cannot be used.
    """
    from tusd_py.serving.probe import NotHealthy, probe

    settings = settings_of(config, flags)
    try:
        say(f"healthy  {probe(settings.server)}")
    except NotHealthy as error:
        print(f"tusd-py: {error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


def main() -> None:
    """Read the arguments of ``tusd-py check --live`` without the rest of the command line, and run it."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.command()
    def check(
        live: Live = False,
        config: Config = None,
        data_dir: DataDir = None,
        host: Annotated[str | None, typer.Option("--host", help="The server's address.")] = None,
        port: Annotated[str | None, typer.Option("--port", help="The server's TCP port.")] = None,
    ) -> None:
        """Ask the running server for /healthz."""
        check_live(config, {"server.host": host, "server.port": port, "storage.data_dir": data_dir})

    app(args=sys.argv[2:], prog_name="tusd-py check")
