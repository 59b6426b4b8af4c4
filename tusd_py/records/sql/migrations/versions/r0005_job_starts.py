"""Count the starts of jobs, so that a job that crashes its worker is told from the jobs beside it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("starts", sa.BigInteger(), nullable=False, server_default="0"))
