"""Create the tables of the quota ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "quota_charges",
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("is_settled", sa.Boolean(), nullable=False),
        sa.Column("taken_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("upload_id", "created_at", name="pk_quota_charges"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_quota_charges_subject_month", "quota_charges", ["subject", "month"])
    op.create_index(
        "ix_quota_charges_taken_by",
        "quota_charges",
        ["taken_by"],
        sqlite_where=sa.text("taken_by <> ''"),
        postgresql_where=sa.text("taken_by <> ''"),
    )
    op.create_table(
        "quota_counters",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "period", name="pk_quota_counters"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "quota_limits",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("bytes_per_day", sa.BigInteger(), nullable=True),
        sa.Column("bytes_per_month", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("subject", name="pk_quota_limits"),
    )
