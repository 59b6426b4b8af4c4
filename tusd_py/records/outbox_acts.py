"""What is done to jobs and events apart from changes of records, as acts of a batch."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from tusd_py.contracts.jobs import Job, JobState
from tusd_py.contracts.records import RecordsError
from tusd_py.records.batches import Made
from tusd_py.records.changes import lost
from tusd_py.records.connections import DatabaseConnection
from tusd_py.records.outbox_rows import to_job
from tusd_py.records.outbox_statements import OutboxStatements
from tusd_py.records.tables import from_microseconds

_in_turn = attrgetter("next_attempt_at", "id")


@dataclass(frozen=True, slots=True)
class Claim:
    """Give out jobs whose turn it is, the longest due first."""

    sql: OutboxStatements
    now: int
    until: int
    limit: int
    full: Collection[str]
    durable: bool = False

    def make(self, connection: DatabaseConnection) -> Made:
        # Each consumer's own, then the first of them all: what a full one has is not even looked at.
        consumers = [row[0] for row in connection.execute(self.sql.consumers, {}).fetchall()]
        queues = [self._due(connection, consumer) for consumer in consumers if consumer not in self.full]
        jobs = heapq.nsmallest(self.limit, (job for queue in queues for job in queue), key=_in_turn)
        if jobs:
            connection.execute_many(self.sql.lend, [{"job_id": job.id, "until": self.until} for job in jobs])
        return Made(jobs=[self._lent(job) for job in jobs])

    def _due(self, connection: DatabaseConnection, consumer: str) -> list[Job]:
        facts = {"of_consumer": consumer, "now": self.now, "limit": self.limit}
        return [to_job(row) for row in connection.execute(self.sql.turns, facts)]

    def _lent(self, job: Job) -> Job:
        until = from_microseconds(self.until)
        running = JobState.RUNNING
        return replace(job, state=running, attempt=job.attempt + 1, token=job.token + 1, next_attempt_at=until)


@dataclass(frozen=True, slots=True)
class Settle:
    """One of the statements about a job that is leased; ``ends`` when the next of its lane has its turn then."""

    sql: OutboxStatements
    job: Job
    statement: str
    facts: dict[str, object]
    ends: bool = False
    durable: bool = False

    def make(self, connection: DatabaseConnection) -> Made | RecordsError:
        values = {"job_id": self.job.id, "seen_token": self.job.token, **self.facts}
        if connection.execute(self.statement, values).rowcount == 0:
            return lost(self.job)
        if self.ends:
            connection.execute(self.sql.move_up, {"its_lane": self.job.lane})
        return Made()


@dataclass(frozen=True, slots=True)
class Tend:
    """``revive`` or ``drop``: what a person does to a job that does not run."""

    sql: OutboxStatements
    statement: str
    values: dict[str, object]
    has_work: bool
    durable: bool = True  # a person is told of it

    def make(self, connection: DatabaseConnection) -> Made:
        row = connection.execute(self.sql.find_job, self.values).fetchone()
        if row is None or connection.execute(self.statement, self.values).rowcount == 0:
            return Made(count=0)
        lane = {"its_lane": to_job(row).lane}
        connection.execute(self.sql.move_up, lane)
        # What is revived may come before the one that has its turn now.
        connection.execute(self.sql.move_back, lane)
        return Made(has_work=self.has_work)


@dataclass(frozen=True, slots=True)
class AddJobs:
    """Make jobs, but no second one with the same key."""

    sql: OutboxStatements
    rows: Sequence[dict[str, object]]
    durable: bool = True

    def make(self, connection: DatabaseConnection) -> Made:
        count = connection.execute_many(self.sql.add_job, self.rows)
        return Made(count=count, has_work=count > 0)


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove jobs that were done, and events that no job is left of."""

    sql: OutboxStatements
    before: int
    limit: int
    durable: bool = field(default=False)

    def make(self, connection: DatabaseConnection) -> Made:
        values = {"before": self.before, "limit": self.limit}
        jobs = connection.execute(self.sql.forget_jobs, values).rowcount
        return Made(count=jobs + connection.execute(self.sql.forget_events, values).rowcount)
