"""The driver for PostgreSQL, over psycopg 3: its connections, their transactions, and sentences for its faults."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import errors
from psycopg.types.string import TextLoader
from sqlalchemy import Connection, Dialect, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from tusd_py.contracts.records import RecordsFull, RecordsUnavailable
from tusd_py.model.tls import tls_problem
from tusd_py.records.sql.revision import SchemaRevision
from tusd_py.records.sql.watchdog import Watchdog

#: How long a connection may take. A server that restarts refuses connections meanwhile, so they are tried again.
_CONNECT_SECONDS = 5
#: How long a write waits for a server that restarts, before its callers get an error.
RECONNECT_SECONDS = 10.0
_RETRY_SECONDS = 0.05
#: A statement that takes longer is given up by the server: something else has locked a table.
_STATEMENT_MILLISECONDS = 15_000
#: A server that has not answered a transaction for this long is taken for lost: it is paused, or behind a dead network.
ANSWER_SECONDS = 20.0
#: Noticed after this: a server whose machine has disappeared without closing its connections.
_DEAD_SECONDS = 20

#: The key of the advisory lock under which the schema is changed, and of the one under which events are numbered.
MIGRATION_LOCK, EVENTS_LOCK = 0x7475_7364_0001, 0x7475_7364_0002


class PostgresDriver:
    """Opens connections to a PostgreSQL database; ``url`` is a libpq URI (``postgresql://``)."""

    pipelines = True

    def __init__(self, url: str) -> None:
        self._conninfo = to_conninfo(url)
        self._engine = create_engine(
            "postgresql+psycopg://", creator=self._connect_for_migration, poolclass=NullPool, pool_reset_on_return=None
        )
        event.listen(self._engine, "begin", _lock_schema)

    @property
    def dialect(self) -> Dialect:
        return self._engine.dialect

    def connect(self) -> PostgresConnection:
        return PostgresConnection(self._conninfo)

    def exists(self) -> bool:
        # A database that cannot be reached is reported by the first use.
        return True

    def read_revision(self) -> SchemaRevision | None:
        try:
            with connect(self._conninfo) as driver:
                rows = driver.execute("SELECT * FROM alembic_version").fetchall()
        except psycopg.Error:
            return None
        return SchemaRevision(*rows[0]) if len(rows) == 1 else None

    @contextmanager
    def open_for_migration(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            assert isinstance(error.orig, psycopg.Error)
            raise unavailable(error.orig) from error
        except psycopg.Error as error:
            raise unavailable(error) from error

    def prepare_for_migration(self, connection: Connection) -> None:
        """Nothing: the lock is taken when the transaction begins."""

    def _connect_for_migration(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._conninfo, connect_timeout=_CONNECT_SECONDS, application_name="tusd-py migrate")


def to_conninfo(url: str) -> str:
    """``url`` as libpq takes it; SQLAlchemy's form, which names the driver, means the same.

    Raises ``RecordsUnavailable`` for a URL that libpq cannot read.
    """
    scheme, colon, rest = url.partition(":")
    conninfo = f"{scheme.partition('+')[0]}{colon}{rest}"
    try:
        psycopg.conninfo.conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        # Not the text of the error: it may repeat the password.
        raise RecordsUnavailable("records.url is not a URL of PostgreSQL (postgresql://user@host/database)") from None
    return conninfo


def _lock_schema(connection: Connection) -> None:
    # Of several processes that start at once, one migrates and the others wait.
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")


#: The options of every connection.
_OPTIONS: dict[str, Any] = {
    "autocommit": True,  # transactions begin only where a statement says so
    "connect_timeout": _CONNECT_SECONDS,
    "application_name": "tusd-py",
    "keepalives_idle": _DEAD_SECONDS // 2,
    "keepalives_interval": _DEAD_SECONDS // 4,
    "keepalives_count": 2,
    "tcp_user_timeout": _DEAD_SECONDS * 1000,
}
_READ_PROCESS = "SELECT pg_backend_pid()"


def connect(conninfo: str) -> psycopg.Connection[Any]:
    """A connection on which transactions begin only where a statement says so. Raises ``psycopg.Error``."""
    driver = psycopg.connect(conninfo, **_OPTIONS)
    try:
        # JSON as text: rows convert it, the same way for every database.
        for name in ("json", "jsonb"):
            driver.adapters.register_loader(name, TextLoader)
        _note_pooler(driver, driver.execute(_READ_PROCESS).fetchone())
        if not is_pooled(driver):
            # Compiling a statement (JIT) takes up to 60 ms, and none of these runs that long.
            driver.execute(f"SET statement_timeout = {_STATEMENT_MILLISECONDS}; SET jit = off".encode())
    except BaseException:
        driver.close()
        raise
    return driver


async def connect_async(url: str) -> psycopg.AsyncConnection[Any]:
    """A connection for notifications. Raises ``psycopg.Error``."""
    driver = await psycopg.AsyncConnection.connect(to_conninfo(url), **_OPTIONS)
    try:
        _note_pooler(driver, await (await driver.execute(_READ_PROCESS)).fetchone())
    except BaseException:
        await driver.close()
        raise
    return driver


def _note_pooler(driver: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], row: Any) -> None:
    # A pooler such as PgBouncer gives its clients a number of its own. The next transaction may run on another
    # connection of the pooler's, which has not prepared the statement.
    if row[0] != driver.info.backend_pid:
        driver.prepare_threshold = None


def is_pooled(driver: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether a pooler is between this process and the server, so that sessions do not last (``connect`` knows)."""
    return driver.prepare_threshold is None


_SENTENCES: dict[str, str] = {
    "08": "PostgreSQL cannot be reached",
    "28": "PostgreSQL refuses the user of records.url; check the user, its password and pg_hba.conf",
    "3D": "PostgreSQL has no database of the name in records.url; create it",
    "42": "the user of records.url may not use the tables, or they are missing; run tusd-py migrate",
    "53": "PostgreSQL lacks resources",
    "57": "PostgreSQL is restarting or has ended the connection",
}


def unavailable(error: psycopg.Error) -> RecordsUnavailable:
    """The exception to raise in place of ``error``; a new one for each caller, since a raise adds to its traceback."""
    fault_type = RecordsFull if isinstance(error, errors.DiskFull) else RecordsUnavailable
    fault = fault_type(_sentence(error))
    fault.__cause__ = error
    return fault


def _sentence(error: psycopg.Error) -> str:
    if isinstance(error, errors.DiskFull):
        return "the disk under PostgreSQL is full; free some space"
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return "PostgreSQL is read-only, as a standby is; add target_session_attrs=read-write to records.url"
    # What the server itself says names no password. libpq's texts name host, port and user.
    detail = error.diag.message_primary or str(error).strip().partition("\n")[0]
    if error.sqlstate is None and (problem := tls_problem("PostgreSQL", detail)):
        return problem
    sentence = _SENTENCES.get((error.sqlstate or "08")[:2], "the database failed")
    return f"{sentence}: {detail}" if detail else sentence


class PostgresResult:
    """The result of one statement. In a pipeline it is fetched when it is first looked at."""

    __slots__ = ("_connection", "_cursor")

    def __init__(self, connection: PostgresConnection, cursor: psycopg.Cursor[Any]) -> None:
        self._connection = connection
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        if self._cursor.rowcount < 0:
            self._connection.sync()
        return self._cursor.rowcount

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor.fetchall())


class PostgresConnection:
    """A connection that runs statements as text. It opens at its first transaction, and again after a fault.

    Statements of a writing transaction go to the server together (a pipeline) until the result of one is looked at. The
    statement that begins the transaction is sent with the first, the one that ends it with the last.
    """

    statement_errors: tuple[type[Exception], ...] = (psycopg.Error, ValueError, OverflowError)
    row_errors: tuple[type[Exception], ...] = (psycopg.IntegrityError, psycopg.DataError, ValueError, OverflowError)
    #: The server has undone the transaction, for the sake of another one; it may succeed if it runs again.
    retry_errors: tuple[type[Exception], ...] = (errors.DeadlockDetected, errors.SerializationFailure)

    def __init__(
        self, conninfo: str, *, reconnect_seconds: float = RECONNECT_SECONDS, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._conninfo = conninfo
        self._reconnect_seconds = reconnect_seconds
        self._answer_seconds = answer_seconds
        self._driver: psycopg.Connection[Any] | None = None
        self._pipeline: psycopg.Pipeline | None = None
        self._at_end: list[tuple[str, Sequence[Mapping[str, object]]]] = []
        self._is_down = False
        self._watchdog: Watchdog | None = None
        self.is_committing = False

    @property
    def is_lost(self) -> bool:
        """Whether the server has ended the connection, or is a standby by now; ``close`` and run again."""
        driver = self._driver
        return driver is not None and (driver.closed or driver.broken)

    @contextmanager
    def writing(self, *, durable: bool) -> Iterator[None]:
        """A transaction that is sent together and rolled back if its block raises.

        Every commit survives a crash of the server: a commit that does not is not safe against the death of PostgreSQL,
        which is one of the processes. ``is_committing`` is true while it is not known whether it has been committed.
        """
        driver = self._open()
        self.is_committing = False
        self._at_end = []
        with self._in_pipeline(driver):
            driver.execute("BEGIN")
            yield
            self._run_at_end(driver)
            self.is_committing = True
            driver.execute("COMMIT")
        self.is_committing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        driver = self._open()
        with self._in_pipeline(driver):
            driver.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield
            driver.execute("COMMIT")

    @contextmanager
    def _in_pipeline(self, driver: psycopg.Connection[Any]) -> Iterator[None]:
        """Send what the block executes without waiting for each answer; roll back if anything fails."""
        try:
            with self._answering(driver), driver.pipeline() as self._pipeline:
                yield
        except BaseException:
            self._pipeline = None
            self._roll_back(driver)
            raise
        finally:
            self._pipeline = None

    @contextmanager
    def reading_once(self) -> Iterator[None]:
        """For one statement, which is a snapshot of its own: one round trip instead of two."""
        with self._answering(self._open()):
            yield

    def fetch_once(self, statement: str, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        with self.reading_once():
            return self.execute(statement, values).fetchall()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        driver = self._driver
        assert driver is not None, "no transaction has begun"
        count = len(self._at_end)
        driver.execute("SAVEPOINT one")
        try:
            yield
            self._run_at_end(driver)  # here, where an error of one row still is that of this savepoint
            self.sync()
        except BaseException:
            del self._at_end[count:]
            if not self.is_lost:
                driver.execute("ROLLBACK TO one")
                driver.execute("RELEASE one")
            raise
        driver.execute("RELEASE one")

    def execute(self, statement: str, values: Mapping[str, object]) -> PostgresResult:
        assert self._driver is not None, "no transaction has begun"
        return PostgresResult(self, self._driver.execute(statement.encode(), values or None))

    def execute_many(self, statement: str, rows: Sequence[Mapping[str, object] | Sequence[object]]) -> int:
        cursor = self._queue_many(statement, rows)
        self.sync()
        return cursor.rowcount

    def queue_rows(self, statement: str, rows: Sequence[Mapping[str, object]]) -> None:
        self.execute(statement, {"rows": json.dumps(rows)})

    def queue_many(self, statement: str, rows: Sequence[Mapping[str, object]]) -> None:
        self._queue_many(statement, rows)

    def _queue_many(
        self, statement: str, rows: Sequence[Mapping[str, object] | Sequence[object]]
    ) -> psycopg.Cursor[Any]:
        assert self._driver is not None, "no transaction has begun"
        cursor = self._driver.cursor()
        cursor.executemany(statement.encode(), rows)
        return cursor

    def append_in_order(self, statement: str, rows: Sequence[Mapping[str, object]]) -> None:
        self._at_end.append((statement, rows))

    def lock_keys(self, keys: Sequence[str]) -> None:
        if keys:
            self.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(key, 0)) "
                "FROM (SELECT DISTINCT key FROM unnest(%(keys)s::text[]) AS key ORDER BY key) AS sorted",
                {"keys": [*keys]},
            )

    def sync(self) -> None:
        """Send the statements that wait, and receive their results. Raises the first error among them."""
        if self._pipeline is not None:
            self._pipeline.sync()

    def to_fault(self, error: Exception) -> Exception:
        if not isinstance(error, psycopg.Error):
            return error
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | errors.ReadOnlySqlTransaction):
            self.close()  # opened again by the next transaction
        return unavailable(error)

    def close(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.end()

    @contextmanager
    def _answering(self, driver: psycopg.Connection[Any]) -> Iterator[None]:
        """Break the connection if the block takes too long: libpq itself would wait for an answer forever."""
        if self._watchdog is None:
            self._watchdog = Watchdog()
        with self._watchdog.watching(driver, self._answer_seconds):
            yield

    def _run_at_end(self, driver: psycopg.Connection[Any]) -> None:
        """Append what has to be numbered in the order of the commits: one transaction at a time, and only its end."""
        if self._at_end:
            driver.execute(f"SELECT pg_advisory_xact_lock({EVENTS_LOCK})".encode())
            for statement, rows in self._at_end:
                driver.cursor().executemany(statement.encode(), rows)
            self._at_end = []

    def _roll_back(self, driver: psycopg.Connection[Any]) -> None:
        try:
            if not driver.closed:
                driver.rollback()
        except psycopg.Error:
            with suppress(psycopg.Error):
                driver.close()

    def _open(self) -> psycopg.Connection[Any]:
        """The driver's connection. Raises ``RecordsUnavailable`` if the server cannot be reached.

        A server that was reached before is waited for, since it may restart; after that, each call tries once.
        """
        driver = self._driver
        if driver is not None and not driver.closed:
            return driver
        deadline = time.monotonic() + (0 if self._is_down else self._reconnect_seconds)
        while True:
            try:
                self._driver = driver = connect(self._conninfo)
            except psycopg.Error as error:
                if time.monotonic() >= deadline:
                    self._is_down = True
                    raise unavailable(error) from error
                time.sleep(_RETRY_SECONDS)
            else:
                self._is_down = False
                return driver
