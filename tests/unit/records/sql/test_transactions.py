"""Batches on a real database file: what one transaction does, and which callers a fault reaches."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tusd_py.contracts.records import RecordExists, RecordsFull, RecordsUnavailable
from tusd_py.model.upload import Kind, Upload
from tusd_py.records.sql.migrate import migrate
from tusd_py.records.sql.rows import inserted_row
from tusd_py.records.sql.sqlite import SqliteConnection, open_engine
from tusd_py.records.sql.statements import compile_statements
from tusd_py.records.sql.transactions import FindByIds, Reader, RecordChange, SelectUploads, Writer, WriteResult

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Database:
    """A migrated file, a connection to it, and its statements; a writer waits a hundredth of a second for a lock."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "records.sqlite3"
        url = f"sqlite:///{self.path}"
        migrate(url)
        engine = open_engine(url)
        self.statements = compile_statements(engine.dialect)
        self.connection = SqliteConnection(engine, busy_seconds=0.01)
        self.writer = Writer(self.connection, self.statements, always_durable=False)
        self.reader = Reader(self.connection, self.statements)

    def adding(self, upload: Upload, *, durable: bool = False) -> RecordChange:
        return RecordChange(self.statements.insert, inserted_row(upload), RecordExists(upload.id), durable=durable)

    def ids(self) -> list[str]:
        with closing(sqlite3.connect(self.path)) as connection:
            return [row[0] for row in connection.execute("SELECT id FROM uploads ORDER BY id")]

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


def test_unstorable_value_fails_only_its_own_change(database: Database) -> None:
    """If the driver cannot store a value of one change, the other changes of the batch are saved."""
    changes = [database.adding(an_upload(i)) for i in "abc"]
    changes[1:1] = [database.adding(an_upload("big", length=2**63)), database.adding(an_upload("\udc80"))]
    outcomes = database.writer.run_batch(changes)
    assert [type(outcome) for outcome in outcomes] == [
        WriteResult,
        OverflowError,
        UnicodeEncodeError,
        WriteResult,
        WriteResult,
    ]
    assert database.ids() == ["a", "b", "c"]


def test_unstorable_values_cost_the_batch_one_repetition(database: Database) -> None:
    """However many values cannot be stored, the batch runs at most twice, not once for each change."""
    transactions = 0
    writing = database.connection.writing

    def counting(*, durable: bool) -> AbstractContextManager[None]:
        nonlocal transactions
        transactions += 1
        return writing(durable=durable)

    database.connection.writing = counting  # type: ignore[method-assign, assignment]
    changes = [database.adding(an_upload(f"{i:03}", length=2**63 if i % 10 == 0 else 9)) for i in range(256)]
    outcomes = database.writer.run_batch(changes)
    assert transactions == 2
    assert [i for i, outcome in enumerate(outcomes) if isinstance(outcome, OverflowError)] == list(range(0, 256, 10))
    assert len(database.ids()) == 256 - 26


def test_change_that_fails_halfway_is_undone_alone(database: Database) -> None:
    """If a later statement of a change fails, its first statement is undone, and the other changes are saved."""
    half = database.adding(an_upload("half"))
    half.add_part = database.statements.insert_part
    half.parts = [{"final_id": "half", "position": position, "part_id": "p"} for position in (0, 2**70)]
    outcomes = database.writer.run_batch([database.adding(an_upload("a")), half, database.adding(an_upload("b"))])
    assert [type(outcome) for outcome in outcomes] == [WriteResult, OverflowError, WriteResult]
    assert database.ids() == ["a", "b"]


def test_unstorable_value_of_read_fails_only_that_read(database: Database) -> None:
    """A number that the driver cannot pass on fails its own read in a batch of reads."""
    database.writer.run_batch([database.adding(an_upload("a"))])
    wrong = SelectUploads(database.statements.due, {"now": 2**64, "limit": 1})
    outcomes = database.reader.run_batch([FindByIds(["a"]), wrong, FindByIds(["a"])])
    assert [type(outcome) for outcome in outcomes] == [list, OverflowError, list]


def test_full_disk_refuses_only_what_does_not_fit(database: Database) -> None:
    """A record too large for the free space raises ``RecordsFull``; those that fit are saved."""
    assert database.writer.run_batch([database.adding(an_upload("first"))]) == [WriteResult()]
    database.pragma(f"max_page_count={database.pragma('page_count') + 2}")
    large = an_upload("large", header="x" * 100_000)
    outcomes = database.writer.run_batch([database.adding(an_upload("a")), database.adding(large)])
    assert outcomes[0] == WriteResult()
    assert isinstance(outcomes[1], RecordsFull)
    assert "disk under the database is full" in str(outcomes[1])
    assert database.ids() == ["a", "first"]


def test_read_only_database_refuses_changes_and_answers_reads(database: Database) -> None:
    """A database that is read-only refuses changes with a sentence, and reads work as before."""
    assert database.writer.run_batch([database.adding(an_upload("a"))]) == [WriteResult()]
    assert database.connection._driver is not None
    database.connection._driver.execute("PRAGMA query_only=ON")
    assert database.reader.run_batch([FindByIds(["a"])]) == [[an_upload("a")]]
    (outcome,) = database.writer.run_batch([database.adding(an_upload("b"))])
    assert "database is read-only" in str(outcome)


def test_lock_of_other_process_is_waited_for_once_per_batch(database: Database) -> None:
    """While another process keeps the write lock past the timeout, the batch is refused; afterwards it is saved."""
    changes = [database.adding(an_upload(i)) for i in "ab"]
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        outcomes = database.writer.run_batch(changes)
        assert [str(o) for o in outcomes] == ["another process kept the database locked for too long; try again"] * 2
        assert all(isinstance(outcome, RecordsUnavailable) for outcome in outcomes)
        assert database.reader.run_batch([FindByIds(["a"])]) == [[None]]
    assert database.writer.run_batch(changes) == [WriteResult(), WriteResult()]
    assert database.ids() == ["a", "b"]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (b"this is no database. " * 1000, "not a SQLite database"),
        (b"", "failed: no such table"),
    ],
)
def test_overwritten_file_raises_for_changes_and_reads(database: Database, damage: bytes, sentence: str) -> None:
    """A file whose content was overwritten raises ``RecordsUnavailable`` with a sentence, for changes and reads."""
    database.path.write_bytes(damage)
    outcomes = [
        *database.writer.run_batch([database.adding(an_upload("a"))]),
        *database.reader.run_batch([FindByIds(["a"])]),
    ]
    assert [type(outcome) for outcome in outcomes] == [RecordsUnavailable, RecordsUnavailable]
    assert all(sentence in str(outcome) for outcome in outcomes)


def test_replaced_file_is_not_used(database: Database, tmp_path: Path) -> None:
    """Another file at the path of the open one is noticed before anything is written or read."""
    assert database.writer.run_batch([database.adding(an_upload("a"))]) == [WriteResult()]
    (tmp_path / "other").write_bytes(database.path.read_bytes())
    (tmp_path / "other").replace(database.path)
    outcomes = [
        *database.writer.run_batch([database.adding(an_upload("b"))]),
        *database.reader.run_batch([FindByIds(["a"])]),
    ]
    assert ["replaced while in use" in str(outcome) for outcome in outcomes] == [True, True]


def test_removed_file_raises_and_is_not_created(database: Database) -> None:
    """A file that was removed raises ``RecordsUnavailable``; no new empty database is created."""
    assert database.writer.run_batch([database.adding(an_upload("a"))]) == [WriteResult()]
    database.path.unlink()
    (outcome,) = database.writer.run_batch([database.adding(an_upload("b"))])
    assert "cannot be read: No such file" in str(outcome)
    assert not database.path.exists()


def test_durable_change_commits_with_full_sync(database: Database) -> None:
    """A batch with one durable change commits with ``synchronous=FULL`` (2), any other with NORMAL (1)."""
    seen = []
    for number, durable in enumerate([False, True, True, False]):
        changes = [database.adding(an_upload(f"{number}")), database.adding(an_upload(f"{number}d"), durable=durable)]
        assert database.writer.run_batch(changes) == [WriteResult(), WriteResult()]
        seen.append(database.pragma("synchronous"))
    assert seen == [1, 2, 2, 1]
    always = Writer(database.connection, database.statements, always_durable=True)
    assert always.run_batch([database.adding(an_upload("z"))]) == [WriteResult()]
    assert database.pragma("synchronous") == 2


def test_reads_of_one_batch_have_their_own_results(database: Database) -> None:
    """``FindByIds`` and ``SelectUploads`` of one batch each get their own result; only the faulty one fails."""
    database.writer.run_batch([database.adding(an_upload(i)) for i in "ab"])
    broken = SelectUploads(database.statements.finals_waiting, {"part_id": "\udc80"})
    listing = SelectUploads(database.statements.due, {"now": 0, "limit": 1})
    first, failed, second, listed = database.reader.run_batch(
        [FindByIds(["a", "x"]), broken, FindByIds(["b", "a"]), listing]
    )
    assert (first, second, listed) == ([an_upload("a"), None], [an_upload("b"), an_upload("a")], [])
    assert isinstance(failed, UnicodeEncodeError)


def test_no_transaction_stays_open_after_a_fault(database: Database) -> None:
    """After a failed change another connection can write at once."""
    database.writer.run_batch([database.adding(an_upload("big", length=2**63))])
    with closing(sqlite3.connect(database.path, timeout=0)) as other, other:
        other.execute("DELETE FROM uploads")


class TestFindByIds:
    def test_without_parts_a_final_upload_costs_what_an_unknown_id_does(self, database: Database) -> None:
        """One statement for either: the time of a refusal does not tell a foreign final upload from none."""
        row = replace(an_upload("f"), kind=Kind.FINAL)
        parts = [{"final_id": "f", "part_id": part_id, "position": place} for place, part_id in enumerate("pq")]
        add_part = database.statements.insert_part
        database.writer.run_batch([database.adding(each) for each in (an_upload("p"), an_upload("q"))])
        database.writer.run_batch([replace(database.adding(row), parts=parts, add_part=add_part)])
        statements: list[str] = []
        assert database.connection._driver is not None
        database.connection._driver.set_trace_callback(statements.append)
        seen = []
        for op in (FindByIds(("f",), False), FindByIds(("unknown",), False), FindByIds(("f",)), FindByIds(("p",))):
            statements.clear()
            database.reader.run_batch([op])
            seen.append(len([each for each in statements if each.startswith("SELECT")]))
        assert seen == [1, 1, 3, 1]
        for ops, parts_seen in (([True, False], ("p", "q")), ([False], ())):
            found = database.reader.run_batch([FindByIds(("f",), each) for each in ops])
            assert [upload.parts for each in found if isinstance(each, list) for upload in each] == [parts_seen] * len(
                ops
            )
