"""Options that several commands have, and settings from flags."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tusd_py.commands.output import fail as fail
from tusd_py.commands.output import say as say

if TYPE_CHECKING:
    from datetime import datetime

    from tusd_py.settings import Settings, Sourced

E = TypeVar("E", bound=StrEnum)
_ROWS_MAX = 10_000

#: The environment of this process. Commands pass it on as an argument.
environ = os.environ

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="<file>", help="The configuration file. [TUSD_PY_CONFIG, else ./config.toml if it exists]"
    ),
]
DataDir = Annotated[
    str | None, typer.Option("--data-dir", metavar="<directory>", help="The directory of all data. [./data]")
]
Host = Annotated[str | None, typer.Option("--host", metavar="<address>", help="The address to listen on. [127.0.0.1]")]
Port = Annotated[
    str | None, typer.Option("--port", metavar="<port>", help="The TCP port; 0 chooses a free one. [8080]")
]
LogFormat = Annotated[
    str | None, typer.Option("--log-format", metavar="<text|json|auto>", help="The format of the log. [auto]")
]
LogLevel = Annotated[
    str | None,
    typer.Option("--log-level", metavar="<debug|info|warning|error>", help="The least level of the log. [info]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]


def command_group(help: str) -> typer.Typer:
    """A command with subcommands."""
    return typer.Typer(help=help, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


def settings_of(config: Path | None, flags: dict[str, str | None]) -> Settings:
    """Load the settings; ``flags`` are values by name of the setting, ``None`` for flags that were not used.

    Exits with code 2 and a sentence for each mistake.
    """
    from tusd_py.settings import load_or_exit

    return load_or_exit(environ, config, sourced_flags(flags))


def sourced_flags(flags: dict[str, str | None]) -> dict[str, Sourced]:
    """The flags that were used, with their spelling as the origin."""
    from tusd_py.settings import Sourced
    from tusd_py.settings.loading import flag_of

    return {name: Sourced(text, flag_of(name)) for name, text in flags.items() if text is not None}


def choices(flag: str, texts: Sequence[str], members: Iterable[E]) -> list[E]:
    """Those of ``members`` that have these values. Exits with a sentence for each text that is none."""
    known = {member.value: member for member in members}
    if problems := [f"{flag} is {text!r}; it must be one of {', '.join(known)}" for text in texts if text not in known]:
        fail(problems)
    return [known[text] for text in texts]


def row_limit(text: str, flag: str = "--limit", most: int = _ROWS_MAX) -> int:
    """How many rows to list. Exits with a sentence if ``text`` is not a number from 1 to ``most``."""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        fail([f"{flag} is {text!r}; it must be a whole number from 1 to {most}"])
    return int(text)


def instant(flag: str, text: str) -> datetime | None:
    """A time or a date in ISO 8601, in UTC if it has no zone; ``None`` if ``text`` is empty.

    Exits with a sentence for any other text.
    """
    from datetime import UTC, datetime

    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        fail([f"{flag} is {text!r}; it must be a date or a time such as 2026-01-31T12:00:00Z"])
