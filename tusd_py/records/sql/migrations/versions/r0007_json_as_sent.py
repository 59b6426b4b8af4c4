"""On PostgreSQL, keep JSON as the text it is: JSONB cannot hold U+0000, which a request's header may have.

Unchanged on SQLite, where such columns are text.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, column in (("uploads", "history"), ("uploads", "storage"), ("events", "body")):
        op.alter_column(table, column, type_=sa.JSON(), postgresql_using=f"{column}::json")
