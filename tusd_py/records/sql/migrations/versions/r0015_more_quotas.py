"""Add quotas of files, of stored bytes and of unfinished uploads to the quota ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("files", "stored", "unfinished"):
        op.add_column("quota_charges", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("quota_charges", sa.Column("own_limits", sa.Text(), nullable=False, server_default=""))
    op.add_column("quota_counters", sa.Column("files", sa.BigInteger(), nullable=False, server_default="0"))
    for name in ("files_per_day", "files_per_month", "bytes_stored", "uploads_at_once"):
        op.add_column("quota_limits", sa.Column(name, sa.BigInteger(), nullable=True))
