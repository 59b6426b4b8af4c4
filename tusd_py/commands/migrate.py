"""``tusd-py migrate``: applies pending migrations, or moves the records to PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tusd_py.commands.console import Config, DataDir, fail, say, settings_of
from tusd_py.commands.output import counted

Source = Annotated[
    str | None, typer.Option("--from", metavar="<url>", help="Move the records of this database (sqlite:///path).")
]
Target = Annotated[
    str | None,
    typer.Option("--to", metavar="<url>", help="Where to move them: an empty database (postgresql://user@host/name)."),
]


def migrate(from_: Source = None, to: Target = None, config: Config = None, data_dir: DataDir = None) -> None:
    """Apply pending migrations; serve does this when it starts.

    With --from and --to, move the records, events and jobs of a stopped server to another database. The bytes of
    uploads stay where they are.
    """
    if from_ or to:
        _move(from_, to)
        return
    from tusd_py.commands.database import exiting_on_problems
    from tusd_py.commands.file_ownership import keeping_owner
    from tusd_py.commands.startup import ensure_data_dir
    from tusd_py.settings import describe_database
    from tusd_py.wiring.databases import migrate_records

    settings = settings_of(config, {"storage.data_dir": data_dir})
    if not settings.has_database:
        fail(['records.url is "memory": there is no database to migrate'])
    with exiting_on_problems(settings):
        if settings.storage.kind != "memory":
            ensure_data_dir(Path(settings.storage.data_dir))
        with keeping_owner(settings):
            steps = migrate_records(settings)
    for step in steps:
        say(f"applied  {step}")
    say(f"{describe_database(settings)} is up to date")


def _move(source: str | None, target: str | None) -> None:
    from tusd_py.commands.startup import reason
    from tusd_py.contracts.records import RecordsError
    from tusd_py.wiring.databases import move_records

    if not source or not target:
        fail(["--from and --to belong together: the database to move, and the one to move it to"])
    try:
        counts = move_records(source, target)
    except OSError as error:
        fail([reason(error)])
    except RecordsError as error:
        fail([str(error)])
    for table, count in counts.items():
        say(f"moved  {counted(count, 'row')} of {table}")
    say("set records.url to the new database, then start the server")
