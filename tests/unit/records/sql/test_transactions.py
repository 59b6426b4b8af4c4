"""Batches against a real database file: what one transaction does, and whom a fault reaches."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tusd_py.contracts.records import RecordExists, RecordsUnavailable
from tusd_py.model.upload import Upload
from tusd_py.records.sql.migrate import migrate
from tusd_py.records.sql.rows import to_row
from tusd_py.records.sql.sqlite import DatabaseConnection, open_engine
from tusd_py.records.sql.statements import compile_statements
from tusd_py.records.sql.transactions import FindByIds, Listing, Reader, RecordChange, Writer, WriteResult

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Database:
    """A migrated file, a connection to it, and its statements; a writer's patience is a hundredth of a second."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "records.sqlite3"
        url = f"sqlite:///{self.path}"
        migrate(url)
        engine = open_engine(url)
        self.statements = compile_statements(engine.dialect)
        self.connection = DatabaseConnection(engine, busy_seconds=0.01)
        self.writer = Writer(self.connection, always_durable=False)
        self.reader = Reader(self.connection, self.statements)

    def adding(self, upload: Upload, *, durable: bool = False) -> RecordChange:
        return RecordChange(self.statements.insert, to_row(upload, 0), RecordExists(upload.id), durable=durable)

    def ids(self) -> list[str]:
        with closing(sqlite3.connect(self.path)) as beneath:
            return [row[0] for row in beneath.execute("SELECT id FROM uploads ORDER BY id")]

    def pragma(self, text: str) -> int:
        assert self.connection._driver is not None
        row = self.connection._driver.execute(f"PRAGMA {text}").fetchone()
        return int(row[0])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path)
    yield opened
    opened.connection.close()


def an_upload(upload_id: str, *, length: int | None = 9, header: str | None = None) -> Upload:
    return Upload(id=upload_id, length=length, created_at=NOW, updated_at=NOW, metadata_header=header)


def test_the_guilty_one_alone_suffers(database: Database) -> None:
    """Where one change cannot be bound by the driver, its neighbours in the batch are made all the same."""
    changes = [database.adding(an_upload(i)) for i in "abc"]
    changes[1:1] = [database.adding(an_upload("big", length=2**63)), database.adding(an_upload("\udc80"))]
    outcomes = database.writer.answer(changes)
    assert [type(outcome) for outcome in outcomes] == [
        WriteResult,
        OverflowError,
        UnicodeEncodeError,
        WriteResult,
        WriteResult,
    ]
    assert database.ids() == ["a", "b", "c"]


def test_a_full_disk_refuses_what_does_not_fit(database: Database) -> None:
    """A record too large for the room left is refused with a sentence; those that fit are recorded."""
    assert database.writer.answer([database.adding(an_upload("first"))]) == [WriteResult()]
    database.pragma(f"max_page_count={database.pragma('page_count') + 2}")
    large = an_upload("large", header="x" * 100_000)
    outcomes = database.writer.answer([database.adding(an_upload("a")), database.adding(large)])
    assert outcomes[0] == WriteResult()
    assert isinstance(outcomes[1], RecordsUnavailable)
    assert "disk is full" in str(outcomes[1])
    assert database.ids() == ["a", "first"]


def test_what_may_only_be_read_is_told(database: Database) -> None:
    """A database that SQLite will not write to is refused for changes, in words, and read as ever."""
    assert database.writer.answer([database.adding(an_upload("a"))]) == [WriteResult()]
    assert database.connection._driver is not None
    database.connection._driver.execute("PRAGMA query_only=ON")
    assert database.reader.answer([FindByIds(["a"])]) == [[an_upload("a")]]
    (outcome,) = database.writer.answer([database.adding(an_upload("b"))])
    assert "can be read but not changed" in str(outcome)


def test_another_process_s_lock_is_waited_for_once(database: Database) -> None:
    """While another holds the write lock beyond all patience the whole batch is refused; afterwards it is made."""
    changes = [database.adding(an_upload(i)) for i in "ab"]
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        outcomes = database.writer.answer(changes)
        assert [str(o) for o in outcomes] == ["another process kept the records locked for too long"] * 2
        assert all(isinstance(outcome, RecordsUnavailable) for outcome in outcomes)
        assert database.reader.answer([FindByIds(["a"])]) == [[None]]
    assert database.writer.answer(changes) == [WriteResult(), WriteResult()]
    assert database.ids() == ["a", "b"]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (b"this is no database. " * 1000, "not a database"),
        (b"", "failed: no such table"),
    ],
)
def test_a_file_overwritten_in_place_is_told(database: Database, damage: bytes, sentence: str) -> None:
    """A file whose content somebody replaced by other content is a fault in words, for changes and reads alike."""
    database.path.write_bytes(damage)
    outcomes = [*database.writer.answer([database.adding(an_upload("a"))]), *database.reader.answer([FindByIds(["a"])])]
    assert [type(outcome) for outcome in outcomes] == [RecordsUnavailable, RecordsUnavailable]
    assert all(sentence in str(outcome) for outcome in outcomes)


def test_a_replaced_file_is_not_written_to(database: Database, tmp_path: Path) -> None:
    """Another file put in the place of the open one is noticed before anything is written or read."""
    assert database.writer.answer([database.adding(an_upload("a"))]) == [WriteResult()]
    (tmp_path / "other").write_bytes(database.path.read_bytes())
    (tmp_path / "other").replace(database.path)
    outcomes = [*database.writer.answer([database.adding(an_upload("b"))]), *database.reader.answer([FindByIds(["a"])])]
    assert ["replaced while in use" in str(outcome) for outcome in outcomes] == [True, True]


def test_a_removed_file_is_told(database: Database) -> None:
    """A file that is gone is a fault, not a new empty database."""
    assert database.writer.answer([database.adding(an_upload("a"))]) == [WriteResult()]
    database.path.unlink()
    (outcome,) = database.writer.answer([database.adding(an_upload("b"))])
    assert "cannot be looked at: No such file" in str(outcome)
    assert not database.path.exists()


def test_a_durable_change_is_synced(database: Database) -> None:
    """A batch with one durable change commits with FULL synchronisation (2), any other with NORMAL (1)."""
    seen = []
    for number, durable in enumerate([False, True, True, False]):
        changes = [database.adding(an_upload(f"{number}")), database.adding(an_upload(f"{number}d"), durable=durable)]
        assert database.writer.answer(changes) == [WriteResult(), WriteResult()]
        seen.append(database.pragma("synchronous"))
    assert seen == [1, 2, 2, 1]
    always = Writer(database.connection, always_durable=True)
    assert always.answer([database.adding(an_upload("z"))]) == [WriteResult()]
    assert database.pragma("synchronous") == 2


def test_many_questions_have_each_their_own_answer(database: Database) -> None:
    """Lookups and listings of one batch are answered each in its own terms; a broken one alone fails."""
    database.writer.answer([database.adding(an_upload(i)) for i in "ab"])
    broken = Listing(database.statements.finals_waiting, {"part_id": "\udc80"})
    listing = Listing(database.statements.due, {"now": 0, "limit": 1})
    first, failed, second, listed = database.reader.answer(
        [FindByIds(["a", "x"]), broken, FindByIds(["b", "a"]), listing]
    )
    assert (first, second, listed) == ([an_upload("a"), None], [an_upload("b"), an_upload("a")], [])
    assert isinstance(failed, UnicodeEncodeError)


def test_nothing_is_left_open_after_a_fault(database: Database) -> None:
    """Whatever failed, no transaction stays open: another connection can write at once."""
    database.writer.answer([database.adding(an_upload("big", length=2**63))])
    with closing(sqlite3.connect(database.path, timeout=0)) as other, other:
        other.execute("DELETE FROM uploads")
