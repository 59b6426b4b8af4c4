"""Rename columns, indexes and JSON keys to the names in the code; drop the unused ``metadata_values``.

In one transaction with the other migrations. Dropping the column rewrites the table of uploads, and every event with a
renamed key is rewritten, so a large database needs about its own size as free space for the write-ahead log.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for index in ("ix_jobs_turn", "ix_jobs_lane"):
        op.drop_index(index, "jobs")
    op.drop_index("ix_uploads_unsettled", "uploads")
    op.drop_column("uploads", "metadata_values")
    op.alter_column("uploads", "awaiting", new_column_name="pending_steps")
    op.alter_column("jobs", "consumer", new_column_name="subscription")
    op.alter_column("jobs", "lane", new_column_name="sequence_key")
    op.alter_column("jobs", "is_first", new_column_name="is_head")
    _partial(
        "ix_uploads_needing_recovery",
        "uploads",
        ["id"],
        "(status = 'processing' AND pending_steps = '[]') OR (kind = 'final' AND status = 'uploading')",
    )
    _partial("ix_jobs_ready", "jobs", ["subscription", "next_attempt_at", "id"], "is_head")
    _partial("ix_jobs_sequence_key", "jobs", ["sequence_key", "id"], "ended_at IS NULL")
    # Within a JSON string a quotation mark is escaped (\"facts\":), so that only keys match. None of our own mappings
    # (the details of a step, the state of a store) has had such a key.
    _rename_key("uploads", "history", "facts", "details")
    _rename_key("events", "body", "facts", "details")
    _rename_key("events", "body", "awaiting", "pending_steps")


def _partial(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _rename_key(table: str, column: str, before: str, after: str) -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    # PostgreSQL has neither replace() nor LIKE for JSONB; its text has a space after the colon, none before it.
    text = f"CAST({column} AS TEXT)" if is_postgresql else column
    renamed = f"replace({text}, :before, :after)"
    value = f"CAST({renamed} AS JSONB)" if is_postgresql else renamed
    op.execute(
        sa.text(f"UPDATE {table} SET {column} = {value} WHERE {text} LIKE :pattern").bindparams(
            before=f'"{before}":', after=f'"{after}":', pattern=f'%"{before}":%'
        )
    )
