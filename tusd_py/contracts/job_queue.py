"""The contract of the outbox: events, and the jobs that follow from them, until each has had its effect."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from tusd_py.contracts.records import RecordsError
from tusd_py.model.events import Event
from tusd_py.model.jobs import Job, JobState, NewJob


class LeaseLost(RecordsError):
    """The lease of a job ran out, and another worker has it or has ended it: whoever asked must give up."""


class JobQueue(Protocol):
    """Keeps events and jobs. What a call has returned from is durable and seen by every process.

    Every change of a job names the token it was given out with: with another one it raises ``LeaseLost`` and nothing
    has changed. Times are given, never taken from a clock of the database.
    """

    async def claim(self, now: datetime, until: datetime, limit: int, full: Collection[str] = ()) -> list[Job]:
        """Give out at most ``limit`` jobs that are due, with a lease until ``until``, each to one caller only.

        Due are those that wait with their time come, and those that run with their lease run out, if no earlier one of
        their lane is still to be done. Jobs of the consumers in ``full`` stay.
        """
        ...

    async def renew(self, job: Job, until: datetime) -> Job:
        """Keep the lease of a job that takes long. Raises ``LeaseLost``."""
        ...

    async def complete(self, job: Job, now: datetime) -> None:
        """End a job whose effect is no change of a record. Raises ``LeaseLost``."""
        ...

    async def retry(self, job: Job, at: datetime, error: str) -> None:
        """Give a job back, to be given out again from ``at`` on. Raises ``LeaseLost``."""
        ...

    async def fail(self, job: Job, now: datetime, error: str) -> None:
        """Give a job up: it is kept as dead, and its lane goes on. Raises ``LeaseLost``."""
        ...

    async def add_jobs(self, jobs: Sequence[NewJob], now: datetime) -> None:
        """Make jobs that follow from no change of a record."""
        ...

    async def next_due(self) -> datetime | None:
        """When ``claim`` may next find something; ``None`` when nothing is to be done."""
        ...

    async def find_job(self, job_id: int) -> Job | None: ...

    async def list_jobs(
        self, *, states: Collection[JobState] = (), upload_id: str = "", before_id: int | None = None, limit: int
    ) -> list[Job]:
        """Jobs, newest first, all states where none is named."""
        ...

    async def requeue(self, job_id: int, now: datetime) -> bool:
        """Have a dead or waiting job given out at once, its attempts counted anew; False if there is none such."""
        ...

    async def delete_job(self, job_id: int) -> bool:
        """Forget a job that does not run; False if there is none such."""
        ...

    async def find_event(self, event_id: str) -> Event | None: ...

    async def list_events(
        self, *, after: int = 0, upload_id: str = "", newest: bool = False, limit: int
    ) -> list[tuple[int, Event]]:
        """Events with their place in the order they were recorded in, oldest first, from beyond ``after``.

        With ``newest`` the last ``limit`` of them, still oldest first.
        """
        ...

    async def prune(self, before: datetime, limit: int) -> int:
        """Forget at most ``limit`` jobs done before then, and as many events from before then that no job is left of.

        Return how many went of both together: 0 when there are no more.
        """
        ...
