"""What every outbox promises, as tests to inherit. A backend says how it is opened."""

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
    headers=((b"Upload-Metadata", b"name \xff\x00,\xe9"), (b"x", b""), (b"x", b"twice")),
    owner="Łukasz",
)


class RecordsWithJobQueue(Records, JobQueue, Protocol):
    """Both, on one database."""


def a_job(key: str, *, lane: str = "", consumer: str = "", upload_id: str = "a", event_id: str = "") -> NewJob:
    """A new job with a lane of its own, unless another is named."""
    lane = lane or f"lane of {key}"
    return NewJob(actor="act", key=key, lane=lane, consumer=consumer, upload_id=upload_id, event_id=event_id)


def an_event(event_id: str, upload: Upload, *, at: datetime = NOW, caller: Caller | None = None) -> Event:
    return Event(id=event_id, type=EventType.POST_RECEIVE, at=at, upload=upload, caller=caller)


def keys(jobs: Sequence[Job]) -> list[str]:
    return [job.key for job in jobs]


class JobQueueContract(ABC):
    """Inherit as ``class TestX(OutboxContract)``."""

    pytestmark = pytest.mark.anyio

    @abstractmethod
    async def open(self, directory: Path) -> RecordsWithJobQueue:
        """Open what lies in ``directory``, empty at first."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    async def outbox(self, tmp_path: Path) -> AsyncIterator[RecordsWithJobQueue]:
        opened = await self.open(tmp_path)
        yield opened
        await opened.close()

    async def claim_one(self, outbox: JobQueue, now: datetime = NOW) -> Job:
        (job,) = await outbox.claim(now, now + timedelta(seconds=60), 10)
        return job

    async def test_a_change_and_what_follows_are_there_together(self, outbox: RecordsWithJobQueue) -> None:
        """What is added along with a record is there when the call returns, the jobs waiting and due at once."""
        upload = an_upload("a")
        event = an_event("e1", upload, caller=CALLER)
        await outbox.add(upload, Effects(events=(event,), jobs=(a_job("k", consumer="c", event_id="e1"),)))
        assert await outbox.find("a") == upload
        assert await outbox.list_events(limit=9) == [(1, event)]
        (job,) = await outbox.list_jobs(limit=9)
        assert job == Job(
            id=1,
            actor="act",
            consumer="c",
            key="k",
            lane="lane of k",
            upload_id="a",
            event_id="e1",
            state=JobState.WAITING,
            attempt=0,
            created_at=NOW,
            next_attempt_at=NOW,
        )
        assert await outbox.next_due() == NOW

    async def test_what_follows_a_refused_change_is_not_written(self, outbox: RecordsWithJobQueue) -> None:
        """A record that exists already, or has moved on, takes neither events nor jobs along, nor ends a job."""
        upload = an_upload("a")
        await outbox.add(upload, Effects(jobs=(a_job("first"),)))
        job = await self.claim_one(outbox)
        along = Effects(events=(an_event("e", upload),), jobs=(a_job("k"),), ends=job)
        with pytest.raises(RecordExists):
            await outbox.add(upload, along)
        with pytest.raises(RecordConflict):
            await outbox.replace(replace(upload, token=5), upload, along)
        assert await outbox.list_events(limit=9) == []
        assert await outbox.list_jobs(limit=9) == [job]

    async def test_the_effect_of_a_job_ends_it(self, outbox: RecordsWithJobQueue) -> None:
        """The change of a record that is a job's effect ends the job, and makes the next, at the time of the change."""
        upload = an_upload("a")
        await outbox.add(upload, Effects(jobs=(a_job("first", lane="steps"),)))
        job = await self.claim_one(outbox)
        after = upload.advance(5, LATER)
        saved = await outbox.replace(upload, after, Effects(jobs=(a_job("second", lane="steps"),), ends=job))
        assert await outbox.find("a") == saved
        ended = await outbox.find_job(job.id)
        assert ended == replace(job, state=JobState.DONE, ended_at=LATER)
        assert keys(await outbox.claim(LATER, LATER, 9)) == ["second"]

    async def test_the_effect_of_a_lost_job_is_not_made(self, outbox: RecordsWithJobQueue) -> None:
        """Where the job has been given out anew, its first worker changes nothing; the neighbours' changes are made."""
        upload = an_upload("a")
        await outbox.add(upload, Effects(jobs=(a_job("k"),)))
        slow = await self.claim_one(outbox)
        fast = await self.claim_one(outbox, LATER)
        along = Effects(events=(an_event("e", upload),), jobs=(a_job("k2"),), ends=slow)
        asked = [
            outbox.add(an_upload("b")),
            outbox.replace(upload, upload.advance(5, NOW), along),
            outbox.add(an_upload("c")),
        ]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), LeaseLost, type(None)]
        assert await outbox.find_all(["a", "b", "c"]) == [upload, an_upload("b"), an_upload("c")]
        assert await outbox.list_events(limit=9) == []
        assert await outbox.list_jobs(limit=9) == [fast]

    async def test_a_key_is_used_once(self, outbox: RecordsWithJobQueue) -> None:
        """A second job with the same key is not made, whatever became of the first; its neighbours are."""
        await outbox.add_jobs([a_job("k"), a_job("k")], NOW)
        await outbox.done(await self.claim_one(outbox), NOW)
        await outbox.add(an_upload("a"), Effects(jobs=(a_job("k"), a_job("other"))))
        assert keys(await outbox.list_jobs(limit=9)) == ["other", "k"]
        assert keys(await outbox.claim(NOW, LATER, 9)) == ["other"]

    async def test_claims_are_leases(self, outbox: RecordsWithJobQueue) -> None:
        """A job is given out once, until its lease runs out; each time its attempt and its token grow."""
        await outbox.add_jobs([a_job("k")], NOW)
        first = await self.claim_one(outbox)
        assert (first.state, first.attempt, first.next_attempt_at) == (JobState.RUNNING, 1, LATER)
        assert await outbox.claim(LATER - timedelta(microseconds=1), LATER, 9) == []
        assert await outbox.next_due() == LATER
        second = await self.claim_one(outbox, LATER)
        assert (second.id, second.attempt, second.token > first.token) == (first.id, 2, True)
        for call in (
            outbox.renew(first, LATER),
            outbox.done(first, LATER),
            outbox.again(first, LATER, "no"),
            outbox.bury(first, LATER, "no"),
        ):
            with pytest.raises(LeaseLost):
                await call
        assert await outbox.find_job(first.id) == second

    async def test_a_lease_is_renewed(self, outbox: RecordsWithJobQueue) -> None:
        """A renewed job is given out only after the new time, and ends with what it was renewed as or before."""
        await outbox.add_jobs([a_job("k")], NOW)
        job = await self.claim_one(outbox)
        renewed = await outbox.renew(job, LATER + timedelta(seconds=1))
        assert await outbox.find_job(job.id) == renewed
        assert await outbox.claim(LATER, LATER, 9) == []
        await outbox.done(job, LATER)

    async def test_the_longest_due_go_first(self, outbox: RecordsWithJobQueue) -> None:
        """Jobs are given out by their time, then as they were made, across consumers, no more than asked."""
        for number, key in enumerate(["late", "b", "a"]):
            at = NOW + timedelta(seconds=2 if key == "late" else 1)
            await outbox.add_jobs([a_job(key, consumer=f"c{3 - number}")], at)
        await outbox.add_jobs([a_job("early", consumer="c9")], NOW)
        at = NOW + timedelta(seconds=2)
        assert keys(await outbox.claim(NOW, LATER, 9)) == ["early"]
        assert keys(await outbox.claim(at, LATER, 2)) == ["b", "a"]
        assert keys(await outbox.claim(at, LATER, 2)) == ["late"]

    async def test_a_lane_goes_in_order(self, outbox: RecordsWithJobQueue) -> None:
        """Behind a job that waits, runs or is tried again later nothing of its lane is given out; others are."""
        await outbox.add_jobs([a_job("1", lane="x"), a_job("2", lane="x"), a_job("3", lane="x"), a_job("o")], NOW)
        first, other = await outbox.claim(NOW, LATER, 9)
        assert keys([first, other]) == ["1", "o"]
        await outbox.done(other, NOW)
        await outbox.again(first, LATER, "not now")
        assert await outbox.claim(NOW, LATER, 9) == []
        assert (await outbox.find_job(first.id)) == replace(
            first, state=JobState.WAITING, next_attempt_at=LATER, error="not now"
        )
        first = await self.claim_one(outbox, LATER)
        await outbox.bury(first, LATER, "never")
        dead = await outbox.find_job(first.id)
        assert dead == replace(first, state=JobState.DEAD, ended_at=LATER, error="never")
        second = await self.claim_one(outbox, LATER)
        await outbox.done(second, LATER)
        assert keys([second, await self.claim_one(outbox, LATER)]) == ["2", "3"]

    async def test_full_consumers_are_passed_over(self, outbox: RecordsWithJobQueue) -> None:
        """Jobs of a full consumer stay, however many; those behind them are given out."""
        await outbox.add_jobs([a_job(f"f{number}", consumer="full") for number in range(50)], NOW)
        await outbox.add_jobs([a_job("o", consumer="other"), a_job("n")], NOW)
        assert keys(await outbox.claim(NOW, LATER, 5, ["full", "unknown"])) == ["o", "n"]
        assert len(await outbox.claim(NOW, LATER, 99)) == 50

    async def test_a_revived_job_is_given_out_at_once(self, outbox: RecordsWithJobQueue) -> None:
        """A dead job, or one that waits for later, is tried anew before its lane goes on; no other can be."""
        await outbox.add_jobs([a_job("1", lane="x"), a_job("2", lane="x"), a_job("3", lane="x")], NOW)
        first = await self.claim_one(outbox)
        assert not await outbox.revive(first.id, NOW)
        await outbox.bury(first, NOW, "never")
        assert await outbox.revive(first.id, LATER)
        again = await self.claim_one(outbox, LATER)
        assert (again.key, again.attempt, again.ended_at, again.error) == ("1", 1, None, "never")
        with pytest.raises(LeaseLost):
            await outbox.done(first, LATER)
        await outbox.again(again, LATER + timedelta(days=1), "later")
        assert await outbox.revive(again.id, LATER)
        await outbox.done(await self.claim_one(outbox, LATER), LATER)
        assert not await outbox.revive(again.id, LATER)
        assert not await outbox.revive(99, LATER)
        assert keys(await outbox.claim(LATER, LATER, 9)) == ["2"]

    async def test_a_dropped_job_lets_its_lane_go_on(self, outbox: RecordsWithJobQueue) -> None:
        """A job that does not run can be forgotten, once."""
        await outbox.add_jobs([a_job("1", lane="x"), a_job("2", lane="x")], NOW)
        job = await self.claim_one(outbox)
        assert not await outbox.drop(job.id)
        await outbox.again(job, LATER, "")
        assert await outbox.drop(job.id)
        assert not await outbox.drop(job.id)
        assert await outbox.find_job(job.id) is None
        assert keys(await outbox.claim(NOW, LATER, 9)) == ["2"]

    async def test_jobs_are_listed_newest_first(self, outbox: RecordsWithJobQueue) -> None:
        """By state, by upload, or all, a page before an id at a time."""
        await outbox.add_jobs([a_job(f"{n}", upload_id="ab"[n % 2]) for n in range(6)], NOW)
        locked_for_creation = await outbox.claim(NOW, LATER, 3)
        await outbox.done(locked_for_creation[0], NOW)
        await outbox.bury(locked_for_creation[1], NOW, "")
        assert keys(await outbox.list_jobs(limit=4)) == ["5", "4", "3", "2"]
        assert keys(await outbox.list_jobs(limit=9, before_id=locked_for_creation[2].id)) == ["1", "0"]
        assert keys(await outbox.list_jobs(limit=9, upload_id="b")) == ["5", "3", "1"]
        assert keys(await outbox.list_jobs(limit=9, upload_id="b", states=[JobState.DEAD])) == ["1"]
        by_state = {state: keys(await outbox.list_jobs(limit=9, states=[state])) for state in JobState}
        assert by_state == {
            JobState.WAITING: ["5", "4", "3"],
            JobState.RUNNING: ["2"],
            JobState.DONE: ["0"],
            JobState.DEAD: ["1"],
        }
        ended = (JobState.DONE, JobState.DEAD, JobState.RUNNING)
        assert keys(await outbox.list_jobs(limit=2, states=ended)) == ["2", "1"]

    async def test_events_come_back_whole(self, outbox: RecordsWithJobQueue) -> None:
        """Every field of an event is found again: its upload with the token it was saved with, and each byte sent."""
        begun = an_upload(a_full_upload().id, kind=a_full_upload().kind, parts=a_full_upload().parts)
        await outbox.add(begun)
        step = HistoryEntry(Status.REJECTED, NOW, "why", "validation", {"type": "text/plain", "é": "\N{GRINNING FACE}"})
        full = replace(a_full_upload(), pending_steps=("validation", "publishing"), history=(step,))
        event = an_event("e", full, caller=CALLER)
        saved = await outbox.replace(begun, full, Effects(events=(event, an_event("f", full))))
        assert await outbox.find_event("e") == replace(event, upload=saved)
        assert await outbox.find_event("f") == an_event("f", saved)
        assert await outbox.find(saved.id) == saved
        assert await outbox.find_event("g") is None

    async def test_events_are_listed_in_order(self, outbox: RecordsWithJobQueue) -> None:
        """Oldest first from beyond a place, of all uploads or one, or the newest of them."""
        for number in range(6):
            upload = an_upload(f"u{number}")
            await outbox.add(upload, Effects(events=(an_event(f"e{number}", replace(upload, id="ab"[number % 2])),)))

        async def ids(*, after: int = 0, upload_id: str = "", newest: bool = False, limit: int) -> list[str]:
            found = await outbox.list_events(after=after, upload_id=upload_id, newest=newest, limit=limit)
            assert [int(event.id[1:]) + 1 for _, event in found] == [place for place, _ in found]
            return [event.id for _, event in found]

        assert await ids(limit=2) == ["e0", "e1"]
        assert await ids(after=2, limit=3) == ["e2", "e3", "e4"]
        assert await ids(newest=True, limit=2) == ["e4", "e5"]
        assert await ids(upload_id="b", limit=2) == ["e1", "e3"]
        assert await ids(upload_id="b", newest=True, limit=2) == ["e3", "e5"]
        assert await ids(after=5, upload_id="b", newest=True, limit=9) == ["e5"]

    async def test_only_what_is_over_is_forgotten(self, outbox: RecordsWithJobQueue) -> None:
        """Jobs done before then go, then events of before then without a job; what waits, runs or is dead keeps its
        own, and places are never given anew.
        """
        upload = an_upload("a")
        named = ["done", "dead", "waiting", "new"]
        events = tuple(an_event(name, upload, at=LATER if name == "new" else NOW) for name in [*named, "alone"])
        jobs = tuple(a_job(name, event_id=name, consumer=name) for name in named)
        await outbox.add(upload, Effects(events=events, jobs=jobs))
        for job in await outbox.claim(NOW, LATER, 9):
            if job.key == "done" or job.key == "new":
                await outbox.done(job, NOW if job.key == "done" else LATER)
            elif job.key == "dead":
                await outbox.bury(job, NOW, "")
        assert await outbox.prune(LATER, 1) == 2
        assert await outbox.prune(LATER, 9) == 1
        assert await outbox.prune(LATER, 9) == 0
        assert keys(await outbox.list_jobs(limit=9)) == ["new", "waiting", "dead"]
        assert [event.id for _, event in await outbox.list_events(limit=9)] == ["dead", "waiting", "new"]
        await outbox.replace(upload, upload, Effects(events=(an_event("next", upload),)))
        assert (await outbox.list_events(after=5, limit=9))[0][0] == 6

    async def test_nothing_to_do_is_said(self, outbox: RecordsWithJobQueue) -> None:
        """An empty outbox gives nothing out and waits for nothing."""
        assert await outbox.claim(NOW, LATER, 9) == []
        assert await outbox.next_due() is None
        assert await outbox.list_jobs(limit=9) == []
        await outbox.add_jobs([], NOW)
