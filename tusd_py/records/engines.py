"""From a database URL to an engine whose connections behave: SQLite's pragmas and transactions. Asks no questions."""

from __future__ import annotations

import sqlite3

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from tusd_py.contracts.records import RecordsUnavailable

#: How long a connection waits for another process's transaction. Ours take milliseconds; a backup may take seconds.
BUSY_SECONDS = 10.0
#: The write-ahead log is cut back to this many bytes once its content has moved to the database.
_LOG_BYTES_MAX = 64 * 1024 * 1024


def open_engine(url: str) -> Engine:
    """An engine for ``url`` that connects when it is asked to. Raises ``RecordsUnavailable`` for what is no such URL.

    Transactions begin only where the code says so: on their first write, a connection that has read before would
    otherwise lose updates or fail at once. Statements compiled by its dialect name their values (``:id``).
    """
    parsed = _parse_url(url)
    engine = create_engine(parsed, poolclass=NullPool, paramstyle="named")
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def connect_driver(engine: Engine) -> sqlite3.Connection:
    """A prepared connection of the driver's own, which the caller closes. Raises ``sqlite3.Error``."""
    pooled = engine.raw_connection()
    driver = pooled.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    pooled.detach()
    return driver


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise RecordsUnavailable("the records URL is no URL; one looks like sqlite:////srv/uploads.sqlite3") from error
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise RecordsUnavailable(f"records cannot be kept in {parsed.drivername}; sqlite:///PATH is supported")
    if parsed.database in (None, "", ":memory:"):
        raise RecordsUnavailable("a SQLite database in memory is seen by one connection only; name a file")
    return parsed


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    # The driver shall begin no transaction by itself, neither before a write nor before DDL.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=NORMAL")
    # On macOS a plain fsync leaves the bytes in the drive's cache; elsewhere this changes nothing.
    connection.execute("PRAGMA fullfsync=ON")
    connection.execute(f"PRAGMA journal_size_limit={_LOG_BYTES_MAX}")


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock now: a transaction that reads first and writes later cannot be let in twice.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
