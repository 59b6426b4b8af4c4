"""``tusd-py config``: prints the documented configuration."""

from __future__ import annotations

from typing import Annotated

import typer

from tusd_py.commands.console import fail, say

Default = Annotated[bool, typer.Option("--default", help="Print every setting with its default and a comment.")]


def config(default: Default = False) -> None:
    """Print the documented configuration.

    tusd-py config --default > config.toml
    """
    from tusd_py.settings.reference import default_configuration

    if not default:
        fail(["tusd-py config needs --default; tusd-py check shows the settings that differ from it"])
    say(default_configuration().rstrip("\n"))
