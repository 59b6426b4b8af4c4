"""Creates the schema of a new SQLite database in one step. Alembic would take a fifth of a second to apply them all.

``new_database.json`` is what the migrations leave behind in an empty database. ``make new-database`` writes it, and a
test compares both.
"""

from __future__ import annotations

import json
from pathlib import Path

from tusd_py.records.sql.driver import open_driver
from tusd_py.records.sql.sqlite import DatabaseUrl, SqliteDriver

FILE = Path(__file__).parent / "migrations" / "new_database.json"


def create(url: DatabaseUrl, revision: str) -> list[str]:
    """Create the schema of ``revision`` and return the names of its migrations.

    None, and nothing is changed, if the database has tables already, is not of SQLite, or if the file is of another
    revision. Blocks. Raises ``RecordsUnavailable``.
    """
    driver = open_driver(url)
    if not isinstance(driver, SqliteDriver) or driver.has_content():
        return []
    schema = json.loads(FILE.read_bytes())
    if schema["revision"] != revision or not driver.create_schema(schema["statements"]):
        return []
    steps: list[str] = schema["migrations"]
    return steps
