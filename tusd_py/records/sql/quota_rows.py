"""A charge of the quota ledger within the transaction of the record that causes it. Runs in the database threads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tusd_py.contracts.records import QuotaExhausted
from tusd_py.model.quota import ExhaustedQuota, Quota, QuotaAmounts, QuotaCharge, QuotaLimits, QuotaPeriods
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.quota_statements import QuotaStatements
from tusd_py.records.sql.tables import to_microseconds

_NOTHING = QuotaAmounts()
#: Of each quota in the order of ``QuotaLimits``: its period in ``QuotaPeriods``, whether it is the first or the second
#: number of a counter, and what of ``QuotaAmounts`` it limits.
_DAY, _MONTH, _NOW = range(3)
_RULES = (
    (Quota.BYTES_PER_DAY, _DAY, 0, 0),
    (Quota.BYTES_PER_MONTH, _MONTH, 0, 0),
    (Quota.FILES_PER_DAY, _DAY, 1, 1),
    (Quota.FILES_PER_MONTH, _MONTH, 1, 1),
    (Quota.BYTES_STORED, _NOW, 0, 2),
    (Quota.UPLOADS_AT_ONCE, _NOW, 1, 3),
)
assert tuple(rule[0] for rule in _RULES) == tuple(Quota)


@dataclass(slots=True)
class _Plan:
    """What ``QuotaRows.check`` has found out, for ``write``."""

    subject: str
    periods: QuotaPeriods
    amounts: QuotaAmounts  # of the charge from now on
    before: QuotaAmounts
    is_settled: bool
    own_limits: QuotaLimits | None
    taken_by: str = ""


@dataclass(slots=True)
class _Used:
    """What one subject has used in some periods, and the limits that were set for it."""

    counts: dict[str, list[int]]
    limits: QuotaLimits | None


class QuotaBatch:
    """The counters during one transaction: read once for each subject, and written once at its end.

    Creations that arrive together are mostly those of few subjects. The transaction holds the write lock, or that of
    the subject, so that what was read stays true.
    """

    __slots__ = ("_growth", "_sql", "_used")

    def __init__(self, sql: QuotaStatements) -> None:
        self._sql = sql
        self._used: dict[str, dict[QuotaPeriods, _Used]] = {}
        self._growth: dict[tuple[str, str], list[int]] = {}

    def used(self, connection: DatabaseConnection, subject: str, periods: QuotaPeriods) -> _Used:
        of_subject = self._used.get(subject)
        if of_subject is None:
            # Two servers must not both take the last bytes.
            connection.lock_keys([f"quota {subject}"])
            of_subject = self._used[subject] = {}
        found = of_subject.get(periods)
        if found is None:
            found = of_subject[periods] = self._read(connection, subject, periods)
        return found

    def add(self, subject: str, period: str, first: int, second: int) -> None:
        """Add to a counter. What reads it later in the transaction sees the sum."""
        growth = self._growth.get((subject, period))
        if growth is None:
            self._growth[subject, period] = [first, second]
        else:
            growth[0] += first
            growth[1] += second
        for used in self._used.get(subject, {}).values():
            count = used.counts.get(period)
            if count is not None:
                count[0] += first
                count[1] += second

    def flush(self, connection: DatabaseConnection) -> None:
        """Write the counters, and forget what was read."""
        rows: list[dict[str, object]] = [
            {"subject": subject, "period": period, "bytes": first, "files": second}
            for (subject, period), (first, second) in self._growth.items()
            if first or second
        ]
        self._growth.clear()
        self._used.clear()
        if rows:
            connection.execute_many(self._sql.count, rows)

    def _read(self, connection: DatabaseConnection, subject: str, periods: QuotaPeriods) -> _Used:
        day, month, now = periods
        counts, limits = {day: [0, 0], month: [0, 0], now: [0, 0]}, None
        values = {"subject": subject, "day": day, "month": month, "now": now}
        # In one statement, because it belongs to every creation.
        for period, *numbers in connection.execute(self._sql.used_and_limits, values):
            if period:
                counts[period] = numbers[:2]
            else:
                limits = QuotaLimits(*numbers)
        # What this transaction has already added is not in the database yet.
        for period, count in counts.items():
            if (growth := self._growth.get((subject, period))) is not None:
                count[0] += growth[0]
                count[1] += growth[1]
        return _Used(counts, limits)


@dataclass(slots=True)
class QuotaRows:
    """Checks a charge before its record is changed, and writes it after that, in the same transaction.

    Without a ``batch`` its counters are written at once.
    """

    sql: QuotaStatements
    charge: QuotaCharge
    batch: QuotaBatch | None = None
    _plan: _Plan | None = None

    def check(self, connection: DatabaseConnection) -> QuotaExhausted | None:
        """``QuotaExhausted`` if the charge would exceed a quota. Charges that fall or stay are never refused."""
        charge = self.charge
        plan = self._plan = self._new_plan(connection) if charge.is_new else self._changed_plan(connection)
        if plan is None:
            return None
        amounts, before, periods = plan.amounts, plan.before, plan.periods
        if before is not _NOTHING and all(now <= was for now, was in zip(amounts, before, strict=True)):
            return None
        batch = self.batch or QuotaBatch(self.sql)
        used = batch.used(connection, plan.subject, periods)
        limits = used.limits or charge.limits.overlaid(plan.own_limits)
        for (quota, period, number, amount), limit in zip(_RULES, limits, strict=True):
            if limit is None:
                continue
            more = amounts[amount] - before[amount]
            count = used.counts[periods[period]][number]
            if more > 0 and count + more > limit:
                refused = QuotaExhausted(f"{quota} of {plan.subject}")
                refused.exhausted = ExhaustedQuota(quota, limit, count)
                return refused
        return None

    def write(self, connection: DatabaseConnection) -> None:
        """Write the charge and count it."""
        plan, charge, sql = self._plan, self.charge, self.sql
        if plan is None:
            return
        if charge.is_new:
            connection.execute(sql.add, self._row(plan))
            if charge.parts:
                connection.execute(sql.take, {"final_id": charge.upload_id, "ids": json.dumps(charge.parts)})
        else:
            connection.execute(sql.change, {**self._key, **_new(plan.amounts), "settled": plan.is_settled})
            if charge.frees_parts:
                connection.execute(sql.free, {"final_id": charge.upload_id})
            elif plan.is_settled:
                connection.execute(sql.settle_parts, {"final_id": charge.upload_id})
        batch = self.batch or QuotaBatch(sql)
        if charge.has_ended and plan.taken_by and plan.before.stored:
            self._pass_on(connection, batch, plan)
        subject, (day, month, now) = plan.subject, plan.periods
        more_bytes, more_files, more_stored, more_unfinished = map(int.__sub__, plan.amounts, plan.before)
        if more_bytes or more_files:
            batch.add(subject, day, more_bytes, more_files)
            batch.add(subject, month, more_bytes, more_files)
        if more_stored or more_unfinished:
            batch.add(subject, now, more_stored, more_unfinished)
        if self.batch is None:
            batch.flush(connection)

    def _pass_on(self, connection: DatabaseConnection, batch: QuotaBatch, plan: _Plan) -> None:
        """Count the bytes of a part, which is deleted, for its final upload, which still has them."""
        values: dict[str, object] = {
            "final_id": plan.taken_by,
            "more_stored": plan.before.stored,
            "deletes_rejected": int(self.charge.deletes_rejected),
        }
        found = connection.execute(self.sql.store_with_final, values).fetchone()
        if found is not None:
            batch.add(found[0], plan.periods.now, plan.before.stored, 0)

    @property
    def _key(self) -> dict[str, object]:
        return {"upload_id": self.charge.upload_id, "created_at": to_microseconds(self.charge.created_at)}

    def _new_plan(self, connection: DatabaseConnection) -> _Plan:
        charge, amounts = self.charge, self.charge.amounts
        if charge.parts:
            # A parallel upload counts once: the parts are charged already, those of another final upload are not free.
            values: dict[str, object] = {"ids": json.dumps(charge.parts)}
            amounts = _without_parts(amounts, connection.execute(self.sql.sum_untaken, values).fetchall()[0])
        return _Plan(charge.subject, charge.periods, amounts, _NOTHING, charge.is_settled, charge.own_limits)

    def _changed_plan(self, connection: DatabaseConnection) -> _Plan | None:
        """``None`` for an upload from before quotas were switched on, or whose charge is forgotten."""
        charge, amounts = self.charge, self.charge.amounts
        found = connection.execute(self.sql.find, self._key).fetchone()
        if found is None:
            return None
        subject, day, month, before, stored, unfinished, is_settled, taken_by, own_limits = found
        if amounts.bytes:
            values: dict[str, object] = {"final_id": charge.upload_id}
            amounts = _without_parts(amounts, connection.execute(self.sql.sum_taken, values).fetchall()[0])
        return _Plan(
            subject,
            QuotaPeriods(day, month),
            # A file is counted when it is created, and not again.
            amounts._replace(files=0),
            QuotaAmounts(before, 0, stored, unfinished),
            bool(is_settled) or charge.is_settled,
            charge.own_limits if charge.has_request else _from_json(own_limits),
            taken_by,
        )

    def _row(self, plan: _Plan) -> dict[str, object]:
        amounts, periods = plan.amounts, plan.periods
        return {
            "upload_id": self.charge.upload_id,
            "created_at": to_microseconds(self.charge.created_at),
            "subject": plan.subject,
            "day": periods.day,
            "month": periods.month,
            "bytes": amounts.bytes,
            "files": amounts.files,
            "stored": amounts.stored,
            "unfinished": amounts.unfinished,
            "is_settled": plan.is_settled,
            "taken_by": "",
            "own_limits": "" if plan.own_limits is None else _to_json(plan.own_limits),
        }


def _without_parts(amounts: QuotaAmounts, parts: Sequence[int]) -> QuotaAmounts:
    """What a final upload is charged beyond its parts."""
    charged, stored = map(int, parts)
    return amounts._replace(bytes=max(0, amounts.bytes - charged), stored=max(0, amounts.stored - stored))


def _new(amounts: QuotaAmounts) -> dict[str, object]:
    return {"new_bytes": amounts.bytes, "new_stored": amounts.stored, "new_unfinished": amounts.unfinished}


def _to_json(limits: QuotaLimits) -> str:
    return json.dumps({name: limit for name, limit in limits._asdict().items() if limit is not None})


def _from_json(text: str) -> QuotaLimits | None:
    return QuotaLimits(**json.loads(text)) if text else None
