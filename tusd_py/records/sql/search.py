"""Lists of uploads: one statement for each order, and the rows of a page among those that it selects.

Each statement reads a bounded number of rows from an index. What no index knows is filtered here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Dialect, Select, Text, bindparam, literal_column, or_, select, union_all

from tusd_py.model.upload import Status
from tusd_py.protocol.listing import FAR, ListedUpload, PageKey, UploadFilter, prefix_end
from tusd_py.records.sql.dialect import compile_text
from tusd_py.records.sql.tables import RecordsTable
from tusd_py.records.sql.transactions import Query

#: How many uploads one page examines at most, if it filters by what its index does not know.
EXAMINED_MAX = 500

_uploads = RecordsTable.metadata.tables["uploads"]
_COLUMNS = ("id", "status", "owner", "created_at", "name_key", "declared_type", "detected_type", "grant")
#: Columns with an index of their own, the most selective first.
_BY_VALUE = ("grant", "owner", "detected_type", "declared_type")
_columns = [_uploads.c[name] for name in _COLUMNS]
_EMPTY: ColumnElement[str] = literal_column("''")


@dataclass(frozen=True, slots=True)
class SearchStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    by_time: str  # since, upper, key_at, key_id, examined, and of_STATUS for each status: as examined, or 0
    by_value: Mapping[str, str]  # by column: value, since, upper, key_at, key_id, examined
    by_name: str  # low, high, key_name, key_id, examined


def compile_search_statements(dialect: Dialect) -> SearchStatements:
    """Every statement, for ``dialect``."""
    # One seek into the index for each status: all of them, merged, are the newest ones.
    arms = [_bounded(_newest(_is_status(status)), f"of_{status.value}") for status in Status]
    merged = union_all(*(select(arm.subquery(f"of_{status.value}")) for arm, status in zip(arms, Status, strict=True)))
    all_of_them = merged.subquery("merged")
    by_time = select(all_of_them).order_by(all_of_them.c.created_at.desc(), all_of_them.c.id.desc())
    name, upload_id = _uploads.c.name_key, _uploads.c.id
    key_name, key_id = bindparam("key_name", type_=Text), bindparam("key_id", type_=Text)
    by_name = (
        select(*_columns)
        .where(name != _EMPTY, name >= bindparam("low", type_=Text), name < bindparam("high", type_=Text))
        .where(name >= key_name, or_(name > key_name, upload_id > key_id))
        .order_by(name, upload_id)
    )
    return SearchStatements(
        by_time=compile_text(dialect, _bounded(by_time, "examined")),
        by_value={column: compile_text(dialect, _bounded(_newest_with(column), "examined")) for column in _BY_VALUE},
        by_name=compile_text(dialect, _bounded(by_name, "examined")),
    )


def search_query(sql: SearchStatements, wanted: UploadFilter, after: PageKey | None, examined: int) -> Query:
    """Reads at most ``examined`` rows from the index for ``wanted``."""
    index = _index_for(wanted)
    if index == "name_key":
        low = wanted.name_prefix
        key_name, key_id = after or (low, "")
        names = {"low": low, "high": prefix_end(low), "key_name": key_name, "key_id": key_id}
        return Query(sql.by_name, {**names, "examined": examined}, ListedUpload._make)
    key_at, key_id = after or (FAR, "")
    upper = min(wanted.created_before - 1, int(key_at))
    times = {"since": wanted.created_from, "upper": upper, "key_at": key_at, "key_id": key_id}
    values: dict[str, object] = {**times, "examined": examined}
    if index != "status":
        return Query(sql.by_value[index], {**values, "value": getattr(wanted, index)}, ListedUpload._make)
    for status in Status:
        values[f"of_{status.value}"] = examined if status in wanted.statuses else 0
    return Query(sql.by_time, values, ListedUpload._make)


def _index_for(wanted: UploadFilter) -> str:
    """The column that selects the fewest rows; all its rows of one value are in the order of the list."""
    if wanted.is_by_name:
        return "name_key"
    # Those without an owner are in no index of their own: there may be millions.
    return next((column for column in _BY_VALUE if getattr(wanted, column)), "status")


def rows_to_examine(wanted: UploadFilter, limit: int) -> int:
    """How many rows to read for a page: one more than it has, unless some of them may not match."""
    index = _index_for(wanted)
    filters = {
        "status": len(wanted.statuses) < len(Status),
        "owner": wanted.owner is not None,
        "detected_type": bool(wanted.detected_type),
        "declared_type": bool(wanted.declared_type),
        "grant": bool(wanted.grant),
        "name_key": bool(wanted.name_prefix),
        "created_at": index == "name_key" and (wanted.created_from > 0 or wanted.created_before < FAR),
    }
    has_others = any(is_used for column, is_used in filters.items() if column != index)
    return max(EXAMINED_MAX if has_others else 0, limit + 1)


def select_page(
    rows: Sequence[ListedUpload], wanted: UploadFilter, limit: int, examined: int
) -> tuple[list[str], PageKey | None]:
    """The ids of a page among ``rows``, and where the next page begins, if there is one."""
    ids: list[str] = []
    for place, row in enumerate(rows, 1):
        if wanted.matches(row):
            ids.append(row.id)
        if len(ids) == limit or place == len(rows):
            has_more = place < len(rows) or len(rows) == examined
            return ids, _key(row, wanted) if has_more else None
    return ids, None


def _key(row: ListedUpload, wanted: UploadFilter) -> PageKey:
    return (row.name_key if wanted.is_by_name else row.created_at), row.id


def _newest(*conditions: ColumnElement[bool]) -> Select[Any]:
    at = _uploads.c.created_at
    return (
        select(*_columns)
        .where(*conditions, at >= bindparam("since"), at <= bindparam("upper"))
        .where(or_(at < bindparam("key_at"), _uploads.c.id < bindparam("key_id", type_=Text)))
        .order_by(at.desc(), _uploads.c.id.desc())
    )


def _newest_with(column: str) -> Select[Any]:
    """Those that have ``value`` in this column, by its partial index, whose condition is repeated."""
    return _newest(_uploads.c[column] == bindparam("value", type_=Text), _uploads.c[column] != _EMPTY)


def _is_status(status: Status) -> ColumnElement[bool]:
    return _uploads.c.status == literal_column(f"'{status.value}'")


def _bounded(statement: Select[Any], name: str) -> Select[Any]:
    """``statement`` with its number of rows bounded by the value ``name``."""
    # SQLite's dialect adds an offset, as a value of its own, to a limit that is a value.
    return statement.limit(bindparam(name)).offset(literal_column("0"))
