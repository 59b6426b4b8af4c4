"""Final uploads: joined at once, in the background, later, or never; and what becomes of their parts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.faults.failing import FailingRecords, FailingStore, Faults
from tests.support.harness import UploadsHarness
from tests.support.loops import eventually, on_loop
from tusd_py.contracts.hooks import HookEvent, HookResponse
from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.contracts.store import BytesMissing, OnProgress
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.errors import (
    FinalUploadModified,
    InvalidParts,
    MaxSizeExceeded,
    PartInUse,
    UploadGone,
    UploadRejected,
)
from tusd_py.protocol.rules import Limits
from tusd_py.records.memory import MemoryRecords
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.background import TaskKind, task_key
from tusd_py.uploads.expire import recover
from tusd_py.uploads.policy import UploadPolicy

LATER = UploadPolicy(concatenate_at_once_bytes_max=0)


async def part(harness: UploadsHarness, content: bytes, length: int | None = None) -> str:
    return (await harness.create(length or len(content), content, kind=Kind.PARTIAL)).upload.id


async def join(harness: UploadsHarness, *parts: str) -> str:
    return (await harness.create(None, kind=Kind.FINAL, parts=parts)).upload.id


async def found(harness: UploadsHarness, upload_id: str) -> Upload:
    upload = await harness.record(upload_id)
    assert upload is not None
    return upload


@on_loop
async def test_small_finals_are_joined_at_once() -> None:
    """The answer to the creation is about a complete upload, the bytes in the order asked, a part asked twice too."""
    harness = UploadsHarness()
    one, two = await part(harness, b"abc"), await part(harness, b"de")
    made = await harness.create(None, kind=Kind.FINAL, parts=[two, one, two])
    assert made.upload.is_complete
    assert await harness.content(made.upload.id) == b"deabcde"
    assert await harness.content(one) == b"abc"
    with pytest.raises(FinalUploadModified):
        await harness.append(made.upload.id, 7, b"x")


@on_loop
async def test_large_finals_are_joined_in_the_background() -> None:
    """The creation is answered before; HEAD has the length but is not complete until the bytes are joined."""
    told: list[str] = []
    harness = UploadsHarness(policy=LATER, functions={Hook.POST_FINISH: lambda event: told.append(event.upload.id)})
    final = await join(harness, await part(harness, b"abc"), await part(harness, b"de"))
    assert not (await found(harness, final)).is_complete
    await harness.settle()
    assert (await harness.inspect(final)).upload.is_complete
    assert await harness.content(final) == b"abcde"
    assert told == [final]


@on_loop
async def test_a_final_waits_for_unfinished_parts() -> None:
    """Its length is known as soon as that of every part; it is joined when the last one completes, asked or not."""
    harness = UploadsHarness()
    one, two = await part(harness, b"abc"), (await harness.create(None, kind=Kind.PARTIAL)).upload.id
    final = await join(harness, one, two)
    await harness.settle()
    assert (await harness.inspect(final)).upload.length is None
    await harness.append(two, 0, b"d", length=2)
    assert (await harness.inspect(final)).upload.length == 5
    assert not (await harness.inspect(final)).upload.is_complete
    await harness.append(two, 1, b"e")
    await harness.settle()
    assert (await found(harness, final)).is_complete
    assert await harness.content(final) == b"abcde"


class LateRecords(FailingRecords):
    """Answers ``find_all`` with what was recorded when it was asked, but only once it is let go."""

    def __init__(self, inner: MemoryRecords) -> None:
        super().__init__(inner, Faults())
        self.go = asyncio.Event()
        self.go.set()
        self.asked = 0

    async def find_all(self, upload_ids: Sequence[str]) -> list[Upload | None]:
        found = await super().find_all(upload_ids)
        self.asked += 1
        await self.go.wait()
        return found


@on_loop
async def test_a_part_that_completes_while_it_is_looked_at_is_not_missed() -> None:
    """The join has read "unfinished" and the part completes just then: it looks once more."""
    records = LateRecords(MemoryRecords())
    harness = UploadsHarness(records=records)
    one = await part(harness, b"ab", 3)
    final = await join(harness, one)
    await harness.settle()
    records.go.clear()
    await recover(harness.ports)
    asked = records.asked
    await eventually(lambda: records.asked == asked + 1)
    await harness.append(one, 2, b"c")
    await harness.ports.background.after(task_key(TaskKind.WAKE_FINALS, one))
    records.go.set()
    await harness.settle()
    assert (await found(harness, final)).is_complete


@on_loop
async def test_pre_create_is_asked_for_finals() -> None:
    """It sees the length and may refuse: nothing is joined then."""
    lengths: list[int | None] = []

    def ask(event: HookEvent) -> HookResponse:
        upload = event.upload
        lengths.append(upload.length)
        return HookResponse(reject=upload.kind is Kind.FINAL)

    harness = UploadsHarness(functions={Hook.PRE_CREATE: ask})
    one = await part(harness, b"abc")
    with pytest.raises(UploadRejected):
        await join(harness, one, one)
    assert lengths == [3, 6]
    assert isinstance(harness.store, MemoryStore)
    assert set(harness.store.uploads) == {one}


@on_loop
async def test_concatenate_owner_of_hook() -> None:
    """The owner that pre-create chooses counts: parts of another owner are refused, and nothing is recorded."""
    owners = ["ann", "bob", "ann", "ann"]

    def pre_create(event: HookEvent) -> HookResponse:
        return HookResponse(owner=owners.pop(0))

    harness = UploadsHarness(functions={Hook.PRE_CREATE: pre_create})
    of_ann, of_bob = await part(harness, b"abc"), await part(harness, b"def")
    assert (await found(harness, of_ann)).owner == "ann"
    with pytest.raises(InvalidParts):
        await join(harness, of_ann, of_bob)
    assert await harness.record("u3") is None
    final = await found(harness, await join(harness, of_ann, of_ann))
    assert (final.owner, final.is_complete) == ("ann", True)


@on_loop
async def test_the_sum_is_bounded() -> None:
    """Known at creation it is refused there; known only later, the final upload fails and is gone."""
    harness = UploadsHarness(limits=Limits(length_max=4))
    one = await part(harness, b"abc")
    with pytest.raises(MaxSizeExceeded):
        await join(harness, one, one)
    two = (await harness.create(None, kind=Kind.PARTIAL)).upload.id
    final = await join(harness, one, two)
    await harness.append(two, 0, b"de", length=2)
    await harness.settle()
    failed = await found(harness, final)
    assert failed.status is Status.FAILED
    assert "more than an upload may have" in failed.history[-1].reason
    with pytest.raises(UploadGone):
        await harness.inspect(final)


@on_loop
async def test_a_part_that_is_needed_cannot_be_terminated() -> None:
    """Until the final upload is joined or gone; a final of it can be ended, and then the part as well."""
    harness = UploadsHarness()
    one = await part(harness, b"ab", 3)
    final = await join(harness, one)
    with pytest.raises(PartInUse):
        await harness.terminate(one)
    await harness.terminate(final)
    await harness.terminate(one)
    with pytest.raises(InvalidParts):
        await join(harness, one)


class Vanishing(FailingRecords):
    """Records in which a part is terminated just before a final upload is recorded."""

    harness: UploadsHarness
    part_id = ""

    async def insert(self, upload: Upload, effects: Effects = NO_EFFECTS) -> None:
        if upload.kind is Kind.FINAL:
            await self.harness.terminate(self.part_id)
        await super().insert(upload, effects)


@on_loop
async def test_a_part_that_goes_while_the_final_is_made() -> None:
    """Between the look at the parts and the record one is terminated: the final upload is refused."""
    inner = MemoryRecords()
    records = Vanishing(inner, Faults())
    harness = UploadsHarness(records=records)
    records.harness = UploadsHarness(records=inner, store=harness.store, locker=harness.locker)
    records.part_id = await part(harness, b"ab", 3)
    with pytest.raises(InvalidParts):
        await join(harness, records.part_id)
    assert (await found(harness, "u2")).status is Status.TERMINATED


@pytest.mark.parametrize("where", ["record", "bytes", "ended"])
@on_loop
async def test_a_part_that_was_taken_away_fails_the_final(where: str) -> None:
    """Somebody removed a part beneath the server: the final upload can never be, and says so."""
    harness = UploadsHarness(policy=LATER)
    one = await part(harness, b"abc")
    upload = await found(harness, one)
    final = await join(harness, one)
    match where:
        case "record":
            await harness.records.delete(upload)
        case "ended":
            await harness.records.update(upload, upload.with_status(Status.EXPIRED, harness.clock()))
        case _:
            await harness.store.delete(upload)
    await harness.settle()
    assert (await found(harness, final)).status is Status.FAILED
    await harness.terminate(final)


@on_loop
async def test_missing_bytes_refuse_a_join_at_once() -> None:
    """Joined in the request, the client hears of it, and nothing is recorded."""
    harness = UploadsHarness()
    one = await part(harness, b"abc")
    await harness.store.delete(await found(harness, one))
    with pytest.raises(BytesMissing):
        await join(harness, one)
    assert await harness.record("u2") is None


@on_loop
async def test_a_join_that_cannot_be_recorded_leaves_no_bytes() -> None:
    """The database fails after the bytes were joined: they are erased again."""
    records, store = MemoryRecords(), MemoryStore(bytes_max=100)
    one = await part(UploadsHarness(records=records, store=store), b"abc")
    harness = UploadsHarness(records=FailingRecords(records, Faults(nth=2)), store=store)  # find_all, add
    next(harness.ids)  # the part has it
    with pytest.raises(RecordsUnavailable):
        await join(harness, one)
    assert set(store.uploads) == {one}


@on_loop
async def test_a_full_store_is_tried_again_by_head() -> None:
    """The join found no room: the final upload waits, and the next HEAD tries again."""
    records, store = MemoryRecords(), MemoryStore(bytes_max=100)
    faults = Faults(full=True)
    harness = UploadsHarness(records=records, store=FailingStore(store, faults), policy=LATER)
    one = await part(harness, b"abc")
    await harness.settle()
    faults.nth = faults.seen + 2  # create, join
    final = await join(harness, one)
    await harness.settle()
    assert faults.struck
    assert (await found(harness, final)).status is Status.PROCESSING
    await harness.inspect(final)
    await harness.settle()
    assert await harness.content(final) == b"abc"


@on_loop
async def test_a_restart_in_the_middle_joins_again() -> None:
    """What a join had written before the crash is begun anew, and every byte is right."""
    harness = UploadsHarness(policy=LATER)
    one = await part(harness, b"abc")
    final = await join(harness, one, one)
    upload = await found(harness, final)
    await harness.ports.background.drain(0)
    processing = upload.declare_length(6) if upload.length is None else upload
    await harness.records.update(upload, processing.with_status(Status.PROCESSING, harness.clock()))
    assert isinstance(harness.store, MemoryStore)
    harness.store.uploads[final] = bytearray(b"abcX")
    harness.restart()
    await recover(harness.ports)
    await harness.settle()
    assert await harness.content(final) == b"abcabc"


@on_loop
async def test_one_process_joins_at_a_time() -> None:
    """Another one is busy with the same final upload: this one leaves it alone."""
    harness = UploadsHarness(policy=LATER)
    final_hold = await harness.locker.try_acquire(task_key(TaskKind.ASSEMBLE, "u2"))
    assert final_hold is not None
    final = await join(harness, await part(harness, b"abc"))
    await harness.settle()
    assert not (await found(harness, final)).is_complete
    await final_hold.release()
    await harness.inspect(final)
    await harness.settle()
    assert (await found(harness, final)).is_complete


@on_loop
async def test_terminated_while_it_is_joined() -> None:
    """The join finishes too late: the upload stays terminated."""

    class Slow(FailingStore):
        go = asyncio.Event()
        joins = 0

        async def concatenate(
            self, upload: Upload, parts: Sequence[Upload], tell: OnProgress | None = None
        ) -> dict[str, object]:
            Slow.joins += 1
            await self.go.wait()
            return dict(await super().concatenate(upload, parts, tell))

    harness = UploadsHarness(store=Slow(MemoryStore(bytes_max=100), Faults()), policy=LATER)
    final = await join(harness, await part(harness, b"abc"))
    await eventually(lambda: Slow.joins == 1)
    # HEAD is answered meanwhile, and does not wait.
    assert not (await harness.inspect(final)).upload.is_complete
    await harness.terminate(final)
    Slow.go.set()
    await harness.settle()
    assert (await found(harness, final)).status is Status.TERMINATED
