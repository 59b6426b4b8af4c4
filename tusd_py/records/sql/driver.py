"""The contract of a database driver, and the choice of one by URL.

Statements, transactions and jobs use these protocols and no particular database. A driver provides connections,
transactions with the isolation they need, and the translation of its faults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sqlalchemy import Connection, Dialect

from tusd_py.records.sql.revision import SchemaRevision
from tusd_py.records.sql.sqlite import DatabaseUrl, SqliteDriver

#: The prefixes of the URLs of PostgreSQL databases.
POSTGRESQL = ("postgresql://", "postgresql+psycopg://", "postgres://")


class ResultCursor(Protocol):
    """The result of one statement."""

    @property
    def rowcount(self) -> int:
        """How many rows an INSERT, UPDATE or DELETE has changed."""
        ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class DatabaseConnection(Protocol):
    """One connection, used by one thread. It opens at its first transaction, and again after a fault that broke it."""

    @property
    def statement_errors(self) -> tuple[type[Exception], ...]:
        """The exceptions of ``execute``, ``execute_many`` and a commit: faults, and values that cannot be stored."""
        ...

    @property
    def row_errors(self) -> tuple[type[Exception], ...]:
        """Those of ``statement_errors`` that only the values of one statement cause; the transaction goes on."""
        ...

    def writing(self, *, durable: bool) -> AbstractContextManager[None]:
        """A transaction that commits at the end of its block and is rolled back if the block raises.

        A ``durable`` commit survives a power failure; any other survives the death of every process. Other writers may
        commit between two statements of the block, so each UPDATE names the state that it expects and its ``rowcount``
        decides. The head of a sequence of jobs (``is_head``) is the exception, for which there is ``lock_keys``.
        Raises ``RecordsUnavailable`` if no transaction can begin.
        """
        ...

    def reading(self) -> AbstractContextManager[None]:
        """A transaction whose statements all see the same snapshot. Raises ``RecordsUnavailable``."""
        ...

    def fetch_once(self, statement: str, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """The rows of one statement that reads, on a snapshot of its own: without a transaction around it.

        Raises ``RecordsUnavailable``, or like ``execute``.
        """
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """A part of the transaction that is undone alone if its block raises."""
        ...

    def execute(self, statement: str, values: Mapping[str, object]) -> ResultCursor:
        """Run one statement in the open transaction. Raises one of ``statement_errors``."""
        ...

    def execute_many(self, statement: str, rows: Sequence[Mapping[str, object] | Sequence[object]]) -> int:
        """Run ``statement`` once for each of ``rows``; return how many rows of the database changed in total.

        A row has its values by name or by position, as ``statement`` does.

        Raises like ``execute``.
        """
        ...

    def queue_rows(self, statement: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Insert rows by a statement of ``dialect.compile_rows``. An error may be raised by a later call instead."""
        ...

    def append_in_order(self, statement: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Like ``execute_many``, for rows with a number: of two transactions, the first to commit has the lower ones.

        A reader that goes on after the highest number it has seen misses none of them. The rows may be inserted as late
        as at the end of the transaction. Raises like ``execute``.
        """
        ...

    def lock_keys(self, keys: Sequence[str]) -> None:
        """Let other writers wait that add or end jobs with these sequence keys, until the transaction ends.

        Which job is the head of a sequence depends on all its jobs: of two writers that do not see each other's change,
        one adds a job that waits for the job which the other ends, and no job would be the head.
        """
        ...

    def to_fault(self, error: Exception) -> Exception:
        """The exception for the caller in place of ``error``: ``RecordsUnavailable`` for a fault of the database.

        ``error`` itself if its values were at fault. The connection is reopened next time if ``error`` broke it.
        """
        ...

    def close(self) -> None:
        """Close the connection; what has not been committed is undone."""
        ...


class PipelinedConnection(DatabaseConnection, Protocol):
    """A connection to a server: statements can be sent together, and it may be lost at any time."""

    @property
    def retry_errors(self) -> tuple[type[Exception], ...]:
        """Those of ``statement_errors`` with which a transaction was undone that may succeed if it runs again."""
        ...

    @property
    def is_lost(self) -> bool:
        """Whether the last error was the end of the connection."""
        ...

    @property
    def is_committing(self) -> bool:
        """Whether the last transaction may have been committed although it has ended with an error."""
        ...

    def reading_once(self) -> AbstractContextManager[None]:
        """For single statements, each of which sees a snapshot of its own: without a transaction around them."""
        ...

    def queue_many(self, statement: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Like ``execute_many``, without waiting for the result. An error is raised by a later call."""
        ...


class DatabaseDriver(Protocol):
    """Opens connections to one database."""

    @property
    def pipelines(self) -> bool:
        """Whether its connections are ``PipelinedConnection``s."""
        ...

    @property
    def dialect(self) -> Dialect:
        """The dialect that statements are compiled for."""
        ...

    def connect(self) -> DatabaseConnection:
        """A connection for one thread. Raises ``RecordsUnavailable`` if the database cannot be found."""
        ...

    def exists(self) -> bool:
        """Whether there is a database at the URL."""
        ...

    def read_revision(self) -> SchemaRevision | None:
        """The revision of the schema; ``None`` if it cannot be read. Never creates a database."""
        ...

    def open_for_migration(self) -> AbstractContextManager[Connection]:
        """A connection for Alembic. Faults inside the block are raised as ``RecordsUnavailable``."""
        ...

    def prepare_for_migration(self, connection: Connection) -> None:
        """Set ``connection`` up for changes of the schema; before its transaction begins."""
        ...


def open_driver(url: DatabaseUrl) -> DatabaseDriver:
    """The driver for ``url``; nothing is opened yet. Raises ``RecordsUnavailable`` if no driver supports the URL."""
    if isinstance(url, str) and url.startswith(POSTGRESQL):
        # Some 15 MiB of memory and a tenth of a second, which no server with SQLite has to spend.
        from tusd_py.records.sql.postgres import PostgresDriver

        return PostgresDriver(url)
    return SqliteDriver(url)
