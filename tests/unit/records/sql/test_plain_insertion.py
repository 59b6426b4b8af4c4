"""Plain insertions write what all other insertions write, and leave to these what they cannot."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tusd_py.contracts.records import RecordExists
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import HistoryEntry, Kind, Status, Upload
from tusd_py.records.sql.migrate import migrate
from tusd_py.records.sql.plain_insertion import PlainInsertion, is_plain
from tusd_py.records.sql.rows import inserted_row
from tusd_py.records.sql.sqlite import SqliteConnection, open_engine
from tusd_py.records.sql.statements import compile_statements
from tusd_py.records.sql.transactions import RecordChange, Writer, WriteResult

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1, microseconds=7)


def new_upload(upload_id: str, **fields: Any) -> Upload:
    known: dict[str, Any] = {
        "length": 9,
        "created_at": NOW,
        "updated_at": NOW,
        "history": (HistoryEntry(Status.UPLOADING, NOW),),
    }
    return Upload(id=upload_id, **(known | fields))


UPLOADS = {
    "empty": new_upload("empty"),
    "no length, no history": new_upload("no length, no history", length=None, history=()),
    "expiring": new_upload("expiring", expires_at=LATER, updated_at=LATER),
    "named": new_upload("named", metadata_header="filename SU1HXzEuSlBH,filetype aW1hZ2UvSlBFRztxPTE="),
    "owned": new_upload("owned", owner="user", grant="code:1"),
    "stored": new_upload("stored", offset=4, storage={"part": 1}),
    "complete": new_upload("complete", offset=9, completed_at=LATER, status=Status.PROCESSING, pending_steps=("hash",)),
}


class Database:
    def __init__(self, path: Path) -> None:
        self.path = path
        migrate(f"sqlite:///{path}")
        engine = open_engine(f"sqlite:///{path}")
        self.sql = compile_statements(engine.dialect)
        self.connection = SqliteConnection(engine)
        self.writer = Writer(self.connection, self.sql, always_durable=False)

    def plain(self, upload: Upload) -> PlainInsertion:
        return PlainInsertion(upload, NO_EFFECTS, None, self.expanded)

    def expanded(self, upload: Upload, _: Effects, row: dict[str, object]) -> RecordChange:
        return RecordChange(self.sql.insert, row, RecordExists(upload.id), durable=upload.is_complete)

    def rows(self) -> Sequence[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute("SELECT * FROM uploads ORDER BY id").fetchall()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "records.sqlite3")
    yield opened
    opened.connection.close()


def test_plain_insertions_write_the_rows_that_other_insertions_write(database: Database, tmp_path: Path) -> None:
    """Every column of every ordinary upload is the same."""
    other = Database(tmp_path / "other.sqlite3")
    assert database.writer.run_batch([database.plain(each) for each in UPLOADS.values()]) == [WriteResult()] * 7
    other.writer.run_batch([other.expanded(each, NO_EFFECTS, inserted_row(each)) for each in UPLOADS.values()])
    other.connection.close()
    assert database.rows() == other.rows()
    assert len(database.rows()) == len(UPLOADS)


def test_a_plain_insertion_whose_row_exists_is_refused_alone(database: Database) -> None:
    """The others of its batch are inserted."""
    database.writer.run_batch([database.plain(new_upload("a"))])
    results = database.writer.run_batch([database.plain(new_upload(upload_id)) for upload_id in "bac"])
    assert [type(result) for result in results] == [WriteResult, RecordExists, WriteResult]
    assert [row[0] for row in database.rows()] == ["a", "b", "c"]


def test_a_plain_insertion_that_is_alone_and_whose_row_exists_is_refused_as_any_other(database: Database) -> None:
    """The error says what is wrong, also if nothing shares the transaction."""
    database.writer.run_batch([database.plain(new_upload("a"))])
    (result,) = database.writer.run_batch([database.plain(new_upload("a"))])
    assert type(result) is RecordExists


@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS)
def test_an_ordinary_new_upload_is_plain(upload: Upload) -> None:
    """With or without bytes, an owner, a name or processing steps."""
    assert is_plain(upload, NO_EFFECTS)


@pytest.mark.parametrize(
    "fields", [{"kind": Kind.PARTIAL}, {"token": 1}, {"length_max": 3}, {"concat_header": "partial"}], ids=str
)
def test_an_upload_with_more_than_a_plain_row_has_is_not_plain(fields: dict[str, Any]) -> None:
    """Such an upload is inserted with all columns."""
    assert not is_plain(new_upload("a", **fields), NO_EFFECTS)
