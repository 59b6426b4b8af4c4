"""Where the databases differ, and how a statement of SQLAlchemy Core becomes text for their drivers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ClauseElement, Dialect, Select, Table, bindparam, func, literal_column, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert

_ELEMENTS = {"sqlite": func.json_each, "postgresql": func.json_array_elements_text}
_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert_unless_there(dialect: Dialect, table: Table, column: str, **values: Any) -> Insert:
    """An insert that lets a row with the same ``column`` be. What ``values`` does not name is given with each row."""
    rows: Any = _INSERTS[dialect.name](table)
    # Without any, values() would ask for no column at all.
    insert: Insert = (rows.values(**values) if values else rows).on_conflict_do_nothing(index_elements=[column])
    return insert


def elements(dialect: Dialect, name: str) -> Select[Any]:
    """The elements of the JSON array of text that is given as ``name``, as rows.

    One value, whatever their number, so that the statement stays the same and is prepared once.
    """
    return select(_ELEMENTS[dialect.name](bindparam(name)).table_valued("value").c.value)


def limited(statement: Select[Any]) -> Select[Any]:
    """The first ``limit`` rows."""
    # SQLite's dialect adds an offset, as a value of its own, to a limit that is a value.
    return statement.limit(bindparam("limit")).offset(literal_column("0"))


def text_of(dialect: Dialect, statement: ClauseElement, columns: list[str] | None = None) -> str:
    """The statement as text, its values named as the driver takes them; ``columns`` are those it sets by name."""
    return str(statement.compile(dialect=dialect, column_keys=columns))
