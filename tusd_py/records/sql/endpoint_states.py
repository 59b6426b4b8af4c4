"""Closed endpoints in a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Dialect, bindparam, delete, select

from tusd_py.model.jobs import ClosedEndpoint
from tusd_py.records.sql.dialect import compile_text, insert_or_ignore
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.tables import RecordsTable, from_microseconds, to_microseconds
from tusd_py.records.sql.transactions import Query, WriteResult

_endpoints = RecordsTable.metadata.tables["endpoint_state"]
_CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class EndpointStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    find: str  # name, state
    list_all: str  # state
    close: str  # name, state, reason, since
    open: str  # name, state


def compile_endpoint_statements(dialect: Dialect) -> EndpointStatements:
    """Every statement, for ``dialect``."""
    columns = (_endpoints.c.name, _endpoints.c.reason, _endpoints.c.since)
    in_state = _endpoints.c.state == bindparam("state")
    named = _endpoints.c.name == bindparam("name")
    return EndpointStatements(
        find=compile_text(dialect, select(*columns).where(named, in_state)),
        list_all=compile_text(dialect, select(*columns).where(in_state).order_by(_endpoints.c.name)),
        close=compile_text(
            dialect,
            insert_or_ignore(dialect, _endpoints, "name"),
            [column.name for column in _endpoints.columns],
        ),
        open=compile_text(dialect, delete(_endpoints).where(named, in_state)),
    )


class SqlEndpointStates:
    """Keeps which webhook endpoints are closed, in the database of the records; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: EndpointStatements) -> None:
        self._sql = statements
        self._write = runner.write
        self._read = runner.read

    async def find_closed(self, name: str) -> ClosedEndpoint | None:
        values: dict[str, object] = {"name": name, "state": _CLOSED}
        found: list[ClosedEndpoint] = await self._read(Query(self._sql.find, values, _to_endpoint))
        return found[0] if found else None

    async def list_closed(self) -> list[ClosedEndpoint]:
        return await self._read(Query(self._sql.list_all, {"state": _CLOSED}, _to_endpoint))

    async def close_endpoint(self, name: str, reason: str, now: datetime) -> None:
        values: dict[str, object] = {"name": name, "state": _CLOSED, "reason": reason, "since": to_microseconds(now)}
        await self._write(EndpointChange(self._sql.close, values))

    async def open_endpoint(self, name: str) -> bool:
        change = EndpointChange(self._sql.open, {"name": name, "state": _CLOSED})
        return (await self._write(change)).count > 0


def _to_endpoint(row: Sequence[Any]) -> ClosedEndpoint:
    return ClosedEndpoint(name=row[0], reason=row[1], since=from_microseconds(row[2]))


@dataclass(frozen=True, slots=True)
class EndpointChange:
    """Close or open an endpoint."""

    statement: str
    values: dict[str, object]
    durable: bool = True

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        return WriteResult(count=connection.execute(self.statement, self.values).rowcount)
