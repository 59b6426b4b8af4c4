"""Options that several commands have, settings from flags, and output for the operator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tusd_py.settings import Settings, Sourced, load_or_exit
from tusd_py.settings.loading import exit_with, flag_of

#: The environment of this process. Commands pass it on as an argument.
environ = os.environ

Config = Annotated[
    Path | None,
    typer.Option("--config", help="The configuration file. [TUSD_PY_CONFIG, else ./config.toml if it exists]"),
]
DataDir = Annotated[str | None, typer.Option("--data-dir", help="The directory of all data. [./data]")]
Host = Annotated[str | None, typer.Option("--host", help="The address to listen on. [127.0.0.1]")]
Port = Annotated[str | None, typer.Option("--port", help="The TCP port; 0 chooses a free one. [8080]")]
LogFormat = Annotated[str | None, typer.Option("--log-format", help="text, json or auto. [auto]")]
LogLevel = Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error. [info]")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]


def settings_of(config: Path | None, flags: dict[str, str | None]) -> Settings:
    """Load the settings; ``flags`` are values by name of the setting, ``None`` for flags that were not used.

    Exits with code 2 and a sentence for each mistake.
    """
    return load_or_exit(environ, config, sourced_flags(flags))


def sourced_flags(flags: dict[str, str | None]) -> dict[str, Sourced]:
    """The flags that were used, with their spelling as the origin."""
    return {name: Sourced(text, flag_of(name)) for name, text in flags.items() if text is not None}


def say(line: str) -> None:
    """Print one line on standard output and flush it: scripts wait for some of them."""
    # A path that is not UTF-8 has characters that standard output cannot encode.
    print(line.encode("utf-8", "backslashreplace").decode(), flush=True)


def fail(problems: list[str]) -> NoReturn:
    """Print each problem on standard error and exit with code 2."""
    exit_with(problems)
