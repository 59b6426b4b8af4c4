"""Moves everything that a SQLite database has to an empty PostgreSQL database. Blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Boolean, Dialect, Table, insert, make_url

from tusd_py.contracts.records import RecordsError, RecordsUnavailable
from tusd_py.records.sql.all_tables import RecordsTable
from tusd_py.records.sql.dialect import compile_text
from tusd_py.records.sql.driver import POSTGRESQL, DatabaseConnection, open_driver
from tusd_py.records.sql.schema import bring_up_to_date
from tusd_py.records.sql.sqlite_copy import is_in_use

_ROWS_AT_ONCE = 500
#: All but the locks, which are those of running processes; what other tables refer to comes first.
_TABLES = tuple(table.name for table in RecordsTable.metadata.sorted_tables if table.name != "locks")
_NUMBERED = {"events": "seq", "jobs": "id", "audit_entries": "number"}
_NEVER_IN_A_TEXT = "\0"


class CannotMove(RecordsError):
    """Nothing was moved; the text says why."""


def move(source_url: str, target_url: str) -> dict[str, int]:
    """Copy every row, in one transaction of the target; return the number of rows by table.

    Migrates both databases first. Raises ``CannotMove`` if they are the wrong way round, if the target has rows, or if
    a process uses the source; ``RecordsUnavailable`` if a database fails.
    """
    if not source_url.startswith("sqlite:///") or not target_url.startswith(POSTGRESQL):
        raise CannotMove("records move from sqlite:///PATH to postgresql://USER@HOST/DATABASE")
    path = Path(make_url(source_url).database or "")
    if not path.is_file():
        raise CannotMove(f"there is no database at {path}")
    if is_in_use(path):
        raise CannotMove(f"another process uses {path}: stop the server and its workers first")
    bring_up_to_date(source_url)
    bring_up_to_date(target_url)
    source, target = open_driver(source_url).connect(), open_driver(target_url).connect()
    try:
        with source.reading(), target.writing(durable=True):
            _require_empty(target)
            # That of a server which was started with the new database before the move.
            target.execute("DELETE FROM store_marks", {})
            counts = {name: _copy(source, target, name, open_driver(target_url).dialect) for name in _TABLES}
            for name, column in _NUMBERED.items():
                _continue_numbers(source, target, name, column)
        return counts
    except (*source.statement_errors, *target.statement_errors) as error:
        fault = target.to_fault(source.to_fault(error))
        raise fault if isinstance(fault, RecordsError) else RecordsUnavailable(str(fault)) from error
    finally:
        source.close()
        target.close()


def _require_empty(target: DatabaseConnection) -> None:
    for name in _TABLES:
        if name != "store_marks" and target.execute(f"SELECT 1 FROM {name} LIMIT 1", {}).fetchone() is not None:
            raise CannotMove(f"the database to move to has rows in {name} already: name an empty one")


def _copy(source: DatabaseConnection, target: DatabaseConnection, name: str, dialect: Dialect) -> int:
    table = RecordsTable.metadata.tables[name]
    columns = [column.name for column in table.columns]
    statement = compile_text(dialect, insert(table), columns)
    quoted = ", ".join(f'"{column}"' for column in columns)
    rows = _rows(source.execute(f"SELECT {quoted} FROM {name}", {}), table)
    count = 0
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        target.execute_many(statement, some)
        count += len(some)
    return count


def _rows(found: Iterable[Sequence[Any]], table: Table) -> Iterator[Mapping[str, object]]:
    """The rows as PostgreSQL takes them: it has truth values of its own, and no U+0000 in its texts."""
    columns = list(table.columns)
    for row in found:
        values: dict[str, object] = {}
        for column, value in zip(columns, row, strict=True):
            if isinstance(column.type, Boolean):
                value = bool(value)
            elif isinstance(value, str) and _NEVER_IN_A_TEXT in value:
                value = value.replace(_NEVER_IN_A_TEXT, "\N{REPLACEMENT CHARACTER}")
            values[column.name] = value
        yield values


def _continue_numbers(source: DatabaseConnection, target: DatabaseConnection, name: str, column: str) -> None:
    """Give no number again, not even those of deleted rows."""
    last = source.execute("SELECT seq FROM sqlite_sequence WHERE name = :name", {"name": name}).fetchone()
    if last is not None and last[0]:
        values = {"name": name, "column": column, "last": last[0]}
        target.execute("SELECT setval(pg_get_serial_sequence(%(name)s, %(column)s), %(last)s)", values)
