"""``tusd-py migrate``."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.command import run


def test_pending_migrations_are_applied(tmp_path: Path) -> None:
    """``migrate`` creates the database and prints each step; the second run has nothing to do."""
    first, second = run("migrate", "--data-dir", "d"), run("migrate", "--data-dir", "d")
    assert "applied  0001" in first.output
    assert "d/tusd.sqlite3 is up to date\n" == second.output
    assert (0, 0) == (first.exit_code, second.exit_code)
    with closing(sqlite3.connect(tmp_path / "d" / "tusd.sqlite3")) as database:
        assert ("uploads",) in database.execute("SELECT name FROM sqlite_master").fetchall()
