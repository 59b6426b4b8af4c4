"""A creation whose client is told the URL before its body: it may come back, so what came is kept for it."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.failing import FailingStore, Faults
from tests.support.harness import FakeBody, RecordingListener, UploadsHarness
from tests.support.waiting import eventually
from tests.unit.uploads.test_completes import md5, recorded, stands
from tusd_py.contracts.body import BodyAborted, BodyTimeout
from tusd_py.contracts.hooks import HookResponse
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Status
from tusd_py.protocol.errors import (
    BodyIncomplete,
    ChecksumMismatch,
    LengthExceeded,
    ReadTimeout,
    ServerShutdown,
    TusError,
    UploadNotFound,
    UploadRejected,
    UploadStopped,
)
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio


async def test_the_record_is_made_before_the_url_is_told() -> None:
    """When the client hears of it, the upload can be found, and no byte of the body was asked for yet."""
    harness = UploadsHarness()
    hearing, body = RecordingListener(), asyncio.Event()
    creating = asyncio.ensure_future(harness.create(3, body=FakeBody(body, b"abc"), is_last=True, listener=hearing))
    await eventually(lambda: hearing.created_ids == ["u1"])
    assert await stands(harness, "u1") == (0, 3, False)
    body.set()
    assert (await creating).upload.is_complete
    assert hearing.offsets == [3]


async def test_a_refused_creation_is_not_announced() -> None:
    """What a hook refuses has no URL."""
    harness = UploadsHarness(functions={Hook.PRE_CREATE: lambda _: HookResponse(reject=True)})
    hearing = RecordingListener()
    with pytest.raises(UploadRejected):
        await harness.create(3, b"abc", is_last=True, listener=hearing)
    assert hearing.created_ids == []


async def test_without_a_body_nothing_needs_to_be_announced() -> None:
    """The answer tells the URL at once."""
    hearing = RecordingListener()
    await UploadsHarness().create(3, is_last=False, listener=hearing)
    assert (hearing.created_ids, hearing.offsets) == ([], [])


@pytest.mark.parametrize(
    ("end", "told"),
    [(BodyTimeout(), ReadTimeout), (ServerShutdown(), ServerShutdown), (BodyAborted(), BodyIncomplete)],
)
@pytest.mark.parametrize("can_announce", [True, False])
async def test_a_body_that_breaks_off(end: Exception, told: type[TusError], can_announce: bool) -> None:
    """Told the URL, the client finds all that came and goes on; not told, it will only come back after a cut."""
    harness = UploadsHarness()
    with pytest.raises(told) as refused:
        await harness.create(
            3, body=FakeBody(b"ab", end), is_last=True, listener=RecordingListener(can_announce=can_announce)
        )
    if can_announce or told is BodyIncomplete:
        assert refused.value.upload == await recorded(harness, "u1")
        assert await stands(harness, "u1") == (2, 3, False)
        assert (await harness.append("u1", 2, b"c", is_last=True)).upload.is_complete
    else:
        with pytest.raises(UploadNotFound):
            await harness.inspect("u1")
        assert not await harness.store.size(await recorded(harness, "u1"))


@pytest.mark.parametrize("can_announce", [True, False])
async def test_a_store_that_fails(can_announce: bool) -> None:
    """What was safe before is kept for who knows the URL, and nothing for who does not."""
    faults = Faults()
    harness = UploadsHarness(policy=UploadPolicy(save_interval_bytes=1))
    harness.store = FailingStore(harness.store, faults)
    harness.restart()
    faults.nth = 4  # create, write, flush, write
    with pytest.raises(StoreUnavailable):
        await harness.create(4, b"ab", b"cd", is_last=True, listener=RecordingListener(can_announce=can_announce))
    upload = await recorded(harness, "u1")
    assert (upload.offset, upload.status) == (2, Status.UPLOADING if can_announce else Status.TERMINATED)


async def test_wrong_content_ends_it_all_the_same() -> None:
    """A body that is not what its digest says is not the upload that was meant."""
    harness = UploadsHarness()
    with pytest.raises(ChecksumMismatch):
        await harness.create(
            3, b"abc", is_last=True, checksum=md5(b"xyz"), keep_partial=True, listener=RecordingListener()
        )
    with pytest.raises(UploadNotFound):
        await harness.inspect("u1")


@pytest.mark.parametrize("can_announce", [True, False])
async def test_content_is_saved_before_it_is_known_to_be_right(can_announce: bool) -> None:
    """A crash then costs no more of a body with a digest than of any other; and where it is wrong, nothing is left."""
    harness = UploadsHarness(policy=UploadPolicy(save_interval_bytes=1))
    hearing, never = RecordingListener(can_announce=can_announce), asyncio.Event()
    creating = asyncio.ensure_future(
        harness.create(
            4,
            body=FakeBody(b"ab", never, b"cX"),
            is_last=True,
            checksum=md5(b"abcd"),
            keep_partial=True,
            discard_on_mismatch=True,
            listener=hearing,
        )
    )
    await eventually(lambda: hearing.offsets == [2])
    assert await stands(harness, "u1") == (2, 4, False)
    never.set()
    with pytest.raises(ChecksumMismatch):
        await creating
    assert (await recorded(harness, "u1")).status is Status.TERMINATED
    assert harness.completed == []


async def test_a_hook_that_stops_it_ends_it_all_the_same() -> None:
    """post-receive may end an upload whoever knows its URL."""
    harness = UploadsHarness(
        functions={Hook.POST_RECEIVE: lambda _: HookResponse(stop=True)}, policy=UploadPolicy(save_interval_bytes=1)
    )
    with pytest.raises(UploadStopped):
        await harness.create(3, body=FakeBody(b"a", asyncio.Event()), is_last=True, listener=RecordingListener())
    assert (await recorded(harness, "u1")).status is Status.TERMINATED


@pytest.mark.parametrize("can_announce", [True, False])
async def test_a_body_beyond_its_length(can_announce: bool) -> None:
    """Whoever knows the URL finds the upload failed; for the others there never was one."""
    harness = UploadsHarness()
    with pytest.raises(LengthExceeded):
        await harness.create(3, b"abcd", is_last=True, listener=RecordingListener(can_announce=can_announce))
    assert (await recorded(harness, "u1")).status is (Status.FAILED if can_announce else Status.TERMINATED)
