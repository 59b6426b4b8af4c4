"""Writes tusd_py/records/sql/migrations/new_database.json from the migrations (``make new-database``)."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from tusd_py.records.sql.migrate import migrate
from tusd_py.records.sql.new_database import FILE
from tusd_py.records.sql.schema import newest_revision


def statements_of(path: Path) -> list[str]:
    """The statements that create the tables, indexes and rows of a database."""
    with closing(sqlite3.connect(path)) as connection:
        master = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY rowid"
        found = connection.execute(master).fetchall()
        statements = [sql for _, _, sql in found]
        for table in (name for kind, name, _ in found if kind == "table"):
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                assert all(isinstance(value, str) and "'" not in value for value in row), f"a row of {table}"
                values = ", ".join(f"'{value}'" for value in row)
                statements.append(f"INSERT INTO {table} VALUES ({values})")
    return statements


def new_database() -> str:
    """What the file must contain."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "records.sqlite3"
        steps = migrate(f"sqlite:///{path}")
        found = {"revision": newest_revision(), "migrations": steps, "statements": statements_of(path)}
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(new_database())
