"""The quota ledger in a database: reading it, limits for single subjects, and its reconciliation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from tusd_py.model.audit import AuditEntry
from tusd_py.model.quota import NOW, Quota, QuotaDrift, QuotaPeriods, QuotaUsage, SubjectLimits
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.quota_rows import limits_row, quota_key, to_subject_limits
from tusd_py.records.sql.quota_statements import QuotaStatements
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.transactions import Query, SnapshotQuery, WriteResult


class SqlQuotaLedger:
    """Keeps what each subject is charged; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: QuotaStatements) -> None:
        self._sql = statements
        self._write = runner.write
        self._write_audited = runner.write_audited
        self._read = runner.read

    async def usage(self, subject: str, periods: QuotaPeriods) -> list[QuotaUsage]:
        values: dict[str, object] = {"subject": subject, **periods._asdict()}
        rows = await self._read(Query(self._sql.counters, values, tuple))
        used = {period: (counted_bytes, files) for period, counted_bytes, files in rows}
        values = {"subject": subject, "day": periods.day, "month": periods.month}
        reserved = (await self._read(Query(self._sql.reserved, values, tuple)))[0]
        unsettled = {Quota.BYTES_PER_DAY: int(reserved[0]), Quota.BYTES_PER_MONTH: int(reserved[1])}
        return [
            QuotaUsage(
                quota=quota,
                period=periods.of(quota),
                used=used.get(periods.of(quota), (0, 0))[0 if quota.counts_bytes else 1],
                reserved=unsettled.get(quota, 0),
            )
            for quota in Quota
        ]

    async def find_limits(self, subject: str) -> SubjectLimits:
        found: list[SubjectLimits] = await self._read(
            Query(self._sql.find_limits, {"subject": subject}, to_subject_limits)
        )
        return found[0] if found else {}

    async def change_limits(
        self, subject: str, limits: SubjectLimits, removed: Collection[Quota] = (), audit: Sequence[AuditEntry] = ()
    ) -> None:
        await self._write_audited(ChangeLimits(self._sql, subject, limits, removed), audit)

    async def forget(self, subject: str) -> None:
        await self._write(ForgetSubject(self._sql, subject))

    async def reconcile(
        self, *, repair: bool, counts_now: bool = False, deletes_rejected: bool = False
    ) -> list[QuotaDrift]:
        switches = {"counts_now": int(counts_now), "deletes_rejected": int(deletes_rejected)}
        # First without the write lock: looking at millions of charges takes seconds, and mostly nothing has drifted.
        survey = Reconciliation(self._sql, False, switches)
        await self._read(SnapshotQuery(survey.survey))
        if not repair or not survey.drifts:
            return survey.drifts
        reconciliation = Reconciliation(self._sql, True, switches)
        await self._write(reconciliation)
        return reconciliation.drifts

    async def prune(self, before_month: str) -> None:
        await self._write(PruneCharges(self._sql, before_month))


@dataclass(frozen=True, slots=True)
class ChangeLimits:
    """Set and remove limits of one subject."""

    sql: QuotaStatements
    subject: str
    limits: SubjectLimits
    removed: Collection[Quota]
    durable: bool = True

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        # Of two changes of different quotas at once, both last.
        connection.lock_keys([quota_key(self.subject)])
        subject: dict[str, object] = {"subject": self.subject}
        found = connection.execute(self.sql.find_limits, subject).fetchone()
        limits = {**({} if found is None else to_subject_limits(found)), **self.limits}
        kept = {quota: limit for quota, limit in limits.items() if quota not in self.removed}
        connection.execute(self.sql.remove_limits, subject)
        if kept:
            connection.execute(self.sql.set_limits, {**subject, **limits_row(kept)})
        return WriteResult()


@dataclass(frozen=True, slots=True)
class ForgetSubject:
    """Delete everything about one subject. Uploads that it still has are not charged any more."""

    sql: QuotaStatements
    subject: str
    durable: bool = True

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        for statement in (self.sql.remove_limits, self.sql.remove_charges, self.sql.remove_counters):
            connection.execute(statement, {"subject": self.subject})
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
    switches: dict[str, int]
    durable: bool = True
    drifts: list[QuotaDrift] = field(default_factory=list)

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        return WriteResult(count=len(self.survey(connection)))

    def survey(self, connection: DatabaseConnection) -> list[QuotaDrift]:
        """Find the differences."""
        self.drifts = []
        # Those of final uploads after those of their parts, on which they depend.
        self._check_charges(connection, self.sql.wrong_charges)
        self._check_charges(connection, self.sql.wrong_finals)
        counters = _by_period(connection, self.sql.all_counters)
        sums: dict[tuple[str, str], tuple[int, int]] = {}
        for statement in (self.sql.by_day, self.sql.by_month, self.sql.by_now):
            sums |= _by_period(connection, statement)
        for subject, period in sorted({*sums, *counters}):
            key = (subject, period)
            self._check_counter(connection, subject, period, counters.get(key, (0, 0)), sums.get(key, (0, 0)))
        return self.drifts

    def _check_charges(self, connection: DatabaseConnection, statement: str) -> None:
        for upload_id, created_at, subject, *numbers in connection.execute(statement, self.switches).fetchall():
            counted, charged = numbers[::2], numbers[1::2]
            self._note(subject, f"upload {upload_id}", ("bytes", "stored", "unfinished"), counted, charged)
            if self.repair:
                names = ("new_bytes", "new_stored", "new_unfinished")
                values = {"upload_id": upload_id, "created_at": created_at, **dict(zip(names, charged, strict=True))}
                connection.execute(self.sql.correct_charge, values)

    def _check_counter(
        self,
        connection: DatabaseConnection,
        subject: str,
        period: str,
        counted: tuple[int, int],
        charged: tuple[int, int],
    ) -> None:
        if counted == charged:
            return
        self._note(subject, period, ("stored", "unfinished") if period == NOW else ("bytes", "files"), counted, charged)
        if self.repair:
            values: dict[str, object] = {
                "subject": subject,
                "period": period,
                "bytes": charged[0] - counted[0],
                "files": charged[1] - counted[1],
            }
            connection.queue_rows(self.sql.count, [values])

    def _note(
        self, subject: str, period: str, units: Sequence[str], counted: Sequence[int], charged: Sequence[int]
    ) -> None:
        for unit, was, should_be in zip(units, counted, charged, strict=True):
            if was != should_be:
                self.drifts.append(
                    QuotaDrift(subject=subject, period=period, unit=unit, counted=was, charged=should_be)
                )


def _by_period(connection: DatabaseConnection, statement: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Bytes and files by subject and period."""
    rows = connection.execute(statement, {}).fetchall()
    return {(row[0], row[1]): (int(row[2]), int(row[3])) for row in rows}
