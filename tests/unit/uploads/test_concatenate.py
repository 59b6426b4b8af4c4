"""Final uploads: joined at once, in the background, later, or never; and what becomes of their parts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.faults.failing import FailingRecords, FailingStore, Faults
from tests.support.heart import Heart
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
from tusd_py.uploads.expire import recover
from tusd_py.uploads.ports import UploadPolicy

LATER = UploadPolicy(concatenate_at_once_bytes_max=0)


async def part(heart: Heart, content: bytes, length: int | None = None) -> str:
    return (await heart.create(length or len(content), content, kind=Kind.PARTIAL)).upload.id


async def join(heart: Heart, *parts: str) -> str:
    return (await heart.create(None, kind=Kind.FINAL, parts=parts)).upload.id


async def found(heart: Heart, upload_id: str) -> Upload:
    upload = await heart.record(upload_id)
    assert upload is not None
    return upload


@on_loop
async def test_small_finals_are_joined_at_once() -> None:
    """The answer to the creation is about a complete upload, the bytes in the order asked, a part asked twice too."""
    heart = Heart()
    one, two = await part(heart, b"abc"), await part(heart, b"de")
    made = await heart.create(None, kind=Kind.FINAL, parts=[two, one, two])
    assert made.upload.is_complete
    assert await heart.content(made.upload.id) == b"deabcde"
    assert await heart.content(one) == b"abc"
    with pytest.raises(FinalUploadModified):
        await heart.append(made.upload.id, 7, b"x")


@on_loop
async def test_large_finals_are_joined_in_the_background() -> None:
    """The creation is answered before; HEAD has the length but is not complete until the bytes are joined."""
    told: list[str] = []
    heart = Heart(pace=LATER, functions={Hook.POST_FINISH: lambda event: told.append(event.upload.id)})
    final = await join(heart, await part(heart, b"abc"), await part(heart, b"de"))
    assert not (await found(heart, final)).is_complete
    await heart.settle()
    assert (await heart.inspect(final)).upload.is_complete
    assert await heart.content(final) == b"abcde"
    assert told == [final]


@on_loop
async def test_a_final_waits_for_unfinished_parts() -> None:
    """Its length is known as soon as that of every part; it is joined when the last one completes, asked or not."""
    heart = Heart()
    one, two = await part(heart, b"abc"), (await heart.create(None, kind=Kind.PARTIAL)).upload.id
    final = await join(heart, one, two)
    await heart.settle()
    assert (await heart.inspect(final)).upload.length is None
    await heart.append(two, 0, b"d", length=2)
    assert (await heart.inspect(final)).upload.length == 5
    assert not (await heart.inspect(final)).upload.is_complete
    await heart.append(two, 1, b"e")
    await heart.settle()
    assert (await found(heart, final)).is_complete
    assert await heart.content(final) == b"abcde"


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
    heart = Heart(records=records)
    one = await part(heart, b"ab", 3)
    final = await join(heart, one)
    await heart.settle()
    records.go.clear()
    await recover(heart.ports)
    asked = records.asked
    await eventually(lambda: records.asked == asked + 1)
    await heart.append(one, 2, b"c")
    await heart.ports.background.after(f"{one}.finals")
    records.go.set()
    await heart.settle()
    assert (await found(heart, final)).is_complete


@on_loop
async def test_pre_create_is_asked_for_finals() -> None:
    """It sees the length and may refuse: nothing is joined then."""
    lengths: list[int | None] = []

    def ask(event: HookEvent) -> HookResponse:
        upload = event.upload
        lengths.append(upload.length)
        return HookResponse(reject=upload.kind is Kind.FINAL)

    heart = Heart(functions={Hook.PRE_CREATE: ask})
    one = await part(heart, b"abc")
    with pytest.raises(UploadRejected):
        await join(heart, one, one)
    assert lengths == [3, 6]
    assert isinstance(heart.store, MemoryStore)
    assert set(heart.store.uploads) == {one}


@on_loop
async def test_the_sum_is_bounded() -> None:
    """Known at creation it is refused there; known only later, the final upload fails and is gone."""
    heart = Heart(limits=Limits(length_max=4))
    one = await part(heart, b"abc")
    with pytest.raises(MaxSizeExceeded):
        await join(heart, one, one)
    two = (await heart.create(None, kind=Kind.PARTIAL)).upload.id
    final = await join(heart, one, two)
    await heart.append(two, 0, b"de", length=2)
    await heart.settle()
    failed = await found(heart, final)
    assert failed.status is Status.FAILED
    assert "more than an upload may have" in failed.history[-1].reason
    with pytest.raises(UploadGone):
        await heart.inspect(final)


@on_loop
async def test_a_part_that_is_needed_cannot_be_terminated() -> None:
    """Until the final upload is joined or gone; a final of it can be ended, and then the part as well."""
    heart = Heart()
    one = await part(heart, b"ab", 3)
    final = await join(heart, one)
    with pytest.raises(PartInUse):
        await heart.terminate(one)
    await heart.terminate(final)
    await heart.terminate(one)
    with pytest.raises(InvalidParts):
        await join(heart, one)


class Vanishing(FailingRecords):
    """Records in which a part is terminated just before a final upload is recorded."""

    heart: Heart
    part_id = ""

    async def insert(self, upload: Upload, effects: Effects = NO_EFFECTS) -> None:
        if upload.kind is Kind.FINAL:
            await self.heart.terminate(self.part_id)
        await super().insert(upload, effects)


@on_loop
async def test_a_part_that_goes_while_the_final_is_made() -> None:
    """Between the look at the parts and the record one is terminated: the final upload is refused."""
    inner = MemoryRecords()
    records = Vanishing(inner, Faults())
    heart = Heart(records=records)
    records.heart = Heart(records=inner, store=heart.store, locker=heart.locker)
    records.part_id = await part(heart, b"ab", 3)
    with pytest.raises(InvalidParts):
        await join(heart, records.part_id)
    assert (await found(heart, "u2")).status is Status.TERMINATED


@pytest.mark.parametrize("where", ["record", "bytes", "ended"])
@on_loop
async def test_a_part_that_was_taken_away_fails_the_final(where: str) -> None:
    """Somebody removed a part beneath the server: the final upload can never be, and says so."""
    heart = Heart(pace=LATER)
    one = await part(heart, b"abc")
    upload = await found(heart, one)
    final = await join(heart, one)
    match where:
        case "record":
            await heart.records.delete(upload)
        case "ended":
            await heart.records.update(upload, upload.with_status(Status.EXPIRED, heart.clock()))
        case _:
            await heart.store.delete(upload)
    await heart.settle()
    assert (await found(heart, final)).status is Status.FAILED
    await heart.terminate(final)


@on_loop
async def test_missing_bytes_refuse_a_join_at_once() -> None:
    """Joined in the request, the client hears of it, and nothing is recorded."""
    heart = Heart()
    one = await part(heart, b"abc")
    await heart.store.delete(await found(heart, one))
    with pytest.raises(BytesMissing):
        await join(heart, one)
    assert await heart.record("u2") is None


@on_loop
async def test_a_join_that_cannot_be_recorded_leaves_no_bytes() -> None:
    """The database fails after the bytes were joined: they are erased again."""
    records, store = MemoryRecords(), MemoryStore(bytes_max=100)
    one = await part(Heart(records=records, store=store), b"abc")
    heart = Heart(records=FailingRecords(records, Faults(nth=2)), store=store)  # find_all, add
    next(heart.ids)  # the part has it
    with pytest.raises(RecordsUnavailable):
        await join(heart, one)
    assert set(store.uploads) == {one}


@on_loop
async def test_a_full_store_is_tried_again_by_head() -> None:
    """The join found no room: the final upload waits, and the next HEAD tries again."""
    records, store = MemoryRecords(), MemoryStore(bytes_max=100)
    faults = Faults(full=True)
    heart = Heart(records=records, store=FailingStore(store, faults), pace=LATER)
    one = await part(heart, b"abc")
    await heart.settle()
    faults.nth = faults.seen + 2  # create, join
    final = await join(heart, one)
    await heart.settle()
    assert faults.struck
    assert (await found(heart, final)).status is Status.PROCESSING
    await heart.inspect(final)
    await heart.settle()
    assert await heart.content(final) == b"abc"


@on_loop
async def test_a_restart_in_the_middle_joins_again() -> None:
    """What a join had written before the crash is begun anew, and every byte is right."""
    heart = Heart(pace=LATER)
    one = await part(heart, b"abc")
    final = await join(heart, one, one)
    upload = await found(heart, final)
    await heart.ports.background.drain(0)
    processing = upload.declare_length(6) if upload.length is None else upload
    await heart.records.update(upload, processing.with_status(Status.PROCESSING, heart.clock()))
    assert isinstance(heart.store, MemoryStore)
    heart.store.uploads[final] = bytearray(b"abcX")
    heart.restart()
    await recover(heart.ports)
    await heart.settle()
    assert await heart.content(final) == b"abcabc"


@on_loop
async def test_one_process_joins_at_a_time() -> None:
    """Another one is busy with the same final upload: this one leaves it alone."""
    heart = Heart(pace=LATER)
    final_hold = await heart.locker.try_acquire("u2.join")
    assert final_hold is not None
    final = await join(heart, await part(heart, b"abc"))
    await heart.settle()
    assert not (await found(heart, final)).is_complete
    await final_hold.release()
    await heart.inspect(final)
    await heart.settle()
    assert (await found(heart, final)).is_complete


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

    heart = Heart(store=Slow(MemoryStore(bytes_max=100), Faults()), pace=LATER)
    final = await join(heart, await part(heart, b"abc"))
    await eventually(lambda: Slow.joins == 1)
    # HEAD is answered meanwhile, and does not wait.
    assert not (await heart.inspect(final)).upload.is_complete
    await heart.terminate(final)
    Slow.go.set()
    await heart.settle()
    assert (await found(heart, final)).status is Status.TERMINATED
