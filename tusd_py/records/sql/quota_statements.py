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
    ids = json_elements(dialect, "ids")
    key = (_charges.c.upload_id == bindparam("upload_id"), _charges.c.created_at == bindparam("created_at"))
    taken = _charges.c.taken_by == bindparam("final_id")
    untaken = (_charges.c.upload_id.in_(ids), _charges.c.taken_by == literal_column("''"))
    total = func.coalesce(func.sum(_charges.c.bytes), literal_column("0"))
    subject: BindParameter[str] = bindparam("subject")
    in_periods = _counters.c.period.in_([bindparam("day"), bindparam("month")])
    limit_columns = (_limits.c.bytes_per_day, _limits.c.bytes_per_month)
    is_of_subject = (_charges.c.subject == subject, _charges.c.is_settled == _FALSE)
    columns = [column.name for column in _charges.columns]
    set_charge = update(_charges).where(*key).values(bytes=bindparam("new_bytes"))
    has_ended = _uploads.c.status.in_([literal_column(f"'{name}'") for name in ("expired", "terminated", "failed")])
    open_bytes = func.coalesce(_uploads.c.length, _uploads.c.offset)
    true_bytes = case((has_ended, _uploads.c.offset), else_=open_bytes)
    is_other = _uploads.c.kind != literal_column("'final'")
    wrong = select(_charges.c.upload_id, _charges.c.created_at, _charges.c.subject, _charges.c.bytes, true_bytes).where(
        _uploads.c.id == _charges.c.upload_id,
        _uploads.c.created_at == _charges.c.created_at,
        is_other,
        _charges.c.bytes != true_bytes,
    )
    return QuotaStatements(
        find=compile_text(
            dialect,
            select(_charges.c.subject, _charges.c.day, _charges.c.month, _charges.c.bytes, _charges.c.is_settled).where(
                *key
            ),
        ),
        add=compile_text(dialect, insert_or_ignore(dialect, _charges, "upload_id", "created_at"), columns),
        change=compile_text(dialect, set_charge.values(is_settled=bindparam("settled"))),
        sum_untaken=compile_text(dialect, select(total).where(*untaken)),
        sum_taken=compile_text(dialect, select(total).where(taken)),
        take=compile_text(dialect, update(_charges).where(*untaken).values(taken_by=bindparam("final_id"))),
        free=compile_text(dialect, update(_charges).where(taken).values(taken_by=literal_column("''"))),
        settle_parts=compile_text(dialect, update(_charges).where(taken).values(is_settled=_TRUE)),
        counters=compile_text(
            dialect, select(_counters.c.period, _counters.c.bytes).where(_counters.c.subject == subject, in_periods)
        ),
        count=compile_text(dialect, add_or_insert(dialect, _counters, ("subject", "period"), "bytes")),
        find_limits=compile_text(dialect, select(*limit_columns).where(_limits.c.subject == subject)),
        set_limits=compile_text(
            dialect, insert_or_ignore(dialect, _limits, "subject"), [column.name for column in _limits.columns]
        ),
        remove_limits=compile_text(dialect, delete(_limits).where(_limits.c.subject == subject)),
        reserved=compile_text(
            dialect,
            select(
                func.coalesce(
                    func.sum(case((_charges.c.day == bindparam("day"), _charges.c.bytes), else_=literal_column("0"))),
                    literal_column("0"),
                ),
                total,
            ).where(*is_of_subject, _charges.c.month == bindparam("month")),
        ),
        wrong_charges=compile_text(dialect, wrong),
        correct_charge=compile_text(dialect, set_charge),
        by_day=compile_text(
            dialect, select(_charges.c.subject, _charges.c.day, total).group_by(_charges.c.subject, _charges.c.day)
        ),
        by_month=compile_text(
            dialect, select(_charges.c.subject, _charges.c.month, total).group_by(_charges.c.subject, _charges.c.month)
        ),
        all_counters=compile_text(dialect, select(_counters.c.subject, _counters.c.period, _counters.c.bytes)),
        prune=compile_text(dialect, delete(_charges).where(_charges.c.month < bindparam("before_month"))),
        # As text a month comes before its days and after all earlier ones.
        prune_counters=compile_text(dialect, delete(_counters).where(_counters.c.period < bindparam("before_month"))),
    )
