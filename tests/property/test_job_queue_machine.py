"""Random histories of the job queue on SQLite, compared with a plain model in memory.

Workers claim jobs, renew, complete, retry and fail them, also long after their lease has passed to another worker;
operators requeue and delete jobs; the process is restarted; time passes. After each step every job equals the model's.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.contracts.job_queue import an_event
from tests.contracts.records import NOW, an_upload
from tests.support.database import empty_database
from tusd_py.contracts.job_queue import LeaseLost
from tusd_py.model.jobs import PROGRESS_PART, Effects, Job, JobState, NewJob, is_progress_lane
from tusd_py.records.sql.database import SqlDatabase

T = TypeVar("T")

_LEASE = timedelta(seconds=10)
_KEYS = st.sampled_from([f"k{n}" for n in range(12)])
_SEQUENCES = st.sampled_from(["x", "y", "z"])
_SUBSCRIPTIONS = st.sampled_from(["", "c", "d"])
_LANES = st.sampled_from(["", "c", "d", "c (progress)"])
_NUMBERS = st.integers(0, 4) | st.integers(0, 99)  # which of several: of leases the newest first
_ENDED = (JobState.DONE, JobState.DEAD)


@dataclass
class Model:
    """The job queue's contract, without a database."""

    jobs: dict[int, Job] = field(default_factory=dict)
    made: int = 0

    def is_head(self, job: Job) -> bool:
        earlier = (
            other for other in self.jobs.values() if other.sequence_key == job.sequence_key and other.id < job.id
        )
        return job.state not in _ENDED and all(other.state in _ENDED for other in earlier)

    def heads(self) -> list[Job]:
        return sorted(filter(self.is_head, self.jobs.values()), key=lambda job: (job.next_attempt_at, job.id))

    def change(self, job_id: int, **changes: Any) -> None:
        self.jobs[job_id] = replace(self.jobs[job_id], **changes)

    def is_valid(self, lease: Job) -> bool:
        job = self.jobs.get(lease.id)
        return job is not None and job.state is JobState.RUNNING and job.token == lease.token


class JobQueueMachine(RuleBasedStateMachine):
    """Workers, operators, restarts and time."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp(prefix="tusd-py-test-"))
        (self.directory / "records.sqlite3").write_bytes(empty_database())
        self.now = NOW
        self.model = Model()
        self.leases: list[Job] = []  # all leases ever claimed: workers may use any of them later
        self.upload = an_upload("a", length=None)
        self.events: set[str] = set()  # of jobs; an event is kept as long as its job

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    @initialize()
    def begin(self) -> None:
        self.open()
        self.run(self.database.records.insert(self.upload))
        for number, sequence in enumerate("xxxxyyz"):
            self.add(f"first {number}", sequence, "")

    def open(self) -> None:
        self.database = self.run(SqlDatabase.open(f"sqlite:///{self.directory}/records.sqlite3"))
        self.job_queue = self.database.job_queue

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.run(self.database.close())
        self.runner.close()
        shutil.rmtree(self.directory)

    # New jobs

    @rule(key=_KEYS, sequence=_SEQUENCES, subscription=_SUBSCRIPTIONS)
    def add(self, key: str, sequence: str, subscription: str) -> None:
        self.run(self.job_queue.add_jobs([self.new(key, sequence, subscription)], self.now))
        self.was_added(key, sequence, subscription)

    def new(self, key: str, sequence: str, subscription: str) -> NewJob:
        return NewJob(actor="act", key=key, sequence_key=sequence, subscription=subscription, upload_id="a")

    def was_added(self, key: str, sequence: str, subscription: str, event_id: str = "", lane: str = "") -> None:
        if any(job.key == key for job in self.model.jobs.values()):
            return
        # Ids may be skipped, but are never reused.
        newest = self.run(self.job_queue.list_jobs(limit=1))[0]
        assert newest.id > self.model.made
        self.model.made = newest.id
        self.model.jobs[newest.id] = Job(
            id=newest.id,
            actor="act",
            subscription=subscription,
            key=key,
            sequence_key=sequence,
            upload_id="a",
            event_id=event_id,
            state=JobState.WAITING,
            attempt=0,
            created_at=self.now,
            next_attempt_at=self.now,
            lane=lane or subscription,
        )

    @rule(sequence=_SEQUENCES, subscription=_SUBSCRIPTIONS)
    def progress(self, sequence: str, subscription: str) -> None:
        """A post-receive: it takes the place of one that waits at the end of the sequence."""
        after = self.upload.advance(self.upload.offset + 1, self.now)
        event = an_event(f"e{after.offset}", after)
        self.events.add(event.id)
        job = replace(self.new(event.id, sequence, subscription), event_id=event.id, is_progress=True)
        self.upload = self.run(self.database.records.update(self.upload, after, Effects(events=(event,), jobs=(job,))))
        unended = (
            each for each in self.model.jobs.values() if each.sequence_key == sequence and each.state not in _ENDED
        )
        last = max(unended, key=lambda job: job.id, default=None)
        if last is not None and last.state is JobState.WAITING and last.event_id in self.events:
            self.model.change(last.id, key=event.id, event_id=event.id)
        else:
            self.was_added(event.id, sequence, subscription, event.id, job.lane)

    @rule(key=_KEYS, sequence=_SEQUENCES, subscription=_SUBSCRIPTIONS)
    def add_behind_progress(self, key: str, sequence: str, subscription: str) -> None:
        """Post-receives that it waits for leave the lane of progress reports."""
        job = replace(self.new(key, sequence, subscription), follows_progress=True)
        self.run(self.job_queue.add_jobs([job], self.now))
        for each in list(self.model.jobs.values()):
            if each.sequence_key == sequence and each.state not in _ENDED:
                self.model.change(each.id, lane=each.subscription)
        self.was_added(key, sequence, subscription)

    # Workers

    @rule(limit=st.integers(1, 4), full=st.sets(_LANES))
    def claim(self, limit: int, full: set[str]) -> None:
        due: list[Job] = []
        for job in self.model.heads():
            lane_max = max(1, limit // PROGRESS_PART) if is_progress_lane(job.lane) else limit
            if job.next_attempt_at <= self.now and job.lane not in full:
                due += [job][: lane_max - sum(each.lane == job.lane for each in due)]
        claimed = self.run(self.job_queue.claim(self.now, self.now + _LEASE, limit, full))
        assert [job.id for job in claimed] == [job.id for job in due[:limit]]
        for job in due[:limit]:
            until = self.now + _LEASE
            changes = {"state": JobState.RUNNING, "token": job.token + 1}
            self.model.change(job.id, **changes, next_attempt_at=until)
        assert claimed == [self.model.jobs[job.id] for job in claimed]
        self.leases += claimed

    def with_lease(self, number: int, request: Callable[[Job], Awaitable[object]], **changes: Any) -> None:
        """Make a call with some lease; it succeeds if that is the newest of its job, and otherwise is refused."""
        lease = self.leases[-1 - number % len(self.leases)]

        async def call() -> bool:
            try:
                await request(lease)
            except LeaseLost:
                return False
            return True

        is_valid = self.model.is_valid(lease)
        assert self.run(call()) == is_valid
        if is_valid:
            self.model.change(lease.id, **changes)

    @precondition(lambda self: self.leases)
    @rule(number=_NUMBERS)
    def complete(self, number: int) -> None:
        self.with_lease(
            number, lambda job: self.job_queue.complete(job, self.now), state=JobState.DONE, ended_at=self.now
        )

    @precondition(lambda self: self.leases)
    @rule(number=_NUMBERS, key=_KEYS, sequence=_SEQUENCES)
    def effect(self, number: int, key: str, sequence: str) -> None:
        """The effect is a change of the record with an event and another job: all of it is written, or nothing."""
        lease = self.leases[-1 - number % len(self.leases)]
        is_valid = self.model.is_valid(lease)
        before = len(self.run(self.job_queue.list_events(limit=999)))
        after = self.upload.advance(self.upload.offset + 1, self.now)
        event = an_event(f"e{after.offset}", after)

        async def request(job: Job) -> None:
            self.upload = await self.database.records.update(
                self.upload, after, Effects(events=(event,), jobs=(self.new(key, sequence, ""),), completed_job=job)
            )

        self.with_lease(number, request, state=JobState.DONE, ended_at=self.now)
        assert self.run(self.database.records.find("a")) == self.upload
        assert len(self.run(self.job_queue.list_events(limit=999))) == before + is_valid
        if is_valid:
            self.was_added(key, sequence, "")

    @precondition(lambda self: self.leases)
    @rule(number=_NUMBERS, seconds=st.sampled_from([0, 5, 30]), alone=st.booleans())
    def retry(self, number: int, seconds: int, alone: bool) -> None:
        lease = self.leases[-1 - number % len(self.leases)]
        at = self.now + timedelta(seconds=seconds)
        changes = {"state": JobState.WAITING, "next_attempt_at": at, "error": "not now", "starts": 0}
        changes |= {"sequence_key": lease.key} if alone else {}
        self.with_lease(number, lambda job: self.job_queue.retry(job, at, "not now", alone=alone), **changes)

    @precondition(lambda self: self.leases)
    @rule(number=_NUMBERS)
    def fail(self, number: int) -> None:
        changes = {"state": JobState.DEAD, "ended_at": self.now, "error": "never"}
        self.with_lease(number, lambda job: self.job_queue.fail(job, self.now, "never"), **changes)

    @precondition(lambda self: self.leases)
    @rule(number=_NUMBERS)
    def start(self, number: int) -> None:
        lease = self.leases[-1 - number % len(self.leases)]
        job = self.model.jobs.get(lease.id, lease)
        changes = {"attempt": job.attempt + (job.starts == 0), "starts": job.starts + 1}
        self.with_lease(number, self.job_queue.start, **changes)

    @precondition(lambda self: self.leases)
    @rule(number=_NUMBERS)
    def clear_starts(self, number: int) -> None:
        self.with_lease(number, self.job_queue.clear_starts, starts=0)

    @precondition(lambda self: self.leases)
    @rule(number=_NUMBERS)
    def release(self, number: int) -> None:
        """A job that has started was interrupted; the other has not been sent."""
        lease = self.leases[-1 - number % len(self.leases)]
        job = self.model.jobs.get(lease.id, lease)
        started = job.starts > 0
        changes = {"state": JobState.WAITING, "next_attempt_at": self.now, "error": "returned"}
        changes |= {"attempt": job.attempt - started, "starts": 0} if started else {}
        self.with_lease(
            number, lambda lease: self.job_queue.release(lease, self.now, "returned", started=started), **changes
        )

    @precondition(lambda self: self.leases)
    @rule(number=_NUMBERS)
    def renew(self, number: int) -> None:
        until = self.now + _LEASE
        self.with_lease(number, lambda job: self.job_queue.renew(job, until), next_attempt_at=until)

    # Operators

    @rule(number=_NUMBERS, any_of=st.sampled_from([JobState.DEAD, JobState.WAITING, None]))
    def requeue(self, number: int, any_of: JobState | None) -> None:
        ids = [job.id for job in self.model.jobs.values() if any_of in (job.state, None)] or [99]
        job_id = ids[number % len(ids)]
        job = self.model.jobs.get(job_id)
        may = job is not None and job.state in (JobState.DEAD, JobState.WAITING)
        assert self.run(self.job_queue.requeue(job_id, self.now)) == may
        if may:
            changes = {"state": JobState.WAITING, "attempt": 0, "starts": 0, "ended_at": None}
            self.model.change(job_id, **changes, next_attempt_at=self.now)

    @rule(number=_NUMBERS)
    def delete(self, number: int) -> None:
        job_id = 1 + number % (self.model.made + 1)
        job = self.model.jobs.get(job_id)
        may = job is not None and job.state is not JobState.RUNNING
        assert self.run(self.job_queue.delete_job(job_id)) == may
        if may:
            del self.model.jobs[job_id]

    @rule(limit=st.integers(1, 9))
    def prune(self, limit: int) -> None:
        done = (job for job in self.model.jobs.values() if job.ended_at is not None and job.state is JobState.DONE)
        over = sorted((at, job.id) for job in done if (at := job.ended_at) is not None and at < self.now)
        before = len(self.run(self.job_queue.list_jobs(limit=99)))
        self.run(self.job_queue.prune(self.now, limit))
        left = {job.id for job in self.run(self.job_queue.list_jobs(limit=99))}
        assert before - len(left) == min(limit, len(over))
        gone = self.model.jobs.keys() - left
        assert gone <= {job_id for _, job_id in over}
        for job_id in gone:
            del self.model.jobs[job_id]

    # The environment

    @rule(seconds=st.sampled_from([1, 10, 31]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def restart(self) -> None:
        """Only the database survives a restart; workers with a lease may have ended, or not."""
        self.run(self.database.close())
        self.open()

    # Invariants

    @invariant()
    def jobs_equal_the_model(self) -> None:
        if hasattr(self, "database"):
            listed = {job.id: job for job in self.run(self.job_queue.list_jobs(limit=99))}
            assert listed == self.model.jobs
            heads = self.model.heads()
            assert self.run(self.job_queue.next_due()) == (heads[0].next_attempt_at if heads else None)
            with closing(sqlite3.connect(self.directory / "records.sqlite3")) as connection:
                marked_heads = {row[0] for row in connection.execute("SELECT id FROM jobs WHERE is_head")}
            assert marked_heads == {job.id for job in heads}


TestJobQueue = JobQueueMachine.TestCase
TestJobQueue.settings = settings(
    max_examples=15, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.long
class TestJobQueueLong(JobQueueMachine.TestCase):  # type: ignore[misc, valid-type]  # made by Hypothesis
    """More histories."""

    settings = settings(TestJobQueue.settings, max_examples=200)
