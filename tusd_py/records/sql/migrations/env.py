"""What Alembic runs for each of its commands, on the connection that ``migrate`` has opened."""

from __future__ import annotations

from alembic import context

from tusd_py.records.sql.all_tables import RecordsTable

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=RecordsTable.metadata,
    # SQLite can alter little: a table is rebuilt, filled and renamed.
    render_as_batch=True,
    # All migrations are in the transaction that ``migrate`` has begun: after a crash all are applied or none.
    transactional_ddl=False,
)
context.run_migrations()
