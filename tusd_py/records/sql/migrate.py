"""Applies pending migrations. The migrations themselves are files in ``migrations/versions``."""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.records.sql.driver import open_driver
from tusd_py.records.sql.revision import SchemaRevision
from tusd_py.records.sql.sqlite import DatabaseUrl

# Alembic's environment is global to the process: two databases are migrated one after the other.
_one_at_a_time = threading.Lock()

_SET_OLDEST = text("UPDATE alembic_version SET oldest_revision = :oldest")


def migrate(url: DatabaseUrl) -> list[str]:
    """Apply every migration that the database at ``url`` lacks, and return their names; usually none.

    They are one transaction: after a crash all of them are applied or none, and of several processes that start at
    once one applies them while the others wait. The schema of a newer version that this version can use stays as it is.
    Raises ``RecordsUnavailable``, also for the schema of a newer version that this version cannot use. Blocks: do not
    call it on the event loop.
    """
    config = alembic_config()
    driver = open_driver(url)
    with _one_at_a_time, driver.open_for_migration() as connection:
        driver.prepare_for_migration(connection)
        with connection.begin():
            missing = _missing(connection, config)
            if missing:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.execute(_SET_OLDEST, {"oldest": _oldest_revision(config)})
        return missing


def migrate_to(connection: Connection, revision: str, oldest: str | None) -> None:
    """Create the tables of ``revision`` in a schema that has none, within the transaction of ``connection``.

    ``oldest`` is recorded as the oldest revision that can use them. Raises ``RecordsUnavailable`` for a revision that
    this version does not know.
    """
    config = alembic_config()
    if revision not in {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}:
        raise RecordsUnavailable(
            f"a newer version of tusd-py has written revision {revision}: restore with that version"
        )
    with _one_at_a_time:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    connection.execute(_SET_OLDEST, {"oldest": oldest})


def pending(url: DatabaseUrl) -> list[str]:
    """The migrations that ``migrate`` would apply: all of them if there is no database yet. Changes nothing."""
    config = alembic_config()
    driver = open_driver(url)
    with _one_at_a_time:
        if not driver.exists():
            return _names_after(ScriptDirectory.from_config(config), None)
        with driver.open_for_migration() as connection:
            return _missing(connection, config)


def alembic_config() -> Config:
    """The configuration with which Alembic finds the migrations."""
    config = Config()
    # The percent sign begins an interpolation in Alembic's configuration.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _missing(connection: Connection, config: Config) -> list[str]:
    script = ScriptDirectory.from_config(config)
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is not None and revision not in {step.revision for step in script.walk_revisions()}:
        (found,) = connection.execute(text("SELECT * FROM alembic_version")).all()
        if SchemaRevision(*found).is_usable_by(script.get_current_head() or ""):
            return []
        raise RecordsUnavailable(
            f"the database is at revision {revision}, which this version does not know: "
            "a newer version of tusd-py has written it; run that version or a newer one"
        )
    return _names_after(script, revision)


def _oldest_revision(config: Config) -> str:
    """The newest ``oldest_revision`` of the migrations. Those without one only add what older versions ignore."""
    steps = ScriptDirectory.from_config(config).walk_revisions()
    return max(getattr(step.module, "oldest_revision", "") for step in steps)


def _names_after(script: ScriptDirectory, revision: str | None) -> list[str]:
    steps = script.iterate_revisions("head", revision or "base")
    # The docstring of a migration is also a line of the log, where markup is of no use.
    names = [f"{step.revision} {step.doc.replace('``', '')}" for step in steps]
    return names[::-1]
