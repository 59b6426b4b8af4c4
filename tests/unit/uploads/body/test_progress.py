"""Reports of a body's progress to post-receive, which may stop the upload."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.harness import CALLER, FakeBody, UploadsHarness
from tests.support.waiting import eventually
from tusd_py.contracts.hooks import HookEvent, HookResponse
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Status
from tusd_py.protocol.errors import (
    UploadStopped,
)
from tusd_py.protocol.outcomes import ResponseOverride
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.body.progress import ProgressReporter
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio


async def test_post_receive_may_stop_append() -> None:
    """post-receive runs after each save; ``stop`` ends the request with its response and terminates the upload."""
    seen: list[int] = []
    ended: list[str] = []

    def received(event: HookEvent) -> HookResponse | None:
        seen.append(event.upload.offset)
        return HookResponse(stop=True, override=ResponseOverride(status=402)) if event.upload.offset >= 4 else None

    harness = UploadsHarness(
        policy=UploadPolicy(save_interval_bytes=1),
        functions={Hook.POST_RECEIVE: received, Hook.POST_TERMINATE: lambda event: ended.append(event.upload.id)},
    )
    upload_id = (await harness.create(100)).upload.id
    first, never = asyncio.Event(), asyncio.Event()
    appending = asyncio.ensure_future(harness.append(upload_id, 0, body=FakeBody(b"01", first, b"23", never, b"4")))
    await eventually(lambda: seen == [2])
    first.set()
    with pytest.raises(UploadStopped) as stopped:
        await appending
    await harness.drain()
    assert stopped.value.override == ResponseOverride(status=402)
    assert (seen, ended) == ([2, 4], [upload_id])
    record = await harness.record(upload_id)
    assert record is not None
    assert record.status is Status.TERMINATED
    assert isinstance(harness.store, MemoryStore)
    assert upload_id not in harness.store.uploads


async def test_post_receive_may_stop_creation() -> None:
    """The first bytes of a creation are reported too; after ``stop`` only the tombstone is left."""
    harness = UploadsHarness(
        policy=UploadPolicy(save_interval_bytes=1), functions={Hook.POST_RECEIVE: lambda _: HookResponse(stop=True)}
    )
    with pytest.raises(UploadStopped):
        await harness.create(10, body=FakeBody(b"01", asyncio.Event()))
    record = await harness.record("u1")
    assert record is not None
    assert record.status is Status.TERMINATED


async def test_post_receive_slow_skips_steps() -> None:
    """A slow hook misses the saves in between and gets the last one: no queue grows."""
    go = asyncio.Event()
    seen: list[int] = []

    async def received(event: HookEvent) -> None:
        seen.append(event.upload.offset)
        await go.wait()

    harness = UploadsHarness(policy=UploadPolicy(save_interval_bytes=1), functions={Hook.POST_RECEIVE: received})
    upload_id = (await harness.create(50)).upload.id
    body = FakeBody(*(b"x" for _ in range(50)))
    await harness.append(upload_id, 0, body=body)
    go.set()
    await harness.drain()
    assert seen[0] < 10
    assert seen[1:] == [50]


async def test_events_go_on_after_the_clock_was_set_back() -> None:
    """Saves are reported although the clock is behind the last report, and then once per interval again."""
    harness = UploadsHarness(policy=UploadPolicy(progress_interval_seconds=1))
    upload = (await harness.create(100)).upload
    progress = ProgressReporter(harness.ports, CALLER, FakeBody())
    reported = []
    for seconds in (1, -3600, 0.5, 0.5):
        harness.clock.move(seconds)
        after = upload.advance(upload.offset + 1, harness.clock())
        reported.append(progress.cause(upload, after, is_last=False).reports_progress)
        upload = after
    assert reported == [True, True, False, True]
