"""Where the databases differ, and how a statement of SQLAlchemy Core becomes text for their drivers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    ClauseElement,
    Column,
    Dialect,
    Select,
    Table,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.sql.dml import Insert

_JSON_ELEMENTS = {"sqlite": func.json_each, "postgresql": func.json_array_elements_text}


def insert_for(dialect: Dialect, table: Table) -> Any:
    """An INSERT that can say what happens on a conflict. Only the dialect that is used is loaded."""
    if dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def insert_or_ignore(dialect: Dialect, table: Table, *columns: str, **values: Any) -> Insert:
    """An INSERT that does nothing if a row with the same ``columns`` exists.

    ``values`` are expressions that are part of the statement; all other columns are passed with each row.
    """
    rows: Any = insert_for(dialect, table)
    # values() without arguments would leave out every column.
    insert: Insert = (rows.values(**values) if values else rows).on_conflict_do_nothing(index_elements=[*columns])
    return insert


def add_or_insert(dialect: Dialect, table: Table, key: tuple[str, ...], *columns: str) -> Insert:
    """An INSERT that adds ``columns`` to those of the row with the same ``key``, if there is one."""
    rows: Any = insert_for(dialect, table)
    sums = {column: table.c[column] + rows.excluded[column] for column in columns}
    insert: Insert = rows.on_conflict_do_update(index_elements=[*key], set_=sums)
    return insert


def insert_or_add(dialect: Dialect, table: Table, key: str) -> Insert:
    """An INSERT that adds its values to those of the row with the same ``key`` if there is one."""
    rows: Any = insert_for(dialect, table)
    sums = {column.name: column + rows.excluded[column.name] for column in table.columns if column.name != key}
    insert: Insert = rows.on_conflict_do_update(index_elements=[key], set_=sums)
    return insert


def compile_rows(dialect: Dialect, rows: Insert, table: Table, *columns: str) -> str:
    """The statement ``rows`` for ``DatabaseConnection.queue_rows``, which sets these columns; all if none is named."""
    names = [*columns] or [column.name for column in table.columns]
    if dialect.name != "postgresql":
        return compile_text(dialect, rows, names)
    # One statement, whatever their number. As JSON: the driver takes several times as long for arrays.
    values = func.json_to_recordset(cast(bindparam("rows"), JSON))
    typed = [Column(name, table.c[name].type) for name in names]
    elements = values.table_valued(*typed).render_derived(with_types=True)
    return compile_text(dialect, rows.from_select(names, select(elements)))


def json_elements(dialect: Dialect, name: str) -> Select[Any]:
    """The elements of the JSON array of strings that is passed as value ``name``, as rows.

    An array is one value, whatever its length, so that the statement text stays the same and is prepared once.
    """
    return select(_JSON_ELEMENTS[dialect.name](bindparam(name)).table_valued("value").c.value)


def with_limit(statement: Select[Any]) -> Select[Any]:
    """``statement`` with its number of rows bounded by the value ``limit``."""
    # SQLite's dialect adds an offset, as a value of its own, to a limit that is a value.
    return statement.limit(bindparam("limit")).offset(literal_column("0"))


def compile_text(dialect: Dialect, statement: ClauseElement, columns: list[str] | None = None) -> str:
    """The statement as text, its values named as the driver takes them; ``columns`` are those it sets by name."""
    return str(statement.compile(dialect=dialect, column_keys=columns))


def compile_by_position(dialect: Dialect, statement: Insert, columns: list[str]) -> str:
    """The statement as text; the driver takes the values of ``columns``, which are in the order of the table."""
    kind: Any = type(dialect)
    positional = kind(paramstyle="qmark" if dialect.name == "sqlite" else "format")
    compiled = statement.compile(dialect=positional, column_keys=columns)
    assert compiled.positiontup == columns, "the driver would mistake the columns"
    return str(compiled)
