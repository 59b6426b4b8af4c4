"""Random histories of the job table over SQLite, beside a plain model: a list, and the rules in a few lines.

Workers claim, are slow, crash, end, retry and bury what they hold, long after somebody else has it; people revive and
drop; the process dies; time passes. After each step every job is as the model has it.
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

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.contracts.outbox import an_event
from tests.contracts.records import NOW, an_upload
from tests.support.database import empty_database
from tusd_py.contracts.job_queue import LeaseLost
from tusd_py.model.jobs import Effects, Job, JobState, NewJob
from tusd_py.records.sql.records import SqlRecords

T = TypeVar("T")

_LEASE = timedelta(seconds=10)
_KEYS = st.sampled_from([f"k{n}" for n in range(12)])
_LANES = st.sampled_from(["x", "y", "z"])
_CONSUMERS = st.sampled_from(["", "c", "d"])
_NUMBERS = st.integers(0, 4) | st.integers(0, 99)  # which of several: of leases the newest first
_OVER = (JobState.DONE, JobState.DEAD)


@dataclass
class Model:
    """What the contract says, without a database."""

    jobs: dict[int, Job] = field(default_factory=dict)
    made: int = 0

    def has_turn(self, job: Job) -> bool:
        earlier = (
            other for other in self.jobs.values() if other.sequence_key == job.sequence_key and other.id < job.id
        )
        return job.state not in _OVER and all(other.state in _OVER for other in earlier)

    def in_turn(self) -> list[Job]:
        return sorted(filter(self.has_turn, self.jobs.values()), key=lambda job: (job.next_attempt_at, job.id))

    def change(self, job_id: int, **facts: Any) -> None:
        self.jobs[job_id] = replace(self.jobs[job_id], **facts)

    def is_held(self, lease: Job) -> bool:
        job = self.jobs.get(lease.id)
        return job is not None and job.state is JobState.RUNNING and job.token == lease.token


class OutboxMachine(RuleBasedStateMachine):
    """Workers, people, crashes and time."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="tusd-py-test-"))
        (self.folder / "records.sqlite3").write_bytes(empty_database())
        self.now = NOW
        self.model = Model()
        self.leases: list[Job] = []  # every one ever given out: workers may come back with any of them
        self.upload = an_upload("a", length=None)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    @initialize()
    def begin(self) -> None:
        self.records = self.open()
        self.run(self.records.insert(self.upload))
        for number, lane in enumerate("xxxxyyz"):
            self.add(f"first {number}", lane, "")

    def open(self) -> SqlRecords:
        return self.run(SqlRecords.open(f"sqlite:///{self.folder}/records.sqlite3"))

    def teardown(self) -> None:
        if hasattr(self, "records"):
            self.run(self.records.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    # Work comes

    @rule(key=_KEYS, lane=_LANES, subscription=_CONSUMERS)
    def add(self, key: str, lane: str, subscription: str) -> None:
        self.run(self.records.add_jobs([self.new(key, lane, subscription)], self.now))
        self.has_made(key, lane, subscription)

    def new(self, key: str, lane: str, subscription: str) -> NewJob:
        return NewJob(actor="act", key=key, sequence_key=lane, subscription=subscription, upload_id="a")

    def has_made(self, key: str, lane: str, subscription: str) -> None:
        if any(job.key == key for job in self.model.jobs.values()):
            return
        # Numbers may be left out, but never come again.
        newest = self.run(self.records.list_jobs(limit=1))[0]
        assert newest.id > self.model.made
        self.model.made = newest.id
        self.model.jobs[newest.id] = Job(
            id=newest.id,
            actor="act",
            subscription=subscription,
            key=key,
            sequence_key=lane,
            upload_id="a",
            event_id="",
            state=JobState.WAITING,
            attempt=0,
            created_at=self.now,
            next_attempt_at=self.now,
        )

    # Workers

    @rule(limit=st.integers(1, 4), full=st.sets(_CONSUMERS))
    def claim(self, limit: int, full: set[str]) -> None:
        due = [job for job in self.model.in_turn() if job.next_attempt_at <= self.now and job.subscription not in full]
        locked_for_creation = self.run(self.records.claim(self.now, self.now + _LEASE, limit, full))
        assert [job.id for job in locked_for_creation] == [job.id for job in due[:limit]]
        for job in due[:limit]:
            until = self.now + _LEASE
            facts = {"state": JobState.RUNNING, "attempt": job.attempt + 1, "token": job.token + 1}
            self.model.change(job.id, **facts, next_attempt_at=until)
        assert locked_for_creation == [self.model.jobs[job.id] for job in locked_for_creation]
        self.leases += locked_for_creation

    def with_lease(self, number: int, ask: Callable[[Job], Awaitable[object]], **facts: Any) -> None:
        """Ask for something in the name of a lease; it is made if that is the newest, and otherwise refused."""
        lease = self.leases[-1 - number % len(self.leases)]

        async def asking() -> bool:
            try:
                await ask(lease)
            except LeaseLost:
                return False
            return True

        is_held = self.model.is_held(lease)
        assert self.run(asking()) == is_held
        if is_held:
            self.model.change(lease.id, **facts)

    @precondition(lambda self: self.leases)
    @rule(number=_NUMBERS)
    def done(self, number: int) -> None:
        self.with_lease(
            number, lambda job: self.records.complete(job, self.now), state=JobState.DONE, ended_at=self.now
        )

    @precondition(lambda self: self.leases)
    @rule(number=_NUMBERS, key=_KEYS, lane=_LANES)
    def effect(self, number: int, key: str, lane: str) -> None:
        """The effect is a change of the record, with an event and a further job: all of it is made, or nothing."""
        lease = self.leases[-1 - number % len(self.leases)]
        is_held = self.model.is_held(lease)
        told = len(self.run(self.records.list_events(limit=999)))
        after = self.upload.advance(self.upload.offset + 1, self.now)
        event = an_event(f"e{after.offset}", after)

        async def ask(job: Job) -> None:
            self.upload = await self.records.update(
                self.upload, after, Effects(events=(event,), jobs=(self.new(key, lane, ""),), completed_job=job)
            )

        self.with_lease(number, ask, state=JobState.DONE, ended_at=self.now)
        assert self.run(self.records.find("a")) == self.upload
        assert len(self.run(self.records.list_events(limit=999))) == told + is_held
        if is_held:
            self.has_made(key, lane, "")

    @precondition(lambda self: self.leases)
    @rule(number=_NUMBERS, seconds=st.sampled_from([0, 5, 30]))
    def again(self, number: int, seconds: int) -> None:
        at = self.now + timedelta(seconds=seconds)
        facts = {"state": JobState.WAITING, "next_attempt_at": at, "error": "not now"}
        self.with_lease(number, lambda job: self.records.retry(job, at, "not now"), **facts)

    @precondition(lambda self: self.leases)
    @rule(number=_NUMBERS)
    def bury(self, number: int) -> None:
        facts = {"state": JobState.DEAD, "ended_at": self.now, "error": "never"}
        self.with_lease(number, lambda job: self.records.fail(job, self.now, "never"), **facts)

    @precondition(lambda self: self.leases)
    @rule(number=_NUMBERS)
    def renew(self, number: int) -> None:
        until = self.now + _LEASE
        self.with_lease(number, lambda job: self.records.renew(job, until), next_attempt_at=until)

    # People

    @rule(number=_NUMBERS, any_of=st.sampled_from([JobState.DEAD, JobState.WAITING, None]))
    def revive(self, number: int, any_of: JobState | None) -> None:
        ids = [job.id for job in self.model.jobs.values() if any_of in (job.state, None)] or [99]
        job_id = ids[number % len(ids)]
        job = self.model.jobs.get(job_id)
        may = job is not None and job.state in (JobState.DEAD, JobState.WAITING)
        assert self.run(self.records.requeue(job_id, self.now)) == may
        if may:
            facts = {"state": JobState.WAITING, "attempt": 0, "ended_at": None}
            self.model.change(job_id, **facts, next_attempt_at=self.now)

    @rule(number=_NUMBERS)
    def drop(self, number: int) -> None:
        job_id = 1 + number % (self.model.made + 1)
        job = self.model.jobs.get(job_id)
        may = job is not None and job.state is not JobState.RUNNING
        assert self.run(self.records.delete_job(job_id)) == may
        if may:
            del self.model.jobs[job_id]

    @rule(limit=st.integers(1, 9))
    def prune(self, limit: int) -> None:
        done = (job for job in self.model.jobs.values() if job.ended_at is not None and job.state is JobState.DONE)
        over = sorted((at, job.id) for job in done if (at := job.ended_at) is not None and at < self.now)
        before = len(self.run(self.records.list_jobs(limit=99)))
        self.run(self.records.prune(self.now, limit))
        left = {job.id for job in self.run(self.records.list_jobs(limit=99))}
        assert before - len(left) == min(limit, len(over))
        gone = self.model.jobs.keys() - left
        assert gone <= {job_id for _, job_id in over}
        for job_id in gone:
            del self.model.jobs[job_id]

    # What befalls them

    @rule(seconds=st.sampled_from([1, 10, 31]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def crash(self) -> None:
        """Nothing survives but the database; who held a lease may be gone, or may not."""
        self.run(self.records.close())
        self.records = self.open()

    # What always holds

    @invariant()
    def jobs_are_as_the_model_has_them(self) -> None:
        if hasattr(self, "records"):
            listed = {job.id: job for job in self.run(self.records.list_jobs(limit=99))}
            assert listed == self.model.jobs
            in_turn = self.model.in_turn()
            assert self.run(self.records.next_due()) == (in_turn[0].next_attempt_at if in_turn else None)
            with closing(sqlite3.connect(self.folder / "records.sqlite3")) as beneath:
                marked = {row[0] for row in beneath.execute("SELECT id FROM jobs WHERE is_head")}
            assert marked == {job.id for job in in_turn}


TestOutbox = OutboxMachine.TestCase
TestOutbox.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
