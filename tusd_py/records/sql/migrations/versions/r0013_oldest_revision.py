"""Record which versions of the program can use the schema, so that an older one can run beside a newer one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

#: Programs whose newest migration is an earlier one refuse a database that a later one has written.
oldest_revision = "0013"


def upgrade() -> None:
    op.add_column("alembic_version", sa.Column("oldest_revision", sa.Text(), nullable=True))
