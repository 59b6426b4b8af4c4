"""Give jobs a lane, so that progress reports share their threads with no other event of their subscription."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("lane", sa.Text(), nullable=False, server_default=""))
    op.execute("UPDATE jobs SET lane = subscription WHERE ended_at IS NULL OR state = 'dead'")
    op.drop_index("ix_jobs_ready", "jobs")
    op.create_index(
        "ix_jobs_ready",
        "jobs",
        ["lane", "next_attempt_at", "id"],
        sqlite_where=sa.text("is_head"),
        postgresql_where=sa.text("is_head"),
    )
