"""Creation: with and without bytes, with ids that hooks choose, and what a refusal leaves: nothing."""

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
    """A heart whose pre-create always chooses this id."""
    return UploadsHarness(functions={Hook.PRE_CREATE: lambda _: HookResponse(upload_id=upload_id)})


async def test_a_creation_records_the_upload_and_stores_nothing() -> None:
    """Without bytes there is a record, unfinished, at offset 0, and it will expire."""
    harness = UploadsHarness()
    upload = (await harness.create(10, metadata="a YQ==")).upload
    assert await harness.record(upload.id) == upload
    assert (upload.offset, upload.length, upload.status, upload.metadata_header) == (0, 10, Status.UPLOADING, "a YQ==")
    assert upload.expires_at is not None
    assert stored(harness) == {}


async def test_length_zero_is_complete_with_its_creation() -> None:
    """Nothing is missing, so it is counted, and told to post-finish, at once."""
    told: list[str] = []
    harness = UploadsHarness(functions={Hook.POST_FINISH: lambda event: told.append(event.upload.id)})
    upload = (await harness.create(0)).upload
    await harness.settle()
    assert upload.is_complete
    assert [done.id for done in harness.completed] == [upload.id] == told


async def test_creation_with_upload_takes_bytes() -> None:
    """The first bytes come with the creation; all of them complete it."""
    harness = UploadsHarness()
    part = await harness.create(10, b"01234")
    whole = await harness.create(5, b"01", b"234")
    empty = await harness.create(5, body=FakeBody())
    assert part.took_body
    assert (part.upload.offset, whole.upload.is_complete, empty.upload.offset) == (5, True, 0)
    assert await harness.content(whole.upload.id) == b"01234"


async def test_a_cut_creation_keeps_what_came() -> None:
    """ "Store as much of the received data as possible": the record says how much, even if it is nothing."""
    harness = UploadsHarness()
    for body, offset in ((cut(b"0123"), 4), (cut(), 0)):
        with pytest.raises(BodyIncomplete) as told:
            await harness.create(10, body=body)
        assert told.value.upload is not None
        assert told.value.upload.offset == offset
        assert await harness.record(told.value.upload.id) == told.value.upload


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
async def test_a_refused_creation_leaves_nothing(
    length: int | None, body: FakeBody, checksum: Checksum | None, refusal: type[Exception], saved_before: bool
) -> None:
    """No bytes, and no record that a client could reach, also when the refusal came after a save on the way."""
    harness = UploadsHarness(limits=Limits(length_max=20))
    if saved_before:
        harness = UploadsHarness(limits=harness.limits, policy=type(harness.policy)(save_interval_bytes=1))
    with pytest.raises(refusal):
        await harness.create(length, body=FakeBody(*body._pieces), checksum=checksum)
    await harness.settle()
    assert stored(harness) == {}
    record = await harness.record("u1")
    assert record is None or record.status is Status.TERMINATED


async def test_pre_create_decides() -> None:
    """It may refuse with words of its own, or change id and metadata; the hook sees no id yet."""
    seen: list[str] = []

    def ask(event: HookEvent) -> HookResponse:
        seen.append(event.upload.id)
        if event.upload.length == 1:
            return HookResponse(reject=True, override=ResponseOverride(status=402, body="pay"))
        return HookResponse(upload_id="mine", metadata={"name": "é", "raw": b"\x00", "flag": ""})

    harness = UploadsHarness(functions={Hook.PRE_CREATE: ask})
    with pytest.raises(UploadRejected) as told:
        await harness.create(1, b"1")
    assert told.value.override == ResponseOverride(status=402, body="pay")
    upload = (await harness.create(2)).upload
    assert (upload.id, upload.metadata_header) == ("mine", "name w6k=,raw AA==,flag")
    assert seen == ["", ""]
    assert stored(harness) == {}


@pytest.mark.parametrize("how", ["plain", "empty", "body", "large body", "final"])
async def test_an_id_that_is_taken_is_refused_and_its_upload_untouched(how: str) -> None:
    """A hook that chooses an id twice must not cost the first upload a byte, in whatever way the second is made."""
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


async def test_two_at_once_with_one_id_make_one_upload() -> None:
    """While the first body still comes, and no record tells of it yet, the id is taken all the same."""
    go = asyncio.Event()
    harness = choosing("mine")
    first = asyncio.ensure_future(harness.create(6, body=FakeBody(b"abc", go, b"def")))
    await eventually(lambda: bytes(stored(harness).get("mine", b"")) == b"abc")
    with pytest.raises(RecordExists):
        await harness.create(3, b"xyz")
    # Whoever asked took over, as for every upload: what the first had sent is kept.
    with pytest.raises(UploadInterrupted):
        await first
    assert await harness.content("mine") == b"abc"


async def test_who_knows_the_id_takes_over_a_creation() -> None:
    """HEAD stops a creation whose client is gone without a word, and tells what came of it."""
    harness = choosing("mine")
    creating = asyncio.ensure_future(harness.create(6, body=FakeBody(b"abc", asyncio.Event())))
    await eventually(lambda: bytes(stored(harness).get("mine", b"")) == b"abc")
    assert (await harness.inspect("mine")).upload.offset == 3
    with pytest.raises(UploadInterrupted):
        await creating
    assert (await harness.append("mine", 3, b"def")).upload.is_complete


@pytest.mark.parametrize("length", [0, 3])
async def test_bytes_that_cannot_be_recorded_are_erased(length: int) -> None:
    """The database fails after the store took the bytes: nobody would ever find them."""
    records, store = MemoryRecords(), MemoryStore(bytes_max=100)
    harness = UploadsHarness(records=FailingRecords(records, Faults(nth=1)), store=store)
    with pytest.raises(RecordsUnavailable):
        await harness.create(length, *([b"abc"] if length else []))
    assert store.uploads == {}


async def test_a_full_store_leaves_nothing_of_a_creation() -> None:
    """The client gets no URL to go on with, so what fitted is given back."""
    harness = UploadsHarness(store=MemoryStore(bytes_max=4))
    with pytest.raises(StoreFull):
        await harness.create(6, b"abc", b"def")
    assert stored(harness) == {}


async def test_a_write_that_waits_does_not_bring_refused_bytes_back(tmp_path: Path) -> None:
    """Refused while every thread of the disk is busy: the bytes are erased after the write, not before."""
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
    assert list((tmp_path / "uploads").iterdir()) == []
    await store.close()


async def test_post_create_is_told_once_and_after_the_record() -> None:
    """Whatever way an upload is made, the hook can find its record."""
    told: list[tuple[str, bool]] = []

    async def created(event: HookEvent) -> None:
        told.append((event.upload.id, await harness.record(event.upload.id) is not None))

    harness = UploadsHarness(functions={Hook.POST_CREATE: created})
    await harness.create(3)
    await harness.create(3, b"abc")
    await harness.create(3, b"abc", kind=Kind.PARTIAL)
    await harness.create(None, kind=Kind.FINAL, parts=["u3"])
    await harness.settle()
    assert sorted(told) == [("u1", True), ("u2", True), ("u3", True), ("u4", True)]


async def test_an_id_chosen_for_a_final_upload() -> None:
    """A hook names final uploads too."""
    harness = choosing("mine")
    part = (
        await UploadsHarness(records=harness.records, store=harness.store).create(3, b"abc", kind=Kind.PARTIAL)
    ).upload
    final = (await harness.create(None, kind=Kind.FINAL, parts=[part.id])).upload
    assert (final.id, await harness.content("mine")) == ("mine", b"abc")


async def test_an_id_that_came_up_twice_erases_nothing() -> None:
    """Ids that the server draws do not repeat; did one, the upload that bears it keeps its bytes."""
    harness = UploadsHarness()
    await harness.create(3, b"abc", kind=Kind.PARTIAL)
    twice = UploadsHarness(records=harness.records, store=harness.store, locker=harness.locker)
    with pytest.raises(RecordExists):
        await twice.create(3, b"abc")
    assert await harness.content("u1") == b"abc"


async def test_an_empty_upload_whose_id_came_up_twice_erases_nothing() -> None:
    """The store was asked for no byte: what bears the id keeps its own."""
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


async def stands(harness: UploadsHarness, upload_id: str) -> tuple[int, int | None, bool]:
    """Offset, length and completeness, as the record has them."""
    upload = await recorded(harness, upload_id)
    return upload.offset, upload.length, upload.is_complete


def md5(content: bytes) -> Checksum:
    return Checksum("md5", hashlib.md5(content, usedforsecurity=False).digest())


async def test_an_empty_upload_that_is_not_the_last_one() -> None:
    """Length 0 and no body at all: open as well."""
    harness = UploadsHarness()
    upload_id = (await harness.create(0, is_last=False)).upload.id
    assert await stands(harness, upload_id) == (0, 0, False)
    assert (await harness.create(0, is_last=True)).upload.is_complete


async def test_the_last_one_tells_the_length() -> None:
    """Of an upload without a length the end of the last body is the length, by POST and by PATCH."""
    harness = UploadsHarness()
    assert (await harness.create(None, b"ab", b"c", is_last=True)).upload.length == 3
    assert (await harness.create(None, body=FakeBody(), is_last=True)).upload.is_complete
    upload_id = (await harness.create(None, b"abc", is_last=False)).upload.id
    assert await stands(harness, upload_id) == (3, None, False)
    await harness.append(upload_id, 3, b"de", is_last=True)
    assert await stands(harness, upload_id) == (5, 5, True)


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
