"""Batches of changes and of questions, each in one transaction with an answer for each. Runs in the threads."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from tusd_py.contracts.job_queue import LeaseLost
from tusd_py.contracts.records import RecordsError, RecordsUnavailable
from tusd_py.model.jobs import Effects, Job
from tusd_py.model.upload import Kind, Upload
from tusd_py.records.sql.job_rows import event_row, job_row
from tusd_py.records.sql.job_statements import JobStatements
from tusd_py.records.sql.rows import COLUMNS, from_row
from tusd_py.records.sql.sqlite import DatabaseConnection
from tusd_py.records.sql.statements import Statements
from tusd_py.records.sql.tables import to_microseconds

Q = TypeVar("Q")
A = TypeVar("A")

_ID = COLUMNS.index("id")
_KIND = COLUMNS.index("kind")


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What came of an act that was made: how many rows it was about, the jobs it gave out, and whether any is new."""

    count: int = 1
    jobs: Sequence[Job] = ()
    has_work: bool = False  # jobs were made, or made due: workers should look


@dataclass(frozen=True, slots=True)
class FindByIds:
    """The uploads with these ids, in this order, ``None`` for those not recorded."""

    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Listing:
    """The uploads that a statement selects."""

    statement: str
    values: dict[str, object]


@dataclass(frozen=True, slots=True)
class Query:
    """The rows that a statement selects, each as ``read`` makes it."""

    statement: str
    values: dict[str, object]
    read: Callable[[Sequence[Any]], Any]


class WriteOp(Protocol):
    """Something that is changed in the database, in a transaction that others share."""

    @property
    def durable(self) -> bool:
        """Whether it must survive the loss of power."""
        ...

    def make(self, connection: DatabaseConnection) -> WriteResult | RecordsError:
        """Make it, or return why not, and then have changed nothing."""
        ...


class Writer:
    """Makes changes, many in one transaction, each with its own outcome."""

    def __init__(self, connection: DatabaseConnection, *, always_durable: bool) -> None:
        self._connection = connection
        self._always_durable = always_durable

    def answer(self, acts: Sequence[WriteOp]) -> Sequence[WriteResult | Exception]:
        """Make ``acts`` in this order; for each, what was made, or why it was not."""
        return _together_or_alone(self._connection, acts, self._transact)

    def _transact(self, acts: Sequence[WriteOp]) -> list[WriteResult | Exception]:
        durable = self._always_durable or any(act.durable for act in acts)
        with self._connection.writing(durable=durable):
            return [act.make(self._connection) for act in acts]


class Reader:
    """Answers questions, many from one state of the database; lookups that come together are one statement."""

    def __init__(self, connection: DatabaseConnection, statements: Statements) -> None:
        self._connection = connection
        self._statements = statements

    def answer(self, questions: Sequence[FindByIds | Listing | Query]) -> Sequence[list[Any] | Exception]:
        """For each question its uploads or rows, or why they could not be read."""
        return _together_or_alone(self._connection, questions, self._transact)

    def _transact(self, questions: Sequence[FindByIds | Listing | Query]) -> list[list[Any] | Exception]:
        with self._connection.reading():
            asked = {
                upload_id for question in questions if isinstance(question, FindByIds) for upload_id in question.ids
            }
            found = {upload.id: upload for upload in self._select(self._statements.find, _ids(asked))} if asked else {}
            return [self._answer(question, found) for question in questions]

    def _answer(self, question: FindByIds | Listing | Query, found: Mapping[str, Upload]) -> list[Any]:
        if isinstance(question, FindByIds):
            return [found.get(upload_id) for upload_id in question.ids]
        if isinstance(question, Listing):
            return self._select(question.statement, question.values)
        return [question.read(row) for row in self._connection.execute(question.statement, question.values)]

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


_CHANGED = WriteResult()
_WITH_WORK = WriteResult(has_work=True)


# Not frozen: to make one is felt where thousands of uploads change in a second, and it is handed on and forgotten.
@dataclass(slots=True)
class RecordChange:
    """One statement that changes one row or none; none is answered with ``refusal``, where there is one."""

    statement: str
    values: dict[str, object]
    refusal: RecordsError | None = None
    durable: bool = False
    add_part: str = ""
    parts: Sequence[dict[str, object]] = ()  # rows for ``add_part``, if the row was changed
    following: OutboxRows | None = None

    def make(self, connection: DatabaseConnection) -> WriteResult | RecordsError:
        following = self.following
        # Looked up first, since nobody else writes meanwhile: a record changed in vain would have to be changed back.
        if following is not None and (lost := following.lost(connection)) is not None:
            return lost
        if connection.execute(self.statement, self.values).rowcount == 0:
            return self.refusal or _CHANGED
        if self.parts:
            connection.execute_many(self.add_part, self.parts)
        if following is not None and following.write(connection):
            return _WITH_WORK
        return _CHANGED


@dataclass(frozen=True, slots=True)
class OutboxRows:
    """The rows that follow from a change."""

    sql: JobStatements
    events: Sequence[dict[str, object]]
    jobs: Sequence[dict[str, object]]
    ends: Job | None
    at: int  # microseconds

    def lost(self, connection: DatabaseConnection) -> LeaseLost | None:
        """Why the job that is to be ended cannot be, if it cannot."""
        job = self.ends
        if (
            job is None
            or connection.execute(self.sql.has_lease, {"job_id": job.id, "seen_token": job.token}).fetchone()
        ):
            return None
        return lost(job)

    def write(self, connection: DatabaseConnection) -> bool:
        """Write them all; whether there is a new job among them."""
        if self.events:
            connection.execute_many(self.sql.add_event, self.events)
        made = connection.execute_many(self.sql.add_job, self.jobs) if self.jobs else 0
        if self.ends is not None:
            facts = {"job_id": self.ends.id, "seen_token": self.ends.token, "at": self.at}
            connection.execute(self.sql.complete, facts)
            connection.execute(self.sql.promote, {"its_sequence_key": self.ends.sequence_key})
        return made > 0


def following(sql: JobStatements, saved: Upload, effects: Effects) -> OutboxRows | None:
    """What is written with ``saved``, the upload as its record will have it."""
    if not effects.events and not effects.jobs and effects.completed_job is None:
        return None
    events = [event_row(event, saved.token) for event in effects.events]
    jobs = [job_row(job, saved.updated_at) for job in effects.jobs]
    return OutboxRows(sql, events, jobs, effects.completed_job, to_microseconds(saved.updated_at))


def lost(job: Job) -> LeaseLost:
    return LeaseLost(f"job {job.id} was given out to another worker or has ended")
