"""Final uploads: joined at once, in the background, later, or never; and what becomes of their parts."""

from __future__ import annotations

import pytest

from tests.faults.failing import FailingRecords, Faults
from tests.support.harness import UploadsHarness
from tusd_py.contracts.hooks import HookEvent, HookResponse
from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.contracts.store import BytesMissing
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
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio

LATER = UploadPolicy(concatenate_at_once_bytes_max=0)


async def part(harness: UploadsHarness, content: bytes, length: int | None = None) -> str:
    return (await harness.create(length or len(content), content, kind=Kind.PARTIAL)).upload.id


async def join(harness: UploadsHarness, *parts: str) -> str:
    return (await harness.create(None, kind=Kind.FINAL, parts=parts)).upload.id


async def found(harness: UploadsHarness, upload_id: str) -> Upload:
    upload = await harness.record(upload_id)
    assert upload is not None
    return upload


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


async def test_missing_bytes_refuse_a_join_at_once() -> None:
    """Joined in the request, the client hears of it, and nothing is recorded."""
    harness = UploadsHarness()
    one = await part(harness, b"abc")
    await harness.store.delete(await found(harness, one))
    with pytest.raises(BytesMissing):
        await join(harness, one)
    assert await harness.record("u2") is None


async def test_a_join_that_cannot_be_recorded_leaves_no_bytes() -> None:
    """The database fails after the bytes were joined: they are erased again."""
    records, store = MemoryRecords(), MemoryStore(bytes_max=100)
    one = await part(UploadsHarness(records=records, store=store), b"abc")
    harness = UploadsHarness(records=FailingRecords(records, Faults(nth=2)), store=store)  # find_all, add
    next(harness.ids)  # the part has it
    with pytest.raises(RecordsUnavailable):
        await join(harness, one)
    assert set(store.uploads) == {one}
