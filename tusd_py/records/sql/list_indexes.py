"""The indexes that only lists of uploads need. They exist once a server with the API has been started.

Servers without it need none, and a creation would pay for each: 14 microseconds for the index of names, whose entries
are all over its pages, about one for each of the others.
"""

from __future__ import annotations

from tusd_py.records.sql.driver import DatabaseDriver

#: Without the id where a few rows at most are equal: each byte is written at a creation.
INDEXES = {
    "ix_uploads_status_created_at": "uploads (status, created_at)",
    "ix_uploads_owner_created_at": "uploads (owner, created_at) WHERE owner <> ''",
    "ix_uploads_declared_type_created_at": "uploads (declared_type, created_at) WHERE declared_type <> ''",
    "ix_uploads_detected_type_created_at": "uploads (detected_type, created_at) WHERE detected_type <> ''",
    "ix_uploads_name_key": "uploads (name_key, id) WHERE name_key <> ''",
}


_EXISTING = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'index'",
    "postgresql": "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()",
}


def ensure_list_indexes(driver: DatabaseDriver) -> None:
    """Create the indexes that are missing, in seconds for each million of uploads. Raises ``RecordsUnavailable``."""
    connection = driver.connect()
    try:
        # Looked at first: a command that opens the database must not wait for its one writer.
        with connection.reading():
            existing = {row[0] for row in connection.execute(_EXISTING[driver.dialect.name], {}).fetchall()}
        missing = INDEXES.keys() - existing
        if missing:
            with connection.writing(durable=True):
                for name in sorted(missing):
                    connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {INDEXES[name]}", {})
    except connection.statement_errors as error:
        raise connection.to_fault(error) from error
    finally:
        connection.close()
