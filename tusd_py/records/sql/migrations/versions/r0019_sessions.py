"""Create the tables of sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "upload_sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("metadata_header", sa.Text(), nullable=True),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("chunk_count", sa.BigInteger(), nullable=False),
        sa.Column("chunk_size", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("finalized_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_upload_sessions"),
    )
    op.create_index("ix_upload_sessions_created_at", "upload_sessions", ["created_at", "id"])
    op.create_index("ix_upload_sessions_owner", "upload_sessions", ["owner", "created_at", "id"])
    op.create_index("ix_upload_sessions_expires_at", "upload_sessions", ["expires_at"])
    op.create_table(
        "session_chunks",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "position", name="pk_session_chunks"),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["upload_sessions.id"],
            name="fk_session_chunks_session_id_upload_sessions",
            ondelete="CASCADE",
        ),
    )
