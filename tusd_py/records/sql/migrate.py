"""Brings the schema of a database up to date. The steps themselves are files in ``migrations/versions``."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.records.sql.sqlite import BUSY_SECONDS, is_busy, open_engine, unavailable

# Alembic's environment is a global of the process: two databases are migrated one after the other.
_one_at_a_time = threading.Lock()


def migrate(url: str) -> list[str]:
    """Apply every step that the database at ``url`` lacks, and return what they were; nothing is the usual answer.

    The steps are one transaction: a crash leaves all of them or none, and of several processes that start at once
    one applies them while the others wait. Raises ``RecordsUnavailable``, also for a database that a newer version of
    the program has written. Blocks: not for the event loop.
    """
    config = alembic_config()
    with _one_at_a_time, _connected(url) as (connection, driver):
        _use_log(driver)
        # A table that is built anew is dropped first, and would take the rows that refer to it along.
        driver.execute("PRAGMA foreign_keys=OFF")
        driver.execute("PRAGMA synchronous=FULL")
        with connection.begin():
            steps = _steps_lacking(connection, config)
            if steps:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        return steps


def pending(url: str) -> list[str]:
    """The steps that ``migrate`` would apply. Changes nothing; a file that is not there lacks all of them."""
    config = alembic_config()
    with _one_at_a_time:
        if not Path(str(open_engine(url).url.database)).exists():
            return _steps_from(ScriptDirectory.from_config(config), None)
        with _connected(url) as (connection, _):
            return _steps_lacking(connection, config)


def alembic_config() -> Config:
    """What Alembic needs to find the steps."""
    config = Config()
    # The percent sign begins an interpolation in Alembic's configuration.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _steps_lacking(connection: Connection, config: Config) -> list[str]:
    script = ScriptDirectory.from_config(config)
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is not None and revision not in {step.revision for step in script.walk_revisions()}:
        raise RecordsUnavailable(
            f"the records database is at revision {revision}, which this version does not know: "
            "a newer version of tusd-py has written it, and only that one or a newer one may use it"
        )
    return _steps_from(script, revision)


def _steps_from(script: ScriptDirectory, revision: str | None) -> list[str]:
    steps = [f"{step.revision} {step.doc}" for step in script.iterate_revisions("head", revision or "base")]
    return steps[::-1]


@contextmanager
def _connected(url: str) -> Iterator[tuple[Connection, sqlite3.Connection]]:
    """A connection for Alembic and the driver's own beneath it, closed afterwards; faults become sentences."""
    try:
        with open_engine(url).connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            yield connection, driver
    except DBAPIError as error:
        assert isinstance(error.orig, sqlite3.Error)
        raise unavailable(error.orig) from error
    except sqlite3.Error as error:
        raise unavailable(error) from error


def _use_log(driver: sqlite3.Connection) -> None:
    """Switch the database to a write-ahead log, in which readers and the writer do not wait for each other."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            mode = driver.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            # Two processes that switch a new file at once would wait for each other, so SQLite does not wait at all.
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise RecordsUnavailable("the file system under the records has no shared memory, which SQLite's log needs")
