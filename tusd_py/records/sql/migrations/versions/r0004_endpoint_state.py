"""Keep closed webhook endpoints in a table of their own, instead of as dead jobs of an upload ``closed NAME``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The only jobs without an event that the webhooks actor has had.
_CLOSING = "actor = 'webhooks' AND event_id = '' AND upload_id = 'closed ' || subscription"
# A retry of such a job opened the endpoint: then it waits for its second run, or runs it, or is done.
_IS_CLOSED = "(state = 'dead' OR (state = 'waiting' AND token = 0) OR (state = 'running' AND token = 1))"


def upgrade() -> None:
    op.create_table(
        "endpoint_state",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_endpoint_state"),
    )
    op.execute(
        "INSERT INTO endpoint_state (name, state, reason, since) "
        "SELECT subscription, 'closed', 'answered 410', min(created_at) FROM jobs "
        f"WHERE {_CLOSING} AND {_IS_CLOSED} GROUP BY subscription"
    )
    op.execute(f"DELETE FROM jobs WHERE {_CLOSING}")
