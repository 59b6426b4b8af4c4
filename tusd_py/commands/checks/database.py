"""Checks of the database of the records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tusd_py.commands.checks.result import Check, warning
from tusd_py.contracts.records import RecordsError
from tusd_py.settings import Settings, describe_database
from tusd_py.wiring.databases import pending_migrations, records_damage, try_records


def check_database(settings: Settings) -> Iterator[Check]:
    """Whether the database can be opened and written to, and is up to date and whole."""
    if not settings.has_database:
        yield warning("records are stored in memory and lost when the server stops")
        return
    database = describe_database(settings)
    try:
        steps = pending_migrations(settings)
        try_records(settings)
        path = settings.database_path
        damage = records_damage(Path(path)) if path is not None and Path(path).exists() else ""
    except (OSError, RecordsError) as error:
        yield Check(False, f"the database {database}: {error}")
        return
    if damage:
        yield Check(False, f"the database {database} is damaged ({damage}): restore it from a backup")
    elif steps:
        yield Check(True, f"the database {database} will be migrated when the server starts")
    else:
        yield Check(True, f"the database {database} is up to date")
