"""The command line, ``tusd-py COMMAND``. A command is imported when it is used: the help of all of them needs none.

Exit codes: 0 done or stopped, 1 stopped by force, 2 for problems that the operator must fix; each of these is printed
as one sentence on standard error.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

#: The commands in the order of the help, each with its summary. The module of a command has its name in ``commands``,
#: with underscores, and contains a function of that name, or ``app`` if the command has subcommands.
COMMANDS = {
    "serve": "Run the server until SIGTERM or SIGINT.",
    "reload": "Start running servers anew without refusing a connection.",
    "worker": "Run a background worker (webhooks, validation, publishing).",
    "check": "Check the configuration and what it needs.",
    "config": "Print the documented configuration.",
    "migrate": "Apply pending migrations; serve does this when it starts.",
    "wait-for-db": "Wait until the database accepts connections and is migrated.",
    "sweep": "Remove expired uploads once; the server does this periodically.",
    "fsck": "Compare the records with the stored bytes.",
    "adopt-store": "Declare that the configured store has the bytes of the recorded uploads.",
    "s3": "Look after the bucket of uploads.",
    "backup": "Back up the records, and the bytes if asked for.",
    "restore": "Put a backup into the data directory.",
    "import": "Take over the uploads of another server.",
    "uploads": "List, show, delete and expire uploads.",
    "jobs": "List, show, retry and drop the worker's jobs.",
    "events": "Print the events of uploads.",
    "quota": "Show, set and reconcile quotas.",
    "audit": "List and verify the audit log.",
    "user": "Add, list and change accounts.",
    "key": "Make, list and revoke API keys.",
    "schedules": "List recurring work, and run it now.",
    "endpoints": "List and open closed webhook endpoints.",
}

#: The modules of commands whose name is a word of Python.
_MODULES = {"import": "imports"}


class _Program(TyperGroup):
    """The group of all commands."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        # Names that are not built yet; Typer suggests them for a misspelled one.
        self.commands: dict[str, Any] = dict.fromkeys(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and build the command when it is first asked for; ``None`` if there is none of this name."""
        if cmd_name in COMMANDS and self.commands[cmd_name] is None:
            self.commands[cmd_name] = _build(cmd_name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands with their summaries, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _build(name: str) -> Any:
    module_name = _MODULES.get(name, name.replace("-", "_"))
    module = import_module(f"tusd_py.commands.{module_name}")
    group: typer.Typer | None = getattr(module, "app", None)
    if group is None:
        group = typer.Typer(add_completion=False, rich_markup_mode=None)
        group.command(name)(getattr(module, module_name))
    return typer.main.get_command(group)


app = typer.Typer(
    name="tusd-py",
    help="A resumable-upload server: tus 1.0 with every extension. Settings: flags, TUSD_PY_SECTION__KEY, config.toml.",
    cls=_Program,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    # Subcommands inherit it.
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
        # The import is slow.
        from importlib.metadata import version

        typer.echo(f"tusd-py {version('tusd-py')}")
        raise typer.Exit
