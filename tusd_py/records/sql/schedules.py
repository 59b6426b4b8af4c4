"""The states of schedules in a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Dialect, bindparam, literal_column, null, or_, select, update

from tusd_py.model.audit import AuditEntry
from tusd_py.model.schedules import RunOutcome, ScheduleState
from tusd_py.model.text import valid_unicode
from tusd_py.records.sql.dialect import compile_text, insert_or_ignore
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.schedule_tables import ScheduleRow
from tusd_py.records.sql.tables import RecordsTable, from_microseconds, to_microseconds
from tusd_py.records.sql.transactions import Query, SingleStatement, WriteResult

_schedules = RecordsTable.metadata.tables[ScheduleRow.__tablename__]
_NONE: ColumnElement[str] = literal_column("''")


@dataclass(frozen=True, slots=True)
class ScheduleStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    add: str  # a row
    replan: str  # its_name, new_timing, new_due_at
    list_all: str
    find: str  # its_name
    claim: str  # its_name, new_holder, now, until
    renew: str  # its_name, its_holder, until
    postpone: str  # its_name, seen_due_at, new_due_at
    hand_over: str  # its_name, its_holder, new_due_at
    finish: str  # its_name, its_holder, new_outcome, new_detail, at, new_due_at
    report: str  # its_name, new_outcome, new_detail, started, at
    make_due: str  # its_name, now


def compile_schedule_statements(dialect: Dialect) -> ScheduleStatements:
    """Every statement, for ``dialect``."""
    c = _schedules.c
    named = c.name == bindparam("its_name")
    held = c.holder == bindparam("its_holder")
    is_free = or_(c.lease_until.is_(null()), c.lease_until <= bindparam("now"))
    change = update(_schedules).where(named)
    result: dict[str, Any] = {
        "outcome": bindparam("new_outcome"),
        "detail": bindparam("new_detail"),
        "ended_at": bindparam("at"),
    }
    ended: dict[str, Any] = {"holder": _NONE, "lease_until": null(), "due_at": bindparam("new_due_at")}
    statements = {
        # A schedule whose timing has changed is due as the new one says, also if it had missed a run.
        "replan": change.where(c.timing != bindparam("new_timing")).values(
            timing=bindparam("new_timing"), due_at=bindparam("new_due_at")
        ),
        "list_all": select(_schedules).order_by(c.name),
        "find": select(_schedules).where(named),
        "claim": change.where(c.due_at <= bindparam("now"), is_free).values(
            holder=bindparam("new_holder"),
            lease_until=bindparam("until"),
            started_at=bindparam("now"),
            outcome=literal_column(f"'{RunOutcome.RUNNING}'"),
            detail=_NONE,
        ),
        "renew": change.where(held).values(lease_until=bindparam("until")),
        "postpone": change.where(c.due_at == bindparam("seen_due_at")).values(due_at=bindparam("new_due_at")),
        "hand_over": change.where(held).values(**ended),
        "finish": change.where(held).values(**ended, **result),
        "report": change.values(started_at=bindparam("started"), **result),
        "make_due": change.where(c.due_at > bindparam("now")).values(due_at=bindparam("now")),
    }
    add = insert_or_ignore(dialect, _schedules, "name")
    return ScheduleStatements(
        add=compile_text(dialect, add, [column.name for column in _schedules.columns]),
        **{name: compile_text(dialect, statement) for name, statement in statements.items()},
    )


class SqlScheduleStates:
    """Keeps the states of schedules in the database of the records; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: ScheduleStatements) -> None:
        self._sql = statements
        self._write = runner.write
        self._write_audited = runner.write_audited
        self._read = runner.read

    async def plan(self, name: str, timing: str, due_at: datetime) -> None:
        values: dict[str, object] = {"its_name": name, "new_timing": timing, "new_due_at": to_microseconds(due_at)}
        row: dict[str, object] = dict.fromkeys((column.name for column in _schedules.columns), None)
        row |= {"name": name, "timing": timing, "due_at": to_microseconds(due_at)}
        row |= {"outcome": RunOutcome.NEVER.value, "detail": "", "holder": ""}
        await self._write(SingleStatement(self._sql.add, row, durable=False))
        await self._write(SingleStatement(self._sql.replan, values, durable=False))

    async def list_states(self) -> list[ScheduleState]:
        return await self._read(Query(self._sql.list_all, {}, _to_state))

    async def claim(self, name: str, holder: str, now: datetime, until: datetime) -> ScheduleState | None:
        values: dict[str, object] = {"its_name": name, "new_holder": holder, "now": to_microseconds(now)}
        claim = ClaimSchedule(self._sql, values | {"until": to_microseconds(until)})
        await self._write(claim)
        return claim.before

    async def renew(self, name: str, holder: str, until: datetime) -> bool:
        values: dict[str, object] = {"its_name": name, "its_holder": holder, "until": to_microseconds(until)}
        return (await self._write(SingleStatement(self._sql.renew, values, durable=False))).count > 0

    async def postpone(self, name: str, due_at: datetime, new_due_at: datetime) -> bool:
        values: dict[str, object] = {"its_name": name, "seen_due_at": to_microseconds(due_at)}
        values |= {"new_due_at": to_microseconds(new_due_at)}
        return (await self._write(SingleStatement(self._sql.postpone, values, durable=False))).count > 0

    async def hand_over(self, name: str, holder: str, due_at: datetime) -> bool:
        values: dict[str, object] = {"its_name": name, "its_holder": holder, "new_due_at": to_microseconds(due_at)}
        return (await self._write(SingleStatement(self._sql.hand_over, values))).count > 0

    async def finish(
        self, name: str, holder: str, outcome: RunOutcome, detail: str, now: datetime, due_at: datetime
    ) -> bool:
        values = _result(name, outcome, detail, now)
        values |= {"its_holder": holder, "new_due_at": to_microseconds(due_at)}
        return (await self._write(SingleStatement(self._sql.finish, values))).count > 0

    async def report(self, name: str, outcome: RunOutcome, detail: str, started_at: datetime, now: datetime) -> None:
        values = _result(name, outcome, detail, now) | {"started": to_microseconds(started_at)}
        await self._write(SingleStatement(self._sql.report, values))

    async def make_due(self, name: str, now: datetime, audit: Sequence[AuditEntry] = ()) -> bool:
        values: dict[str, object] = {"its_name": name, "now": to_microseconds(now)}
        await self._write_audited(SingleStatement(self._sql.make_due, values), audit)
        return bool(await self._read(Query(self._sql.find, {"its_name": name}, _to_state)))


def _result(name: str, outcome: RunOutcome, detail: str, now: datetime) -> dict[str, object]:
    is_running = outcome is RunOutcome.RUNNING
    return {
        "its_name": name,
        "new_outcome": outcome.value,
        "new_detail": valid_unicode(detail).replace("\0", ""),
        "at": None if is_running else to_microseconds(now),
    }


def _to_state(row: Sequence[Any]) -> ScheduleState:
    name, timing, due_at, started_at, ended_at, outcome, detail, holder, lease_until = row
    return ScheduleState(
        name=name,
        timing=timing,
        due_at=from_microseconds(due_at),
        started_at=_to_time(started_at),
        ended_at=_to_time(ended_at),
        outcome=RunOutcome(outcome),
        detail=detail,
        holder=holder,
        lease_until=_to_time(lease_until),
    )


def _to_time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else from_microseconds(microseconds)


@dataclass(slots=True)
class ClaimSchedule:
    """Lease a schedule that is due and that no process runs."""

    sql: ScheduleStatements
    values: dict[str, object]
    durable: bool = False
    before: ScheduleState | None = field(default=None)

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        self.before = None
        row = connection.execute(self.sql.find, {"its_name": self.values["its_name"]}).fetchone()
        # Two processes may see the same row; the UPDATE decides.
        count = connection.execute(self.sql.claim, self.values).rowcount
        if count and row is not None:
            self.before = _to_state(row)
        return WriteResult(count=count)
