"""The contract of a database driver, and the choice of one by URL.

Statements, transactions and jobs use these protocols and no particular database. A driver provides connections,
transactions with the isolation they need, and the translation of its faults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sqlalchemy import Connection, Dialect

from tusd_py.records.sql.sqlite import DatabaseUrl, SqliteDriver


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
        """What ``execute``, ``execute_many`` and a commit may raise: faults, and values that cannot be stored."""
        ...

    @property
    def row_errors(self) -> tuple[type[Exception], ...]:
        """Those of ``statement_errors`` that only the values of one statement cause; the transaction goes on."""
        ...

    def writing(self, *, durable: bool) -> AbstractContextManager[None]:
        """A transaction that commits at the end of its block and is rolled back if the block raises.

        A ``durable`` commit survives a power failure; any other survives the death of every process. Other writers may
        commit between two statements of the block, so each UPDATE names the state that it expects and its ``rowcount``
        decides. The head of a sequence of jobs (``is_head``) is the exception: it depends on other rows, so a driver
        whose writers run at once must serialise transactions that add or end jobs of the same sequence key. Raises
        ``RecordsUnavailable`` if no transaction can begin.
        """
        ...

    def reading(self) -> AbstractContextManager[None]:
        """A transaction whose statements all see the same snapshot. Raises ``RecordsUnavailable``."""
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """A part of the transaction that is undone alone if its block raises."""
        ...

    def execute(self, statement: str, values: Mapping[str, object]) -> ResultCursor:
        """Run one statement in the open transaction. Raises one of ``statement_errors``."""
        ...

    def execute_many(self, statement: str, rows: Sequence[Mapping[str, object]]) -> int:
        """Run ``statement`` once for each of ``rows``; return how many rows of the database changed in total.

        Raises like ``execute``.
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


class DatabaseDriver(Protocol):
    """Opens connections to one database."""

    @property
    def dialect(self) -> Dialect:
        """What statements are compiled for."""
        ...

    def connect(self) -> DatabaseConnection:
        """A connection for one thread. Raises ``RecordsUnavailable`` if the database cannot be found."""
        ...

    def exists(self) -> bool:
        """Whether there is a database at the URL."""
        ...

    def read_revision(self) -> str | None:
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
    return SqliteDriver(url)
