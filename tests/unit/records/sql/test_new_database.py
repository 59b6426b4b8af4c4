"""The schema of a new database is made in one step, and is the one that the migrations make."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.new_database import new_database, statements_of
from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.records.sql import new_database as module
from tusd_py.records.sql.migrate import migrate
from tusd_py.records.sql.new_database import FILE, create
from tusd_py.records.sql.schema import bring_up_to_date, newest_revision


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.sqlite3"


def test_file_is_what_the_migrations_make() -> None:
    """After a migration was added, ``make new-database`` writes it again."""
    assert FILE.read_text() == new_database()


def test_new_database_is_as_if_migrated(path: Path) -> None:
    """It has the same tables, indexes and rows, the same journal and mode; the same migrations are named."""
    migrated = path.with_name("migrated.sqlite3")
    assert create(f"sqlite:///{path}", newest_revision()) == migrate(f"sqlite:///{migrated}")
    assert statements_of(path) == statements_of(migrated)
    for database in (path, migrated):
        assert database.stat().st_mode & 0o777 == 0o640
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_database_with_tables_is_left_alone(path: Path) -> None:
    """Nothing is created beside tables that are there, or of another revision."""
    assert create(f"sqlite:///{path}", "9999") == []
    assert not path.exists()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (x)")
        before = list(connection.iterdump())
        assert create(f"sqlite:///{path}", newest_revision()) == []
        assert list(connection.iterdump()) == before


def test_several_processes_create_it_once(path: Path) -> None:
    """Of several that begin at once, one creates the schema; the others find it current."""
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(bring_up_to_date, [f"sqlite:///{path}"] * 4))
    assert sorted(map(len, results)) == [0, 0, 0, len(json.loads(FILE.read_bytes())["migrations"])]


def test_failed_creation_leaves_no_tables(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is one transaction: afterwards the migrations find an empty database."""
    broken = json.loads(FILE.read_bytes())
    broken["statements"].append("CREATE TABLE uploads (x)")
    file = tmp_path / "broken.json"
    file.write_text(json.dumps(broken))
    monkeypatch.setattr(module, "FILE", file)
    with pytest.raises(RecordsUnavailable):
        create(f"sqlite:///{path}", newest_revision())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM sqlite_master").fetchall() == []
    assert len(migrate(f"sqlite:///{path}")) > 0
