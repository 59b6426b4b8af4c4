"""Events and jobs in a database. What is asked is put into acts and questions here; two threads run them."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeVar

from tusd_py.contracts.records import RecordsError
from tusd_py.model.events import Event
from tusd_py.model.jobs import Job, JobState, NewJob
from tusd_py.records.sql.group_commit import Grouping
from tusd_py.records.sql.job_rows import job_row, to_event, to_job
from tusd_py.records.sql.job_statements import JobStatements
from tusd_py.records.sql.sqlite import DatabaseConnection
from tusd_py.records.sql.tables import from_microseconds, to_microseconds
from tusd_py.records.sql.transactions import FindByIds, Listing, Query, WriteOp, WriteResult, lost

T = TypeVar("T")

# Beyond every number that the database gives.
_NEWEST = 2**63 - 1


class SqlJobQueue:
    """Keeps events and jobs beside the records, with which they share both threads and every transaction."""

    def __init__(
        self,
        sql: JobStatements,
        writer: Grouping[WriteOp, WriteResult],
        reader: Grouping[FindByIds | Listing | Query, list[Any]],
    ) -> None:
        self._job_sql = sql
        self._writer = writer
        self._reader = reader

    async def claim(self, now: datetime, until: datetime, limit: int, full: Collection[str] = ()) -> list[Job]:
        claim = Claim(self._job_sql, to_microseconds(now), to_microseconds(until), limit, frozenset(full))
        return [*(await self._writer.ask(claim)).jobs]

    async def renew(self, job: Job, until: datetime) -> Job:
        sql = self._job_sql
        await self._writer.ask(UpdateLeased(sql, job, sql.renew, {"at": to_microseconds(until)}))
        return replace(job, next_attempt_at=until)

    async def complete(self, job: Job, now: datetime) -> None:
        sql = self._job_sql
        await self._writer.ask(UpdateLeased(sql, job, sql.complete, {"at": to_microseconds(now)}, ends=True))

    async def retry(self, job: Job, at: datetime, error: str) -> None:
        sql = self._job_sql
        await self._writer.ask(UpdateLeased(sql, job, sql.retry, {"at": to_microseconds(at), "why": error}))

    async def fail(self, job: Job, now: datetime, error: str) -> None:
        sql = self._job_sql
        facts = {"at": to_microseconds(now), "why": error}
        await self._writer.ask(UpdateLeased(sql, job, sql.fail, facts, ends=True))

    async def add_jobs(self, jobs: Sequence[NewJob], now: datetime) -> None:
        if jobs:
            await self._writer.ask(AddJobs(self._job_sql, [job_row(job, now) for job in jobs]))

    async def next_due(self) -> datetime | None:
        (due,) = await self._rows(self._job_sql.next_due, _number)
        return None if due is None else from_microseconds(due)

    async def find_job(self, job_id: int) -> Job | None:
        return next(iter(await self._rows(self._job_sql.find_job, to_job, job_id=job_id)), None)

    async def list_jobs(
        self, *, states: Collection[JobState] = (), upload_id: str = "", before_id: int | None = None, limit: int
    ) -> list[Job]:
        sql = self._job_sql
        page = {"before_id": _NEWEST if before_id is None else before_id, "limit": limit}
        if upload_id:
            wanted = json.dumps([state.value for state in states or JobState])
            return await self._rows(sql.list_jobs_of_upload, to_job, of_upload=upload_id, states=wanted, **page)
        if not states:
            return await self._rows(sql.list_jobs, to_job, **page)
        found: list[Job] = []
        for state in set(states):
            statement = sql.list_jobs_done if state is JobState.DONE else sql.list_jobs_in_state
            found += await self._rows(statement, to_job, in_state=state.value, **page)
        # One may have gone from one state to another in between.
        return heapq.nlargest(limit, {job.id: job for job in found}.values(), key=attrgetter("id"))

    async def requeue(self, job_id: int, now: datetime) -> bool:
        sql = self._job_sql
        values: dict[str, object] = {"job_id": job_id, "at": to_microseconds(now)}
        return (await self._writer.ask(AdminUpdate(sql, sql.requeue, values, has_work=True))).count > 0

    async def delete_job(self, job_id: int) -> bool:
        sql = self._job_sql
        return (await self._writer.ask(AdminUpdate(sql, sql.delete_job, {"job_id": job_id}, has_work=False))).count > 0

    async def find_event(self, event_id: str) -> Event | None:
        found = await self._rows(self._job_sql.find_event, to_event, event_id=event_id)
        return found[0][1] if found else None

    async def list_events(
        self, *, after: int = 0, upload_id: str = "", newest: bool = False, limit: int
    ) -> list[tuple[int, Event]]:
        sql = self._job_sql
        page = {"after": after, "limit": limit}
        if upload_id:
            statement = sql.newest_events_of_upload if newest else sql.list_events_of_upload
            found = await self._rows(statement, to_event, of_upload=upload_id, **page)
        else:
            found = await self._rows(sql.newest_events if newest else sql.list_events, to_event, **page)
        return found[::-1] if newest else found

    async def prune(self, before: datetime, limit: int) -> int:
        return (await self._writer.ask(Prune(self._job_sql, to_microseconds(before), limit))).count

    async def _rows(self, statement: str, read: Callable[[Sequence[Any]], T], **values: object) -> list[T]:
        return await self._reader.ask(Query(statement, values, read))


def _number(row: Sequence[Any]) -> int | None:
    number: int | None = row[0]
    return number


_in_turn = attrgetter("next_attempt_at", "id")


@dataclass(frozen=True, slots=True)
class Claim:
    """Give out jobs whose turn it is, the longest due first."""

    sql: JobStatements
    now: int
    until: int
    limit: int
    full: Collection[str]
    durable: bool = False

    def make(self, connection: DatabaseConnection) -> WriteResult:
        # Each consumer's own, then the first of them all: what a full one has is not even looked at.
        subscriptions = [row[0] for row in connection.execute(self.sql.subscriptions, {}).fetchall()]
        queues = [
            self._due(connection, subscription) for subscription in subscriptions if subscription not in self.full
        ]
        jobs = heapq.nsmallest(self.limit, (job for queue in queues for job in queue), key=_in_turn)
        if jobs:
            connection.execute_many(self.sql.lease, [{"job_id": job.id, "until": self.until} for job in jobs])
        return WriteResult(jobs=[self._lent(job) for job in jobs])

    def _due(self, connection: DatabaseConnection, subscription: str) -> list[Job]:
        facts = {"of_subscription": subscription, "now": self.now, "limit": self.limit}
        return [to_job(row) for row in connection.execute(self.sql.ready, facts)]

    def _lent(self, job: Job) -> Job:
        until = from_microseconds(self.until)
        running = JobState.RUNNING
        return replace(job, state=running, attempt=job.attempt + 1, token=job.token + 1, next_attempt_at=until)


@dataclass(frozen=True, slots=True)
class UpdateLeased:
    """One of the statements about a job that is leased; ``ends`` when the next of its lane has its turn then."""

    sql: JobStatements
    job: Job
    statement: str
    facts: dict[str, object]
    ends: bool = False
    durable: bool = False

    def make(self, connection: DatabaseConnection) -> WriteResult | RecordsError:
        values = {"job_id": self.job.id, "seen_token": self.job.token, **self.facts}
        if connection.execute(self.statement, values).rowcount == 0:
            return lost(self.job)
        if self.ends:
            connection.execute(self.sql.promote, {"its_sequence_key": self.job.sequence_key})
        return WriteResult()


@dataclass(frozen=True, slots=True)
class AdminUpdate:
    """``revive`` or ``drop``: what a person does to a job that does not run."""

    sql: JobStatements
    statement: str
    values: dict[str, object]
    has_work: bool
    durable: bool = True  # a person is told of it

    def make(self, connection: DatabaseConnection) -> WriteResult:
        row = connection.execute(self.sql.find_job, self.values).fetchone()
        if row is None or connection.execute(self.statement, self.values).rowcount == 0:
            return WriteResult(count=0)
        lane = {"its_sequence_key": to_job(row).sequence_key}
        connection.execute(self.sql.promote, lane)
        # What is revived may come before the one that has its turn now.
        connection.execute(self.sql.demote, lane)
        return WriteResult(has_work=self.has_work)


@dataclass(frozen=True, slots=True)
class AddJobs:
    """Make jobs, but no second one with the same key."""

    sql: JobStatements
    rows: Sequence[dict[str, object]]
    durable: bool = True

    def make(self, connection: DatabaseConnection) -> WriteResult:
        count = connection.execute_many(self.sql.add_job, self.rows)
        return WriteResult(count=count, has_work=count > 0)


@dataclass(frozen=True, slots=True)
class Prune:
    """Remove jobs that were done, and events that no job is left of."""

    sql: JobStatements
    before: int
    limit: int
    durable: bool = field(default=False)

    def make(self, connection: DatabaseConnection) -> WriteResult:
        values = {"before": self.before, "limit": self.limit}
        jobs = connection.execute(self.sql.prune_jobs, values).rowcount
        return WriteResult(count=jobs + connection.execute(self.sql.prune_events, values).rowcount)
