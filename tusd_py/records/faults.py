"""What went wrong in the database, as a sentence for an operator. The driver's own exceptions end here."""

from __future__ import annotations

import sqlite3

from tusd_py.contracts.records import RecordsFull, RecordsUnavailable

_SENTENCES = {
    sqlite3.SQLITE_BUSY: "another process kept the records locked for too long",
    sqlite3.SQLITE_LOCKED: "another process kept the records locked for too long",
    sqlite3.SQLITE_FULL: "the disk is full: records cannot be saved",
    sqlite3.SQLITE_READONLY: "the records can be read but not changed: the file or its directory is read-only",
    sqlite3.SQLITE_CANTOPEN: "the records file, or one that belongs to it, cannot be opened",
    sqlite3.SQLITE_PERM: "the records file may not be opened by this user",
    sqlite3.SQLITE_CORRUPT: "the records file is damaged: restore it from a backup",
    sqlite3.SQLITE_NOTADB: "the records file is not a database",
    sqlite3.SQLITE_IOERR: "the disk under the records failed",
}


def unavailable(error: sqlite3.Error) -> RecordsUnavailable:
    """The fault to raise in place of ``error``; a new one for each caller, since a traceback grows on it."""
    kind = RecordsFull if _primary_code(error) == sqlite3.SQLITE_FULL else RecordsUnavailable
    fault = kind(_SENTENCES.get(_primary_code(error), f"the records database failed: {error}"))
    fault.__cause__ = error
    return fault


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process held the lock until patience ran out: trying again would only wait again."""
    return _primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _primary_code(error: sqlite3.Error) -> int:
    # The low byte is the primary result code, whatever the extended one adds to it. The driver's own complaints
    # (a closed connection, a value it cannot bind) carry none.
    return getattr(error, "sqlite_errorcode", -1) & 0xFF
