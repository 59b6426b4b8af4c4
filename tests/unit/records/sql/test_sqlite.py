"""The SQLite driver: the write-ahead log, the revision of the schema, and the translation of faults."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tusd_py.contracts.records import RecordsFull, RecordsUnavailable
from tusd_py.records.sql.driver import open_driver
from tusd_py.records.sql.migrate import migrate
from tusd_py.records.sql.sqlite import _switch_to_wal, unavailable


def test_file_system_without_wal_is_refused() -> None:
    """If SQLite cannot use a write-ahead log, the message tells the operator to use a local disk."""
    # A database in memory has no log, as one on a file system without shared memory.
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(RecordsUnavailable) as raised:
        _switch_to_wal(connection)
    assert "WAL is not supported on this file system; put the database on a local disk" in str(raised.value)


def test_first_write_switches_a_copy_without_log_to_wal(tmp_path: Path) -> None:
    """A restored backup has no write-ahead log; without one a reader and the writer would wait for each other."""
    url = f"sqlite:///{tmp_path / 'records.sqlite3'}"
    migrate(url)
    assert _journal(tmp_path, "=DELETE") == "delete"
    writer, reader = open_driver(url).connect(), open_driver(url).connect()
    try:
        with reader.reading():
            reader.execute("SELECT * FROM uploads", {}).fetchall()
        with writer.writing(durable=False):
            assert _journal(tmp_path) == "wal"
            with reader.reading():
                assert reader.execute("SELECT * FROM uploads", {}).fetchall() == []
    finally:
        writer.close()
        reader.close()


def _journal(directory: Path, change: str = "") -> str:
    with closing(sqlite3.connect(directory / "records.sqlite3")) as connection:
        return str(connection.execute(f"PRAGMA journal_mode{change}").fetchone()[0])


def test_read_revision(tmp_path: Path) -> None:
    """The revision is ``None`` for a missing file, which is not created, and for one without our tables."""
    path = tmp_path / "records.sqlite3"
    driver = open_driver(f"sqlite:///{path}")
    assert (driver.exists(), driver.read_revision(), path.exists()) == (False, None, False)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (id)")
    assert (driver.exists(), driver.read_revision()) == (True, None)
    migrate(f"sqlite:///{path}")
    assert driver.read_revision() is not None


@pytest.mark.parametrize(
    ("code", "fault_type", "sentence"),
    [
        (sqlite3.SQLITE_FULL, RecordsFull, "disk under the database is full"),
        (sqlite3.SQLITE_IOERR_FSYNC, RecordsUnavailable, "disk under the database failed"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, RecordsUnavailable, "another process kept the database locked"),
        (sqlite3.SQLITE_MISUSE, RecordsUnavailable, "the database failed: it broke"),
    ],
)
def test_unavailable_has_a_sentence_for_each_code(
    code: int, fault_type: type[RecordsUnavailable], sentence: str
) -> None:
    """Extended codes get the sentence of their primary code; unknown ones the text of SQLite."""
    error = sqlite3.OperationalError("it broke")
    error.sqlite_errorcode = code
    fault = unavailable(error)
    assert type(fault) is fault_type
    assert sentence in str(fault)
    assert fault.__cause__ is error


def test_to_fault_leaves_value_errors(tmp_path: Path) -> None:
    """A value that cannot be stored is the caller's fault, and its exception is kept."""
    migrate(f"sqlite:///{tmp_path}/records.sqlite3")
    connection = open_driver(f"sqlite:///{tmp_path}/records.sqlite3").connect()
    error = OverflowError("too large")
    assert isinstance(error, connection.statement_errors)
    assert connection.to_fault(error) is error
    connection.close()
