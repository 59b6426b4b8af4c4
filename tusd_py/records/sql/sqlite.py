"""One connection to the database, used by one thread: its transactions, and what becomes of its faults."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from tusd_py.contracts.records import RecordsFull, RecordsUnavailable

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


_SENTENCES = {
    sqlite3.SQLITE_BUSY: "another process kept the records locked for too long",
    sqlite3.SQLITE_LOCKED: "another process kept the records locked for too long",
    sqlite3.SQLITE_FULL: "the disk is full: records cannot be saved",
    sqlite3.SQLITE_READONLY: "the records can be read but not changed: the file or its directory is read-only",
    sqlite3.SQLITE_CANTOPEN: "the records file, or one that belongs to it, cannot be opened",
    sqlite3.SQLITE_PERM: "the records file may not be opened by this user",
    sqlite3.SQLITE_CORRUPT: "the records file is damaged: restore it from a backup",
    sqlite3.SQLITE_NOTADB: "the records file is not a database",
    sqlite3.SQLITE_IOERR: "the disk under the records failed",
}


def unavailable(error: sqlite3.Error) -> RecordsUnavailable:
    """The fault to raise in place of ``error``; a new one for each caller, since a traceback grows on it."""
    kind = RecordsFull if _primary_code(error) == sqlite3.SQLITE_FULL else RecordsUnavailable
    fault = kind(_SENTENCES.get(_primary_code(error), f"the records database failed: {error}"))
    fault.__cause__ = error
    return fault


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process held the lock until patience ran out: trying again would only wait again."""
    return _primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _primary_code(error: sqlite3.Error) -> int:
    # The low byte is the primary result code, whatever the extended one adds to it. The driver's own complaints
    # (a closed connection, a value it cannot bind) carry none.
    return getattr(error, "sqlite_errorcode", -1) & 0xFF


#: How often a process that waits to write looks whether another has finished: the length of a short transaction.
_ASK_AGAIN_SECONDS = 0.001


class DatabaseConnection:
    """Runs statements as text. Opened by the first transaction, and again after a fault that broke it.

    The file must be there: it is remembered, and no other is ever taken for it.
    """

    def __init__(self, engine: Engine, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self._engine = engine
        self._busy_seconds = busy_seconds
        self._path = str(engine.url.database)
        self._identity = _identity(self._path)
        self._driver: sqlite3.Connection | None = None
        self._is_durable: bool | None = None  # not known before the first change

    @contextmanager
    def writing(self, *, durable: bool) -> Iterator[None]:
        """A transaction that has the write lock from its start, and is undone if its block raises.

        With ``durable`` its commit survives the loss of power; without, the death of every process, and the next
        durable commit makes it safe as well: both lie in the same log, in order. Raises ``RecordsUnavailable``
        where it cannot begin.
        """
        driver = self._open()
        try:
            if self._is_durable is None:
                driver.execute("PRAGMA busy_timeout=0")
            if durable is not self._is_durable:
                # In WAL mode, FULL is one fsync of the log at each commit; NORMAL leaves that to the checkpoint.
                driver.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._is_durable = durable
            self._take_write_lock(driver)
        except sqlite3.Error as error:
            raise self.broken_by(error) from error
        with self._ended_whole(driver):
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A transaction that sees one state of the database throughout. Raises ``RecordsUnavailable``."""
        driver = self._open()
        try:
            driver.execute("BEGIN")
        except sqlite3.Error as error:
            raise self.broken_by(error) from error
        with self._ended_whole(driver):
            yield

    def execute(self, statement: str, values: Mapping[str, object]) -> sqlite3.Cursor:
        assert self._driver is not None, "no transaction has begun"
        return self._driver.execute(statement, values)

    def execute_many(self, statement: str, rows: Sequence[Mapping[str, object]]) -> int:
        """Run ``statement`` with each of ``rows``; how many rows of the database that changed."""
        assert self._driver is not None, "no transaction has begun"
        return self._driver.executemany(statement, rows).rowcount

    def broken_by(self, error: sqlite3.Error) -> RecordsUnavailable:
        """What to raise for ``error``. The connection is opened anew next time, unless another's lock was all."""
        if not is_busy(error):
            self.close()
        return unavailable(error)

    def close(self) -> None:
        """Let go of the database, undoing what is not committed."""
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()

    @contextmanager
    def _ended_whole(self, driver: sqlite3.Connection) -> Iterator[None]:
        """Commit what the block did, or undo it: no transaction is left open, whatever happens."""
        try:
            yield
            driver.execute("COMMIT")
        except BaseException:
            self._roll_back(driver)
            raise

    def _take_write_lock(self, driver: sqlite3.Connection) -> None:
        """Begin a transaction as soon as no other process writes.

        SQLite's own patience sleeps longer each time, up to a tenth of a second, and so favours whoever came last;
        here all ask equally often. Nobody stands in line: among processes that write without a pause, one may still
        wait some tenths of a second.
        """
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_ASK_AGAIN_SECONDS)

    def _roll_back(self, driver: sqlite3.Connection) -> None:
        # Some faults (a full disk) have undone the transaction already. A connection that cannot undo is closed,
        # which undoes as well.
        try:
            if driver.in_transaction:
                driver.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()

    def _open(self) -> sqlite3.Connection:
        """The driver's connection, to the same file as ever.

        A file put in the place of the one that is open would be read by nobody here, and what is written would go
        into a file without a name: looking costs a microsecond.
        """
        if _identity(self._path) != self._identity:
            raise RecordsUnavailable("the records file was replaced while in use: restart the server")
        if self._driver is None:
            self._driver = connect_driver(self._engine)
            self._is_durable = None
        return self._driver


def _identity(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise RecordsUnavailable(f"the records file cannot be looked at: {error.strerror}") from error
    return status.st_dev, status.st_ino
