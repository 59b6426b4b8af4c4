"""Create the tables of links and access codes; note at an upload with which of them it was made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def _partial(name: str, table: str, columns: list[str], condition: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(condition), postgresql_where=sa.text(condition))


def upgrade() -> None:
    op.add_column("uploads", sa.Column("grant", sa.Text(), nullable=False, server_default=""))
    op.add_column("uploads", sa.Column("length_max", sa.BigInteger(), nullable=True))
    _partial("ix_uploads_grant", "uploads", ["grant", "created_at", "id"], "\"grant\" <> ''")
    op.create_table(
        "links",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("types", sa.Text(), nullable=False),
        sa.Column("origins", sa.Text(), nullable=False),
        sa.Column("may_download", sa.Boolean(), nullable=False),
        sa.Column("is_single_use", sa.Boolean(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("claim", sa.Text(), nullable=False),
        sa.Column("claimed_until", sa.BigInteger(), nullable=True),
        sa.Column("bytes_sent", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_links"),
    )
    op.create_index("ix_links_owner", "links", ["kind", "owner", "id"])
    _partial("ix_links_unsettled", "links", ["expires_at"], "settled_at IS NULL")
    op.create_table(
        "access_codes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("files_max", sa.BigInteger(), nullable=True),
        sa.Column("bytes_max", sa.BigInteger(), nullable=True),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("terminated_at", sa.BigInteger(), nullable=True),
        sa.Column("warned_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_access_codes"),
        sa.UniqueConstraint("digest", name="uq_access_codes_digest"),
    )
    op.create_index("ix_access_codes_owner", "access_codes", ["owner", "id"])
    op.create_index("ix_access_codes_expires_at", "access_codes", ["expires_at"])
    op.create_table(
        "code_guesses",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("address", name="pk_code_guesses"),
    )
    op.create_index("ix_code_guesses_last_at", "code_guesses", ["last_at"])
