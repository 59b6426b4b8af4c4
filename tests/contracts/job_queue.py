"""The contract of job queues, as tests to inherit. A backend says how it is opened."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from tests.contracts.records import NOW, a_full_upload, an_upload
from tusd_py.contracts.job_queue import JobQueue, LeaseLost
from tusd_py.contracts.records import RecordConflict, RecordExists, Records
from tusd_py.model.caller import Caller
from tusd_py.model.events import Event, EventType
from tusd_py.model.jobs import Effects, Job, JobState, NewJob
from tusd_py.model.upload import HistoryEntry, Status, Upload

LATER = NOW + timedelta(seconds=60)
CALLER = Caller(
    remote_address="[::1]:50000",
    method="PATCH",
    target="/files/a?b=\xff",
    headers=[(b"Upload-Metadata", b"name \xff\x00,\xe9"), (b"x", b""), (b"x", b"twice")],
    owner="Łukasz",
)


class RecordsAndJobQueue(Protocol):
    """Both, on one database."""

    @property
    def records(self) -> Records: ...

    @property
    def job_queue(self) -> JobQueue: ...

    async def close(self) -> None: ...


def a_job(key: str, *, sequence: str = "", subscription: str = "", upload_id: str = "a", event_id: str = "") -> NewJob:
    """A new job in a sequence of its own, unless another is named."""
    return NewJob(
        actor="act",
        key=key,
        sequence_key=sequence or f"sequence of {key}",
        subscription=subscription,
        upload_id=upload_id,
        event_id=event_id,
    )


def an_event(event_id: str, upload: Upload, *, at: datetime = NOW, caller: Caller | None = None) -> Event:
    return Event(id=event_id, type=EventType.POST_RECEIVE, at=at, upload=upload, caller=caller)


def keys(jobs: Sequence[Job]) -> list[str]:
    return [job.key for job in jobs]


class JobQueueContract(ABC):
    """Inherit as ``class TestX(JobQueueContract)``."""

    pytestmark = pytest.mark.anyio

    @abstractmethod
    async def open(self, directory: Path) -> RecordsAndJobQueue:
        """Open the database in ``directory``, empty at first."""

    @pytest.fixture
    async def database(self, tmp_path: Path) -> AsyncIterator[RecordsAndJobQueue]:
        opened = await self.open(tmp_path)
        yield opened
        await opened.close()

    @pytest.fixture
    def records(self, database: RecordsAndJobQueue) -> Records:
        return database.records

    @pytest.fixture
    def job_queue(self, database: RecordsAndJobQueue) -> JobQueue:
        return database.job_queue

    async def claim_one(self, job_queue: JobQueue, now: datetime = NOW) -> Job:
        (job,) = await job_queue.claim(now, now + timedelta(seconds=60), 10)
        return job

    async def test_insert_writes_record_and_effects(self, records: Records, job_queue: JobQueue) -> None:
        """The effects of an insert are recorded when the call returns; its jobs wait and are due at once."""
        upload = an_upload("a")
        event = an_event("e1", upload, caller=CALLER)
        await records.insert(upload, Effects(events=(event,), jobs=(a_job("k", subscription="c", event_id="e1"),)))
        assert await records.find("a") == upload
        assert await job_queue.list_events(limit=9) == [(1, event)]
        (job,) = await job_queue.list_jobs(limit=9)
        assert job == Job(
            id=1,
            actor="act",
            subscription="c",
            key="k",
            sequence_key="sequence of k",
            upload_id="a",
            event_id="e1",
            state=JobState.WAITING,
            attempt=0,
            created_at=NOW,
            next_attempt_at=NOW,
            lane="c",
        )
        assert await job_queue.next_due() == NOW

    async def test_effects_of_refused_change_are_not_written(self, records: Records, job_queue: JobQueue) -> None:
        """A refused insert or update writes no events and no jobs, and completes no job."""
        upload = an_upload("a")
        await records.insert(upload, Effects(jobs=(a_job("first"),)))
        job = await self.claim_one(job_queue)
        effects = Effects(events=(an_event("e", upload),), jobs=(a_job("k"),), completed_job=job)
        with pytest.raises(RecordExists):
            await records.insert(upload, effects)
        with pytest.raises(RecordConflict):
            await records.update(replace(upload, token=5), upload, effects)
        assert await job_queue.list_events(limit=9) == []
        assert await job_queue.list_jobs(limit=9) == [job]

    async def test_update_completes_its_job(self, records: Records, job_queue: JobQueue) -> None:
        """An update that is the effect of a job completes the job and adds the next one, at the time of the update."""
        upload = an_upload("a")
        await records.insert(upload, Effects(jobs=(a_job("first", sequence="steps"),)))
        job = await self.claim_one(job_queue)
        after = upload.advance(5, LATER)
        saved = await records.update(
            upload, after, Effects(jobs=(a_job("second", sequence="steps"),), completed_job=job)
        )
        assert await records.find("a") == saved
        ended = await job_queue.find_job(job.id)
        assert ended == replace(job, state=JobState.DONE, ended_at=LATER)
        assert keys(await job_queue.claim(LATER, LATER, 9)) == ["second"]

    async def test_update_with_lost_lease_changes_nothing(self, records: Records, job_queue: JobQueue) -> None:
        """If another worker has the job, the first one's update changes nothing; concurrent changes are saved."""
        upload = an_upload("a")
        await records.insert(upload, Effects(jobs=(a_job("k"),)))
        slow = await self.claim_one(job_queue)
        fast = await self.claim_one(job_queue, LATER)
        effects = Effects(events=(an_event("e", upload),), jobs=(a_job("k2"),), completed_job=slow)
        calls = [
            records.insert(an_upload("b")),
            records.update(upload, upload.advance(5, NOW), effects),
            records.insert(an_upload("c")),
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), LeaseLost, type(None)]
        assert await records.find_all(["a", "b", "c"]) == [upload, an_upload("b"), an_upload("c")]
        assert await job_queue.list_events(limit=9) == []
        assert await job_queue.list_jobs(limit=9) == [fast]

    async def test_key_is_used_once(self, records: Records, job_queue: JobQueue) -> None:
        """A second job with the same key is not added, in whatever state the first one is; other jobs are."""
        await job_queue.add_jobs([a_job("k"), a_job("k")], NOW)
        await job_queue.complete(await self.claim_one(job_queue), NOW)
        await records.insert(an_upload("a"), Effects(jobs=(a_job("k"), a_job("other"))))
        assert keys(await job_queue.list_jobs(limit=9)) == ["other", "k"]
        assert keys(await job_queue.claim(NOW, LATER, 9)) == ["other"]

    async def test_claim_leases_jobs(self, job_queue: JobQueue) -> None:
        """A job is claimed once until its lease expires; each claim increments its token, and is no attempt yet."""
        await job_queue.add_jobs([a_job("k")], NOW)
        first = await self.claim_one(job_queue)
        assert (first.state, first.attempt, first.next_attempt_at) == (JobState.RUNNING, 0, LATER)
        assert await job_queue.claim(LATER - timedelta(microseconds=1), LATER, 9) == []
        assert await job_queue.next_due() == LATER
        second = await self.claim_one(job_queue, LATER)
        assert (second.id, second.attempt, second.token > first.token) == (first.id, 0, True)
        for call in (
            job_queue.renew(first, LATER),
            job_queue.start(first),
            job_queue.clear_starts(first),
            job_queue.release(first, LATER, "no"),
            job_queue.complete(first, LATER),
            job_queue.retry(first, LATER, "no"),
            job_queue.fail(first, LATER, "no"),
        ):
            with pytest.raises(LeaseLost):
                await call
        assert await job_queue.find_job(first.id) == second

    async def test_attempts_are_counted_at_the_start(self, job_queue: JobQueue) -> None:
        """A claim without a start is no attempt, nor is a start after a crash; a retry ends the attempt."""
        await job_queue.add_jobs([a_job("k")], NOW)
        await job_queue.release(await self.claim_one(job_queue), LATER, "not sent")
        returned = (await job_queue.list_jobs(limit=1))[0]
        assert (returned.state, returned.attempt, returned.starts) == (JobState.WAITING, 0, 0)
        assert (returned.next_attempt_at, returned.error) == (LATER, "not sent")
        at = LATER
        for starts in (1, 2):
            claimed = await self.claim_one(job_queue, at)
            job = await job_queue.start(claimed)
            assert (job.attempt, job.starts) == (1, starts)
            assert await job_queue.find_job(job.id) == job
            at += timedelta(seconds=60)
        claimed = await self.claim_one(job_queue, at)
        await job_queue.release(claimed, at, "not sent")
        assert (await job_queue.list_jobs(limit=1))[0].starts == 2, "it is still a suspect"
        await job_queue.retry(await job_queue.start(await self.claim_one(job_queue, at)), at, "no")
        job = await job_queue.start(await self.claim_one(job_queue, at))
        assert (job.attempt, job.starts) == (2, 1)

    async def test_interrupted_attempt_does_not_count(self, job_queue: JobQueue) -> None:
        """A started job that is released waits as before its start; ``clear_starts`` keeps the attempt."""
        await job_queue.add_jobs([a_job("k")], NOW)
        job = await job_queue.start(await self.claim_one(job_queue))
        await job_queue.release(job, NOW, "stopped", started=True)
        assert [(0, 0)] == [(job.attempt, job.starts) for job in await job_queue.list_jobs(limit=9)]
        job = await job_queue.start(await self.claim_one(job_queue))
        await job_queue.clear_starts(job)
        assert [(1, 0)] == [(job.attempt, job.starts) for job in await job_queue.list_jobs(limit=9)]
        again = await job_queue.start(await self.claim_one(job_queue, LATER))
        assert (again.attempt, again.starts, again.error) == (2, 1, "stopped")

    async def test_renew_extends_lease(self, job_queue: JobQueue) -> None:
        """A renewed job is claimed only after the new time; the holder can complete it with the job from before."""
        await job_queue.add_jobs([a_job("k")], NOW)
        job = await self.claim_one(job_queue)
        renewed = await job_queue.renew(job, LATER + timedelta(seconds=1))
        assert await job_queue.find_job(job.id) == renewed
        assert await job_queue.claim(LATER, LATER, 9) == []
        await job_queue.complete(job, LATER)

    async def test_longest_due_jobs_are_claimed_first(self, job_queue: JobQueue) -> None:
        """Jobs are claimed by due time, then by id, across subscriptions, up to the limit."""
        for number, key in enumerate(["late", "b", "a"]):
            at = NOW + timedelta(seconds=2 if key == "late" else 1)
            await job_queue.add_jobs([a_job(key, subscription=f"c{3 - number}")], at)
        await job_queue.add_jobs([a_job("early", subscription="c9")], NOW)
        at = NOW + timedelta(seconds=2)
        assert keys(await job_queue.claim(NOW, LATER, 9)) == ["early"]
        assert keys(await job_queue.claim(at, LATER, 2)) == ["b", "a"]
        assert keys(await job_queue.claim(at, LATER, 2)) == ["late"]

    async def test_sequence_is_claimed_in_order(self, job_queue: JobQueue) -> None:
        """Behind a job that waits, runs or will be retried, no job of its sequence is claimed; others are."""
        await job_queue.add_jobs(
            [a_job("1", sequence="x"), a_job("2", sequence="x"), a_job("3", sequence="x"), a_job("o")], NOW
        )
        first, other = await job_queue.claim(NOW, LATER, 9)
        assert keys([first, other]) == ["1", "o"]
        await job_queue.complete(other, NOW)
        await job_queue.retry(first, LATER, "not now")
        assert await job_queue.claim(NOW, LATER, 9) == []
        assert (await job_queue.find_job(first.id)) == replace(
            first, state=JobState.WAITING, next_attempt_at=LATER, error="not now"
        )
        first = await self.claim_one(job_queue, LATER)
        await job_queue.fail(first, LATER, "never")
        dead = await job_queue.find_job(first.id)
        assert dead == replace(first, state=JobState.DEAD, ended_at=LATER, error="never")
        second = await self.claim_one(job_queue, LATER)
        await job_queue.complete(second, LATER)
        assert keys([second, await self.claim_one(job_queue, LATER)]) == ["2", "3"]

    async def test_retry_alone_leaves_the_sequence(self, job_queue: JobQueue) -> None:
        """The next job of the sequence is due at once, and the retried one at its time, in no sequence."""
        await job_queue.add_jobs([a_job("1", sequence="x"), a_job("2", sequence="x"), a_job("3", sequence="x")], NOW)
        first = await self.claim_one(job_queue)
        await job_queue.retry(first, LATER, "no", alone=True)
        second = await self.claim_one(job_queue)
        assert second.key == "2"
        await job_queue.renew(second, LATER + timedelta(seconds=60))
        again = await self.claim_one(job_queue, LATER)
        assert again.key == "1"
        await job_queue.complete(again, LATER)
        await job_queue.fail(second, LATER, "never")
        assert keys(await job_queue.claim(LATER, LATER, 9)) == ["3"]

    async def test_waiting_progress_delivers_the_newest_event(self, records: Records, job_queue: JobQueue) -> None:
        """A post-receive takes the place of one that waits at the end of its sequence, and of no other job."""
        upload = an_upload("a")
        await records.insert(upload)

        async def report(*names: str) -> None:
            nonlocal upload
            jobs = [replace(a_job(name, sequence="x", event_id=name), is_progress=name != "end") for name in names]
            events = tuple(
                replace(an_event(name, upload), type=EventType.POST_FINISH if name == "end" else EventType.POST_RECEIVE)
                for name in names
            )
            upload = await records.update(upload, upload, Effects(events=events, jobs=tuple(jobs)))

        async def events_in(*states: JobState) -> list[str]:
            return [job.event_id for job in await job_queue.list_jobs(states=states, limit=9)][::-1]

        await report("1")
        running = await self.claim_one(job_queue)
        await report("2")
        await report("3")
        assert (await events_in(JobState.RUNNING), await events_in(JobState.WAITING)) == (["1"], ["3"])
        await report("4", "end")
        await report("5")
        assert await events_in(JobState.WAITING) == ["4", "end", "5"]
        await job_queue.complete(running, NOW)
        assert keys([await self.claim_one(job_queue)]) == ["4"]

    async def test_progress_gets_a_part_of_a_claim(self, job_queue: JobQueue) -> None:
        """However many post-receives are due, most of what is leased at once are other jobs."""
        reports = [replace(a_job(f"r{number}", subscription="s"), is_progress=True) for number in range(20)]
        await job_queue.add_jobs(reports, NOW)
        await job_queue.add_jobs([a_job(f"o{number}", subscription="s") for number in range(20)], NOW)
        claimed = await job_queue.claim(NOW, LATER, 8)
        assert sorted(keys(claimed)) == ["o0", "o1", "o2", "o3", "o4", "o5", "r0", "r1"]
        assert {job.lane for job in claimed} == {"s", "s (progress)"}
        assert keys(await job_queue.claim(NOW, LATER, 1, ["s"])) == ["r2"]
        assert keys(await job_queue.claim(NOW, LATER, 1, ["s (progress)"])) == ["o6"]

    async def test_progress_that_others_wait_for_is_claimed_with_them(self, job_queue: JobQueue) -> None:
        """A post-receive with another event behind it in its sequence is in the lane of that event."""
        report = replace(a_job("r", sequence="x", subscription="s"), is_progress=True)
        end = replace(a_job("end", sequence="x", subscription="s"), follows_progress=True)
        await job_queue.add_jobs([report, replace(report, key="alone", sequence_key="y")], NOW)
        await job_queue.add_jobs([end], NOW)
        assert keys(await job_queue.claim(NOW, LATER, 9, ["s (progress)"])) == ["r"]
        assert keys(await job_queue.claim(NOW, LATER, 9)) == ["alone"]

    async def test_full_lanes_are_skipped(self, job_queue: JobQueue) -> None:
        """Jobs of a full lane are not claimed, however many there are; later jobs of others are."""
        await job_queue.add_jobs([a_job(f"f{number}", subscription="full") for number in range(50)], NOW)
        await job_queue.add_jobs([a_job("o", subscription="other"), a_job("n")], NOW)
        assert keys(await job_queue.claim(NOW, LATER, 5, ["full", "unknown"])) == ["o", "n"]
        assert len(await job_queue.claim(NOW, LATER, 99)) == 50

    async def test_requeued_job_is_claimed_at_once(self, job_queue: JobQueue) -> None:
        """A dead or waiting job can be requeued, and then runs before the rest of its sequence; no other can."""
        await job_queue.add_jobs([a_job("1", sequence="x"), a_job("2", sequence="x"), a_job("3", sequence="x")], NOW)
        first = await self.claim_one(job_queue)
        assert not await job_queue.requeue(first.id, NOW)
        await job_queue.fail(first, NOW, "never")
        assert await job_queue.requeue(first.id, LATER)
        requeued = await self.claim_one(job_queue, LATER)
        assert (requeued.key, requeued.attempt, requeued.ended_at, requeued.error) == ("1", 0, None, "never")
        with pytest.raises(LeaseLost):
            await job_queue.complete(first, LATER)
        await job_queue.retry(requeued, LATER + timedelta(days=1), "later")
        assert await job_queue.requeue(requeued.id, LATER)
        await job_queue.complete(await self.claim_one(job_queue, LATER), LATER)
        assert not await job_queue.requeue(requeued.id, LATER)
        assert not await job_queue.requeue(99, LATER)
        assert keys(await job_queue.claim(LATER, LATER, 9)) == ["2"]

    async def test_deleted_job_unblocks_its_sequence(self, job_queue: JobQueue) -> None:
        """A job that is not running can be deleted, once."""
        await job_queue.add_jobs([a_job("1", sequence="x"), a_job("2", sequence="x")], NOW)
        job = await self.claim_one(job_queue)
        assert not await job_queue.delete_job(job.id)
        await job_queue.retry(job, LATER, "")
        assert await job_queue.delete_job(job.id)
        assert not await job_queue.delete_job(job.id)
        assert await job_queue.find_job(job.id) is None
        assert keys(await job_queue.claim(NOW, LATER, 9)) == ["2"]

    async def test_jobs_are_listed_newest_first(self, job_queue: JobQueue) -> None:
        """Jobs are listed by state, by upload, or all, in pages before an id."""
        await job_queue.add_jobs([a_job(f"{n}", upload_id="ab"[n % 2]) for n in range(6)], NOW)
        claimed = await job_queue.claim(NOW, LATER, 3)
        await job_queue.complete(claimed[0], NOW)
        await job_queue.fail(claimed[1], NOW, "")
        assert keys(await job_queue.list_jobs(limit=4)) == ["5", "4", "3", "2"]
        assert keys(await job_queue.list_jobs(limit=9, before_id=claimed[2].id)) == ["1", "0"]
        assert keys(await job_queue.list_jobs(limit=9, upload_id="b")) == ["5", "3", "1"]
        assert keys(await job_queue.list_jobs(limit=9, upload_id="b", states=[JobState.DEAD])) == ["1"]
        by_state = {state: keys(await job_queue.list_jobs(limit=9, states=[state])) for state in JobState}
        assert by_state == {
            JobState.WAITING: ["5", "4", "3"],
            JobState.RUNNING: ["2"],
            JobState.DONE: ["0"],
            JobState.DEAD: ["1"],
        }
        ended = (JobState.DONE, JobState.DEAD, JobState.RUNNING)
        assert keys(await job_queue.list_jobs(limit=2, states=ended)) == ["2", "1"]

    async def test_events_keep_every_field(self, records: Records, job_queue: JobQueue) -> None:
        """Every field of an event is read back: its upload with the saved token, and each header byte."""
        begun = an_upload(a_full_upload().id, kind=a_full_upload().kind, parts=a_full_upload().parts)
        await records.insert(begun)
        step = HistoryEntry(Status.REJECTED, NOW, "why", "validation", {"type": "text/plain", "é": "\N{GRINNING FACE}"})
        full = replace(a_full_upload(), pending_steps=("validation", "publishing"), history=(step,))
        event = an_event("e", full, caller=CALLER)
        saved = await records.update(begun, full, Effects(events=(event, an_event("f", full))))
        assert await job_queue.find_event("e") == replace(event, upload=saved)
        assert await job_queue.find_event("f") == an_event("f", saved)
        assert await records.find(saved.id) == saved
        assert await job_queue.find_event("g") is None

    async def test_events_are_listed_in_order(self, records: Records, job_queue: JobQueue) -> None:
        """Events are listed oldest first after a number, of all uploads or one, or the newest of them."""
        for number in range(6):
            upload = an_upload(f"u{number}")
            await records.insert(
                upload, Effects(events=(an_event(f"e{number}", replace(upload, id="ab"[number % 2])),))
            )

        async def ids(*, after: int = 0, upload_id: str = "", newest: bool = False, limit: int) -> list[str]:
            found = await job_queue.list_events(after=after, upload_id=upload_id, newest=newest, limit=limit)
            assert [int(event.id[1:]) + 1 for _, event in found] == [place for place, _ in found]
            return [event.id for _, event in found]

        assert await ids(limit=2) == ["e0", "e1"]
        assert await ids(after=2, limit=3) == ["e2", "e3", "e4"]
        assert await ids(newest=True, limit=2) == ["e4", "e5"]
        assert await ids(upload_id="b", limit=2) == ["e1", "e3"]
        assert await ids(upload_id="b", newest=True, limit=2) == ["e3", "e5"]
        assert await ids(after=5, upload_id="b", newest=True, limit=9) == ["e5"]

    async def test_prune_deletes_done_jobs_and_their_events(self, records: Records, job_queue: JobQueue) -> None:
        """``prune`` deletes old done jobs, then old events without a job; other jobs keep their events.

        Sequence numbers of events are never reused.
        """
        upload = an_upload("a")
        named = ["done", "dead", "waiting", "new"]
        events = tuple(an_event(name, upload, at=LATER if name == "new" else NOW) for name in [*named, "alone"])
        jobs = tuple(a_job(name, event_id=name, subscription=name) for name in named)
        await records.insert(upload, Effects(events=events, jobs=jobs))
        for job in await job_queue.claim(NOW, LATER, 9):
            if job.key == "done" or job.key == "new":
                await job_queue.complete(job, NOW if job.key == "done" else LATER)
            elif job.key == "dead":
                await job_queue.fail(job, NOW, "")
        assert await job_queue.prune(LATER, 1) == 2
        assert await job_queue.prune(LATER, 9) == 1
        assert await job_queue.prune(LATER, 9) == 0
        assert keys(await job_queue.list_jobs(limit=9)) == ["new", "waiting", "dead"]
        assert [event.id for _, event in await job_queue.list_events(limit=9)] == ["dead", "waiting", "new"]
        await records.update(upload, upload, Effects(events=(an_event("next", upload),)))
        assert (await job_queue.list_events(after=5, limit=9))[0][0] == 6

    async def test_prune_dead_deletes_dead_jobs_of_ended_uploads(self, records: Records, job_queue: JobQueue) -> None:
        """Old dead jobs are deleted if their upload is unknown or has ended; those of others may be requeued."""
        living, ended = an_upload("living"), an_upload("ended").with_status(Status.TERMINATED, NOW)
        await records.insert(living)
        await records.insert(ended)
        for upload_id in ("living", "ended", "unknown"):
            names = [f"{upload_id} {state}" for state in ("dead", "new", "done", "waiting")]
            await job_queue.add_jobs([a_job(name, upload_id=upload_id, subscription=name) for name in names], NOW)
        for job in await job_queue.claim(NOW, LATER, 99):
            if job.key.endswith(("dead", "new")):
                await job_queue.fail(job, LATER if job.key.endswith("new") else NOW, "")
            elif job.key.endswith("done"):
                await job_queue.complete(job, NOW)
        assert await job_queue.prune_dead(LATER, 1) == 1
        assert await job_queue.prune_dead(LATER, 9) == 1
        assert await job_queue.prune_dead(LATER, 9) == 0
        left = keys(await job_queue.list_jobs(states=[JobState.DEAD], limit=99))
        assert sorted(left) == ["ended new", "living dead", "living new", "unknown new"]
        assert len(await job_queue.list_jobs(limit=99)) == 10

    async def test_impossible_waits_are_limited(self, job_queue: JobQueue) -> None:
        """Due times of before the clock was set back are limited by state and attempt; possible ones stay."""
        back, second = NOW - timedelta(days=30), timedelta(seconds=1)
        await job_queue.add_jobs([a_job(key) for key in ("new", "failed", "running")], NOW)
        new = (await job_queue.list_jobs(limit=9))[-1]
        assert [job.key for job in await job_queue.claim(NOW, NOW + timedelta(seconds=30), 3)] == [
            "new",
            "failed",
            "running",
        ]
        for job in await job_queue.list_jobs(limit=9):
            if job.key != "running":
                await job_queue.retry(await job_queue.start(job), NOW, "")
        assert await job_queue.requeue(new.id, NOW)
        assert await job_queue.claim(back, back + second, 9) == []
        assert await job_queue.limit_waits(back, 30 * second, [second, 9 * second]) == 3
        assert await job_queue.limit_waits(back, 30 * second, [second, 9 * second]) == 0
        dues = {job.key: job.next_attempt_at - back for job in await job_queue.list_jobs(limit=9)}
        assert dues["new"] == second and dues["failed"] <= 9 * second and dues["running"] == 30 * second
        assert keys(await job_queue.claim(back + 31 * second, back + 61 * second, 9)) == ["new", "failed", "running"]

    async def test_empty_queue(self, job_queue: JobQueue) -> None:
        """An empty queue has no job to claim and no due time."""
        assert await job_queue.claim(NOW, LATER, 9) == []
        assert await job_queue.next_due() is None
        assert await job_queue.list_jobs(limit=9) == []
        await job_queue.add_jobs([], NOW)
