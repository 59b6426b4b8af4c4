"""What is asked of a database at every start."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from alembic.script import ScriptDirectory

from tusd_py.records.sql import migrate
from tusd_py.records.sql.schema import bring_up_to_date, is_current, newest_revision


def test_the_newest_revision_is_read_off_the_file_names() -> None:
    """The file that sorts last is the step that Alembic, too, takes for the last one."""
    script = ScriptDirectory.from_config(migrate.alembic_config())
    assert newest_revision() == script.get_current_head()


def test_a_database_is_current_once_it_was_brought_up_to_date(tmp_path: Path) -> None:
    """The first start takes steps, the second none."""
    url = f"sqlite:///{tmp_path / 'records.sqlite3'}"
    assert not is_current(url)
    assert bring_up_to_date(url) != []
    assert is_current(url)
    assert bring_up_to_date(url) == []


def test_asking_makes_no_file(tmp_path: Path) -> None:
    """A database that is not there is not made by asking about it."""
    path = tmp_path / "records.sqlite3"
    assert not is_current(f"sqlite:///{path}")
    assert not path.exists()


def test_what_is_no_database_of_ours_is_not_current(tmp_path: Path) -> None:
    """Neither a file that is no database, nor one without our tables, nor one of another revision."""
    (tmp_path / "text").write_text("no database")
    assert not is_current(f"sqlite:///{tmp_path / 'text'}")
    connection = sqlite3.connect(tmp_path / "other")
    assert not is_current(f"sqlite:///{tmp_path / 'other'}")
    connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    connection.commit()
    connection.close()
    assert not is_current(f"sqlite:///{tmp_path / 'other'}")


def test_a_second_start_does_without_alembic(tmp_path: Path) -> None:
    """What only a migration needs is not loaded where there is none."""
    url = f"sqlite:///{tmp_path / 'records.sqlite3'}"
    bring_up_to_date(url)
    program = "import sys; from tusd_py.records.sql.schema import *; assert bring_up_to_date(sys.argv[1]) == []; "
    program += "import tusd_py.service; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program, url], check=False).returncode == 0
