"""Closed endpoints in a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Dialect, bindparam, delete, select, update

from tusd_py.model.audit import AuditEntry
from tusd_py.model.jobs import ClosedEndpoint
from tusd_py.records.sql.dialect import compile_text, insert_or_ignore
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.tables import RecordsTable, from_microseconds, to_microseconds
from tusd_py.records.sql.transactions import Query, SingleStatement

_endpoints = RecordsTable.metadata.tables["endpoint_state"]
_CLOSED, _FAILING = "closed", "failing"


@dataclass(frozen=True, slots=True)
class EndpointStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    find: str  # name, state
    list_all: str  # state
    close: str  # name, state, reason, since
    open: str  # name, state
    set_reason: str  # name, state, reason


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
        set_reason=compile_text(
            dialect, update(_endpoints).where(named, in_state).values(reason=bindparam("new_reason"))
        ),
    )


class SqlEndpointStates:
    """Keeps which webhook endpoints are closed, in the database of the records; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: EndpointStatements) -> None:
        self._sql = statements
        self._write = runner.write
        self._write_audited = runner.write_audited
        self._read = runner.read

    async def find_closed(self, name: str) -> ClosedEndpoint | None:
        return await self._find(name, _CLOSED)

    async def list_closed(self) -> list[ClosedEndpoint]:
        return await self._read(Query(self._sql.list_all, {"state": _CLOSED}, _to_endpoint))

    async def close_endpoint(self, name: str, reason: str, now: datetime) -> bool:
        return (await self._write(SingleStatement(self._sql.close, _row(name, _CLOSED, reason, now)))).count > 0

    async def report_failure(self, name: str, reason: str, now: datetime) -> None:
        values: dict[str, object] = {"name": name, "state": _FAILING, "new_reason": reason}
        if (await self._write(SingleStatement(self._sql.set_reason, values))).count == 0:
            await self._write(SingleStatement(self._sql.close, _row(name, _FAILING, reason, now)))

    async def clear_failure(self, name: str) -> None:
        await self._write(SingleStatement(self._sql.open, {"name": name, "state": _FAILING}))

    async def find_failure(self, name: str) -> ClosedEndpoint | None:
        return await self._find(name, _FAILING)

    async def open_endpoint(self, name: str, audit: Sequence[AuditEntry] = ()) -> bool:
        change = SingleStatement(self._sql.open, {"name": name, "state": _CLOSED})
        return (await self._write_audited(change, audit)).count > 0

    async def _find(self, name: str, state: str) -> ClosedEndpoint | None:
        found: list[ClosedEndpoint] = await self._read(
            Query(self._sql.find, {"name": name, "state": state}, _to_endpoint)
        )
        return found[0] if found else None


def _row(name: str, state: str, reason: str, now: datetime) -> dict[str, object]:
    return {"name": name, "state": state, "reason": reason, "since": to_microseconds(now)}


def _to_endpoint(row: Sequence[Any]) -> ClosedEndpoint:
    return ClosedEndpoint(name=row[0], reason=row[1], since=from_microseconds(row[2]))
