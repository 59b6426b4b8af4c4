"""What Alembic runs for each of its commands: it lends the connection that ``migrating`` opened. No step is here."""

from __future__ import annotations

from alembic import context

from tusd_py.records.sql.tables import RecordsTable

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=RecordsTable.metadata,
    # SQLite alters little: a table is built anew, filled and renamed.
    render_as_batch=True,
    # The transaction that migrating has begun holds every step, so that a crash leaves all of them or none.
    transactional_ddl=False,
)
context.run_migrations()
