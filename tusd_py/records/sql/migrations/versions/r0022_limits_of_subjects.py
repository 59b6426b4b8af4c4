"""Note for which quotas a subject has limits: the others follow the settings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("quota_limits", sa.Column("set_quotas", sa.Text(), nullable=True))
