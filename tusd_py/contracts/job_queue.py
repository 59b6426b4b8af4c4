"""The contract of the job queue, which keeps the jobs of the workers and the events that they deliver."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from tusd_py.contracts.records import RecordsError
from tusd_py.model.audit import AuditEntry
from tusd_py.model.events import Event
from tusd_py.model.jobs import Job, JobState, NewJob


class LeaseLost(RecordsError):
    """The lease of a job has expired, and another worker has the job or has ended it; the caller must stop."""


class JobQueue(Protocol):
    """Keeps events and jobs. When a call returns, its change is durable and visible to every process.

    A worker changes a job with the token of its lease: if the job has another token by now, the call raises
    ``LeaseLost`` and changes nothing. All times are arguments; the clock of the database is not used.
    """

    async def claim(self, now: datetime, until: datetime, limit: int, full: Collection[str] = ()) -> list[Job]:
        """Lease at most ``limit`` due jobs until ``until``, the longest due first, each to one caller only.

        A job is due if it waits and its time has come, or runs and its lease has expired, and no earlier job with its
        sequence key is unfinished. Jobs of the lanes in ``full`` are left out, and of a lane of progress reports at
        most the ``PROGRESS_PART`` of ``limit`` (at least one) is leased.
        """
        ...

    async def start(self, job: Job) -> Job:
        """Record that the actor of a leased job starts: a new attempt, unless the last one ended with its worker.

        Raises ``LeaseLost``.
        """
        ...

    async def clear_starts(self, job: Job) -> None:
        """Record that the running job does not crash its worker: ``starts`` is 0. Raises ``LeaseLost``."""
        ...

    async def release(self, job: Job, at: datetime, reason: str, *, started: bool = False) -> None:
        """Return a leased job that has not failed; it is due again from ``at`` on. Raises ``LeaseLost``.

        ``started``: its actor was interrupted; the attempt does not count.
        """
        ...

    async def renew(self, job: Job, until: datetime) -> Job:
        """Extend the lease of a job. Raises ``LeaseLost``."""
        ...

    async def complete(self, job: Job, now: datetime) -> None:
        """Mark a job as done; then the next job of its sequence can be claimed. Raises ``LeaseLost``.

        For a job whose effect is a change of a record, ``Effects.completed_job`` does this with the change.
        """
        ...

    async def retry(self, job: Job, at: datetime, error: str, *, alone: bool = False) -> None:
        """End this attempt; the job is due again from ``at`` on. Raises ``LeaseLost``.

        With ``alone`` the job leaves its sequence, so that the jobs behind it do not wait for it any longer.
        """
        ...

    async def fail(self, job: Job, now: datetime, error: str) -> None:
        """Mark a job as dead: it is kept, and the next job of its sequence can be claimed. Raises ``LeaseLost``."""
        ...

    async def add_jobs(self, jobs: Sequence[NewJob], now: datetime) -> None:
        """Add jobs, due now, without a change of a record. Jobs whose key exists already are left out."""
        ...

    async def limit_waits(self, now: datetime, running: timedelta, waiting: Sequence[timedelta]) -> int:
        """Move due times that are later than possible back to the latest possible time; return how many were moved.

        Such times come from a clock that has been set back since. The lease of a running job ends after ``running`` at
        the latest; a job that has failed ``n`` times waits ``waiting[n]`` at most, or the last of them.
        """
        ...

    async def next_due(self) -> datetime | None:
        """The earliest time at which ``claim`` may return a job; ``None`` if all jobs have ended."""
        ...

    async def find_job(self, job_id: int) -> Job | None:
        """The job with this id; ``None`` if there is none."""
        ...

    async def list_jobs(
        self, *, states: Collection[JobState] = (), upload_id: str = "", before_id: int | None = None, limit: int
    ) -> list[Job]:
        """Jobs in these states, newest first; in all states if ``states`` is empty."""
        ...

    async def has_unended(self, sequence_key: str) -> bool:
        """Whether a job of this sequence waits or runs."""
        ...

    async def requeue(self, job_id: int, now: datetime, audit: Sequence[AuditEntry] = ()) -> bool:
        """Make a dead or waiting job due now and reset its attempts; False if there is no such job.

        ``audit`` is written with the change.
        """
        ...

    async def delete_job(self, job_id: int, audit: Sequence[AuditEntry] = ()) -> bool:
        """Delete a job that is not running; False if there is no such job. ``audit`` is written with the change."""
        ...

    async def find_event(self, event_id: str) -> Event | None:
        """The event with this id; ``None`` if there is none (any more)."""
        ...

    async def list_events(
        self, *, after: int = 0, upload_id: str = "", newest: bool = False, limit: int
    ) -> list[tuple[int, Event]]:
        """Events with their sequence number, in the order in which they were recorded, after number ``after``.

        With ``newest`` the last ``limit`` of them, in the same order.
        """
        ...

    async def prune(self, before: datetime, limit: int) -> int:
        """Delete at most ``limit`` jobs done before ``before``, and as many older events that have no job left.

        Return the number of both together: 0 if there are no more.
        """
        ...

    async def prune_dead(self, before: datetime, limit: int) -> int:
        """Delete at most ``limit`` jobs that died before then and whose upload has ended or is unknown.

        Return how many.
        """
        ...
