"""Add the limits that an API key may have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("length_max", sa.BigInteger(), nullable=True))
    op.add_column("api_keys", sa.Column("types", sa.Text(), nullable=True))
