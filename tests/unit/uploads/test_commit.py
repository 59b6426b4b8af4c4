"""The events and jobs that each use case saves with a record, over a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.harness import CALLER, Clock, FakeBody, UploadsHarness, cut
from tests.support.processing import with_ports
from tusd_py.contracts.job_queue import JobQueue
from tusd_py.contracts.records import RecordConflict
from tusd_py.model.events import Event, EventType
from tusd_py.model.jobs import Subscription
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.errors import BodyIncomplete, TusError
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.uploads.commit import Cause, update
from tusd_py.uploads.expire import sweep
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio

ALL = frozenset(EventType)
EVERYTHING = Subscription(name="log", actor="", types=ALL)
FINISHED = ["post-finish", "upload.ready"]


class Recorder:
    """The use cases with a subscription to every event."""

    def __init__(self, harness: UploadsHarness, job_queue: JobQueue) -> None:
        self.harness = harness
        self.job_queue = job_queue

    async def events(self, upload_id: str = "") -> list[Event]:
        return [event for _, event in await self.job_queue.list_events(upload_id=upload_id, limit=999)]

    async def types(self, upload_id: str = "") -> list[str]:
        return [event.type.value for event in await self.events(upload_id)]

    async def jobs(self) -> list[tuple[str, str]]:
        """The actor and the end of the key of each job, oldest first."""
        return [(job.actor, job.subscription) for job in (await self.job_queue.list_jobs(limit=999))[::-1]]


@asynccontextmanager
async def recording(
    directory: Path,
    *,
    subscriptions: Sequence[Subscription] = (EVERYTHING,),
    steps: tuple[str, ...] = (),
    policy: UploadPolicy | None = None,
) -> AsyncIterator[Recorder]:
    database = await SqlDatabase.open(f"sqlite:///{directory}/records.sqlite3")
    harness = UploadsHarness(records=database.records, policy=policy or UploadPolicy())
    with_ports(harness, subscriptions=tuple(subscriptions), steps=steps, job_queue=database.job_queue)
    try:
        yield Recorder(harness, database.job_queue)
    finally:
        await harness.drain()
        await database.close()


class SlowFakeBody(FakeBody):
    """A body of which each piece takes some seconds of the clock."""

    def __init__(self, clock: Clock, seconds: float, *pieces: bytes) -> None:
        super().__init__(*pieces)
        self._clock, self._seconds = clock, seconds

    async def read(self, wait_seconds: float | None = None, bytes_min: int = 1) -> Sequence[bytes] | None:
        self._clock.move(self._seconds)
        return await super().read(wait_seconds)


async def test_commit_events_of_two_requests(tmp_path: Path) -> None:
    """Created, received, finished, ready: each once, with the caller and the upload as saved."""
    async with recording(tmp_path) as recorder:
        made = await recorder.harness.create(5)
        await recorder.harness.append(made.upload.id, 0, b"hello")
        events = await recorder.events()
        assert [event.type.value for event in events] == ["post-create", "post-receive", *FINISHED]
        assert all(event.caller == CALLER for event in events)
        assert events[-1].upload == await recorder.harness.record(made.upload.id)
        assert len({event.id for event in events}) == 4


async def test_commit_events_of_one_save(tmp_path: Path) -> None:
    """One save may emit all events of a life; an empty upload emits no post-receive."""
    async with recording(tmp_path) as recorder:
        made = await recorder.harness.create(5, b"hello")
        assert await recorder.types(made.upload.id) == ["post-create", "post-receive", *FINISHED]
        empty = await recorder.harness.create(0)
        assert await recorder.types(empty.upload.id) == ["post-create", *FINISHED]
        part = await recorder.harness.create(2, b"ab", kind=Kind.PARTIAL)
        assert await recorder.types(part.upload.id) == ["post-create", "post-receive", *FINISHED]


async def test_commit_declared_length_no_event(tmp_path: Path) -> None:
    """Declaring a deferred length emits no event of its own."""
    async with recording(tmp_path) as recorder:
        made = await recorder.harness.create(None)
        await recorder.harness.append(made.upload.id, 0, b"he")
        await recorder.harness.append(made.upload.id, 2, length=5)
        assert await recorder.types() == ["post-create", "post-receive"]
        await recorder.harness.append(made.upload.id, 2, b"llo", length=5)
        assert await recorder.types() == ["post-create", "post-receive", "post-receive", *FINISHED]


@pytest.mark.parametrize(("seconds", "offsets"), [(0.0, [12]), (0.6, [4, 8, 12]), (5.0, [2, 4, 6, 8, 10, 12])])
async def test_commit_post_receive_interval(tmp_path: Path, seconds: float, offsets: list[int]) -> None:
    """While a body arrives post-receive is emitted once a second at most, and always for its last bytes."""
    policy = UploadPolicy(save_interval_seconds=0.0, save_interval_bytes=1, progress_interval_seconds=1.0)
    async with recording(tmp_path, policy=policy) as recorder:
        made = await recorder.harness.create(100)
        pieces = [b"xx"] * 6
        source = SlowFakeBody(recorder.harness.clock, seconds, *pieces)
        await recorder.harness.append(made.upload.id, 0, body=source)
        received = [event for event in await recorder.events() if event.type is EventType.POST_RECEIVE]
        saved = [event.upload.offset for event in received if event.upload is not None]
        assert (saved[-1], saved) == (12, offsets)


async def test_commit_post_receive_after_cut(tmp_path: Path) -> None:
    """However a body ends, post-receive is emitted for all bytes that were kept."""
    policy = UploadPolicy(save_interval_seconds=0.0, save_interval_bytes=1)
    async with recording(tmp_path, policy=policy) as recorder:
        made = await recorder.harness.create(100)
        with pytest.raises(BodyIncomplete):
            await recorder.harness.append(made.upload.id, 0, body=cut(b"ab", b"cd", b"e"))
        events = await recorder.events()
        assert events[-1].type is EventType.POST_RECEIVE
        assert events[-1].upload is not None and events[-1].upload.offset == 5


async def test_commit_events_of_final_upload(tmp_path: Path) -> None:
    """A final upload emits assembled, finished and ready, concatenated at once or later."""
    async with recording(tmp_path) as recorder:
        first = (await recorder.harness.create(2, b"ab", kind=Kind.PARTIAL)).upload.id
        at_once = (await recorder.harness.create(None, kind=Kind.FINAL, parts=[first])).upload.id
        assert await recorder.types(at_once) == ["post-create", "upload.assembled", *FINISHED]
        second = (await recorder.harness.create(2, kind=Kind.PARTIAL)).upload.id
        later = (await recorder.harness.create(None, kind=Kind.FINAL, parts=[first, second])).upload.id
        await recorder.harness.drain()
        assert await recorder.types(later) == ["post-create"]
        await recorder.harness.append(second, 0, b"cd")
        await recorder.harness.drain()
        assert await recorder.types(later) == ["post-create", "upload.assembled", *FINISHED]


async def test_commit_failed_assembly_event(tmp_path: Path) -> None:
    """A final upload that can never be assembled emits failed, once."""
    async with recording(tmp_path, policy=UploadPolicy(unfinished_seconds=10.0)) as recorder:
        part = (await recorder.harness.create(2, kind=Kind.PARTIAL)).upload.id
        final = (await recorder.harness.create(None, kind=Kind.FINAL, parts=[part])).upload.id
        record = await recorder.harness.record(part)
        assert record is not None
        await update(recorder.harness.ports, record, record.with_status(Status.EXPIRED, recorder.harness.clock()))
        await recorder.harness.inspect(final)
        await recorder.harness.drain()
        assert await recorder.types(final) == ["post-create", "upload.failed"]


async def test_commit_events_of_ends(tmp_path: Path) -> None:
    """A terminated upload emits its event with the caller, an expired one without; pruning emits none."""
    async with recording(tmp_path, policy=UploadPolicy(unfinished_seconds=10.0, tombstone_seconds=10.0)) as recorder:
        gone = (await recorder.harness.create(5)).upload.id
        await recorder.harness.terminate(gone)
        left = (await recorder.harness.create(5)).upload.id
        recorder.harness.clock.move(11)
        await sweep(recorder.harness.ports)
        recorder.harness.clock.move(11)
        await sweep(recorder.harness.ports)
        assert await recorder.harness.record(left) is None
        assert await recorder.types(gone) == ["post-create", "post-terminate"]
        assert [(event.type.value, event.caller) for event in await recorder.events(left)] == [
            ("post-create", CALLER),
            ("upload.expired", None),
        ]


async def last_job_ended(recorder: Recorder, upload_id: str, after: Upload) -> None:
    """Save ``after`` as the effect of the due job, as its actor would."""
    now = recorder.harness.clock()
    (job,) = await recorder.job_queue.claim(now, now, 9)
    before = await recorder.harness.record(upload_id)
    assert before is not None
    await update(recorder.harness.ports, before, after.with_token(before.token), Cause(completed_job=job))


async def test_commit_step_jobs_in_order(tmp_path: Path) -> None:
    """A complete upload gets the job of its first step, each completed step adds the next, the last makes it ready."""
    async with recording(tmp_path, steps=("validation", "publishing")) as recorder:
        upload = (await recorder.harness.create(2, b"ab")).upload
        now = recorder.harness.clock()
        assert (upload.status, upload.pending_steps) == (Status.PROCESSING, ("validation", "publishing"))
        assert await recorder.types() == ["post-create", "post-receive", "post-finish"]
        assert await recorder.jobs() == [("validation", "")]
        validated = upload.complete_step("validation", now)
        await last_job_ended(recorder, upload.id, validated)
        assert await recorder.jobs() == [("validation", ""), ("publishing", "")]
        await last_job_ended(recorder, upload.id, validated.complete_step("publishing", now))
        assert (await recorder.types())[3:] == ["upload.validated", "upload.ready"]
        assert await recorder.job_queue.next_due() is None


async def test_commit_rejected_no_further_job(tmp_path: Path) -> None:
    """A step that rejects the upload emits its event and adds no further job."""
    async with recording(tmp_path, steps=("validation", "publishing")) as recorder:
        upload = (await recorder.harness.create(2, b"ab")).upload
        rejected = upload.fail_step("validation", Status.REJECTED, recorder.harness.clock(), "no picture")
        await last_job_ended(recorder, upload.id, rejected)
        assert (await recorder.types())[3:] == ["upload.rejected"]
        assert await recorder.jobs() == [("validation", "")]


async def test_commit_job_per_subscription(tmp_path: Path) -> None:
    """Each subscription to the type gets a job, sequenced by upload and subscription; other types are not kept."""
    ends = frozenset({EventType.POST_FINISH})
    some = frozenset({EventType.POST_CREATE, EventType.POST_FINISH})
    subscriptions = [
        Subscription(name="a", actor="webhooks", types=ends),
        Subscription(name="b", actor="webhooks", types=some),
        Subscription(name="log", actor="", types=ends),
    ]
    async with recording(tmp_path, subscriptions=subscriptions) as recorder:
        upload = (await recorder.harness.create(2, b"ab")).upload
        created, finished = await recorder.events()
        assert [created.type, finished.type] == [EventType.POST_CREATE, EventType.POST_FINISH]
        jobs = (await recorder.job_queue.list_jobs(limit=9))[::-1]
        assert [(job.subscription, job.event_id, job.sequence_key) for job in jobs] == [
            ("b", created.id, f"{upload.id} b"),
            ("a", finished.id, f"{upload.id} a"),
            ("b", finished.id, f"{upload.id} b"),
        ]
        assert {job.key for job in jobs} == {f"{job.event_id} {job.subscription}" for job in jobs}


async def test_commit_conflict_no_effects(tmp_path: Path) -> None:
    """A save that conflicts and a refused creation leave neither events nor jobs."""
    async with recording(tmp_path, steps=("validation",)) as recorder:
        upload = (await recorder.harness.create(2)).upload
        stale = replace(upload, token=7)
        with pytest.raises(RecordConflict):
            await update(recorder.harness.ports, stale, stale.with_status(Status.TERMINATED, recorder.harness.clock()))
        with pytest.raises(TusError):
            await recorder.harness.create(None, kind=Kind.FINAL, parts=["unknown"])
        assert await recorder.types() == ["post-create"]
        assert await recorder.jobs() == []


async def test_commit_no_subscription_no_rows(tmp_path: Path) -> None:
    """Without subscriptions and steps neither events nor jobs are written."""
    async with recording(tmp_path, subscriptions=()) as recorder:
        await recorder.harness.create(2, b"ab")
        assert (await recorder.events(), await recorder.jobs()) == ([], [])
