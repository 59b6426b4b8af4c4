"""Batches of changes and of questions, each in one transaction with an answer for each. Runs in the threads."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tusd_py.contracts.records import RecordsError, RecordsUnavailable
from tusd_py.protocol.upload import Kind, Upload
from tusd_py.records.connections import DatabaseConnection
from tusd_py.records.rows import COLUMNS, from_row
from tusd_py.records.statements import Statements

Q = TypeVar("Q")
A = TypeVar("A")

_ID = COLUMNS.index("id")
_KIND = COLUMNS.index("kind")


@dataclass(frozen=True, slots=True)
class Change:
    """One statement that changes one row or none; none is answered with ``refusal``, where there is one."""

    statement: str
    values: dict[str, object]
    refusal: RecordsError | None = None
    durable: bool = False  # whether it must survive the loss of power
    parts: Sequence[dict[str, object]] = ()  # rows for Statements.add_part, if the row was changed


@dataclass(frozen=True, slots=True)
class Lookup:
    """The uploads with these ids, in this order, ``None`` for those not recorded."""

    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Listing:
    """The uploads that a statement selects."""

    statement: str
    values: dict[str, object]


class Writer:
    """Makes changes, many in one transaction, each with its own outcome."""

    def __init__(self, connection: DatabaseConnection, statements: Statements, *, always_durable: bool) -> None:
        self._connection = connection
        self._statements = statements
        self._always_durable = always_durable

    def answer(self, changes: Sequence[Change]) -> Sequence[Exception | None]:
        """Make ``changes`` in this order; for each, ``None`` or why it was not made."""
        return _together_or_alone(self._connection, changes, self._transact)

    def _transact(self, changes: Sequence[Change]) -> list[Exception | None]:
        durable = self._always_durable or any(change.durable for change in changes)
        with self._connection.writing(durable=durable):
            return [self._make(change) for change in changes]

    def _make(self, change: Change) -> Exception | None:
        if self._connection.execute(change.statement, change.values).rowcount == 0:
            return change.refusal
        if change.parts:
            self._connection.execute_many(self._statements.add_part, change.parts)
        return None


class Reader:
    """Answers questions, many from one state of the database; lookups that come together are one statement."""

    def __init__(self, connection: DatabaseConnection, statements: Statements) -> None:
        self._connection = connection
        self._statements = statements

    def answer(self, questions: Sequence[Lookup | Listing]) -> Sequence[list[Upload | None] | Exception]:
        """For each question its uploads, or why they could not be read."""
        return _together_or_alone(self._connection, questions, self._transact)

    def _transact(self, questions: Sequence[Lookup | Listing]) -> list[list[Upload | None] | Exception]:
        with self._connection.reading():
            asked = {upload_id for question in questions if isinstance(question, Lookup) for upload_id in question.ids}
            found = {upload.id: upload for upload in self._select(self._statements.find, _ids(asked))} if asked else {}
            return [
                [found.get(upload_id) for upload_id in question.ids]
                if isinstance(question, Lookup)
                else [*self._select(question.statement, question.values)]
                for question in questions
            ]

    def _select(self, statement: str, values: dict[str, object]) -> list[Upload]:
        rows = self._connection.execute(statement, values).fetchall()
        finals = [row[_ID] for row in rows if row[_KIND] == Kind.FINAL]
        parts: dict[str, list[str]] = {upload_id: [] for upload_id in finals}
        if finals:
            for final_id, part_id in self._connection.execute(self._statements.parts_of, _ids(finals)):
                parts[final_id].append(part_id)
        return [from_row(row, tuple(parts.get(row[_ID], ()))) for row in rows]


def _ids(upload_ids: Sequence[str] | set[str]) -> dict[str, object]:
    # One value, whatever their number, so that the statement stays the same and is prepared once.
    return {"ids": json.dumps([*upload_ids])}


def _together_or_alone(
    connection: DatabaseConnection,
    questions: Sequence[Q],
    transact: Callable[[Sequence[Q]], list[A | Exception]],
) -> Sequence[A | Exception]:
    """Answer ``questions`` in one transaction; if that fails, each in its own, so that only the guilty one suffers."""
    try:
        return transact(questions)
    except RecordsUnavailable as fault:
        # No transaction could begin: one by one would only wait as long, once each.
        return [RecordsUnavailable(str(fault)) for _ in questions]
    except (sqlite3.Error, ValueError, OverflowError) as error:
        # The last two: a value that the driver cannot carry, such as an integer beyond 64 bits.
        if len(questions) > 1:
            return [_together_or_alone(connection, [question], transact)[0] for question in questions]
        return [connection.broken_by(error) if isinstance(error, sqlite3.Error) else error]
