"""The statements of the records, built with SQLAlchemy Core and compiled once. Nothing here runs them.

Their text goes to the driver as it is: inside a batch, Core's own execution would cost several times what SQLite does.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Dialect, bindparam, delete, insert, literal_column, select, text, update

from tusd_py.model.upload import Status
from tusd_py.records.sql.dialect import elements, insert_unless_there, limited, text_of
from tusd_py.records.sql.rows import COLUMNS
from tusd_py.records.sql.tables import NEEDS_RECOVERY, RecordsTable

_uploads = RecordsTable.metadata.tables["uploads"]
_parts = RecordsTable.metadata.tables["upload_parts"]
_saved = [column.name for column in _uploads.columns]
_hot = select(*(_uploads.c[name] for name in COLUMNS))


@dataclass(frozen=True, slots=True)
class Statements:
    """Each statement as text in one database's dialect. Values go by name, as the driver takes them."""

    insert: str  # a row of rows.to_row
    insert_part: str  # final_id, position, part_id
    update: str  # a row of rows.to_row, seen_id, seen_offset, seen_token
    delete: str  # seen_id, seen_token
    find: str  # ids: a JSON array
    parts_of: str  # ids: a JSON array
    due: str  # now, limit
    needing_recovery: str  # after_id, limit
    finals_waiting: str  # part_id


def compile_statements(dialect: Dialect) -> Statements:
    """Every statement, for ``dialect``."""
    asked_ids = elements(dialect, "ids")
    seen = (_uploads.c.id == bindparam("seen_id"), _uploads.c.token == bindparam("seen_token"))
    replace = update(_uploads).where(*seen, _uploads.c.offset == bindparam("seen_offset"))
    parts_of = select(_parts.c.final_id, _parts.c.part_id).where(_parts.c.final_id.in_(asked_ids))
    due = _hot.where(_uploads.c.expires_at <= bindparam("now")).order_by(_uploads.c.expires_at, _uploads.c.id)
    # Exactly as the partial index has it: it applies only where its condition stands in the text.
    needing_recovery = _hot.where(text(f"({NEEDS_RECOVERY})"), _uploads.c.id > bindparam("after_id")).order_by(
        _uploads.c.id
    )
    finals = select(_parts.c.final_id).where(_parts.c.part_id == bindparam("part_id"))
    not_done = _uploads.c.status.in_([literal_column(f"'{s.value}'") for s in (Status.UPLOADING, Status.PROCESSING)])
    waiting = _hot.where(_uploads.c.id.in_(finals), not_done).order_by(_uploads.c.id)

    return Statements(
        insert=text_of(dialect, insert_unless_there(dialect, _uploads, "id"), _saved),
        insert_part=text_of(dialect, insert(_parts)),
        update=text_of(dialect, replace, [name for name in _saved if name != "id"]),
        delete=text_of(dialect, delete(_uploads).where(*seen)),
        find=text_of(dialect, _hot.where(_uploads.c.id.in_(asked_ids))),
        parts_of=text_of(dialect, parts_of.order_by(_parts.c.final_id, _parts.c.position)),
        due=text_of(dialect, limited(due)),
        needing_recovery=text_of(dialect, limited(needing_recovery)),
        finals_waiting=text_of(dialect, waiting),
    )
