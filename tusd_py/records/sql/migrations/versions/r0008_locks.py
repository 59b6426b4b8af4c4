"""Create the table of locks, for servers on several machines that have no Redis."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Unlogged: a lock need not survive a crash of the database, since the record decides.
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "locks",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_locks"),
        prefixes=["UNLOGGED"] if is_postgresql else [],
    )
