"""Batches of writes and of reads, each in one transaction with a result for each. Runs in the database threads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any, Protocol, TypeVar

from tusd_py.contracts.job_queue import LeaseLost
from tusd_py.contracts.records import PartOverused, RecordsError, RecordsUnavailable
from tusd_py.model.frozen import frozen
from tusd_py.model.jobs import Effects, Job, NewJob
from tusd_py.model.upload import Kind, Upload
from tusd_py.records.sql.audit_statements import entry_row
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.grant_rows import GrantRows
from tusd_py.records.sql.job_rows import event_row, job_row
from tusd_py.records.sql.job_statements import JobStatements
from tusd_py.records.sql.plain_insertion import PlainInsertion, insert_together
from tusd_py.records.sql.quota_rows import QuotaBatch, QuotaRows
from tusd_py.records.sql.rows import COLUMNS, from_row, inserted_row, spend_as_if_found
from tusd_py.records.sql.statements import Statements
from tusd_py.records.sql.tables import to_microseconds

Request = TypeVar("Request")
Result = TypeVar("Result")

_ID = COLUMNS.index("id")
_KIND = COLUMNS.index("kind")


@frozen()
class WriteResult:
    """The outcome of a write: how many rows it changed, the jobs it leased, and whether there is new work."""

    count: int = 1
    jobs: Sequence[Job] = ()
    has_work: bool = False  # jobs were added or made due: wake the workers


class WriteOp(Protocol):
    """A change of the database, in a transaction that other changes share."""

    @property
    def durable(self) -> bool:
        """Whether it must survive a power failure."""
        ...

    def apply(self, connection: DatabaseConnection) -> WriteResult | RecordsError:
        """Make the change; or change nothing, and return the exception for the caller."""
        ...


@frozen()
class FindByIds:
    """Reads the uploads with these ids, in this order, ``None`` for those not recorded.

    Without ``with_parts`` final uploads may lack their parts: then it is one statement for every id.
    """

    ids: Sequence[str]
    with_parts: bool = True


@dataclass(frozen=True, slots=True)
class SelectUploads:
    """Reads the uploads that a statement selects."""

    statement: str
    values: dict[str, object]


@dataclass(frozen=True, slots=True)
class Query:
    """Reads the rows that a statement selects, each converted by ``read``."""

    statement: str
    values: dict[str, object]
    read: Callable[[Sequence[Any]], Any]


@dataclass(frozen=True, slots=True)
class SnapshotQuery:
    """A read with several statements, which all see the same snapshot."""

    read: Callable[[DatabaseConnection], list[Any]]


ReadOp = FindByIds | SelectUploads | Query | SnapshotQuery


class Writer:
    """Makes changes, many in one transaction, each with its own outcome."""

    def __init__(self, connection: DatabaseConnection, statements: Statements, *, always_durable: bool) -> None:
        self._connection = connection
        self._insert_plain = statements.insert_plain
        self._always_durable = always_durable

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def run_batch(self, ops: Sequence[WriteOp]) -> Sequence[WriteResult | Exception]:
        """Apply ``ops`` in this order; return a result or an exception for each."""
        for op in ops:
            if type(op) is RecordChange and op.new is not None:
                op.values, op.new = inserted_row(op.new), None
        return _together_or_apart(self._connection, ops, self._transact)

    def _transact(self, ops: Sequence[WriteOp], apart: bool) -> list[WriteResult | Exception]:
        durable = self._always_durable or any(op.durable for op in ops)
        with self._connection.writing(durable=durable):
            if apart:
                return [isolated(self._connection, partial(op.apply, self._connection)) for op in ops]
            return _apply_together(self._connection, ops, self._insert_plain)


def _apply_together(
    connection: DatabaseConnection, ops: Sequence[WriteOp], insert_plain: str
) -> list[WriteResult | Exception]:
    """Apply ``ops`` in this order. Plain insertions are one statement, and charges to quotas are counted together."""
    results: list[WriteResult | Exception] = []
    batch: QuotaBatch | None = None
    for kind, group in groupby(ops, type):
        changes: list[Any] = list(group)
        of_records = issubclass(kind, RecordChange | PlainInsertion)
        quotas = [op.quota for op in changes if op.quota is not None] if of_records else []
        if quotas and batch is None:
            batch = QuotaBatch(quotas[0].sql)
        if kind is PlainInsertion and (not quotas or (batch is not None and batch.charge_together(connection, quotas))):
            insert_together(connection, insert_plain, changes)
            results += [_CHANGED] * len(changes)
            continue
        for op in changes:
            if of_records:
                results.append(op.apply(connection, batch))
                continue
            if batch is not None:
                batch.flush(connection)  # it may look at the counters
            results.append(op.apply(connection))
    if batch is not None:
        batch.flush(connection)
    return results


class Reader:
    """Runs reads, many on one snapshot of the database; the ``FindByIds`` of a batch are one statement."""

    def __init__(self, connection: DatabaseConnection, statements: Statements) -> None:
        self._connection = connection
        self._statements = statements

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def run_batch(self, ops: Sequence[ReadOp]) -> Sequence[list[Any] | Exception]:
        """For each of ``ops`` its uploads or rows, or an exception."""
        return _together_or_apart(self._connection, ops, self._transact)

    def _transact(self, ops: Sequence[ReadOp], apart: bool) -> list[list[Any] | Exception]:
        if len(ops) == 1 and isinstance(ops[0], FindByIds) and (found_one := self._find_one(ops[0])) is not None:
            return [found_one]
        with self._connection.reading():
            finds = [op for op in ops if isinstance(op, FindByIds)]
            ids = {upload_id for op in finds for upload_id in op.ids}
            found: Mapping[str, Upload] = {}
            if ids:
                with_parts = {upload_id for op in finds if op.with_parts for upload_id in op.ids}
                uploads = self._select(self._statements.find, json_array(ids), with_parts)
                found = {upload.id: upload for upload in uploads}
            if len(found) < len(ids):
                spend_as_if_found(len(ids) - len(found))
            if apart:
                return [isolated(self._connection, partial(self._run, op, found)) for op in ops]
            return [self._run(op, found) for op in ops]

    def _find_one(self, op: FindByIds) -> list[Upload | None] | None:
        """The result of ``op``, if it is that of one small statement: half the time of one for any number of ids."""
        if len(op.ids) != 1:
            return None
        rows = self._connection.fetch_once(self._statements.find_one, {"its_id": op.ids[0]})
        if not rows:
            spend_as_if_found(1)
            return [None]
        # Parts are a second statement, which must see the same snapshot.
        return None if op.with_parts and has_finals(rows) else [from_row(rows[0])]

    def _run(self, op: ReadOp, found: Mapping[str, Upload]) -> list[Any]:
        if isinstance(op, FindByIds):
            return [found.get(upload_id) for upload_id in op.ids]
        if isinstance(op, SelectUploads):
            return self._select(op.statement, op.values)
        if isinstance(op, SnapshotQuery):
            return op.read(self._connection)
        return [op.read(row) for row in self._connection.execute(op.statement, op.values)]

    def _select(
        self, statement: str, values: dict[str, object], with_parts: Collection[str] | None = None
    ) -> list[Upload]:
        """The uploads that a statement selects, with their parts: all of them, or those with these ids."""
        rows = self._connection.execute(statement, values).fetchall()
        finals = [row[_ID] for row in rows if row[_KIND] == Kind.FINAL]
        if with_parts is not None:
            finals = [upload_id for upload_id in finals if upload_id in with_parts]
        parts: dict[str, list[str]] = {upload_id: [] for upload_id in finals}
        if finals:
            for final_id, part_id in self._connection.execute(self._statements.parts_of, json_array(finals)):
                parts[final_id].append(part_id)
        return [from_row(row, tuple(parts.get(row[_ID], ()))) for row in rows]


def has_finals(rows: Sequence[Sequence[Any]]) -> bool:
    """Whether there is a final upload among these rows of uploads."""
    return any(row[_KIND] == Kind.FINAL for row in rows)


def json_array(ids: Sequence[str] | set[str]) -> dict[str, object]:
    """The value ``ids`` of a statement with ``dialect.json_elements``."""
    # One value, whatever their number, so that the statement stays the same and is prepared once.
    return {"ids": json.dumps([*ids])}


def _together_or_apart(
    connection: DatabaseConnection,
    requests: Sequence[Request],
    transact: Callable[[Sequence[Request], bool], list[Result | Exception]],
) -> Sequence[Result | Exception]:
    """Run ``requests`` in one transaction, so that only a faulty one gets an error, and the others lose little time.

    If one fails, all run again, isolated by savepoints: however many are faulty, the others are repeated once. If the
    database itself fails, each runs in a transaction of its own: a full disk refuses only what does not fit.
    """
    try:
        try:
            return transact(requests, False)
        except connection.row_errors:
            results = transact(requests, True)
            return [connection.to_fault(r) if isinstance(r, connection.row_errors) else r for r in results]
    except RecordsUnavailable as fault:
        # No transaction could begin: one by one, each would wait as long again.
        return [type(fault)(str(fault)) for _ in requests]
    except connection.statement_errors as error:
        if len(requests) > 1:
            return [_together_or_apart(connection, [request], transact)[0] for request in requests]
        return [connection.to_fault(error)]


def isolated(connection: DatabaseConnection, run: Callable[[], Result]) -> Result | Exception:
    """The result of ``run``, or its error; then what it has done of the transaction is undone."""
    try:
        with connection.savepoint():
            return run()
    except connection.row_errors as error:
        return error


_CHANGED = WriteResult()
_WITH_WORK = WriteResult(has_work=True)


@dataclass(frozen=True, slots=True)
class SingleStatement:
    """One statement; the result counts the rows that it has changed."""

    statement: str
    values: dict[str, object]
    durable: bool = True

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        return WriteResult(count=connection.execute(self.statement, self.values).rowcount)


# Not frozen: creating a frozen one is slower, which shows when thousands of uploads change in a second.
@dataclass(slots=True)
class RecordChange:
    """One statement that changes one row or none; if none, ``refusal`` is raised where there is one."""

    statement: str
    values: dict[str, object]
    refusal: RecordsError | None = None
    durable: bool = False
    add_part: str = ""
    parts: Sequence[dict[str, object]] = ()  # rows for ``add_part``, if the row was changed
    effects: EffectRows | None = None
    part_uses: PartUses | None = None
    quota: QuotaRows | None = None
    grant: GrantRows | None = None
    replaced: tuple[str, dict[str, object]] | None = None  # a statement that deletes the row that a new one replaces
    #: The upload of which the writer makes ``values``: one after the other, while the code is in the caches.
    new: Upload | None = None

    def apply(self, connection: DatabaseConnection, batch: QuotaBatch | None = None) -> WriteResult | RecordsError:
        if self.part_uses is not None and (overused := self.part_uses.check(connection)) is not None:
            return overused
        effects = self.effects
        # Before the record is changed, which would otherwise have to be undone.
        if effects is not None and (lost := effects.check_lease(connection)) is not None:
            return lost
        quota = self.quota
        if quota is not None:
            quota.batch = batch
            if (exhausted := quota.check(connection)) is not None:
                return exhausted
        if self.grant is not None and (refused := self.grant.check(connection)) is not None:
            return refused
        if self.replaced is not None:
            connection.execute(*self.replaced)
        if connection.execute(self.statement, self.values).rowcount == 0:
            return self.refusal or _CHANGED
        if self.parts:
            connection.execute_many(self.add_part, self.parts)
        if quota is not None:
            quota.write(connection)
        if self.grant is not None:
            self.grant.write(connection)
        if effects is not None and effects.write(connection):
            return _WITH_WORK
        return _CHANGED


@dataclass(frozen=True, slots=True)
class PartUses:
    """A limit on how often final uploads use one partial upload, checked in the transaction that adds ``parts``."""

    statement: str
    parts: Sequence[str]
    uses_max: int

    def check(self, connection: DatabaseConnection) -> PartOverused | None:
        """``PartOverused`` if ``parts`` would exceed the limit."""
        connection.lock_keys([f"part {part_id}" for part_id in self.parts])
        uses = Counter(self.parts)
        uses.update(dict(connection.execute(self.statement, json_array(set(self.parts))).fetchall()))
        if max(uses.values()) > self.uses_max:
            return PartOverused(f"a partial upload is used by final uploads {self.uses_max} times already")
        return None


@dataclass(frozen=True, slots=True)
class EffectRows:
    """The rows that are written with a change of a record: events, new jobs, and the job that it completes."""

    sql: JobStatements
    events: Sequence[dict[str, object]]
    jobs: NewJobRows
    completed_job: Job | None
    at: int  # microseconds
    add_audit_entry: str = ""
    audit: Sequence[dict[str, object]] = ()  # rows for it

    def check_lease(self, connection: DatabaseConnection) -> LeaseLost | None:
        """``LeaseLost`` if the lease of the completed job is no longer valid; if it is, no other writer can end it."""
        job = self.completed_job
        if (
            job is None
            or connection.execute(self.sql.has_lease, {"job_id": job.id, "seen_token": job.token}).fetchone()
        ):
            return None
        return lease_lost(job)

    def write(self, connection: DatabaseConnection) -> bool:
        """Write them all; return whether there is a new job among them."""
        if self.events:
            connection.append_in_order(self.sql.add_event, self.events)
        if self.audit:
            connection.append_in_order(self.add_audit_entry, self.audit)
        added = self.jobs.write(connection, self.sql)
        job = self.completed_job
        if job is not None:
            connection.execute(self.sql.complete, {"job_id": job.id, "seen_token": job.token, "at": self.at})
            connection.execute(self.sql.promote, {"its_sequence_key": job.sequence_key})
        return added > 0


@dataclass(frozen=True, slots=True)
class NewJobRows:
    """The rows of new jobs; ``meets_progress`` if some of them may change a post-receive that waits."""

    rows: Sequence[tuple[dict[str, object], NewJob]]
    meets_progress: bool

    def write(self, connection: DatabaseConnection, sql: JobStatements) -> int:
        """Add them in this order, except those whose key exists already; return how many."""
        if not self.meets_progress:
            return connection.execute_many(sql.add_job, [row for row, _ in self.rows]) if self.rows else 0
        return sum(self._add(connection, sql, row, job) for row, job in self.rows)

    def _add(self, connection: DatabaseConnection, sql: JobStatements, row: dict[str, object], job: NewJob) -> int:
        if job.is_progress:
            values: dict[str, object] = {
                "its_sequence_key": job.sequence_key,
                "new_event_id": job.event_id,
                "new_key": job.key,
            }
            if connection.execute(sql.replace_progress, values).rowcount:
                return 0
        elif job.follows_progress:
            connection.execute(sql.hurry_progress, {"its_sequence_key": job.sequence_key})
        return connection.execute_many(sql.add_job, [row])


def job_rows(jobs: Sequence[NewJob], now: datetime) -> NewJobRows:
    """The rows of jobs that are added and due ``now``."""
    rows = [(job_row(job, now), job) for job in jobs]
    return NewJobRows(rows, meets_progress=any(job.is_progress or job.follows_progress for job in jobs))


def effect_rows(sql: JobStatements, saved: Upload, effects: Effects, add_audit_entry: str = "") -> EffectRows | None:
    """The rows of ``effects`` of the change that records ``saved``; ``None`` if there are none."""
    if not effects.events and not effects.jobs and not effects.audit and effects.completed_job is None:
        return None
    events = [event_row(event, saved.token) for event in effects.events]
    jobs = job_rows(effects.jobs, saved.updated_at)
    at = to_microseconds(saved.updated_at)
    audit = [entry_row(entry) for entry in effects.audit]
    return EffectRows(sql, events, jobs, effects.completed_job, at, add_audit_entry, audit)


def lease_lost(job: Job) -> LeaseLost:
    return LeaseLost(f"the lease of job {job.id} has expired: another worker has the job or has ended it")
