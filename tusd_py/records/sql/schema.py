"""Whether this version can use the schema of a database, checked at every start.

Migrations are loaded only when one is pending.
"""

from __future__ import annotations

from pathlib import Path

from tusd_py.records.sql import new_database
from tusd_py.records.sql.driver import open_driver
from tusd_py.records.sql.sqlite import DatabaseUrl

_VERSIONS = Path(__file__).parent / "migrations" / "versions"


def bring_up_to_date(url: DatabaseUrl) -> list[str]:
    """Apply every migration that the database at ``url`` lacks, and return their names; usually none.

    Blocks. Raises ``RecordsUnavailable``, also for a database that a newer version of the program has written.
    """
    steps = bring_up_to_date_at_once(url)
    if steps is None:
        # Alembic costs 12 MiB of memory and a third of the start-up time, and is needed once per release.
        from tusd_py.records.sql.migrate import migrate

        steps = migrate(url)
    return steps


def bring_up_to_date_at_once(url: DatabaseUrl) -> list[str] | None:
    """As ``bring_up_to_date``, for a database that is new or current; ``None`` if it needs migrations."""
    if is_current(url):
        return []
    return new_database.create(url, newest_revision()) or None


def pending(url: DatabaseUrl) -> list[str]:
    """The migrations that ``bring_up_to_date`` would apply. Changes nothing. Raises ``RecordsUnavailable``."""
    if is_current(url):
        return []
    from tusd_py.records.sql.migrate import pending as pending_migrations

    return pending_migrations(url)


def try_writing(url: DatabaseUrl) -> None:
    """Write to the database, if it has a schema, and change nothing. Raises ``RecordsUnavailable``. Blocks."""
    driver = open_driver(url)
    if driver.read_revision() is None:
        return
    connection = driver.connect()
    try:
        with connection.writing(durable=False):
            # A transaction that only begins is allowed in a database that is read-only for this user.
            connection.execute("DELETE FROM alembic_version WHERE version_num = ''", {})
    except connection.statement_errors as error:
        raise connection.to_fault(error) from error
    finally:
        connection.close()


def is_current(url: DatabaseUrl) -> bool:
    """Whether this version can use the database as it is; False if that cannot be read.

    That is: it has the schema of this version, or that of a newer one which says that this version can use it.
    """
    found = open_driver(url).read_revision()
    return found is not None and found.is_usable_by(newest_revision())


def newest_revision() -> str:
    """The revision of the newest migration: its file is named ``r`` and the revision, then what it does."""
    return max(path.name for path in _VERSIONS.glob("r*.py"))[1:].partition("_")[0]
