"""POST: creation with and without bytes, with ids that hooks choose, and refusals that leave nothing behind."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from pathlib import Path

import pytest

from tests.faults.failing import FailingRecords, FailingStore, Faults
from tests.support.harness import FakeBody, RecordingListener, UploadsHarness, cut
from tests.support.waiting import eventually
from tusd_py.contracts.body import BodyAborted, BodyTimeout
from tusd_py.contracts.hooks import HookEvent, HookResponse
from tusd_py.contracts.records import RecordExists, RecordsUnavailable
from tusd_py.contracts.store import StoreFull, StoreUnavailable
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.errors import (
    BodyIncomplete,
    ChecksumMismatch,
    LengthExceeded,
    MaxSizeExceeded,
    ReadTimeout,
    ServerShutdown,
    TusError,
    UploadInterrupted,
    UploadNotFound,
    UploadRejected,
    UploadStopped,
)
from tusd_py.protocol.outcomes import ResponseOverride
from tusd_py.protocol.rules import Limits
from tusd_py.records.memory import MemoryRecords
from tusd_py.storage.disk.store import DiskStore
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio

WRONG = Checksum("md5", bytes(16))


def stored(harness: UploadsHarness) -> dict[str, bytearray]:
    assert isinstance(harness.store, MemoryStore)
    return harness.store.uploads


def choosing(upload_id: str) -> UploadsHarness:
    """The use cases with a pre-create hook that always chooses this id."""
    return UploadsHarness(functions={Hook.PRE_CREATE: lambda _: HookResponse(upload_id=upload_id)})


async def test_create_without_body() -> None:
    """The record is unfinished at offset 0 and has an expiry; nothing is stored."""
    harness = UploadsHarness()
    upload = (await harness.create(10, metadata="a YQ==")).upload
    assert await harness.record(upload.id) == upload
    assert (upload.offset, upload.length, upload.status, upload.metadata_header) == (0, 10, Status.UPLOADING, "a YQ==")
    assert upload.expires_at is not None
    assert stored(harness) == {}


async def test_create_length_zero_complete() -> None:
    """An upload of length 0 is complete with its creation: counted, and post-finish runs."""
    calls: list[str] = []
    harness = UploadsHarness(functions={Hook.POST_FINISH: lambda event: calls.append(event.upload.id)})
    upload = (await harness.create(0)).upload
    await harness.drain()
    assert upload.is_complete
    assert [done.id for done in harness.completed] == [upload.id] == calls


async def test_create_with_body() -> None:
    """The bytes of the creation are stored; all of them complete the upload."""
    harness = UploadsHarness()
    part = await harness.create(10, b"01234")
    whole = await harness.create(5, b"01", b"234")
    empty = await harness.create(5, body=FakeBody())
    assert part.took_body
    assert (part.upload.offset, whole.upload.is_complete, empty.upload.offset) == (5, True, 0)
    assert await harness.content(whole.upload.id) == b"01234"


async def test_create_cut_keeps_bytes() -> None:
    """ "Store as much of the received data as possible": the record exists, even without a byte."""
    harness = UploadsHarness()
    for body, offset in ((cut(b"0123"), 4), (cut(), 0)):
        with pytest.raises(BodyIncomplete) as raised:
            await harness.create(10, body=body)
        assert raised.value.upload is not None
        assert raised.value.upload.offset == offset
        assert await harness.record(raised.value.upload.id) == raised.value.upload


@pytest.mark.parametrize(
    ("length", "body", "checksum", "refusal"),
    [
        (3, FakeBody(b"01", b"23"), None, LengthExceeded),
        (4, FakeBody(b"0123"), WRONG, ChecksumMismatch),
        (9, cut(b"0123"), WRONG, BodyIncomplete),
        (9, FakeBody(b"0123", BodyTimeout()), None, ReadTimeout),
        (None, FakeBody(b"0" * 15, b"1" * 15), None, MaxSizeExceeded),
    ],
)
@pytest.mark.parametrize("saved_before", [False, True])
async def test_create_refused_leaves_nothing(
    length: int | None, body: FakeBody, checksum: Checksum | None, refusal: type[Exception], saved_before: bool
) -> None:
    """No bytes and no usable record are left, also after a save on the way."""
    harness = UploadsHarness(limits=Limits(length_max=20))
    if saved_before:
        harness = UploadsHarness(limits=harness.limits, policy=type(harness.policy)(save_interval_bytes=1))
    with pytest.raises(refusal):
        await harness.create(length, body=FakeBody(*body._pieces), checksum=checksum)
    await harness.drain()
    assert stored(harness) == {}
    record = await harness.record("u1")
    assert record is None or record.status is Status.TERMINATED


async def test_create_pre_create_response() -> None:
    """pre-create may refuse with a response of its own, or change id and metadata; it sees no id."""
    seen: list[str] = []

    def ask(event: HookEvent) -> HookResponse:
        seen.append(event.upload.id)
        if event.upload.length == 1:
            return HookResponse(reject=True, override=ResponseOverride(status=402, body="pay"))
        return HookResponse(upload_id="mine", metadata={"name": "é", "raw": b"\x00", "flag": ""})

    harness = UploadsHarness(functions={Hook.PRE_CREATE: ask})
    with pytest.raises(UploadRejected) as raised:
        await harness.create(1, b"1")
    assert raised.value.override == ResponseOverride(status=402, body="pay")
    upload = (await harness.create(2)).upload
    assert (upload.id, upload.metadata_header) == ("mine", "name w6k=,raw AA==,flag")
    assert seen == ["", ""]
    assert stored(harness) == {}


@pytest.mark.parametrize("how", ["plain", "empty", "body", "large body", "final"])
async def test_create_id_of_hook_taken(how: str) -> None:
    """A hook that chooses an existing id costs the first upload no byte, however the second is created."""
    harness = choosing("mine")
    await harness.create(10, b"precious")
    before = await harness.record("mine")
    ids = UploadsHarness(records=harness.records, store=harness.store, locker=harness.locker)
    part = (await ids.create(3, b"abc", kind=Kind.PARTIAL)).upload
    with pytest.raises(RecordExists):
        match how:
            case "plain":
                await harness.create(5)
            case "empty":
                await harness.create(0)
            case "body":
                await harness.create(3, b"abc")
            case "large body":
                await harness.create(9, b"abc" * 3)
            case _:
                await harness.create(None, kind=Kind.FINAL, parts=[part.id])
    assert await harness.record("mine") == before
    assert await harness.content("mine") == b"precious"


async def test_create_id_of_hook_twice_at_once() -> None:
    """The id is taken while the first body arrives, before there is a record."""
    go = asyncio.Event()
    harness = choosing("mine")
    first = asyncio.ensure_future(harness.create(6, body=FakeBody(b"abc", go, b"def")))
    await eventually(lambda: bytes(stored(harness).get("mine", b"")) == b"abc")
    with pytest.raises(RecordExists):
        await harness.create(3, b"xyz")
    # HEAD took over, as for every upload: the bytes of the first request are kept.
    with pytest.raises(UploadInterrupted):
        await first
    assert await harness.content("mine") == b"abc"


async def test_create_takeover_by_head() -> None:
    """HEAD stops a creation whose client is gone, and returns its offset."""
    harness = choosing("mine")
    creating = asyncio.ensure_future(harness.create(6, body=FakeBody(b"abc", asyncio.Event())))
    await eventually(lambda: bytes(stored(harness).get("mine", b"")) == b"abc")
    assert (await harness.inspect("mine")).upload.offset == 3
    with pytest.raises(UploadInterrupted):
        await creating
    assert (await harness.append("mine", 3, b"def")).upload.is_complete


@pytest.mark.parametrize("length", [0, 3])
async def test_create_record_fails_deletes_bytes(length: int) -> None:
    """If the record cannot be saved after the bytes were stored, they are deleted."""
    records, store = MemoryRecords(), MemoryStore(bytes_max=100)
    harness = UploadsHarness(records=FailingRecords(records, Faults(nth=1)), store=store)
    with pytest.raises(RecordsUnavailable):
        await harness.create(length, *([b"abc"] if length else []))
    assert store.uploads == {}


async def test_create_full_store_leaves_nothing() -> None:
    """The client gets no URL to continue with, so the stored bytes are deleted."""
    harness = UploadsHarness(store=MemoryStore(bytes_max=4))
    with pytest.raises(StoreFull):
        await harness.create(6, b"abc", b"def")
    assert stored(harness) == {}


async def test_create_refused_during_queued_write(tmp_path: Path) -> None:
    """Refused while every thread of the disk is busy: the bytes are deleted after the queued write."""
    store = DiskStore(tmp_path / "uploads")
    harness = UploadsHarness(store=store)
    handler = threading.Event()
    busy = [store._threads.submit(handler.wait, 10) for _ in range(16)]
    creating = asyncio.ensure_future(harness.create(200_000, body=FakeBody(bytes(150_000), bytes(150_000))))
    for _ in range(50):
        await asyncio.sleep(0)
    handler.set()
    with pytest.raises(LengthExceeded):
        await creating
    await asyncio.gather(*busy)
    await store._threads.run(lambda: None)
    assert [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()] == []
    await store.close()


async def test_create_post_create_after_record() -> None:
    """However an upload is created, post-create runs once, and finds the record."""
    calls: list[tuple[str, bool]] = []

    async def created(event: HookEvent) -> None:
        calls.append((event.upload.id, await harness.record(event.upload.id) is not None))

    harness = UploadsHarness(functions={Hook.POST_CREATE: created})
    await harness.create(3)
    await harness.create(3, b"abc")
    await harness.create(3, b"abc", kind=Kind.PARTIAL)
    await harness.create(None, kind=Kind.FINAL, parts=["u3"])
    await harness.drain()
    assert sorted(calls) == [("u1", True), ("u2", True), ("u3", True), ("u4", True)]


async def test_create_id_of_hook_for_final() -> None:
    """A hook may choose the id of a final upload."""
    harness = choosing("mine")
    part = (
        await UploadsHarness(records=harness.records, store=harness.store).create(3, b"abc", kind=Kind.PARTIAL)
    ).upload
    final = (await harness.create(None, kind=Kind.FINAL, parts=[part.id])).upload
    assert (final.id, await harness.content("mine")) == ("mine", b"abc")


async def test_create_duplicate_random_id() -> None:
    """If a random id repeated, the existing upload would keep its bytes."""
    harness = UploadsHarness()
    await harness.create(3, b"abc", kind=Kind.PARTIAL)
    twice = UploadsHarness(records=harness.records, store=harness.store, locker=harness.locker)
    with pytest.raises(RecordExists):
        await twice.create(3, b"abc")
    assert await harness.content("u1") == b"abc"


async def test_create_duplicate_random_id_empty() -> None:
    """The same for an upload of length 0, for which the store writes nothing."""
    harness = UploadsHarness()
    await harness.create(0)
    twice = UploadsHarness(records=harness.records, store=harness.store, locker=harness.locker)
    with pytest.raises(RecordExists):
        await twice.create(0)
    assert stored(harness) == {"u1": b""}


async def recorded(harness: UploadsHarness, upload_id: str) -> Upload:
    upload = await harness.record(upload_id)
    assert upload is not None
    return upload


async def state_of(harness: UploadsHarness, upload_id: str) -> tuple[int, int | None, bool]:
    """Offset, length and completeness, as the record has them."""
    upload = await recorded(harness, upload_id)
    return upload.offset, upload.length, upload.is_complete


def md5(content: bytes) -> Checksum:
    return Checksum("md5", hashlib.md5(content, usedforsecurity=False).digest())


async def test_create_length_zero_not_last() -> None:
    """In the draft an upload of length 0 stays open if the request says that more follows."""
    harness = UploadsHarness()
    upload_id = (await harness.create(0, is_last=False)).upload.id
    assert await state_of(harness, upload_id) == (0, 0, False)
    assert (await harness.create(0, is_last=True)).upload.is_complete


async def test_create_last_defines_length() -> None:
    """In the draft the end of the last body is the length, by POST and by PATCH."""
    harness = UploadsHarness()
    assert (await harness.create(None, b"ab", b"c", is_last=True)).upload.length == 3
    assert (await harness.create(None, body=FakeBody(), is_last=True)).upload.is_complete
    upload_id = (await harness.create(None, b"abc", is_last=False)).upload.id
    assert await state_of(harness, upload_id) == (3, None, False)
    await harness.append(upload_id, 3, b"de", is_last=True)
    assert await state_of(harness, upload_id) == (5, 5, True)


async def test_create_announced_after_record() -> None:
    """When the client learns the URL, the record exists and no byte of the body has been read."""
    harness = UploadsHarness()
    listener, body = RecordingListener(), asyncio.Event()
    creating = asyncio.ensure_future(harness.create(3, body=FakeBody(body, b"abc"), is_last=True, listener=listener))
    await eventually(lambda: listener.created_ids == ["u1"])
    assert await state_of(harness, "u1") == (0, 3, False)
    body.set()
    assert (await creating).upload.is_complete
    assert listener.offsets == [3]


async def test_create_refused_not_announced() -> None:
    """A creation that pre-create refuses has no URL."""
    harness = UploadsHarness(functions={Hook.PRE_CREATE: lambda _: HookResponse(reject=True)})
    listener = RecordingListener()
    with pytest.raises(UploadRejected):
        await harness.create(3, b"abc", is_last=True, listener=listener)
    assert listener.created_ids == []


async def test_create_without_body_not_announced() -> None:
    """Without a body the response itself has the URL."""
    listener = RecordingListener()
    await UploadsHarness().create(3, is_last=False, listener=listener)
    assert (listener.created_ids, listener.offsets) == ([], [])


@pytest.mark.parametrize(
    ("end", "refusal"),
    [(BodyTimeout(), ReadTimeout), (ServerShutdown(), ServerShutdown), (BodyAborted(), BodyIncomplete)],
)
@pytest.mark.parametrize("can_announce", [True, False])
async def test_create_announced_cut(end: Exception, refusal: type[TusError], can_announce: bool) -> None:
    """A client that knows the URL finds all received bytes; otherwise they are kept only after a cut."""
    harness = UploadsHarness()
    with pytest.raises(refusal) as refused:
        await harness.create(
            3, body=FakeBody(b"ab", end), is_last=True, listener=RecordingListener(can_announce=can_announce)
        )
    if can_announce or refusal is BodyIncomplete:
        assert refused.value.upload == await recorded(harness, "u1")
        assert await state_of(harness, "u1") == (2, 3, False)
        assert (await harness.append("u1", 2, b"c", is_last=True)).upload.is_complete
    else:
        with pytest.raises(UploadNotFound):
            await harness.inspect("u1")
        assert not await harness.store.size(await recorded(harness, "u1"))


@pytest.mark.parametrize("can_announce", [True, False])
async def test_create_announced_store_fails(can_announce: bool) -> None:
    """Safe bytes are kept if the client knows the URL, and deleted otherwise."""
    faults = Faults()
    harness = UploadsHarness(policy=UploadPolicy(save_interval_bytes=1))
    harness.store = FailingStore(harness.store, faults)
    harness.restart()
    faults.nth = 4  # create, write, flush, write
    with pytest.raises(StoreUnavailable):
        await harness.create(4, b"ab", b"cd", is_last=True, listener=RecordingListener(can_announce=can_announce))
    upload = await recorded(harness, "u1")
    assert (upload.offset, upload.status) == (2, Status.UPLOADING if can_announce else Status.TERMINATED)


async def test_create_announced_wrong_digest() -> None:
    """A body with a wrong digest ends the upload even if the client knows the URL."""
    harness = UploadsHarness()
    with pytest.raises(ChecksumMismatch):
        await harness.create(
            3, b"abc", is_last=True, checksum=md5(b"xyz"), keep_partial=True, listener=RecordingListener()
        )
    with pytest.raises(UploadNotFound):
        await harness.inspect("u1")


@pytest.mark.parametrize("can_announce", [True, False])
async def test_create_digest_saved_on_the_way(can_announce: bool) -> None:
    """Bytes are saved before their digest is verified; a wrong digest removes them."""
    harness = UploadsHarness(policy=UploadPolicy(save_interval_bytes=1))
    listener, never = RecordingListener(can_announce=can_announce), asyncio.Event()
    creating = asyncio.ensure_future(
        harness.create(
            4,
            body=FakeBody(b"ab", never, b"cX"),
            is_last=True,
            checksum=md5(b"abcd"),
            keep_partial=True,
            discard_on_mismatch=True,
            listener=listener,
        )
    )
    await eventually(lambda: listener.offsets == [2])
    assert await state_of(harness, "u1") == (2, 4, False)
    never.set()
    with pytest.raises(ChecksumMismatch):
        await creating
    assert (await recorded(harness, "u1")).status is Status.TERMINATED
    assert harness.completed == []


async def test_create_announced_stopped_by_hook() -> None:
    """post-receive may end the upload even if the client knows the URL."""
    harness = UploadsHarness(
        functions={Hook.POST_RECEIVE: lambda _: HookResponse(stop=True)}, policy=UploadPolicy(save_interval_bytes=1)
    )
    with pytest.raises(UploadStopped):
        await harness.create(3, body=FakeBody(b"a", asyncio.Event()), is_last=True, listener=RecordingListener())
    assert (await recorded(harness, "u1")).status is Status.TERMINATED


@pytest.mark.parametrize("can_announce", [True, False])
async def test_create_announced_beyond_length(can_announce: bool) -> None:
    """A client that knows the URL finds the upload failed; otherwise there is no record."""
    harness = UploadsHarness()
    with pytest.raises(LengthExceeded):
        await harness.create(3, b"abcd", is_last=True, listener=RecordingListener(can_announce=can_announce))
    assert (await recorded(harness, "u1")).status is (Status.FAILED if can_announce else Status.TERMINATED)
