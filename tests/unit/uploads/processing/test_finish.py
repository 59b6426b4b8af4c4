"""The finish hooks: pre-finish runs until it accepts, post-finish until it returns, each upload in order."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.support.harness import UploadsHarness
from tests.support.waiting import eventually
from tusd_py.contracts.hooks import HookEvent, HookFailed, HookResponse
from tusd_py.contracts.locker import LockTimeout
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Kind, Status
from tusd_py.protocol.errors import ContentGone
from tusd_py.protocol.outcomes import ResponseOverride
from tusd_py.protocol.requests import Download
from tusd_py.uploads.download import download
from tusd_py.uploads.expire import recover
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio


async def test_finish_no_hooks_ready() -> None:
    """Without finish hooks the upload is ready with its last byte: one write of the record, no background work."""
    harness = UploadsHarness()
    upload = (await harness.create(2, b"01")).upload
    assert [step.status for step in upload.history] == [Status.UPLOADING, Status.PROCESSING, Status.READY]
    assert upload.token == 0


async def test_pre_finish_override_in_response() -> None:
    """The override of pre-finish reaches the response to the request with the last byte, and the upload is ready."""
    harness = UploadsHarness(
        functions={Hook.PRE_FINISH: lambda _: HookResponse(override=ResponseOverride(headers={"X-Id": "7"}))}
    )
    created = await harness.create(2, b"01")
    upload_id = (await harness.create(2)).upload.id
    appended = await harness.append(upload_id, 0, b"01")
    assert created.override == appended.override == ResponseOverride(headers={"X-Id": "7"})
    assert created.upload.status is appended.upload.status is Status.READY


@pytest.mark.parametrize("again", ["HEAD", "PATCH", "start"])
async def test_pre_finish_failed_runs_again(again: str) -> None:
    """Bytes and completion are recorded before the hook: the next HEAD, PATCH or start invokes it again."""
    answers = ["fail", "fail", "agree"]
    calls: list[str] = []

    def ask(_: HookEvent) -> None:
        if answers.pop(0) == "fail":
            raise OSError("the receiver is away")

    harness = UploadsHarness(
        functions={Hook.PRE_FINISH: ask, Hook.POST_FINISH: lambda event: calls.append(event.upload.id)}
    )
    upload_id = (await harness.create(2)).upload.id
    with pytest.raises(HookFailed):
        await harness.append(upload_id, 0, b"01")
    with pytest.raises(HookFailed):
        await harness.inspect(upload_id)
    record = await harness.record(upload_id)
    assert record is not None
    assert (record.is_complete, record.status, calls) == (True, Status.PROCESSING, [])
    match again:
        case "HEAD":
            await harness.inspect(upload_id)
        case "PATCH":
            await harness.append(upload_id, 2)
        case _:
            harness.clock.move(1)
            harness.restart()
            await recover(harness.ports)
    await harness.drain()
    assert (calls, answers, len(harness.completed)) == ([upload_id], [], 1)


async def test_pre_finish_slow_keeps_lock() -> None:
    """While pre-finish runs, other requests wait within their timeout, and the hook is not invoked twice at once."""
    go = asyncio.Event()
    invoked: list[str] = []

    async def ask(event: HookEvent) -> None:
        invoked.append(event.upload.id)
        await go.wait()

    harness = UploadsHarness(functions={Hook.PRE_FINISH: ask}, policy=UploadPolicy(lock_timeout_seconds=0.02))
    upload_id = (await harness.create(2)).upload.id
    appending = asyncio.ensure_future(harness.append(upload_id, 0, b"01"))
    await eventually(lambda: invoked == [upload_id])
    with pytest.raises(LockTimeout):
        await harness.inspect(upload_id)
    go.set()
    assert (await appending).upload.status is Status.READY
    assert (await harness.inspect(upload_id)).upload.status is Status.READY
    assert invoked == [upload_id]


async def test_post_finish_once_after_response() -> None:
    """The response does not wait for post-finish, and further requests do not invoke it again."""
    go = asyncio.Event()
    calls: list[str] = []

    async def finished(event: HookEvent) -> None:
        calls.append(event.upload.id)
        await go.wait()

    harness = UploadsHarness(functions={Hook.POST_FINISH: finished})
    upload_id = (await harness.create(2, b"01")).upload.id
    assert (await harness.inspect(upload_id)).upload.status is Status.PROCESSING
    assert (await harness.append(upload_id, 2)).upload.is_complete
    go.set()
    await harness.drain()
    assert (await harness.inspect(upload_id)).upload.status is Status.READY
    assert calls == [upload_id]


async def test_hooks_of_upload_in_order() -> None:
    """However slow a hook is, the hooks of one upload run in the order of its life."""
    calls: list[tuple[str, Hook]] = []

    async def record(event: HookEvent) -> None:
        if event.hook is Hook.POST_CREATE:
            await asyncio.sleep(0.01)
        calls.append((event.upload.id, event.hook))

    after = (Hook.POST_CREATE, Hook.POST_RECEIVE, Hook.POST_FINISH, Hook.POST_TERMINATE)
    # Only bytes lead to post-receive: a slow machine may need longer than a second for one body.
    policy = UploadPolicy(save_interval_bytes=2, save_interval_seconds=3600)
    harness = UploadsHarness(functions=dict.fromkeys(after, record), policy=policy)
    ids = [(await harness.create(4)).upload.id for _ in range(3)]
    for upload_id in ids:
        await harness.append(upload_id, 0, b"01", b"23")
    await harness.drain()
    await harness.terminate(ids[0])
    await harness.drain()
    for upload_id in ids:
        order = [hook for called_id, hook in calls if called_id == upload_id]
        assert order == list(after[: 4 if upload_id == ids[0] else 3])


async def test_post_finish_returns_after_terminate() -> None:
    """Both hooks run, and the terminated upload does not become ready."""
    go = asyncio.Event()

    async def finished(_: HookEvent) -> None:
        await go.wait()

    harness = UploadsHarness(functions={Hook.POST_FINISH: finished})
    upload_id = (await harness.create(2, b"01")).upload.id
    await harness.terminate(upload_id)
    go.set()
    await harness.drain()
    record = await harness.record(upload_id)
    assert record is not None
    assert record.status is Status.TERMINATED


async def test_finish_after_hooks_removed() -> None:
    """After a restart without hooks, an upload that waited for them becomes ready with its next request."""
    harness = UploadsHarness(functions={Hook.POST_FINISH: lambda _: None})
    upload_id = (await harness.create(2, b"01")).upload.id
    await harness.ports.background.drain(0)
    harness.functions = {}
    harness.restart()
    assert (await harness.inspect(upload_id)).upload.status is Status.READY


async def test_finish_hooks_only_for_final() -> None:
    """pre-finish and post-finish run for the final upload, not for its parts."""
    calls: list[tuple[Hook, Kind]] = []

    def record(event: HookEvent) -> None:
        calls.append((event.hook, event.upload.kind))

    harness = UploadsHarness(functions={Hook.PRE_FINISH: record, Hook.POST_FINISH: record})
    part = (await harness.create(2, b"01", kind=Kind.PARTIAL)).upload.id
    await harness.create(None, kind=Kind.FINAL, parts=[part])
    await harness.drain()
    assert calls == [(Hook.PRE_FINISH, Kind.FINAL), (Hook.POST_FINISH, Kind.FINAL)]


async def test_partial_upload_ready_without_hooks() -> None:
    """ "The Server SHOULD NOT process these partial uploads until they are concatenated"."""
    harness = UploadsHarness(functions={Hook.POST_FINISH: lambda _: pytest.fail("invoked for a partial upload")})
    part = (await harness.create(4, b"0123", kind=Kind.PARTIAL)).upload
    await harness.drain()
    assert part.status is Status.READY
    assert harness.hooked == []


async def test_post_finish_moved_the_bytes() -> None:
    """The upload is moved and no step follows; HEAD is answered, GET is 410."""
    harness = UploadsHarness(functions={Hook.POST_FINISH: lambda _: HookResponse(moved_to="/archive/a")})
    harness.ports = replace(harness.ports, policy=replace(harness.ports.policy, steps=("validation",)))
    upload_id = (await harness.create(2, b"01")).upload.id
    await harness.drain()
    record = await harness.record(upload_id)
    assert record is not None
    assert (record.status, record.pending_steps) == (Status.MOVED, ())
    assert dict(record.history[-1].details) == {"moved_to": "/archive/a"}
    assert (await harness.inspect(upload_id)).upload.offset == 2
    with pytest.raises(ContentGone):
        await download(harness.ports, Download(upload_id=upload_id))
    await harness.terminate(upload_id)
