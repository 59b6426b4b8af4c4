"""Order the indexes of the audit log by time, so that each filter has one; add those that lists of links need."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
#: As before: every version that knows these tables works with other indexes as well.
oldest_revision = "0015"


def _create(name: str, table: str, columns: list[str], condition: str | None = None) -> None:
    where = None if condition is None else sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def upgrade() -> None:
    # Each has the place of one by number: the entries of a time are found without those of other times.
    op.drop_index("ix_audit_entries_object_id", "audit_entries")
    op.drop_index("ix_audit_entries_subject", "audit_entries")
    _create("ix_audit_entries_object_id", "audit_entries", ["object_id", "at", "number"])
    _create("ix_audit_entries_subject", "audit_entries", ["subject", "at", "number"], "subject <> ''")
    _create("ix_audit_entries_at", "audit_entries", ["at", "number"])
    _create("ix_audit_entries_address", "audit_entries", ["address", "at", "number"], "address <> ''")
    _create("ix_audit_entries_verb", "audit_entries", ["verb", "at", "number"], "verb NOT IN ('create', 'finish')")
    _create("ix_audit_entries_kind", "audit_entries", ["kind", "at", "number"], "kind <> 'upload'")
    _create("ix_audit_entries_outcome", "audit_entries", ["outcome", "at", "number"], "outcome <> 'done'")
    _create("ix_links_kind", "links", ["kind", "id"])
    _create("ix_links_settled_at", "links", ["settled_at"], "settled_at IS NOT NULL")
