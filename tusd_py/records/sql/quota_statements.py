"""The statements of the quota ledger, compiled once. Nothing here runs them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Dialect,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal_column,
    select,
    update,
)

from tusd_py.records.sql.dialect import add_or_insert, compile_text, insert_or_ignore, json_elements
from tusd_py.records.sql.tables import RecordsTable

_charges = RecordsTable.metadata.tables["quota_charges"]
_counters = RecordsTable.metadata.tables["quota_counters"]
_limits = RecordsTable.metadata.tables["quota_limits"]
_uploads = RecordsTable.metadata.tables["uploads"]
_FALSE: ColumnElement[bool] = literal_column("false")
_TRUE: ColumnElement[bool] = literal_column("true")
_ZERO: ColumnElement[int] = literal_column("0")
_NONE: ColumnElement[str] = literal_column("''")
_total = func.coalesce(func.sum(_charges.c.bytes), _ZERO)


@dataclass(frozen=True, slots=True)
class QuotaStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    find: str  # upload_id, created_at
    add: str  # a row of quota_charges
    change: str  # upload_id, created_at, new_bytes, settled
    sum_untaken: str  # ids: a JSON array
    sum_taken: str  # final_id
    take: str  # final_id, ids
    free: str  # final_id
    settle_parts: str  # final_id
    counters: str  # subject, day, month
    used_and_limits: str  # subject, day, month: rows of a period and its bytes, and one of '' and the limits
    count: str  # subject, period, bytes
    find_limits: str  # subject
    set_limits: str  # subject, bytes_per_day, bytes_per_month
    remove_limits: str  # subject
    reserved: str  # subject, day, month
    wrong_charges: str
    correct_charge: str  # upload_id, created_at, new_bytes
    by_day: str
    by_month: str
    all_counters: str
    prune: str  # before_month
    prune_counters: str  # before_month


def compile_quota_statements(dialect: Dialect) -> QuotaStatements:
    """Every statement, for ``dialect``."""
    return QuotaStatements(**_of_charges(dialect), **_of_subjects(dialect), **_of_reconciliation(dialect))


def _of_charges(dialect: Dialect) -> dict[str, str]:
    """Those that run within the transaction of a record."""
    c = _charges.c
    key = (c.upload_id == bindparam("upload_id"), c.created_at == bindparam("created_at"))
    taken = c.taken_by == bindparam("final_id")
    untaken = (c.upload_id.in_(json_elements(dialect, "ids")), c.taken_by == _NONE)
    set_charge = update(_charges).where(*key).values(bytes=bindparam("new_bytes"))
    statements = {
        "find": select(c.subject, c.day, c.month, c.bytes, c.is_settled).where(*key),
        "change": set_charge.values(is_settled=bindparam("settled")),
        "correct_charge": set_charge,
        "sum_untaken": select(_total).where(*untaken),
        "sum_taken": select(_total).where(taken),
        "take": update(_charges).where(*untaken).values(taken_by=bindparam("final_id")),
        "free": update(_charges).where(taken).values(taken_by=_NONE),
        "settle_parts": update(_charges).where(taken).values(is_settled=_TRUE),
        "count": add_or_insert(dialect, _counters, ("subject", "period"), "bytes"),
    }
    add = insert_or_ignore(dialect, _charges, "upload_id", "created_at")
    return {
        "add": compile_text(dialect, add, [column.name for column in _charges.columns]),
        **{name: compile_text(dialect, statement) for name, statement in statements.items()},
    }


def _of_subjects(dialect: Dialect) -> dict[str, str]:
    """Those about one subject: what it has used, and its own limits."""
    subject: BindParameter[str] = bindparam("subject")
    day: BindParameter[str] = bindparam("day")
    month: BindParameter[str] = bindparam("month")
    today = case((_charges.c.day == day, _charges.c.bytes), else_=_ZERO)
    is_reserved = (_charges.c.subject == subject, _charges.c.is_settled == _FALSE, _charges.c.month == month)
    of_subject = _limits.c.subject == subject
    counters = select(_counters.c.period, _counters.c.bytes).where(
        _counters.c.subject == subject, _counters.c.period.in_([day, month])
    )
    used = counters.add_columns(_ZERO)
    statements = {
        "counters": counters,
        "reserved": select(func.coalesce(func.sum(today), _ZERO), _total).where(*is_reserved),
        "find_limits": select(_limits.c.bytes_per_day, _limits.c.bytes_per_month).where(of_subject),
        "remove_limits": delete(_limits).where(of_subject),
    }
    set_limits = insert_or_ignore(dialect, _limits, "subject")
    own = select(_NONE, _limits.c.bytes_per_day, _limits.c.bytes_per_month).where(of_subject)
    return {
        "used_and_limits": compile_text(dialect, used.union_all(own)),
        "set_limits": compile_text(dialect, set_limits, [column.name for column in _limits.columns]),
        **{name: compile_text(dialect, statement) for name, statement in statements.items()},
    }


def _of_reconciliation(dialect: Dialect) -> dict[str, str]:
    """Those that compare charges with records and counters with charges, and forget old ones."""
    c, u = _charges.c, _uploads.c
    has_ended = u.status.in_([literal_column(f"'{name}'") for name in ("expired", "terminated", "failed")])
    true_bytes = case((has_ended, u.offset), else_=func.coalesce(u.length, u.length_max, u.offset))
    is_wrong = (
        u.id == c.upload_id,
        u.created_at == c.created_at,
        u.kind != literal_column("'final'"),
        c.bytes != true_bytes,
    )
    before: BindParameter[str] = bindparam("before_month")
    open_ = _charges.alias("unsettled")
    # An upload that can still grow keeps its charge, and with it all of the month of its owner: else it would be free.
    has_open = exists().where(open_.c.is_settled == _FALSE)
    open_charges = has_open.where(open_.c.subject == c.subject, open_.c.month == c.month)
    counted_month = func.substr(_counters.c.period, literal_column("1"), literal_column("7"))
    open_counters = has_open.where(open_.c.subject == _counters.c.subject, open_.c.month == counted_month)
    statements = {
        "wrong_charges": select(c.upload_id, c.created_at, c.subject, c.bytes, true_bytes).where(*is_wrong),
        "by_day": select(c.subject, c.day, _total).group_by(c.subject, c.day),
        "by_month": select(c.subject, c.month, _total).group_by(c.subject, c.month),
        "all_counters": select(_counters.c.subject, _counters.c.period, _counters.c.bytes),
        "prune": delete(_charges).where(c.month < before, ~open_charges),
        # As text a month comes before its days and after all earlier ones.
        "prune_counters": delete(_counters).where(_counters.c.period < before, ~open_counters),
    }
    return {name: compile_text(dialect, statement) for name, statement in statements.items()}
