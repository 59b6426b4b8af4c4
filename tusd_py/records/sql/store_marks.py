"""The mark of the store in a database."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Dialect, bindparam, exists, literal_column, select, update

from tusd_py.records.sql.all_tables import RecordsTable
from tusd_py.records.sql.dialect import compile_text, insert_or_ignore
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.transactions import Query, SingleStatement

_marks = RecordsTable.metadata.tables["store_marks"]
_uploads = RecordsTable.metadata.tables["uploads"]
_NAME = "uploads"


@dataclass(frozen=True, slots=True)
class StoreMarkStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    find: str  # name
    add: str  # name, mark
    change: str  # name, new_mark
    find_bytes: str


def compile_store_mark_statements(dialect: Dialect) -> StoreMarkStatements:
    """Every statement, for ``dialect``."""
    is_ours = _marks.c.name == bindparam("name")
    columns = [column.name for column in _marks.columns]
    return StoreMarkStatements(
        find=compile_text(dialect, select(_marks.c.mark).where(is_ours)),
        add=compile_text(dialect, insert_or_ignore(dialect, _marks, "name"), columns),
        change=compile_text(dialect, update(_marks).where(is_ours).values(mark=bindparam("new_mark"))),
        find_bytes=compile_text(dialect, select(exists().where(_uploads.c.offset > literal_column("0")))),
    )


class SqlStoreMarks:
    """Keeps the mark in the database of the records; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: StoreMarkStatements) -> None:
        self._sql = statements
        self._write = runner.write
        self._read = runner.read

    async def find(self) -> str:
        found = await self._read(Query(self._sql.find, {"name": _NAME}, lambda row: str(row[0])))
        return found[0] if found else ""

    async def find_or_add(self, mark: str) -> str:
        if not (found := await self.find()):
            await self._write(SingleStatement(self._sql.add, {"name": _NAME, "mark": mark}))
            found = await self.find()
        return found

    async def replace(self, mark: str) -> None:
        if await self.find_or_add(mark) != mark:
            await self._write(SingleStatement(self._sql.change, {"name": _NAME, "new_mark": mark}))

    async def has_bytes(self) -> bool:
        return any(await self._read(Query(self._sql.find_bytes, {}, lambda row: bool(row[0]))))
