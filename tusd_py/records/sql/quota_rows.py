"""A charge of the quota ledger within the transaction of the record that causes it. Runs in the database threads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields

from tusd_py.contracts.records import QuotaExhausted
from tusd_py.model.quota import ExhaustedQuota, Quota, QuotaAmounts, QuotaCharge, QuotaLimits, QuotaPeriods
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.quota_statements import QuotaStatements
from tusd_py.records.sql.tables import to_microseconds

_NOTHING = QuotaAmounts()


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

    @property
    def growth(self) -> QuotaAmounts:
        return QuotaAmounts(*(now - before for now, before in zip(self.amounts, self.before, strict=True)))


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
        if plan is None:
            return None
        growth = plan.growth
        if max(growth) <= 0:
            return None
        # Two servers must not both take the last bytes.
        connection.lock_keys([f"quota {plan.subject}"])
        limits = charge.limits.overlaid(plan.own_limits)
        used: dict[str, tuple[int, int]] = {}
        values = {"subject": plan.subject, **plan.periods._asdict()}
        # In one statement, because it belongs to every creation.
        for period, *numbers in connection.execute(self.sql.used_and_limits, values):
            if period:
                used[period] = (numbers[0], numbers[1])
            else:
                limits = QuotaLimits(*numbers)
        for quota in Quota:
            limit, more = limits.of(quota), growth.of(quota)
            if limit is None or more <= 0:
                continue
            count = used.get(plan.periods.of(quota), (0, 0))[0 if quota.counts_bytes else 1]
            if count + more > limit:
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
            if charge.has_ended and plan.taken_by and plan.before.stored:
                self._pass_on(connection, plan)
        growth = plan.growth
        rows = _counts(plan.subject, plan.periods, growth)
        if rows:
            connection.execute_many(sql.count, rows)

    def _pass_on(self, connection: DatabaseConnection, plan: _Plan) -> None:
        """Count the bytes of a part, which is deleted, for its final upload, which still has them."""
        values: dict[str, object] = {
            "final_id": plan.taken_by,
            "more_stored": plan.before.stored,
            "deletes_rejected": int(self.charge.deletes_rejected),
        }
        found = connection.execute(self.sql.store_with_final, values).fetchone()
        if found is not None:
            more = QuotaAmounts(stored=plan.before.stored)
            connection.execute_many(self.sql.count, _counts(found[0], plan.periods, more))

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
        return {
            **self._key,
            "subject": plan.subject,
            "day": plan.periods.day,
            "month": plan.periods.month,
            **plan.amounts._asdict(),
            "is_settled": plan.is_settled,
            "taken_by": "",
            "own_limits": _to_json(plan.own_limits),
        }


def _without_parts(amounts: QuotaAmounts, parts: Sequence[int]) -> QuotaAmounts:
    """What a final upload is charged beyond its parts."""
    charged, stored = map(int, parts)
    return amounts._replace(bytes=max(0, amounts.bytes - charged), stored=max(0, amounts.stored - stored))


def _new(amounts: QuotaAmounts) -> dict[str, object]:
    return {"new_bytes": amounts.bytes, "new_stored": amounts.stored, "new_unfinished": amounts.unfinished}


def _counts(subject: str, periods: QuotaPeriods, growth: QuotaAmounts) -> list[dict[str, object]]:
    """The rows that add ``growth`` to the counters of ``subject``."""
    rows: list[dict[str, object]] = []
    if growth.bytes or growth.files:
        rows = [
            {"subject": subject, "period": period, "bytes": growth.bytes, "files": growth.files}
            for period in (periods.day, periods.month)
        ]
    if growth.stored or growth.unfinished:
        rows.append({"subject": subject, "period": periods.now, "bytes": growth.stored, "files": growth.unfinished})
    return rows


def _to_json(limits: QuotaLimits | None) -> str:
    if limits is None:
        return ""
    values = {each.name: getattr(limits, each.name) for each in fields(limits)}
    return json.dumps({name: limit for name, limit in values.items() if limit is not None})


def _from_json(text: str) -> QuotaLimits | None:
    return QuotaLimits(**json.loads(text)) if text else None
