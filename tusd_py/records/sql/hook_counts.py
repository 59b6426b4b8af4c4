"""The totals of delivered hooks in a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect, select

from tusd_py.contracts.hook_counts import HookCount
from tusd_py.model.hooks import Hook
from tusd_py.records.sql.dialect import compile_text, insert_or_add
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.tables import RecordsTable
from tusd_py.records.sql.transactions import Query, WriteResult

_counts = RecordsTable.metadata.tables["hook_counts"]


@dataclass(frozen=True, slots=True)
class HookCountStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    add: str  # hook, invocations, errors
    list_all: str


def compile_hook_count_statements(dialect: Dialect) -> HookCountStatements:
    """Every statement, for ``dialect``."""
    columns = [column.name for column in _counts.columns]
    return HookCountStatements(
        add=compile_text(dialect, insert_or_add(dialect, _counts, "hook"), columns),
        list_all=compile_text(dialect, select(_counts.c.hook, _counts.c.invocations, _counts.c.errors)),
    )


class SqlHookCounts:
    """Keeps the totals of hooks in the database of the records; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: HookCountStatements) -> None:
        self._sql = statements
        self._write = runner.write
        self._read = runner.read

    async def add(self, hook: Hook, count: HookCount) -> None:
        values: dict[str, object] = {"hook": hook.value, "invocations": count.invocations, "errors": count.errors}
        await self._write(_Addition(self._sql.add, values))

    async def totals(self) -> Mapping[Hook, HookCount]:
        return dict(await self._read(Query(self._sql.list_all, {}, _to_count)))


def _to_count(row: Sequence[Any]) -> tuple[Hook, HookCount]:
    return Hook(row[0]), HookCount(row[1], row[2])


@dataclass(frozen=True, slots=True)
class _Addition:
    """Add to the totals of one hook."""

    statement: str
    values: dict[str, object]
    durable: bool = False  # a loss of power may take the last ones away

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        return WriteResult(count=connection.execute(self.statement, self.values).rowcount)
