"""The driver for SQLite: its connections, their transactions, and sentences for its faults."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from tusd_py.contracts.records import RecordsFull, RecordsUnavailable
from tusd_py.records.sql.revision import SchemaRevision

#: Where a database is: a URL as text, or one that SQLAlchemy has built of its parts, for paths with odd characters.
DatabaseUrl = str | URL

#: How long a connection waits for another process's transaction. Ours take milliseconds; a backup may take seconds.
BUSY_SECONDS = 10.0
#: The write-ahead log is cut back to this many bytes once its content has moved to the database.
_LOG_BYTES_MAX = 64 * 1024 * 1024
#: How often a process that waits for the write lock tries again: the length of a short transaction.
_RETRY_SECONDS = 0.001
#: Only the server, and the group an administrator gives the file, may read it: metadata and hooks' headers are in it.
_FILE_MODE = 0o640


class SqliteDriver:
    """Opens connections to a SQLite file. Raises ``RecordsUnavailable`` for a URL that names none."""

    pipelines = False

    def __init__(self, url: DatabaseUrl) -> None:
        self._engine = open_engine(url)
        self._path = str(self._engine.url.database)

    @property
    def dialect(self) -> Dialect:
        return self._engine.dialect

    def connect(self) -> SqliteConnection:
        return SqliteConnection(self._engine)

    def exists(self) -> bool:
        return Path(self._path).exists()

    def has_content(self) -> bool:
        """Whether the file exists and is not empty."""
        try:
            return Path(self._path).stat().st_size > 0
        except OSError:
            return False

    def read_revision(self) -> SchemaRevision | None:
        if not self.exists():
            return None
        try:
            with closing(_connect(self._engine)) as driver:
                rows = driver.execute("SELECT * FROM alembic_version").fetchall()
        except sqlite3.Error:
            return None
        return SchemaRevision(*rows[0]) if len(rows) == 1 else None

    @contextmanager
    def open_for_migration(self) -> Iterator[Connection]:
        self._create_private()
        try:
            with self._engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            assert isinstance(error.orig, sqlite3.Error)
            raise unavailable(error.orig) from error
        except sqlite3.Error as error:
            raise unavailable(error) from error

    def create_schema(self, statements: Sequence[str]) -> bool:
        """Run ``statements`` in one transaction, unless there are tables already. Return whether they were run.

        Raises ``RecordsUnavailable``.
        """
        self._create_private()
        try:
            with closing(_connect(self._engine)) as driver:
                _prepare_for_migration(driver)
                driver.execute("BEGIN IMMEDIATE")
                if driver.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
                    return False
                for statement in statements:
                    driver.execute(statement)
                driver.execute("COMMIT")
                return True
        except sqlite3.Error as error:
            raise unavailable(error) from error

    def _create_private(self) -> None:
        """Create the file if it is missing: SQLite itself would create it with the mode of the umask.

        The -wal and -shm files get the same mode.
        """
        with suppress(OSError):  # SQLite's own error is more precise
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE))

    def prepare_for_migration(self, connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        _prepare_for_migration(driver)


def open_engine(url: DatabaseUrl) -> Engine:
    """An engine for ``url`` that connects on first use. Raises ``RecordsUnavailable`` if ``url`` names no SQLite file.

    Transactions begin only where the code says so: a driver that begins them on the first write, after the connection
    has read, would lose updates or fail at once. Statements compiled by its dialect name their values (``:id``).
    """
    parsed = _parse_url(url)
    engine = create_engine(parsed, poolclass=NullPool, paramstyle="named")
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _connect(engine: Engine) -> sqlite3.Connection:
    """A configured connection of the driver's own, which the caller closes. Raises ``sqlite3.Error``."""
    pooled = engine.raw_connection()
    driver = pooled.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    pooled.detach()
    return driver


def _parse_url(url: DatabaseUrl) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise RecordsUnavailable("records.url is not a URL; use one like sqlite:////srv/uploads.sqlite3") from error
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise RecordsUnavailable(
            f"{parsed.drivername} is not supported for records; use sqlite:///PATH or postgresql://USER@HOST/DATABASE"
        )
    if parsed.database in (None, "", ":memory:"):
        raise RecordsUnavailable("a SQLite database in memory is visible to one connection only; name a file")
    return parsed


def _configure(connection: sqlite3.Connection, _: object) -> None:
    # The driver must begin no transaction by itself, neither before a write nor before DDL.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=NORMAL")
    # On macOS a plain fsync leaves the bytes in the drive's cache; elsewhere this changes nothing.
    connection.execute("PRAGMA fullfsync=ON")
    connection.execute(f"PRAGMA journal_size_limit={_LOG_BYTES_MAX}")


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock now: of two transactions that read first and write later, one would fail.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _prepare_for_migration(driver: sqlite3.Connection) -> None:
    _switch_to_wal(driver)
    # Rebuilding a table drops it first, which would delete the rows that refer to it.
    driver.execute("PRAGMA foreign_keys=OFF")
    driver.execute("PRAGMA synchronous=FULL")


def _switch_to_wal(driver: sqlite3.Connection) -> None:
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
        raise RecordsUnavailable(
            "SQLite WAL is not supported on this file system; put the database on a local disk (records.url)"
        )


_SENTENCES = {
    sqlite3.SQLITE_BUSY: "another process kept the database locked for too long; try again",
    sqlite3.SQLITE_LOCKED: "another process kept the database locked for too long; try again",
    sqlite3.SQLITE_FULL: "the disk under the database is full; free some space",
    sqlite3.SQLITE_READONLY: "the database is read-only; make the file and its directory writable for this user",
    sqlite3.SQLITE_CANTOPEN: "the database file, or its -wal or -shm file, cannot be opened; check its path and mode",
    sqlite3.SQLITE_PERM: "this user may not open the database file; check its owner and mode",
    sqlite3.SQLITE_CORRUPT: "the database file is damaged; restore it from a backup",
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database; restore it from a backup, or move it away",
    sqlite3.SQLITE_IOERR: "the disk under the database failed; check the kernel log",
}


def unavailable(error: sqlite3.Error) -> RecordsUnavailable:
    """The exception to raise in place of ``error``; a new one for each caller, since a raise adds to its traceback."""
    code = _primary_code(error)
    fault_type = RecordsFull if code == sqlite3.SQLITE_FULL else RecordsUnavailable
    fault = fault_type(_SENTENCES.get(code, f"the database failed: {error}"))
    fault.__cause__ = error
    return fault


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process held the lock until the timeout: trying again would only wait again."""
    return _primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _primary_code(error: sqlite3.Error) -> int:
    # The low byte is the primary result code, whatever the extended one adds to it. Errors of the Python module (a
    # closed connection, a value it cannot bind) have none.
    return getattr(error, "sqlite_errorcode", -1) & 0xFF


class SqliteConnection:
    """A connection that runs statements as text. It opens at its first transaction, and again after a fault.

    The file must exist: its device and inode are remembered, and another file at the same path is refused.
    """

    #: The last two: a value that the driver cannot store, such as an integer over 64 bits or a lone surrogate.
    statement_errors: tuple[type[Exception], ...] = (sqlite3.Error, ValueError, OverflowError)
    row_errors: tuple[type[Exception], ...] = (sqlite3.IntegrityError, sqlite3.DataError, ValueError, OverflowError)

    def __init__(self, engine: Engine, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self._engine = engine
        self._busy_seconds = busy_seconds
        self._path = str(engine.url.database)
        self._identity = _identity(self._path)
        self._driver: sqlite3.Connection | None = None
        self._is_durable: bool | None = None  # unknown before the first write

    @contextmanager
    def writing(self, *, durable: bool) -> Iterator[None]:
        """A transaction that holds the write lock from its start, and is rolled back if its block raises.

        A ``durable`` commit survives a power failure. Any other survives the death of every process, and the next
        durable commit makes it safe as well, since both are in the same log, in order. Raises ``RecordsUnavailable``
        if it cannot begin.
        """
        driver = self._open()
        try:
            if self._is_durable is None:
                # A database that was copied or restored may have no log.
                _switch_to_wal(driver)
                driver.execute("PRAGMA busy_timeout=0")
            if durable is not self._is_durable:
                # In WAL mode, FULL is one fsync of the log at each commit; NORMAL leaves that to the checkpoint.
                driver.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._is_durable = durable
            self._take_write_lock(driver)
        except sqlite3.Error as error:
            raise self.to_fault(error) from error
        with self._commit_or_roll_back(driver):
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        driver = self._open()
        try:
            driver.execute("BEGIN")
        except sqlite3.Error as error:
            raise self.to_fault(error) from error
        with self._commit_or_roll_back(driver):
            yield

    def fetch_once(self, statement: str, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        # All of them: a statement of which a row is left would keep its snapshot.
        return self._open().execute(statement, values).fetchall()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        driver = self._driver
        assert driver is not None, "no transaction has begun"
        driver.execute("SAVEPOINT one")
        try:
            yield
        except BaseException:
            # Some faults (a full disk) have rolled the transaction back already, and the savepoint with it.
            if driver.in_transaction:
                driver.execute("ROLLBACK TO one")
                driver.execute("RELEASE one")
            raise
        driver.execute("RELEASE one")

    def execute(self, statement: str, values: Mapping[str, object]) -> sqlite3.Cursor:
        assert self._driver is not None, "no transaction has begun"
        return self._driver.execute(statement, values)

    def execute_many(self, statement: str, rows: Sequence[Mapping[str, object] | Sequence[object]]) -> int:
        assert self._driver is not None, "no transaction has begun"
        return self._driver.executemany(statement, rows).rowcount

    def queue_rows(self, statement: str, rows: Sequence[Mapping[str, object]]) -> None:
        self.execute_many(statement, rows)

    def append_in_order(self, statement: str, rows: Sequence[Mapping[str, object]]) -> None:
        self.execute_many(statement, rows)

    def lock_keys(self, keys: Sequence[str]) -> None:
        """Nothing: there is one writer at a time."""

    def to_fault(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.Error):
            return error
        if not is_busy(error):
            self.close()  # opened again by the next transaction
        return unavailable(error)

    def close(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()

    @contextmanager
    def _commit_or_roll_back(self, driver: sqlite3.Connection) -> Iterator[None]:
        """Commit at the end of the block, or roll back: no transaction is left open, whatever happens."""
        try:
            yield
            driver.execute("COMMIT")
        except BaseException:
            self._roll_back(driver)
            raise

    def _take_write_lock(self, driver: sqlite3.Connection) -> None:
        """Begin a transaction as soon as no other process writes.

        SQLite's own busy handler sleeps longer each time, up to a tenth of a second, and so favours the process that
        came last; here all retry equally often. There is no queue: among processes that write without a pause, one may
        still wait some tenths of a second.
        """
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_SECONDS)

    def _roll_back(self, driver: sqlite3.Connection) -> None:
        # Some faults (a full disk) have rolled the transaction back already. A connection that cannot roll back is
        # closed, which does the same.
        try:
            if driver.in_transaction:
                driver.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()

    def _open(self) -> sqlite3.Connection:
        """The driver's connection. Raises ``RecordsUnavailable`` if another file is at the path by now.

        If the open file has been replaced, it no longer has a name, and what is written to it would be lost. The check
        costs a microsecond.
        """
        if _identity(self._path) != self._identity:
            raise RecordsUnavailable("the database file was replaced while in use; restart the server")
        if self._driver is None:
            self._driver = _connect(self._engine)
            self._is_durable = None
        return self._driver


def _identity(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise RecordsUnavailable(f"the database file cannot be read: {error.strerror}") from error
    return status.st_dev, status.st_ino
