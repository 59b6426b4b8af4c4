"""The statements of the records, built with SQLAlchemy Core and compiled once. Nothing here runs them.

Their text goes to the driver as it is: Core's own execution would cost several times what SQLite takes.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Text,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    null,
    select,
    text,
    update,
)
from sqlalchemy.sql.dml import Insert

from tusd_py.model.upload import Kind, Status
from tusd_py.records.sql.dialect import compile_by_position, compile_text, insert_or_ignore, json_elements, with_limit
from tusd_py.records.sql.rows import COLUMNS, DECLARED_COLUMNS, PLAIN_COLUMNS, PROGRESS_COLUMNS, STATE_COLUMNS
from tusd_py.records.sql.tables import NEEDS_RECOVERY, RecordsTable

_uploads = RecordsTable.metadata.tables["uploads"]
_parts = RecordsTable.metadata.tables["upload_parts"]
_columns = [column.name for column in _uploads.columns]
_upload = select(*(_uploads.c[name] for name in COLUMNS))


@dataclass(frozen=True, slots=True)
class Statements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    insert: str  # a row of rows.to_row
    insert_strictly: str  # the same; fails if the id exists
    insert_plain: str  # rows.plain_row, by position
    insert_part: str  # final_id, position, part_id
    update: str  # a row of rows.to_row, seen_id, seen_offset, seen_token
    update_state: str  # the same; sets STATE_COLUMNS only
    update_progress: str  # a row of rows.progress_row, seen_id, seen_offset, seen_token
    delete: str  # seen_id, seen_token
    delete_ended: str  # seen_id, seen_token
    find: str  # ids: a JSON array
    find_one: str  # its_id
    parts_of: str  # ids: a JSON array
    page: str  # after_id, limit
    due: str  # now, limit
    needing_recovery: str  # after_id, limit
    finals_waiting: str  # part_id
    count_part_uses: str  # ids: a JSON array
    find_empty: str  # ids: a JSON array
    find_states: str  # ids: a JSON array; id, token, offset, updated_at, status


def compile_statements(dialect: Dialect) -> Statements:
    """Every statement, for ``dialect``."""
    ids = json_elements(dialect, "ids")
    seen = (_uploads.c.id == bindparam("seen_id"), _uploads.c.token == bindparam("seen_token"))
    update_progress = update(_uploads).where(*seen, _uploads.c.offset == bindparam("seen_offset"))
    update_seen = update_progress.values(detected_type=_detected_or(_uploads.c.detected_type))
    parts_of = select(_parts.c.final_id, _parts.c.part_id).where(_parts.c.final_id.in_(ids))
    due = _upload.where(_uploads.c.expires_at <= bindparam("now")).order_by(_uploads.c.expires_at, _uploads.c.id)
    living = _uploads.c.status.in_(_literals(Status.UPLOADING, Status.PROCESSING, Status.READY))
    page = _upload.where(living, _uploads.c.id > bindparam("after_id")).order_by(_uploads.c.id)
    # The text of the partial index's own condition: the index applies only to a statement that contains it.
    needing_recovery = _upload.where(text(f"({NEEDS_RECOVERY})"), _uploads.c.id > bindparam("after_id")).order_by(
        _uploads.c.id
    )
    finals = select(_parts.c.final_id).where(_parts.c.part_id == bindparam("part_id"))
    unfinished = _uploads.c.status.in_(_literals(Status.UPLOADING, Status.PROCESSING))
    waiting = _upload.where(_uploads.c.id.in_(finals), unfinished).order_by(_uploads.c.id)
    has_bytes = _uploads.c.status.not_in(_literals(Status.EXPIRED, Status.TERMINATED, Status.FAILED))
    uses = select(_parts.c.part_id, func.count()).where(_parts.c.part_id.in_(ids), _parts.c.final_id == _uploads.c.id)
    is_empty = (_uploads.c.offset == literal_column("0"), _uploads.c.status.in_(_literals(Status.UPLOADING)))
    states = select(*(_uploads.c[name] for name in ("id", "token", "offset", "updated_at", "status")))
    has_ended = _uploads.c.status.in_([literal_column(f"'{s.value}'") for s in (Status.EXPIRED, Status.TERMINATED)])

    return Statements(
        insert=compile_text(dialect, _insert(dialect), _columns),
        insert_strictly=compile_text(dialect, insert(_uploads).values(**_detected()), _columns),
        insert_plain=compile_by_position(dialect, _plain_insert(dialect), list(PLAIN_COLUMNS)),
        insert_part=compile_text(dialect, insert(_parts)),
        update=compile_text(dialect, update_seen, [name for name in _columns if name not in ("id", *DECLARED_COLUMNS)]),
        update_state=compile_text(dialect, update_seen, [*STATE_COLUMNS]),
        update_progress=compile_text(dialect, update_progress, [*PROGRESS_COLUMNS]),
        delete=compile_text(dialect, delete(_uploads).where(*seen)),
        delete_ended=compile_text(dialect, delete(_uploads).where(*seen, has_ended)),
        find=compile_text(dialect, _upload.where(_uploads.c.id.in_(ids))),
        find_one=compile_text(dialect, _upload.where(_uploads.c.id == bindparam("its_id"))),
        parts_of=compile_text(dialect, parts_of.order_by(_parts.c.final_id, _parts.c.position)),
        page=compile_text(dialect, with_limit(page)),
        due=compile_text(dialect, with_limit(due)),
        needing_recovery=compile_text(dialect, with_limit(needing_recovery)),
        finals_waiting=compile_text(dialect, waiting),
        count_part_uses=compile_text(dialect, uses.where(has_bytes).group_by(_parts.c.part_id)),
        find_empty=compile_text(dialect, select(_uploads.c.id).where(_uploads.c.id.in_(ids), *is_empty)),
        find_states=compile_text(dialect, states.where(_uploads.c.id.in_(ids))),
    )


def _insert(dialect: Dialect) -> Insert:
    return insert_or_ignore(dialect, _uploads, "id", **_detected())


def _detected() -> dict[str, ColumnElement[str]]:
    """The column of a new row that is never null."""
    return {"detected_type": _detected_or(literal_column("''"))}


def _plain_insert(dialect: Dialect) -> Insert:
    none: ColumnElement[str] = literal_column("''")
    values = {"kind": _literal(Kind.REGULAR), "token": literal_column("0"), "detected_type": none}
    return insert_or_ignore(dialect, _uploads, "id", **values, concat_header=null(), length_max=null())


def _detected_or(otherwise: ColumnElement[str]) -> ColumnElement[str]:
    """The value ``detected_type``, or ``otherwise`` if it is null."""
    return func.coalesce(bindparam("detected_type", type_=Text), otherwise)


def _literals(*statuses: Status) -> list[ColumnElement[str]]:
    return [_literal(status) for status in statuses]


def _literal(value: Status | Kind) -> ColumnElement[str]:
    return literal_column(f"'{value.value}'")
