"""A charge of the quota ledger within the transaction of the record that causes it. Runs in the database threads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tusd_py.contracts.records import QuotaExhausted
from tusd_py.model.quota import ExhaustedQuota, Quota, QuotaCharge, QuotaLimits
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.quota_statements import QuotaStatements
from tusd_py.records.sql.tables import to_microseconds


@dataclass(slots=True)
class _Plan:
    """What ``QuotaRows.check`` has found out, for ``write``."""

    subject: str
    periods: Mapping[Quota, str]
    bytes: int
    delta: int
    is_settled: bool


@dataclass(slots=True)
class QuotaRows:
    """Checks a charge before its record is changed, and writes it after that, in the same transaction."""

    sql: QuotaStatements
    charge: QuotaCharge
    _plan: _Plan | None = None

    def check(self, connection: DatabaseConnection) -> QuotaExhausted | None:
        """``QuotaExhausted`` if the charge would exceed a quota. Charges that fall or stay are never refused."""
        charge = self.charge
        plan = self._plan = self._new_plan(connection) if charge.is_new else self._changed_plan(connection)
        if plan is None or plan.delta <= 0:
            return None
        # Two servers must not both take the last bytes.
        connection.lock_keys([f"quota {plan.subject}"])
        limits, used = charge.limits, {}
        values = {"subject": plan.subject, **_period_values(plan.periods)}
        # In one statement, because it belongs to every creation.
        for period, number, other in connection.execute(self.sql.used_and_limits, values):
            if period:
                used[period] = number
            else:
                limits = QuotaLimits(bytes_per_day=number, bytes_per_month=other)
        for quota in Quota:
            limit, before = limits.of(quota), used.get(plan.periods[quota], 0)
            if limit is not None and before + plan.delta > limit:
                refused = QuotaExhausted(f"{quota} of {plan.subject}")
                refused.exhausted = ExhaustedQuota(quota, limit, before)
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
            values = {**self._key, "new_bytes": plan.bytes, "settled": plan.is_settled}
            connection.execute(sql.change, values)
            if charge.frees_parts:
                connection.execute(sql.free, {"final_id": charge.upload_id})
            elif plan.is_settled:
                connection.execute(sql.settle_parts, {"final_id": charge.upload_id})
        if plan.delta:
            rows: list[dict[str, object]] = [
                {"subject": plan.subject, "period": period, "bytes": plan.delta} for period in plan.periods.values()
            ]
            connection.execute_many(sql.count, rows)

    @property
    def _key(self) -> dict[str, object]:
        return {"upload_id": self.charge.upload_id, "created_at": to_microseconds(self.charge.created_at)}

    def _new_plan(self, connection: DatabaseConnection) -> _Plan:
        charge, taken = self.charge, 0
        if charge.parts:
            # A parallel upload counts once: the parts are charged already, those of another final upload are not free.
            values: dict[str, object] = {"ids": json.dumps(charge.parts)}
            (taken,) = connection.execute(self.sql.sum_untaken, values).fetchall()[0]
        charged = max(0, charge.bytes - int(taken))
        return _Plan(charge.subject, charge.periods, charged, charged, charge.is_settled)

    def _changed_plan(self, connection: DatabaseConnection) -> _Plan | None:
        """``None`` for an upload from before quotas were switched on, or whose charge is forgotten."""
        found = connection.execute(self.sql.find, self._key).fetchone()
        if found is None:
            return None
        subject, day, month, before, is_settled = found
        charged = self.charge.bytes
        if charged:
            (taken,) = connection.execute(self.sql.sum_taken, {"final_id": self.charge.upload_id}).fetchall()[0]
            charged = max(0, charged - int(taken))
        periods = {Quota.BYTES_PER_DAY: day, Quota.BYTES_PER_MONTH: month}
        return _Plan(subject, periods, charged, charged - before, bool(is_settled) or self.charge.is_settled)

    def _row(self, plan: _Plan) -> dict[str, object]:
        return {
            **self._key,
            "subject": plan.subject,
            **_period_values(plan.periods),
            "bytes": plan.bytes,
            "is_settled": plan.is_settled,
            "taken_by": "",
        }


def _period_values(periods: Mapping[Quota, str]) -> dict[str, object]:
    return {"day": periods[Quota.BYTES_PER_DAY], "month": periods[Quota.BYTES_PER_MONTH]}
