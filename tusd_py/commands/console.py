"""What all commands share: settings from flags, the environment and the file, and how the operator is spoken to."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tusd_py.settings import Given, Settings, SettingsError, find_config, load

Config = Annotated[
    Path | None,
    typer.Option("--config", help="The configuration file; else TUSD_PY_CONFIG, else ./config.toml if it is there."),
]
DataDir = Annotated[str | None, typer.Option("--data-dir", help="The directory of all data. [./data]")]


def settings_of(config: Path | None, given: dict[str, str | None]) -> Settings:
    try:
        return load(find_config(config, os.environ, Path()), os.environ, flags_of(given))
    except SettingsError as error:
        fail(error.problems)


def flags_of(given: dict[str, str | None]) -> dict[str, Given]:
    """The flags that were used, as settings; a flag is spelled like its setting."""
    return {name: Given(text, "--" + _flag(name)) for name, text in given.items() if text is not None}


def _flag(name: str) -> str:
    section, _, key = name.partition(".")
    return ("log-" + key if section == "log" else key).replace("_", "-")


def say(line: str) -> None:
    """One line for people and scripts on standard output, at once."""
    print(line, flush=True)


def fail(problems: list[str]) -> NoReturn:
    for problem in problems:
        print(f"tusd-py: {problem}", file=sys.stderr)
    sys.exit(2)
