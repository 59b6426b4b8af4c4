"""The quota ledger in a database: reading it, limits for single subjects, and its reconciliation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tusd_py.model.audit import AuditEntry
from tusd_py.model.quota import Quota, QuotaDrift, QuotaLimits, QuotaUsage
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.quota_statements import QuotaStatements
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.transactions import Query, WriteResult


class SqlQuotaLedger:
    """Keeps what each subject is charged; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: QuotaStatements) -> None:
        self._sql = statements
        self._write = runner.write
        self._write_audited = runner.write_audited
        self._read = runner.read

    async def usage(self, subject: str, periods: Mapping[Quota, str]) -> list[QuotaUsage]:
        day, month = periods[Quota.BYTES_PER_DAY], periods[Quota.BYTES_PER_MONTH]
        values: dict[str, object] = {"subject": subject, "day": day, "month": month}
        used = dict(await self._read(Query(self._sql.counters, values, tuple)))
        reserved = (await self._read(Query(self._sql.reserved, values, tuple)))[0]
        return [
            QuotaUsage(quota=quota, period=period, used=used.get(period, 0), reserved=int(reserved[place]))
            for place, (quota, period) in enumerate(((Quota.BYTES_PER_DAY, day), (Quota.BYTES_PER_MONTH, month)))
        ]

    async def find_limits(self, subject: str) -> QuotaLimits | None:
        found: list[QuotaLimits] = await self._read(Query(self._sql.find_limits, {"subject": subject}, _to_limits))
        return found[0] if found else None

    async def set_limits(self, subject: str, limits: QuotaLimits | None, audit: Sequence[AuditEntry] = ()) -> None:
        await self._write_audited(SetQuotaLimits(self._sql, subject, limits), audit)

    async def reconcile(self, *, repair: bool) -> list[QuotaDrift]:
        reconciliation = Reconciliation(self._sql, repair)
        await self._write(reconciliation)
        return reconciliation.drifts

    async def prune(self, before_month: str) -> None:
        await self._write(PruneCharges(self._sql, before_month))


def _to_limits(row: Sequence[Any]) -> QuotaLimits:
    return QuotaLimits(bytes_per_day=row[0], bytes_per_month=row[1])


@dataclass(frozen=True, slots=True)
class SetQuotaLimits:
    """Set or remove the limits of one subject."""

    sql: QuotaStatements
    subject: str
    limits: QuotaLimits | None
    durable: bool = True

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        connection.execute(self.sql.remove_limits, {"subject": self.subject})
        if self.limits is not None:
            values: dict[str, object] = {
                "subject": self.subject,
                "bytes_per_day": self.limits.bytes_per_day,
                "bytes_per_month": self.limits.bytes_per_month,
            }
            connection.execute(self.sql.set_limits, values)
        return WriteResult()


@dataclass(frozen=True, slots=True)
class PruneCharges:
    """Forget what was charged before a month, in whole months of a subject: the counters stay sums of the charges."""

    sql: QuotaStatements
    before_month: str
    durable: bool = False

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        values: dict[str, object] = {"before_month": self.before_month}
        connection.execute(self.sql.prune_counters, values)
        return WriteResult(count=connection.execute(self.sql.prune, values).rowcount)


@dataclass(slots=True)
class Reconciliation:
    """Compare charges with records and counters with charges, in one transaction, and correct both if asked to."""

    sql: QuotaStatements
    repair: bool
    durable: bool = True
    drifts: list[QuotaDrift] = field(default_factory=list)

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        self.drifts = []
        for upload_id, created_at, subject, counted, charged in connection.execute(
            self.sql.wrong_charges, {}
        ).fetchall():
            self.drifts.append(
                QuotaDrift(subject=subject, period=f"upload {upload_id}", counted=counted, charged=charged)
            )
            if self.repair:
                values = {"upload_id": upload_id, "created_at": created_at, "new_bytes": charged}
                connection.execute(self.sql.correct_charge, values)
        counters = {row[:2]: row[2] for row in map(tuple, connection.execute(self.sql.all_counters, {}).fetchall())}
        sums = {
            (subject, period): int(charged)
            for statement in (self.sql.by_day, self.sql.by_month)
            for subject, period, charged in connection.execute(statement, {}).fetchall()
        }
        for subject, period in sorted({*sums, *counters}):
            counted, charged = counters.get((subject, period), 0), sums.get((subject, period), 0)
            if counted != charged:
                self._correct(connection, subject, period, counted, charged)
        return WriteResult(count=len(self.drifts))

    def _correct(self, connection: DatabaseConnection, subject: str, period: str, counted: int, charged: int) -> None:
        self.drifts.append(QuotaDrift(subject=subject, period=period, counted=counted, charged=charged))
        if self.repair:
            values: dict[str, object] = {"subject": subject, "period": period, "bytes": charged - counted}
            connection.execute_many(self.sql.count, [values])
