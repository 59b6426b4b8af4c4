"""Create the tables of uploads and of the parts of final uploads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=True),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("metadata_header", sa.Text(), nullable=True),
        sa.Column("metadata_values", _json, nullable=False),
        sa.Column("concat_header", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.Column("history", _json, nullable=False),
        sa.Column("storage", _json, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
    )
    has_expiry = sa.text("expires_at IS NOT NULL")
    is_unsettled = sa.text("status = 'processing' OR (kind = 'final' AND status = 'uploading')")
    op.create_index(
        "ix_uploads_expires_at", "uploads", ["expires_at", "id"], sqlite_where=has_expiry, postgresql_where=has_expiry
    )
    op.create_index("ix_uploads_unsettled", "uploads", ["id"], sqlite_where=is_unsettled, postgresql_where=is_unsettled)
    op.create_table(
        "upload_parts",
        sa.Column("final_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("part_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("final_id", "position", name="pk_upload_parts"),
        sa.ForeignKeyConstraint(
            ["final_id"], ["uploads.id"], name="fk_upload_parts_final_id_uploads", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_upload_parts_part_id", "upload_parts", ["part_id"])
