"""Create the tables of events and jobs, and the columns of uploads for the processing steps of workers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("uploads", sa.Column("awaiting", _json, nullable=False, server_default="[]"))
    op.drop_index("ix_uploads_unsettled", "uploads")
    _partial(
        "ix_uploads_unsettled",
        "uploads",
        ["id"],
        "(status = 'processing' AND awaiting = '[]') OR (kind = 'final' AND status = 'uploading')",
    )
    op.create_table(
        "events",
        sa.Column("seq", _number, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", _json, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
        sa.UniqueConstraint("id", name="uq_events_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_upload_id", "events", ["upload_id", "seq"])
    op.create_index("ix_events_at", "events", ["at", "seq"])
    op.create_table(
        "jobs",
        sa.Column("id", _number, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("next_attempt_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("is_first", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("key", name="uq_jobs_key"),
        sqlite_autoincrement=True,
    )
    _partial("ix_jobs_turn", "jobs", ["consumer", "next_attempt_at", "id"], "is_first")
    _partial("ix_jobs_lane", "jobs", ["lane", "id"], "ended_at IS NULL")
    _partial("ix_jobs_done", "jobs", ["ended_at", "id"], "state = 'done'")
    _partial("ix_jobs_state", "jobs", ["state", "id"], "state <> 'done'")
    op.create_index("ix_jobs_upload_id", "jobs", ["upload_id", "id"])


def _partial(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
