"""Keeps credentials revoked when an older copy of a database is restored. Blocks."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Protocol

from tusd_py.contracts.records import RecordsUnavailable

#: By table the column that says since when a credential is revoked, or was used up.
_REVOKED = {
    "api_keys": ("revoked_at",),
    "links": ("revoked_at", "used_at"),
    "access_codes": ("terminated_at",),
}
_NEWER_COLUMNS = ("password_hash", "roles", "is_disabled", "generation")
_SESSIONS = "account_sessions"


class TwoDatabases(Protocol):
    """A restored database and the one that it replaces, in one transaction; SQL names them as schemas.

    ``before`` is empty if no database says what was revoked since the copy was made.
    """

    restored: str
    before: str

    def execute(self, statement: str) -> int:
        """Run a statement; return how many rows it has changed."""
        ...

    def columns(self, schema: str, table: str) -> set[str]:
        """The names of the columns; empty if this version of the schema has no such table."""
        ...


def keep_revocations(restored: Path, before: Path | None, now: int) -> Mapping[str, int]:
    """``revoke_again`` for the SQLite databases at these paths. Raises ``RecordsUnavailable``."""
    try:
        with closing(sqlite3.connect(restored)) as connection:
            if before is not None:
                connection.execute("ATTACH DATABASE ? AS before", (str(before),))
            with connection:
                return revoke_again(_SqliteDatabases(connection, "" if before is None else "before"), now)
    except sqlite3.Error as error:
        raise RecordsUnavailable(f"credentials could not be kept revoked: {error}") from error


def revoke_again(databases: TwoDatabases, now: int) -> Mapping[str, int]:
    """Revoke in the restored database what is revoked in the one before; return how many by table.

    What the database before does not know, because it was deleted since, is revoked too; accounts get the password,
    the roles and the state that they have there, and all sessions end. Without it, every key, link, code and session
    is revoked. ``now`` is in microseconds.
    """
    counts = {table: _revoke(databases, table, now) for table in _REVOKED}
    counts["accounts"] = _update_accounts(databases) if databases.before else 0
    has_sessions = bool(databases.columns(databases.restored, _SESSIONS))
    counts[_SESSIONS] = databases.execute(f"DELETE FROM {databases.restored}.{_SESSIONS}") if has_sessions else 0
    return counts


def _revoke(databases: TwoDatabases, table: str, now: int) -> int:
    restored, before = f"{databases.restored}.{table}", f"{databases.before}.{table}"
    present = databases.columns(databases.restored, table)
    known = databases.columns(databases.before, table) if databases.before else set()
    names = [name for name in _REVOKED[table] if name in present]
    count = 0
    for name in names:
        if name in known:
            # Both may be revoked, at different times: what is revoked in the copy is so in the other one.
            count += databases.execute(
                f"UPDATE {restored} SET {name} = (SELECT b.{name} FROM {before} b WHERE b.id = {table}.id)"
                f" WHERE {name} IS NULL AND id IN (SELECT id FROM {before} WHERE {name} IS NOT NULL)"
            )
    if names:
        gone = f" AND id NOT IN (SELECT id FROM {before})" if known else ""
        count += databases.execute(f"UPDATE {restored} SET {names[0]} = {now} WHERE {names[0]} IS NULL{gone}")
    return count


def _update_accounts(databases: TwoDatabases) -> int:
    restored, before = f"{databases.restored}.accounts", f"{databases.before}.accounts"
    present = databases.columns(databases.restored, "accounts") & databases.columns(databases.before, "accounts")
    names = [name for name in _NEWER_COLUMNS if name in present]
    if not names:
        return 0
    is_changed = " OR ".join(f"b.{name} <> accounts.{name}" for name in names)
    values = ", ".join(f"{name} = (SELECT b.{name} FROM {before} b WHERE b.id = accounts.id)" for name in names)
    changed = databases.execute(
        f"UPDATE {restored} SET {values}"
        f" WHERE EXISTS (SELECT 1 FROM {before} b WHERE b.id = accounts.id AND ({is_changed}))"
    )
    disabled = databases.execute(
        f"UPDATE {restored} SET is_disabled = TRUE WHERE NOT is_disabled AND id NOT IN (SELECT id FROM {before})"
    )
    return changed + disabled


class _SqliteDatabases:
    """See ``TwoDatabases``: the restored database, with the one before attached to its connection."""

    restored = "main"

    def __init__(self, connection: sqlite3.Connection, before: str) -> None:
        self._connection = connection
        self.before = before

    def execute(self, statement: str) -> int:
        return self._connection.execute(statement).rowcount

    def columns(self, schema: str, table: str) -> set[str]:
        return {str(row[1]) for row in self._connection.execute(f"PRAGMA {schema}.table_info({table})")}
