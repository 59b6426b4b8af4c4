"""``tusd-py migrate``: applies pending migrations."""

from __future__ import annotations

from pathlib import Path

from tusd_py.commands.console import Config, DataDir, fail, say, settings_of


def migrate(config: Config = None, data_dir: DataDir = None) -> None:
    """Apply pending migrations; serve does this when it starts."""
    from tusd_py.commands.startup import StartupError, ensure_data_dir, reason
    from tusd_py.commands.writing import keeping_owner
    from tusd_py.contracts.records import RecordsError
    from tusd_py.settings import describe_database
    from tusd_py.wiring import migrate_records

    settings = settings_of(config, {"storage.data_dir": data_dir})
    if not settings.has_database:
        fail(['records.url is "memory": there is no database to migrate'])
    try:
        if settings.storage.kind == "disk":
            ensure_data_dir(Path(settings.storage.data_dir))
        with keeping_owner(settings):
            steps = migrate_records(settings)
    except StartupError as error:
        fail([str(error)])
    except OSError as error:
        fail([reason(error)])
    except RecordsError as error:
        fail([f"the database {settings.database_path}: {error}"])
    for step in steps:
        say(f"applied  {step}")
    say(f"{describe_database(settings)} is up to date")
