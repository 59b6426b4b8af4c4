"""What stays revoked when an older copy of the database is restored."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.database import empty_database
from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.records.sql.revocations import keep_revocations

NOW = 77


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A database with a key, an account and its session, of which a copy was made."""
    path = tmp_path / "before.sqlite3"
    path.write_bytes(empty_database())
    execute(path, "INSERT INTO api_keys (id, digest, label, owner, roles, created_at) VALUES ('k1', '', '', '', '', 0)")
    execute(path, "INSERT INTO api_keys (id, digest, label, owner, roles, created_at) VALUES ('k2', '', '', '', '', 0)")
    execute(path, "INSERT INTO accounts VALUES ('a1', 'alice', 'old hash', 'admin', 0, 0, 0, NULL)")
    execute(path, "INSERT INTO accounts VALUES ('a2', 'bob', 'hash', 'uploader', 0, 0, 0, NULL)")
    execute(path, "INSERT INTO account_sessions VALUES ('s1', 'a1', '', 0, 9, 0, 0)")
    return path


def execute(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchall()


def test_what_was_revoked_since_stays_revoked(before: Path, tmp_path: Path) -> None:
    """Keys that were revoked or deleted, accounts that were disabled, demoted or deleted, and all sessions."""
    copy = tmp_path / "copy.sqlite3"
    shutil.copy(before, copy)
    execute(copy, "INSERT INTO api_keys (id, digest, label, owner, roles, created_at) VALUES ('k3', '', '', '', '', 0)")
    execute(before, "UPDATE api_keys SET revoked_at = 5 WHERE id = 'k1'")
    execute(before, "UPDATE accounts SET password_hash = 'new hash', roles = 'viewer', generation = 3 WHERE id = 'a1'")
    execute(before, "DELETE FROM accounts WHERE id = 'a2'")
    counts = keep_revocations(copy, before, NOW)
    assert execute(copy, "SELECT id, revoked_at FROM api_keys ORDER BY id") == [("k1", 5), ("k2", None), ("k3", NOW)]
    assert execute(copy, "SELECT password_hash, roles, is_disabled, generation FROM accounts ORDER BY id") == [
        ("new hash", "viewer", 0, 3),
        ("hash", "uploader", 1, 0),
    ]
    assert execute(copy, "SELECT * FROM account_sessions") == []
    assert {table: count for table, count in counts.items() if count} == {
        "api_keys": 2,
        "accounts": 2,
        "account_sessions": 1,
    }
    assert execute(before, "SELECT count(*) FROM account_sessions") == [(1,)]


def test_without_the_database_before_everything_is_revoked(before: Path) -> None:
    """Nobody knows what was revoked since; passwords stay those of the copy."""
    counts = keep_revocations(before, None, NOW)
    assert execute(before, "SELECT DISTINCT revoked_at FROM api_keys") == [(NOW,)]
    assert execute(before, "SELECT is_disabled FROM accounts WHERE id = 'a1'") == [(0,)]
    assert (counts["api_keys"], counts["account_sessions"]) == (2, 1)


def test_copies_of_older_versions_have_no_such_tables(before: Path, tmp_path: Path) -> None:
    """Nothing is revoked in a copy from before there were credentials."""
    copy = tmp_path / "copy.sqlite3"
    execute(copy, "CREATE TABLE uploads (id TEXT)")
    assert set(keep_revocations(copy, before, NOW).values()) == {0}
    assert set(keep_revocations(copy, None, NOW).values()) == {0}


def test_a_damaged_database_before_stops_the_restore(before: Path, tmp_path: Path) -> None:
    """It must not silently count as a database that has revoked nothing."""
    damaged = tmp_path / "damaged.sqlite3"
    damaged.write_bytes(b"no database" * 1000)
    with pytest.raises(RecordsUnavailable, match="credentials"):
        keep_revocations(before, damaged, NOW)
