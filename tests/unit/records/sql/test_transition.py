"""Finding an upload and changing its record in one transaction."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.contracts.records import an_upload
from tusd_py.contracts.records import RecordConflict
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Upload
from tusd_py.records.sql.rows import COLUMNS, to_row
from tusd_py.records.sql.transactions import RecordChange, WriteResult
from tusd_py.records.sql.transition import Transition

AT = datetime(2026, 3, 2, tzinfo=UTC)


class Rows:
    """A connection and its cursor: it finds ``row`` and changes ``count`` rows."""

    def __init__(self, row: list[object] | None, count: int = 1) -> None:
        self.row = row
        self.rowcount = count
        self.statements: list[str] = []

    def execute(self, statement: str, values: object) -> Rows:
        self.statements.append(statement)
        return self

    def fetchall(self) -> list[list[object]]:
        return [] if self.row is None else [self.row]


def change_of(before: Upload, after: Upload, effects: Effects) -> tuple[Upload, RecordChange]:
    return after.with_token(before.token + 1), RecordChange("UPDATE", {}, RecordConflict("changed"))


def moved_on(upload: Upload | None) -> tuple[Upload, Effects]:
    assert upload is not None
    return upload.advance(upload.offset + 1, AT), NO_EFFECTS


def found_row() -> list[object]:
    row = to_row(an_upload("a"), 3)
    return [row[name] for name in COLUMNS]


def test_what_is_decided_is_written() -> None:
    """The row is read, then changed with the next token."""
    rows = Rows(found_row())
    transition = Transition("SELECT", "a", moved_on, change_of, durable=True)
    assert transition.durable
    assert transition.apply(rows) == WriteResult()  # type: ignore[arg-type]  # what a transition uses of one
    assert rows.statements == ["SELECT", "UPDATE"]
    assert transition.saved is not None and transition.saved.token == 4 and transition.refusal is None


def test_a_change_that_meets_no_row_is_a_conflict() -> None:
    """As for an update whose row another request has changed."""
    transition = Transition("SELECT", "a", moved_on, change_of, durable=False)
    assert isinstance(transition.apply(Rows(found_row(), 0)), RecordConflict)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("row", [None, found_row()])
def test_nothing_is_written_after_a_refusal(row: list[object] | None) -> None:
    """The failure is kept for the caller; the transaction goes on."""

    def refuse(upload: Upload | None) -> tuple[Upload, Effects]:
        assert (upload is None) is (row is None)
        raise LookupError("refused")

    rows = Rows(row)
    transition = Transition("SELECT", "a", refuse, change_of, durable=True)
    assert transition.apply(rows) == WriteResult(count=0)  # type: ignore[arg-type]  # as above
    assert rows.statements == ["SELECT"]
    assert isinstance(transition.refusal, LookupError) and transition.saved is None
