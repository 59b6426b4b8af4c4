"""Keeps credentials revoked when an older copy of a SQLite database is restored. Blocks."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tusd_py.contracts.records import RecordsUnavailable

#: By table the column that says since when a credential is revoked, or was used up.
_REVOKED = {
    "api_keys": ("revoked_at",),
    "links": ("revoked_at", "used_at"),
    "access_codes": ("terminated_at",),
}
_NEWER_COLUMNS = ("password_hash", "roles", "is_disabled", "generation")
_SESSIONS = "account_sessions"


def keep_revocations(restored: Path, before: Path | None, now: int) -> Mapping[str, int]:
    """Revoke in ``restored`` what is revoked in ``before``, the database that it replaces; return how many by table.

    What ``before`` does not know, because it was deleted since, is revoked too; accounts get the password, the roles
    and the state that they have in ``before``, and all sessions end. Without ``before`` it is unknown what was revoked
    since the copy was made: then every key, link, code and session is. ``now`` is in microseconds. Raises
    ``RecordsUnavailable``.
    """
    try:
        with closing(sqlite3.connect(restored)) as connection:
            connection.execute("ATTACH DATABASE ? AS before", (":memory:" if before is None else str(before),))
            with connection:
                counts = {table: _revoke(connection, table, now) for table in _REVOKED}
                counts["accounts"] = 0 if before is None else _update_accounts(connection)
                counts[_SESSIONS] = _count(connection, f"DELETE FROM main.{_SESSIONS}", _SESSIONS)
            return counts
    except sqlite3.Error as error:
        raise RecordsUnavailable(f"credentials could not be kept revoked: {error}") from error


def _revoke(connection: sqlite3.Connection, table: str, now: int) -> int:
    names = [name for name in _REVOKED[table] if name in _columns(connection, "main", table)]
    known = _columns(connection, "before", table)
    count = 0
    for name in names:
        if name in known:
            # Both may be revoked, at different times: what is revoked in the copy is so in the other one.
            count += connection.execute(
                f"UPDATE main.{table} SET {name} = (SELECT b.{name} FROM before.{table} b WHERE b.id = {table}.id)"
                f" WHERE {name} IS NULL AND id IN (SELECT id FROM before.{table} WHERE {name} IS NOT NULL)"
            ).rowcount
    if names:
        gone = f" AND id NOT IN (SELECT id FROM before.{table})" if known else ""
        count += connection.execute(
            f"UPDATE main.{table} SET {names[0]} = ? WHERE {names[0]} IS NULL{gone}", (now,)
        ).rowcount
    return count


def _update_accounts(connection: sqlite3.Connection) -> int:
    present = _columns(connection, "main", "accounts") & _columns(connection, "before", "accounts")
    names = [name for name in _NEWER_COLUMNS if name in present]
    if not names:
        return 0
    is_changed = " OR ".join(f"b.{name} <> main.accounts.{name}" for name in names)
    values = ", ".join(f"{name} = (SELECT b.{name} FROM before.accounts b WHERE b.id = accounts.id)" for name in names)
    changed = connection.execute(
        f"UPDATE main.accounts SET {values}"
        f" WHERE EXISTS (SELECT 1 FROM before.accounts b WHERE b.id = main.accounts.id AND ({is_changed}))"
    ).rowcount
    disabled = connection.execute(
        "UPDATE main.accounts SET is_disabled = 1 WHERE is_disabled = 0 AND id NOT IN (SELECT id FROM before.accounts)"
    ).rowcount
    return changed + disabled


def _count(connection: sqlite3.Connection, statement: str, table: str) -> int:
    return connection.execute(statement).rowcount if _columns(connection, "main", table) else 0


def _columns(connection: sqlite3.Connection, schema: str, table: str) -> set[str]:
    """The names of the columns; empty if this version of the schema has no such table."""
    return {str(row[1]) for row in connection.execute(f"PRAGMA {schema}.table_info({table})")}
