"""Add quotas of files, of stored bytes and of unfinished uploads; order charges by their time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

oldest_revision = "0015"

_KEPT = "created_at, upload_id, subject, day, month, bytes, is_settled, taken_by"


def upgrade() -> None:
    op.create_table(
        "new_quota_charges",
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("is_settled", sa.Boolean(), nullable=False),
        sa.Column("taken_by", sa.Text(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("stored", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("unfinished", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("own_limits", sa.Text(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("created_at", "upload_id", name="pk_new_quota_charges"),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO new_quota_charges ({_KEPT}) SELECT {_KEPT} FROM quota_charges")
    op.drop_table("quota_charges")
    op.rename_table("new_quota_charges", "quota_charges")
    op.create_index("ix_quota_charges_subject_month", "quota_charges", ["subject", "month"])
    op.create_index(
        "ix_quota_charges_taken_by",
        "quota_charges",
        ["taken_by"],
        sqlite_where=sa.text("taken_by <> ''"),
        postgresql_where=sa.text("taken_by <> ''"),
    )
    op.add_column("quota_counters", sa.Column("files", sa.BigInteger(), nullable=False, server_default="0"))
    for name in ("files_per_day", "files_per_month", "bytes_stored", "uploads_at_once"):
        op.add_column("quota_limits", sa.Column(name, sa.BigInteger(), nullable=True))
