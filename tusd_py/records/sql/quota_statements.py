"""The statements of the quota ledger, compiled once. Nothing here runs them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Dialect,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal_column,
    not_,
    or_,
    outerjoin,
    select,
    tuple_,
    update,
)

from tusd_py.model.quota import NOW, Quota
from tusd_py.records.sql.dialect import add_or_insert, compile_rows, compile_text, insert_or_ignore, json_elements
from tusd_py.records.sql.tables import RecordsTable

_charges = RecordsTable.metadata.tables["quota_charges"]
_counters = RecordsTable.metadata.tables["quota_counters"]
_limits = RecordsTable.metadata.tables["quota_limits"]
_uploads = RecordsTable.metadata.tables["uploads"]
_FALSE: ColumnElement[bool] = literal_column("false")
_TRUE: ColumnElement[bool] = literal_column("true")
_ZERO: ColumnElement[int] = literal_column("0")
_ONE: ColumnElement[int] = literal_column("1")
_NONE: ColumnElement[str] = literal_column("''")
_LIMITS = [*(_limits.c[quota.value] for quota in Quota), _limits.c.set_quotas]


def _total(column: ColumnElement[int]) -> ColumnElement[int]:
    return func.coalesce(func.sum(column), _ZERO)


@dataclass(frozen=True, slots=True)
class QuotaStatements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    find: str  # upload_id, created_at
    find_subjects: str  # ids: a JSON array
    add: str  # rows of quota_charges
    change: str  # upload_id, created_at, new_bytes, new_stored, new_unfinished, settled
    sum_untaken: str  # ids: a JSON array
    sum_taken: str  # final_id
    take: str  # final_id, ids
    free: str  # final_id
    settle_parts: str  # final_id
    store_with_final: str  # final_id, more_stored, deletes_rejected
    counters: str  # subject, day, month, now
    used_and_limits: (
        str  # subject, day, month, now: rows of a period, its bytes and files, and one of '' and as of find_limits
    )
    count: str  # rows of subject, period, bytes, files
    find_limits: str  # subject: the limits, and the names of the quotas that have one
    set_limits: str  # subject, and the same by their names
    remove_limits: str  # subject
    remove_charges: str  # subject
    remove_counters: str  # subject
    reserved: str  # subject, day, month
    wrong_charges: str  # counts_now, deletes_rejected
    wrong_finals: str  # counts_now, deletes_rejected
    correct_charge: str  # upload_id, created_at, new_bytes, new_stored, new_unfinished
    by_day: str
    by_month: str
    by_now: str
    all_counters: str
    prune: str  # before_month
    prune_counters: str  # before_month


def compile_quota_statements(dialect: Dialect) -> QuotaStatements:
    """Every statement, for ``dialect``."""
    return QuotaStatements(
        **_of_charges(dialect), **_of_subjects(dialect), **_of_reconciliation(dialect), **_of_old_charges(dialect)
    )


def _of_charges(dialect: Dialect) -> dict[str, str]:
    """Those that run within the transaction of a record."""
    c, u = _charges.c, _uploads.c
    key = (c.upload_id == bindparam("upload_id"), c.created_at == bindparam("created_at"))
    # With the text of the partial index's own condition: else SQLite scans all charges, at each completed upload.
    taken = (c.taken_by == bindparam("final_id"), c.taken_by != _NONE)
    # By the whole key: there is no index by the id alone.
    charged = select(u.created_at, u.id).where(u.id.in_(json_elements(dialect, "ids")))
    untaken = (tuple_(c.created_at, c.upload_id).in_(charged), c.taken_by == _NONE)
    set_charge = (
        update(_charges)
        .where(*key)
        .values(bytes=bindparam("new_bytes"), stored=bindparam("new_stored"), unfinished=bindparam("new_unfinished"))
    )
    final_with_bytes = select(u.created_at, u.id).where(
        u.id == bindparam("final_id"),
        u.completed_at.is_not(None),
        or_(_has_status("processing", "ready"), and_(_has_status("rejected"), bindparam("deletes_rejected") == _ZERO)),
    )
    statements = {
        "find": select(
            c.subject, c.day, c.month, c.bytes, c.stored, c.unfinished, c.is_settled, c.taken_by, c.own_limits
        ).where(*key),
        "find_subjects": select(c.subject).distinct().where(tuple_(c.created_at, c.upload_id).in_(charged)),
        "change": set_charge.values(is_settled=bindparam("settled")),
        "correct_charge": set_charge,
        "sum_untaken": select(_total(c.bytes), _total(c.stored)).where(*untaken),
        "sum_taken": select(_total(c.bytes), _total(c.stored)).where(*taken),
        "take": update(_charges).where(*untaken).values(taken_by=bindparam("final_id")),
        "free": update(_charges).where(*taken).values(taken_by=_NONE),
        "settle_parts": update(_charges).where(*taken).values(is_settled=_TRUE),
        "store_with_final": update(_charges)
        .where(tuple_(c.created_at, c.upload_id).in_(final_with_bytes))
        .values(stored=c.stored + bindparam("more_stored"))
        .returning(c.subject),
    }
    count = add_or_insert(dialect, _counters, ("subject", "period"), "bytes", "files")
    add = insert_or_ignore(dialect, _charges, "upload_id", "created_at")
    return {
        "add": compile_rows(dialect, add, _charges),
        "count": compile_rows(dialect, count, _counters),
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
    counters = select(_counters.c.period, _counters.c.bytes, _counters.c.files).where(
        _counters.c.subject == subject, _counters.c.period.in_([day, month, bindparam("now")])
    )
    # As many columns as a row of limits has.
    used = counters.add_columns(*([_ZERO] * (len(Quota) - 2)), _NONE)
    statements = {
        "counters": counters,
        "reserved": select(_total(today), _total(_charges.c.bytes)).where(*is_reserved),
        "find_limits": select(*_LIMITS).where(of_subject),
        "remove_limits": delete(_limits).where(of_subject),
        "remove_charges": delete(_charges).where(_charges.c.subject == subject),
        "remove_counters": delete(_counters).where(_counters.c.subject == subject),
    }
    set_limits = insert_or_ignore(dialect, _limits, "subject")
    own = select(_NONE, *_LIMITS).where(of_subject)
    return {
        "used_and_limits": compile_text(dialect, used.union_all(own)),
        "set_limits": compile_text(dialect, set_limits, [column.name for column in _limits.columns]),
        **{name: compile_text(dialect, statement) for name, statement in statements.items()},
    }


def _of_reconciliation(dialect: Dialect) -> dict[str, str]:
    """Those that compare charges with records and counters with charges. They mirror ``access.quota``."""
    c, u = _charges.c, _uploads.c
    counts_now = bindparam("counts_now") == _ONE
    has_ended = _has_status("expired", "terminated", "failed")
    true_bytes = case((has_ended, u.offset), else_=func.coalesce(u.length, u.length_max, u.offset))
    # A failed upload keeps its bytes until it expires.
    is_gone = or_(
        u.id.is_(None),
        _has_status("expired", "terminated", "moved"),
        and_(_has_status("rejected"), bindparam("deletes_rejected") == _ONE),
    )
    is_unfinished = and_(
        u.completed_at.is_(None), _has_status("uploading", "processing"), u.kind != literal_column("'partial'")
    )
    unfinished = case((and_(counts_now, is_unfinished), _ONE), else_=_ZERO)
    joined = outerjoin(_charges, _uploads, and_(u.id == c.upload_id, u.created_at == c.created_at))

    stored = case((and_(counts_now, not_(is_gone)), true_bytes), else_=_ZERO)
    # Of an upload without a record nothing is left but what its day and month were charged.
    charged = case((u.id.is_(None), c.bytes), else_=true_bytes)
    is_wrong = or_(c.bytes != charged, c.stored != stored, c.unfinished != unfinished)
    columns = (c.upload_id, c.created_at, c.subject, c.bytes, charged, c.stored, stored, c.unfinished, unfinished)
    no_final = or_(u.id.is_(None), u.kind != literal_column("'final'"))

    part = _charges.alias("part")
    parts_stored = (
        select(_total(part.c.stored)).where(part.c.taken_by == c.upload_id, part.c.taken_by != _NONE).scalar_subquery()
    )
    of_final = func.coalesce(u.length, _ZERO) - parts_stored
    is_failed = _has_status("failed")
    final_stored = case((and_(counts_now, not_(is_gone), not_(is_failed), of_final > _ZERO), of_final), else_=_ZERO)
    final_columns = (c.upload_id, c.created_at, c.subject, c.bytes, c.bytes.label("charged"))
    wrong_final = or_(c.stored != final_stored, c.unfinished != unfinished)
    statements = {
        "wrong_charges": select(*columns).select_from(joined).where(no_final, is_wrong),
        "wrong_finals": select(*final_columns, c.stored, final_stored, c.unfinished, unfinished)
        .select_from(joined)
        .where(u.kind == literal_column("'final'"), wrong_final),
        "by_day": select(c.subject, c.day, _total(c.bytes), _total(c.files)).group_by(c.subject, c.day),
        "by_month": select(c.subject, c.month, _total(c.bytes), _total(c.files)).group_by(c.subject, c.month),
        "by_now": select(c.subject, literal_column(f"'{NOW}'"), _total(c.stored), _total(c.unfinished)).group_by(
            c.subject
        ),
        "all_counters": select(_counters.c.subject, _counters.c.period, _counters.c.bytes, _counters.c.files),
    }
    return {name: compile_text(dialect, statement) for name, statement in statements.items()}


def _of_old_charges(dialect: Dialect) -> dict[str, str]:
    """Those that forget charges."""
    c = _charges.c
    before: BindParameter[str] = bindparam("before_month")
    open_ = _charges.alias("unsettled")
    # An upload that can still grow keeps its charge, and with it all of the month of its owner: else it would be free.
    # So does one that stores bytes, whose end releases them.
    has_open = exists().where(or_(open_.c.is_settled == _FALSE, open_.c.stored > _ZERO))
    open_charges = has_open.where(open_.c.subject == c.subject, open_.c.month == c.month)
    counted_month = func.substr(_counters.c.period, literal_column("1"), literal_column("7"))
    open_counters = has_open.where(open_.c.subject == _counters.c.subject, open_.c.month == counted_month)
    statements = {
        "prune": delete(_charges).where(c.month < before, ~open_charges),
        # As text a month comes before its days and after all earlier ones; "now" comes after all of them.
        "prune_counters": delete(_counters).where(_counters.c.period < before, ~open_counters),
    }
    return {name: compile_text(dialect, statement) for name, statement in statements.items()}


def _has_status(*names: str) -> ColumnElement[bool]:
    return _uploads.c.status.in_([literal_column(f"'{name}'") for name in names])
