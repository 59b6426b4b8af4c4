"""Changes of one record, as acts of a batch: the row, and what is written with it or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tusd_py.contracts.jobs import Along, Job
from tusd_py.contracts.outbox import JobLost
from tusd_py.contracts.records import RecordsError
from tusd_py.protocol.upload import Upload
from tusd_py.records.batches import Made
from tusd_py.records.connections import DatabaseConnection
from tusd_py.records.outbox_rows import event_row, job_row
from tusd_py.records.outbox_statements import OutboxStatements
from tusd_py.records.tables import to_microseconds

_CHANGED = Made()
_WITH_WORK = Made(has_work=True)


# Not frozen: to make one is felt where thousands of uploads change in a second, and it is handed on and forgotten.
@dataclass(slots=True)
class Change:
    """One statement that changes one row or none; none is answered with ``refusal``, where there is one."""

    statement: str
    values: dict[str, object]
    refusal: RecordsError | None = None
    durable: bool = False
    add_part: str = ""
    parts: Sequence[dict[str, object]] = ()  # rows for ``add_part``, if the row was changed
    following: Following | None = None

    def make(self, connection: DatabaseConnection) -> Made | RecordsError:
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
class Following:
    """The rows that follow from a change."""

    sql: OutboxStatements
    events: Sequence[dict[str, object]]
    jobs: Sequence[dict[str, object]]
    ends: Job | None
    at: int  # microseconds

    def lost(self, connection: DatabaseConnection) -> JobLost | None:
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
            connection.execute(self.sql.done, facts)
            connection.execute(self.sql.move_up, {"its_lane": self.ends.lane})
        return made > 0


def following(sql: OutboxStatements, saved: Upload, along: Along) -> Following | None:
    """What is written with ``saved``, the upload as its record will have it."""
    if not along.events and not along.jobs and along.ends is None:
        return None
    events = [event_row(event, saved.token) for event in along.events]
    jobs = [job_row(job, saved.updated_at) for job in along.jobs]
    return Following(sql, events, jobs, along.ends, to_microseconds(saved.updated_at))


def lost(job: Job) -> JobLost:
    return JobLost(f"job {job.id} was given out to another worker or has ended")
