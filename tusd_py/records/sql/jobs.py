"""Events and jobs in a database: the job queue, and the writes that it makes."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, TypeVar

from tusd_py.contracts.records import RecordsError
from tusd_py.model.audit import AuditEntry
from tusd_py.model.events import Event
from tusd_py.model.jobs import PROGRESS_PART, Job, JobState, NewJob, is_progress_lane
from tusd_py.model.text import valid_unicode
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.job_rows import to_event, to_job
from tusd_py.records.sql.job_statements import JobStatements
from tusd_py.records.sql.runner import TransactionRunner
from tusd_py.records.sql.tables import from_microseconds, to_microseconds
from tusd_py.records.sql.transactions import NewJobRows, Query, WriteResult, job_rows, lease_lost

T = TypeVar("T")

# Greater than every id that a database gives.
_NEWEST = 2**63 - 1


class SqlJobQueue:
    """Keeps events and jobs in the database of the records; see ``SqlDatabase.open``."""

    def __init__(self, runner: TransactionRunner, statements: JobStatements) -> None:
        self._sql = statements
        self._write = runner.write
        self._write_audited = runner.write_audited
        self._read = runner.read

    async def claim(self, now: datetime, until: datetime, limit: int, full: Collection[str] = ()) -> list[Job]:
        claim = Claim(self._sql, to_microseconds(now), to_microseconds(until), limit, frozenset(full))
        return [*(await self._write(claim)).jobs]

    async def start(self, job: Job) -> Job:
        await self._write(UpdateLeased(self._sql, job, self._sql.start, {}))
        return replace(job, attempt=job.attempt + (job.starts == 0), starts=job.starts + 1)

    async def clear_starts(self, job: Job) -> None:
        await self._write(UpdateLeased(self._sql, job, self._sql.clear_starts, {}))

    async def release(self, job: Job, at: datetime, reason: str, *, started: bool = False) -> None:
        values: dict[str, object] = {"at": to_microseconds(at), "why": valid_unicode(reason), "undone": int(started)}
        await self._write(UpdateLeased(self._sql, job, self._sql.release, values))

    async def renew(self, job: Job, until: datetime) -> Job:
        await self._write(UpdateLeased(self._sql, job, self._sql.renew, {"at": to_microseconds(until)}))
        return replace(job, next_attempt_at=until)

    async def complete(self, job: Job, now: datetime) -> None:
        values: dict[str, object] = {"at": to_microseconds(now)}
        await self._write(UpdateLeased(self._sql, job, self._sql.complete, values, ends=True))

    async def retry(self, job: Job, at: datetime, error: str, *, alone: bool = False) -> None:
        values: dict[str, object] = {"at": to_microseconds(at), "why": valid_unicode(error)}
        statement = self._sql.retry_alone if alone else self._sql.retry
        await self._write(UpdateLeased(self._sql, job, statement, values, ends=alone))

    async def fail(self, job: Job, now: datetime, error: str) -> None:
        values: dict[str, object] = {"at": to_microseconds(now), "why": valid_unicode(error)}
        await self._write(UpdateLeased(self._sql, job, self._sql.fail, values, ends=True))

    async def add_jobs(self, jobs: Sequence[NewJob], now: datetime) -> None:
        if jobs:
            await self._write(AddJobs(self._sql, job_rows(jobs, now)))

    async def limit_waits(self, now: datetime, running: timedelta, waiting: Sequence[timedelta]) -> int:
        limits = [(JobState.RUNNING, 0, _NEWEST, running)]
        for attempt, wait in enumerate(waiting):
            is_last = attempt == len(waiting) - 1
            limits.append((JobState.WAITING, attempt, _NEWEST if is_last else attempt, wait))
        rows: list[dict[str, object]] = [
            {
                "of_state": state.value,
                "attempt_min": attempt_min,
                "attempt_max": attempt_max,
                "latest": to_microseconds(now + wait),
            }
            for state, attempt_min, attempt_max, wait in limits
        ]
        return (await self._write(LimitWaits(self._sql, rows))).count

    async def next_due(self) -> datetime | None:
        (due,) = await self._query(self._sql.next_due, _number)
        return None if due is None else from_microseconds(due)

    async def find_job(self, job_id: int) -> Job | None:
        return next(iter(await self._query(self._sql.find_job, to_job, job_id=job_id)), None)

    async def list_jobs(
        self, *, states: Collection[JobState] = (), upload_id: str = "", before_id: int | None = None, limit: int
    ) -> list[Job]:
        sql = self._sql
        page = {"before_id": _NEWEST if before_id is None else before_id, "limit": limit}
        if upload_id:
            wanted = json.dumps([state.value for state in states or JobState])
            return await self._query(sql.list_jobs_of_upload, to_job, of_upload=upload_id, states=wanted, **page)
        if not states:
            return await self._query(sql.list_jobs, to_job, **page)
        found: list[Job] = []
        for state in set(states):
            statement = sql.list_jobs_done if state is JobState.DONE else sql.list_jobs_in_state
            found += await self._query(statement, to_job, in_state=state.value, **page)
        # A job may have changed its state between two queries: it is listed once.
        return heapq.nlargest(limit, {job.id: job for job in found}.values(), key=attrgetter("id"))

    async def has_unended(self, sequence_key: str) -> bool:
        return bool(await self._query(self._sql.find_unended, _number, its_sequence_key=sequence_key, limit=1))

    async def requeue(self, job_id: int, now: datetime, audit: Sequence[AuditEntry] = ()) -> bool:
        values: dict[str, object] = {"job_id": job_id, "at": to_microseconds(now)}
        update = AdminUpdate(self._sql, self._sql.requeue, values, has_work=True)
        return (await self._write_audited(update, audit)).count > 0

    async def delete_job(self, job_id: int, audit: Sequence[AuditEntry] = ()) -> bool:
        values: dict[str, object] = {"job_id": job_id}
        update = AdminUpdate(self._sql, self._sql.delete_job, values, has_work=False)
        return (await self._write_audited(update, audit)).count > 0

    async def find_event(self, event_id: str) -> Event | None:
        found = await self._query(self._sql.find_event, to_event, event_id=event_id)
        return found[0][1] if found else None

    async def list_events(
        self, *, after: int = 0, upload_id: str = "", newest: bool = False, limit: int
    ) -> list[tuple[int, Event]]:
        sql = self._sql
        page = {"after": after, "limit": limit}
        if upload_id:
            statement = sql.newest_events_of_upload if newest else sql.list_events_of_upload
            found = await self._query(statement, to_event, of_upload=upload_id, **page)
        else:
            found = await self._query(sql.newest_events if newest else sql.list_events, to_event, **page)
        return found[::-1] if newest else found

    async def prune(self, before: datetime, limit: int) -> int:
        return (await self._write(Prune(self._sql, to_microseconds(before), limit))).count

    async def prune_dead(self, before: datetime, limit: int) -> int:
        # Found by a read, which no other write waits for: most dead jobs may belong to uploads that exist.
        values = {"before": to_microseconds(before), "limit": limit}
        ids = await self._query(self._sql.find_forgotten, _number, **values)
        return (await self._write(DeleteDead(self._sql, [{"job_id": job_id} for job_id in ids]))).count if ids else 0

    async def _query(self, statement: str, read: Callable[[Sequence[Any]], T], **values: object) -> list[T]:
        return await self._read(Query(statement, values, read))


def _number(row: Sequence[Any]) -> int | None:
    number: int | None = row[0]
    return number


_by_due_time = attrgetter("next_attempt_at", "id")


@dataclass(frozen=True, slots=True)
class Claim:
    """Lease jobs that are due, the longest due first.

    Another writer may lease, renew or end a job between the SELECT that finds it and the UPDATE that leases it. The
    UPDATE names the state, the token and the due time that the SELECT saw: if it changes no row, this claim has lost.
    """

    sql: JobStatements
    now: int
    until: int
    limit: int
    full: Collection[str]
    durable: bool = False

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        # Each lane is queried by itself, so that the jobs of a full one are never read.
        lanes = [row[0] for row in connection.execute(self.sql.lanes, {}).fetchall()]
        queues = [self._ready(connection, lane) for lane in lanes if lane not in self.full]
        due = heapq.nsmallest(self.limit, (job for queue in queues for job in queue), key=_by_due_time)
        return WriteResult(jobs=[self._leased(job) for job in due if self._lease(connection, job)])

    def _ready(self, connection: DatabaseConnection, lane: str) -> list[Job]:
        limit = max(1, self.limit // PROGRESS_PART) if is_progress_lane(lane) else self.limit
        values = {"of_lane": lane, "now": self.now, "limit": limit}
        return [to_job(row) for row in connection.execute(self.sql.ready, values)]

    def _lease(self, connection: DatabaseConnection, job: Job) -> bool:
        values = {
            "job_id": job.id,
            "seen_state": job.state.value,
            "seen_token": job.token,
            "seen_event_id": job.event_id,
            "now": self.now,
            "until": self.until,
        }
        return connection.execute(self.sql.lease, values).rowcount == 1

    def _leased(self, job: Job) -> Job:
        until = from_microseconds(self.until)
        running = JobState.RUNNING
        return replace(job, state=running, token=job.token + 1, next_attempt_at=until)


@dataclass(frozen=True, slots=True)
class UpdateLeased:
    """A statement about a leased job; with ``ends`` it ends or leaves its sequence, and the next job is the head."""

    sql: JobStatements
    job: Job
    statement: str
    values: dict[str, object]
    ends: bool = False
    durable: bool = False

    def apply(self, connection: DatabaseConnection) -> WriteResult | RecordsError:
        values = {"job_id": self.job.id, "seen_token": self.job.token, **self.values}
        if connection.execute(self.statement, values).rowcount == 0:
            return lease_lost(self.job)
        if self.ends:
            connection.execute(self.sql.promote, {"its_sequence_key": self.job.sequence_key})
        return WriteResult()


@dataclass(frozen=True, slots=True)
class AdminUpdate:
    """``requeue`` or ``delete_job``: an operator's change of a job that is not running."""

    sql: JobStatements
    statement: str
    values: dict[str, object]
    has_work: bool
    durable: bool = True  # the command reports success to the operator

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        row = connection.execute(self.sql.find_job, self.values).fetchone()
        if row is None:
            return WriteResult(count=0)
        sequence = {"its_sequence_key": to_job(row).sequence_key}
        connection.lock_keys([sequence["its_sequence_key"]])
        if connection.execute(self.statement, self.values).rowcount == 0:
            return WriteResult(count=0)
        connection.execute(self.sql.promote, sequence)
        # A requeued job may come before the present head of its sequence.
        connection.execute(self.sql.demote, sequence)
        return WriteResult(has_work=self.has_work)


@dataclass(frozen=True, slots=True)
class AddJobs:
    """Add jobs, except those whose key exists already."""

    sql: JobStatements
    rows: NewJobRows
    durable: bool = True

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        count = self.rows.write(connection, self.sql)
        return WriteResult(count=count, has_work=count > 0)


@dataclass(frozen=True, slots=True)
class LimitWaits:
    """Bring due times back that are later than they can be."""

    sql: JobStatements
    rows: Sequence[dict[str, object]]
    durable: bool = False

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        count = connection.execute_many(self.sql.limit_waits, self.rows)
        return WriteResult(count=count, has_work=count > 0)


@dataclass(frozen=True, slots=True)
class DeleteDead:
    """Delete jobs, except those that are no longer dead: an operator may have requeued them meanwhile."""

    sql: JobStatements
    rows: Sequence[dict[str, object]]
    durable: bool = False

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        return WriteResult(count=connection.execute_many(self.sql.delete_dead, self.rows))


@dataclass(frozen=True, slots=True)
class Prune:
    """Delete done jobs, and events that no job is left of."""

    sql: JobStatements
    before: int
    limit: int
    durable: bool = field(default=False)

    def apply(self, connection: DatabaseConnection) -> WriteResult:
        values = {"before": self.before, "limit": self.limit}
        jobs = connection.execute(self.sql.prune_jobs, values).rowcount
        return WriteResult(count=jobs + connection.execute(self.sql.prune_events, values).rowcount)
