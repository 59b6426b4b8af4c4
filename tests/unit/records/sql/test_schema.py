"""The check of the schema at every start."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from alembic.script import ScriptDirectory

from tusd_py.records.sql import migrate
from tusd_py.records.sql.schema import bring_up_to_date, is_current, newest_revision


def test_newest_revision_comes_from_file_names() -> None:
    """The file that sorts last is Alembic's head."""
    script = ScriptDirectory.from_config(migrate.alembic_config())
    assert newest_revision() == script.get_current_head()


def test_bring_up_to_date_makes_database_current(tmp_path: Path) -> None:
    """The first start applies migrations, the second none."""
    url = f"sqlite:///{tmp_path / 'records.sqlite3'}"
    assert not is_current(url)
    assert bring_up_to_date(url) != []
    assert is_current(url)
    assert bring_up_to_date(url) == []


def test_is_current_creates_no_file(tmp_path: Path) -> None:
    """A check of a database that does not exist does not create it."""
    path = tmp_path / "records.sqlite3"
    assert not is_current(f"sqlite:///{path}")
    assert not path.exists()


def test_foreign_file_is_not_current(tmp_path: Path) -> None:
    """A file that is no database, or without our tables, or at another revision, is not current."""
    (tmp_path / "text").write_text("no database")
    assert not is_current(f"sqlite:///{tmp_path / 'text'}")
    connection = sqlite3.connect(tmp_path / "other")
    assert not is_current(f"sqlite:///{tmp_path / 'other'}")
    connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    connection.commit()
    connection.close()
    assert not is_current(f"sqlite:///{tmp_path / 'other'}")


def test_second_start_does_not_import_alembic_nor_other_databases(tmp_path: Path) -> None:
    """Alembic is imported only if a migration is pending; what is for PostgreSQL only with PostgreSQL."""
    url = f"sqlite:///{tmp_path / 'records.sqlite3'}"
    bring_up_to_date(url)
    program = "import sys; from tusd_py.records.sql.schema import *; assert bring_up_to_date(sys.argv[1]) == []; "
    program += "import tusd_py.service; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, url], check=True, capture_output=True, text=True)
    assert set() == {"alembic", "psycopg", "sqlalchemy.dialects.postgresql"}.intersection(done.stdout.split())


def test_schema_of_a_newer_version_that_allows_this_one_is_current(tmp_path: Path) -> None:
    """The database says which version can use it: at its start an older program leaves it as it is."""
    path = tmp_path / "records.sqlite3"
    url = f"sqlite:///{path}"
    bring_up_to_date(url)
    for oldest, usable in ((newest_revision(), True), ("9998", False)):
        connection = sqlite3.connect(path)
        connection.execute("UPDATE alembic_version SET version_num = '9999', oldest_revision = ?", (oldest,))
        connection.commit()
        connection.close()
        assert usable == is_current(url)
