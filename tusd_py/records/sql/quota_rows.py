"""A charge of the quota ledger within the transaction of the record that causes it. Runs in the database threads."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from tusd_py.contracts.records import QuotaExhausted
from tusd_py.model.quota import (
    ExhaustedQuota,
    Quota,
    QuotaAmounts,
    QuotaCharge,
    QuotaLimits,
    QuotaPeriods,
    SubjectLimits,
)
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.quota_statements import QuotaStatements
from tusd_py.records.sql.tables import to_microseconds

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
    """The result of ``QuotaRows.check``, for ``write``."""

    subject: str
    periods: QuotaPeriods
    amounts: QuotaAmounts  # of the charge from now on
    growth: Sequence[int]  # ``amounts`` without those of the charge before
    stored_before: int
    is_settled: bool
    own_limits: QuotaLimits | None
    taken_by: str = ""


class _Counter:
    """The two numbers of one subject in one period, during one transaction."""

    __slots__ = ("growth", "is_read", "used")

    def __init__(self) -> None:
        self.used = [0, 0]  # what the transaction has added, and what was there before once it ``is_read``
        self.growth = [0, 0]  # what the transaction has added
        self.is_read = False

    def add(self, first: int, second: int) -> None:
        used, growth = self.used, self.growth
        used[0] += first
        used[1] += second
        growth[0] += first
        growth[1] += second


#: A quota, the numbers of a counter and which of the two it limits, what of ``QuotaAmounts`` it limits, and the limit.
_Rule = tuple[Quota, list[int], int, int, int]


class _Account:
    """The counters of one subject for the charges of one day, and the limits that were set for it."""

    __slots__ = ("_limits", "_rules", "counters", "limits")

    def __init__(self, counters: Sequence[_Counter], limits: SubjectLimits) -> None:
        self.counters = counters  # of the day, of the month, and of what exists now
        self.limits = limits
        self._limits: QuotaLimits | None = None  # for which ``_rules`` are
        self._rules: Sequence[_Rule] = ()

    def exhausted(self, growth: Sequence[int], limits: QuotaLimits) -> ExhaustedQuota | None:
        """The quota that an upload with this ``growth`` would exceed."""
        if limits is not self._limits:
            # Most charges of a transaction have the same limits, and few of the quotas have one.
            self._limits, self._rules = limits, self._rules_of(limits.replaced(self.limits))
        for quota, used, number, amount, limit in self._rules:
            if growth[amount] > 0 and used[number] + growth[amount] > limit:
                return ExhaustedQuota(quota, limit, used[number])
        return None

    def _rules_of(self, limits: QuotaLimits) -> Sequence[_Rule]:
        return [
            (quota, self.counters[period].used, number, amount, limit)
            for (quota, period, number, amount), limit in zip(_RULES, limits, strict=True)
            if limit is not None
        ]


class QuotaBatch:
    """The ledger during one transaction: counters are read once for each subject, and written once at its end.

    So are the charges of new uploads. Creations that arrive together are mostly those of few subjects. The transaction
    holds the write lock, or those of the subjects, so that what was read stays true: ``locked`` are held already.
    """

    __slots__ = ("_accounts", "_charges", "_counters", "_sql", "locked")

    def __init__(self, sql: QuotaStatements, locked: Collection[str] = ()) -> None:
        self._sql = sql
        self._accounts: dict[tuple[str, QuotaPeriods], _Account] = {}
        self._counters: dict[tuple[str, str], _Counter] = {}
        self.locked = set(locked)
        self._charges: list[dict[str, object]] = []

    def account(self, connection: DatabaseConnection, subject: str, periods: QuotaPeriods) -> _Account:
        """The account of ``subject``, as it is now."""
        account = self._accounts.get((subject, periods))
        return self._read(connection, [(subject, periods)])[0] if account is None else account

    def counter(self, subject: str, period: str) -> _Counter:
        """A counter to add to. What reads it later in the transaction sees the sum."""
        counter = self._counters.get((subject, period))
        if counter is None:
            counter = self._counters[subject, period] = _Counter()
        return counter

    def add(self, subject: str, periods: QuotaPeriods, growth: Sequence[int]) -> None:
        """Count a charge."""
        more_bytes, more_files, more_stored, more_unfinished = growth
        if more_bytes or more_files:
            self.counter(subject, periods.day).add(more_bytes, more_files)
            self.counter(subject, periods.month).add(more_bytes, more_files)
        if more_stored or more_unfinished:
            self.counter(subject, periods.now).add(more_stored, more_unfinished)

    def charge_together(self, connection: DatabaseConnection, new: Sequence[QuotaRows]) -> bool:
        """Charge new uploads without parts, and return whether that was possible; if not, nothing has changed.

        If the sum of some charges fits into a quota, so does each of them: one look is enough for all.
        """
        totals: dict[tuple[str, QuotaPeriods], list[int]] = {}
        limits = new[0].charge.limits
        for each in new:
            charge = each.charge
            if charge.own_limits is not None or charge.limits is not limits:
                return False
            key = charge.subject, charge.periods
            amounts, total = charge.amounts, totals.get(key)
            if total is None:
                totals[key] = list(amounts)
            else:
                total[0] += amounts.bytes
                total[1] += amounts.files
                total[2] += amounts.stored
                total[3] += amounts.unfinished
        self._read(connection, [key for key in totals if key not in self._accounts])
        for (subject, periods), total in totals.items():
            if self.account(connection, subject, periods).exhausted(total, limits) is not None:
                return False
        for (subject, periods), total in totals.items():
            self.add(subject, periods, total)
        self._charges += [each.new_row(each.charge.amounts) for each in new]
        return True

    def add_charge(self, row: dict[str, object]) -> None:
        """Write the charge of a new upload, which has no parts, before anything that may look at it."""
        self._charges.append(row)

    def flush_charges(self, connection: DatabaseConnection) -> None:
        """Write the charges of new uploads."""
        if self._charges:
            connection.queue_rows(self._sql.add, self._charges)
            self._charges = []

    def flush(self, connection: DatabaseConnection) -> None:
        """Write charges and counters, and forget what was read."""
        self.flush_charges(connection)
        rows: list[dict[str, object]] = [
            {"subject": subject, "period": period, "bytes": counter.growth[0], "files": counter.growth[1]}
            # In one order: two transactions must not wait for each other's counters.
            for (subject, period), counter in sorted(self._counters.items(), key=itemgetter(0))
            if any(counter.growth)
        ]
        self._accounts.clear()
        self._counters.clear()
        if rows:
            connection.queue_rows(self._sql.count, rows)

    def _read(self, connection: DatabaseConnection, keys: Sequence[tuple[str, QuotaPeriods]]) -> list[_Account]:
        """Read the accounts of these subjects and periods, and return them."""
        if unlocked := {subject for subject, _ in keys} - self.locked:
            # Two servers must not both take the last bytes.
            connection.lock_keys([*map(quota_key, unlocked)])
            self.locked |= unlocked
        # All are sent before the first result is waited for.
        cursors = [
            connection.execute(self._sql.used_and_limits, {"subject": subject, **periods._asdict()})
            for subject, periods in keys
        ]
        for (subject, periods), cursor in zip(keys, cursors, strict=True):
            self._accounts[subject, periods] = self._account(subject, periods, cursor)
        return [self._accounts[key] for key in keys]

    def _account(self, subject: str, periods: QuotaPeriods, rows: Iterable[Sequence[Any]]) -> _Account:
        found: dict[str, Sequence[int]] = {}
        limits: SubjectLimits = {}
        # In one statement, because it belongs to every creation.
        for period, *numbers in rows:
            if period:
                found[period] = numbers
            else:
                limits = to_subject_limits(numbers)
        counters = [self.counter(subject, period) for period in periods]
        for period, counter in zip(periods, counters, strict=True):
            if not counter.is_read and period in found:
                # What this transaction has already added is not in the database yet.
                counter.used[0] += found[period][0]
                counter.used[1] += found[period][1]
            counter.is_read = True
        return _Account(counters, limits)


@dataclass(slots=True)
class QuotaRows:
    """Checks a charge before its record is changed, and writes it after that, in the same transaction.

    Without a ``batch`` its rows are written at once.
    """

    sql: QuotaStatements
    charge: QuotaCharge
    batch: QuotaBatch | None = None
    _plan: _Plan | None = None

    def check(self, connection: DatabaseConnection) -> QuotaExhausted | None:
        """``QuotaExhausted`` if the charge would exceed a quota. Charges that fall or stay are never refused."""
        charge = self.charge
        batch = self.batch or QuotaBatch(self.sql)
        if charge.parts or not charge.is_new:
            batch.flush_charges(connection)
        plan = self._plan = self._new_plan(connection) if charge.is_new else self._changed_plan(connection)
        if plan is None or not any(more > 0 for more in plan.growth):
            return None
        account = batch.account(connection, plan.subject, plan.periods)
        exhausted = account.exhausted(plan.growth, charge.limits.overlaid(plan.own_limits))
        if exhausted is None:
            return None
        refused = QuotaExhausted(f"{exhausted.quota} of {plan.subject}")
        refused.exhausted = exhausted
        return refused

    def write(self, connection: DatabaseConnection) -> None:
        """Write the charge and count it."""
        plan, charge, sql = self._plan, self.charge, self.sql
        if plan is None:
            return
        batch = self.batch or QuotaBatch(sql)
        if charge.is_new:
            batch.add_charge(self.new_row(plan.amounts))
            if charge.parts:
                connection.execute(sql.take, {"final_id": charge.upload_id, "ids": json.dumps(charge.parts)})
        else:
            connection.execute(sql.change, {**self._key, **_new(plan.amounts), "settled": plan.is_settled})
            if charge.frees_parts:
                connection.execute(sql.free, {"final_id": charge.upload_id})
            elif plan.is_settled:
                connection.execute(sql.settle_parts, {"final_id": charge.upload_id})
        if charge.has_ended and plan.taken_by and plan.stored_before:
            self._pass_on(connection, batch, plan)
        batch.add(plan.subject, plan.periods, plan.growth)
        if self.batch is None:
            batch.flush(connection)

    def _pass_on(self, connection: DatabaseConnection, batch: QuotaBatch, plan: _Plan) -> None:
        """Count the bytes of a part, which is deleted, for its final upload, which still has them."""
        values: dict[str, object] = {
            "final_id": plan.taken_by,
            "more_stored": plan.stored_before,
            "deletes_rejected": int(self.charge.deletes_rejected),
        }
        found = connection.execute(self.sql.store_with_final, values).fetchone()
        if found is not None:
            batch.counter(found[0], plan.periods.now).add(plan.stored_before, 0)

    @property
    def _key(self) -> dict[str, object]:
        return {"upload_id": self.charge.upload_id, "created_at": to_microseconds(self.charge.created_at)}

    def _new_plan(self, connection: DatabaseConnection) -> _Plan:
        charge, amounts = self.charge, self.charge.amounts
        if charge.parts:
            # A parallel upload counts once: the parts are charged already, those of another final upload are not free.
            values: dict[str, object] = {"ids": json.dumps(charge.parts)}
            amounts = _without_parts(amounts, connection.execute(self.sql.sum_untaken, values).fetchall()[0])
        return _Plan(charge.subject, charge.periods, amounts, amounts, 0, charge.is_settled, charge.own_limits)

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
        growth = (amounts.bytes - before, 0, amounts.stored - stored, amounts.unfinished - unfinished)
        return _Plan(
            subject,
            QuotaPeriods(day, month),
            amounts,
            growth,  # a file is counted when it is created, and not again
            stored,
            bool(is_settled) or charge.is_settled,
            charge.own_limits if charge.has_request else _from_json(own_limits),
            taken_by,
        )

    def new_row(self, amounts: QuotaAmounts) -> dict[str, object]:
        """The row of a new charge of ``amounts``."""
        charge, periods = self.charge, self.charge.periods
        return {
            "upload_id": charge.upload_id,
            "created_at": to_microseconds(charge.created_at),
            "subject": charge.subject,
            "day": periods.day,
            "month": periods.month,
            "bytes": amounts.bytes,
            "files": amounts.files,
            "stored": amounts.stored,
            "unfinished": amounts.unfinished,
            "is_settled": charge.is_settled,
            "taken_by": "",
            "own_limits": "" if charge.own_limits is None else _to_json(charge.own_limits),
        }


def quota_key(subject: str) -> str:
    """The key under which the counters and limits of ``subject`` are locked."""
    return f"quota {subject}"


def to_subject_limits(row: Sequence[Any]) -> SubjectLimits:
    """The limits in a row of ``QuotaStatements.find_limits``."""
    *limits, names = row
    chosen = [*Quota] if names is None else names.split()
    return {quota: limit for quota, limit in zip(Quota, limits, strict=True) if quota in chosen}


def limits_row(limits: SubjectLimits) -> dict[str, object]:
    """The columns of a row of ``quota_limits`` with these limits."""
    return {**QuotaLimits().replaced(limits)._asdict(), "set_quotas": " ".join(limits)}


def _without_parts(amounts: QuotaAmounts, parts: Sequence[int]) -> QuotaAmounts:
    """The amounts of a final upload beyond those of its parts."""
    charged, stored = map(int, parts)
    return amounts._replace(bytes=max(0, amounts.bytes - charged), stored=max(0, amounts.stored - stored))


def _new(amounts: QuotaAmounts) -> dict[str, object]:
    return {"new_bytes": amounts.bytes, "new_stored": amounts.stored, "new_unfinished": amounts.unfinished}


def _to_json(limits: QuotaLimits) -> str:
    return json.dumps({name: limit for name, limit in limits._asdict().items() if limit is not None})


def _from_json(text: str) -> QuotaLimits | None:
    return QuotaLimits(**json.loads(text)) if text else None
