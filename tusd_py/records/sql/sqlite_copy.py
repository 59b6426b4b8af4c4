"""Copies of a SQLite database for backups, and whether a file is a sound database. All calls block."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from tusd_py.records.sql.sqlite import BUSY_SECONDS, is_busy, unavailable

_MODE = 0o640


def copy_database(source: Path, target: Path) -> None:
    """Copy the database as it is at one moment, while other processes write, to the new file ``target``.

    The copy has no write-ahead log: it is one file, which can be read where nothing can be written.

    Raises ``RecordsUnavailable`` or ``OSError``.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE))
    try:
        with closing(_open(source, "rw")) as reading, closing(sqlite3.connect(target)) as writing:
            # One step: it reads in one transaction, which does not delay writers. Several would begin anew with each
            # change that another process makes.
            reading.backup(writing)
            writing.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise unavailable(error) from error


def damage(path: Path, *, is_constant: bool = False) -> str:
    """What ``PRAGMA quick_check`` finds wrong in the database; empty if it is sound. Reads the whole file.

    With ``is_constant`` no process writes to it: nothing is locked, and no file is made beside it.

    Raises ``RecordsUnavailable`` if the file cannot be opened as a database.
    """
    try:
        with closing(_open(path, "ro&immutable=1" if is_constant else "ro")) as database:
            found = [str(row[0]) for row in database.execute("PRAGMA quick_check(1)")]
    except sqlite3.Error as error:
        fault = unavailable(error)
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            return str(fault)
        raise fault from error
    return "" if found == ["ok"] else found[0]


def is_in_use(path: Path) -> bool:
    """Whether another process has the database open; False for a file that no process can use."""
    try:
        with closing(_open(path, "rw")) as database:
            database.execute("PRAGMA busy_timeout=0")
            # In this mode no other connection may exist, not even an idle one. It ends with the connection.
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            database.execute("BEGIN EXCLUSIVE")
            database.execute("ROLLBACK")
    except sqlite3.Error as error:
        return is_busy(error)
    return False


def _open(path: Path, mode: str) -> sqlite3.Connection:
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_SECONDS)
    database.isolation_level = None
    return database
