"""POST of a final upload: at once or in the background, and what protects its parts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from tests.faults.failing import FailingRecords, FailingStore, Faults
from tests.support.concatenation import LATER, create_final, found, part
from tests.support.harness import UploadsHarness
from tests.support.waiting import eventually
from tusd_py.contracts.hooks import HookEvent, HookResponse
from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.contracts.store import BytesMissing, OnProgress, StoreFull
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.concat_errors import (
    FinalUploadModified,
    InvalidParts,
    PartInUse,
    PartUsedTooOften,
    TooManyConcatenations,
)
from tusd_py.protocol.errors import (
    MaxSizeExceeded,
    UploadGone,
    UploadRejected,
)
from tusd_py.protocol.rules import Limits
from tusd_py.records.memory import MemoryRecords
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio


async def test_concatenate_small_at_once() -> None:
    """The creation returns a complete upload with the bytes in the given order, also with a repeated part."""
    harness = UploadsHarness()
    one, two = await part(harness, b"abc"), await part(harness, b"de")
    made = await harness.create(None, kind=Kind.FINAL, parts=[two, one, two])
    assert made.upload.is_complete
    assert await harness.content(made.upload.id) == b"deabcde"
    assert await harness.content(one) == b"abc"
    with pytest.raises(FinalUploadModified):
        await harness.append(made.upload.id, 7, b"x")


async def test_concatenate_large_in_background() -> None:
    """The creation returns before; HEAD has the length, and the upload is complete after the assembly."""
    calls: list[str] = []
    harness = UploadsHarness(policy=LATER, functions={Hook.POST_FINISH: lambda event: calls.append(event.upload.id)})
    final = await create_final(harness, await part(harness, b"abc"), await part(harness, b"de"))
    assert not (await found(harness, final)).is_complete
    await harness.drain()
    assert (await harness.inspect(final)).upload.is_complete
    assert await harness.content(final) == b"abcde"
    assert calls == [final]


async def test_concatenate_waits_for_parts() -> None:
    """The length is known when that of every part is; the assembly follows the completion of the last part."""
    harness = UploadsHarness()
    one, two = await part(harness, b"abc"), (await harness.create(None, kind=Kind.PARTIAL)).upload.id
    final = await create_final(harness, one, two)
    await harness.drain()
    assert (await harness.inspect(final)).upload.length is None
    await harness.append(two, 0, b"d", length=2)
    assert (await harness.inspect(final)).upload.length == 5
    assert not (await harness.inspect(final)).upload.is_complete
    await harness.append(two, 1, b"e")
    await harness.drain()
    assert (await found(harness, final)).is_complete
    assert await harness.content(final) == b"abcde"


async def test_concatenate_pre_create_sees_length() -> None:
    """pre-create gets the length of the final upload and may refuse it; then nothing is stored."""
    lengths: list[int | None] = []

    def ask(event: HookEvent) -> HookResponse:
        upload = event.upload
        lengths.append(upload.length)
        return HookResponse(reject=upload.kind is Kind.FINAL)

    harness = UploadsHarness(functions={Hook.PRE_CREATE: ask})
    one = await part(harness, b"abc")
    with pytest.raises(UploadRejected):
        await create_final(harness, one, one)
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
        await create_final(harness, of_ann, of_bob)
    assert await harness.record("u3") is None
    final = await found(harness, await create_final(harness, of_ann, of_ann))
    assert (final.owner, final.is_complete) == ("ann", True)


async def test_concatenate_length_max() -> None:
    """A known sum is refused at creation; one known later fails the upload."""
    harness = UploadsHarness(limits=Limits(length_max=4))
    one = await part(harness, b"abc")
    with pytest.raises(MaxSizeExceeded):
        await create_final(harness, one, one)
    two = (await harness.create(None, kind=Kind.PARTIAL)).upload.id
    final = await create_final(harness, one, two)
    await harness.append(two, 0, b"de", length=2)
    await harness.drain()
    failed = await found(harness, final)
    assert failed.status is Status.FAILED
    assert "more than an upload may have" in failed.history[-1].reason
    with pytest.raises(UploadGone):
        await harness.inspect(final)


async def test_terminate_part_in_use_409() -> None:
    """A part can be terminated once its final upload is assembled or ended."""
    harness = UploadsHarness()
    one = await part(harness, b"ab", 3)
    final = await create_final(harness, one)
    with pytest.raises(PartInUse):
        await harness.terminate(one)
    await harness.terminate(final)
    await harness.terminate(one)
    with pytest.raises(InvalidParts):
        await create_final(harness, one)


async def test_concatenate_part_many_times_413() -> None:
    """One part that is named 250 times is refused before a byte is copied; other parts may still be used."""
    harness = UploadsHarness()
    one, two = await part(harness, b"x" * 10_000), await part(harness, b"y")
    with pytest.raises(PartUsedTooOften):
        await create_final(harness, *[one] * 250)
    assert await harness.record("u3") is None
    assert await harness.store.size(replace(await found(harness, one), id="u3")) == 0
    await create_final(harness, *[one] * 16)
    for parts in ([one], [two, one]):
        with pytest.raises(PartUsedTooOften):
            await create_final(harness, *parts)
    await create_final(harness, two)


async def test_concatenate_uses_of_ended_finals_are_free() -> None:
    """A terminated final upload no longer counts."""
    harness = UploadsHarness(limits=Limits(part_uses_max=2))
    one = await part(harness, b"abc")
    final = await create_final(harness, one, one)
    with pytest.raises(PartUsedTooOften):
        await create_final(harness, one)
    await harness.terminate(final)
    await create_final(harness, one, one)


@pytest.mark.parametrize("policy", [UploadPolicy(), LATER])
async def test_concatenate_uses_counted_with_the_record(policy: UploadPolicy) -> None:
    """Creations that all counted before the others were recorded do not exceed the limit together."""
    harness = UploadsHarness(policy=policy, limits=Limits(part_uses_max=3))
    one = await part(harness, b"abc")
    made = await asyncio.gather(*(create_final(harness, one) for _ in range(10)), return_exceptions=True)
    await harness.drain()
    assert [type(each) for each in made].count(str) == 3
    assert dict(await harness.records.count_part_uses([one])) == {one: 3}
    sizes = [await harness.store.size(replace(await found(harness, one), id=f"u{n}")) for n in range(2, 12)]
    assert sum(sizes) == 3 * 3


async def test_concatenate_large_without_space_507() -> None:
    """A final upload that does not fit is refused at its creation, not after its client was answered."""
    harness = UploadsHarness(policy=LATER, store=MemoryStore(bytes_max=10))
    one = await part(harness, b"abcdef")
    with pytest.raises(StoreFull):
        await create_final(harness, one)
    assert await harness.record("u2") is None


class SlowStore(FailingStore):
    """A store that counts concatenations, which wait for ``go``."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(bytes_max=1000), Faults())
        self.go = asyncio.Event()
        self.running = self.running_max = 0

    async def concatenate(
        self, upload: Upload, parts: Sequence[Upload], tell: OnProgress | None = None
    ) -> Mapping[str, object]:
        self.running += 1
        self.running_max = max(self.running, self.running_max)
        await self.go.wait()
        try:
            return await super().concatenate(upload, parts, tell)
        finally:
            self.running -= 1


@pytest.mark.parametrize("policy", [UploadPolicy(), LATER])
async def test_concatenate_bounded_per_client(policy: UploadPolicy) -> None:
    """Of one client two concatenations run at once, at once or in the background; the others follow."""
    store = SlowStore()
    harness = UploadsHarness(policy=policy, store=store, concatenations_max=2)
    parts = [await part(harness, b"abc") for _ in range(6)]
    finals = asyncio.gather(*(create_final(harness, one) for one in parts))
    await eventually(lambda: store.running == 2)
    store.go.set()
    made = await finals
    await harness.drain()
    assert store.running_max == 2
    assert all([(await found(harness, final)).is_complete for final in made])


async def test_concatenate_waits_a_bounded_time_503() -> None:
    """A creation that gets no slot in time is refused and leaves nothing behind."""
    store = SlowStore()
    harness = UploadsHarness(policy=UploadPolicy(lock_timeout_seconds=0.05), store=store, concatenations_max=1)
    one = await part(harness, b"abc")
    running = asyncio.ensure_future(create_final(harness, one))
    await eventually(lambda: store.running == 1)
    with pytest.raises(TooManyConcatenations):
        await create_final(harness, one)
    store.go.set()
    await running
    assert dict(await harness.records.count_part_uses([one])) == {one: 1}


class Vanishing(FailingRecords):
    """Records on which a part is terminated just before a final upload is inserted."""

    harness: UploadsHarness
    part_id = ""

    async def insert(self, upload: Upload, effects: Effects = NO_EFFECTS, *, part_uses_max: int = 0) -> None:
        if upload.kind is Kind.FINAL:
            await self.harness.terminate(self.part_id)
        await super().insert(upload, effects)


async def test_concatenate_part_ends_meanwhile() -> None:
    """A part that is terminated between the check and the record causes a refusal."""
    inner = MemoryRecords()
    records = Vanishing(inner, Faults())
    harness = UploadsHarness(records=records)
    records.harness = UploadsHarness(records=inner, store=harness.store, locker=harness.locker)
    records.part_id = await part(harness, b"ab", 3)
    with pytest.raises(InvalidParts):
        await create_final(harness, records.part_id)
    assert (await found(harness, "u2")).status is Status.TERMINATED


async def test_concatenate_missing_bytes_refused() -> None:
    """If the bytes of a part are missing at once, the creation fails and nothing is recorded."""
    harness = UploadsHarness()
    one = await part(harness, b"abc")
    await harness.store.delete(await found(harness, one))
    with pytest.raises(BytesMissing):
        await create_final(harness, one)
    assert await harness.record("u2") is None


async def test_concatenate_record_fails_deletes_bytes() -> None:
    """If the record cannot be saved, the concatenated bytes are deleted."""
    records, store = MemoryRecords(), MemoryStore(bytes_max=100)
    one = await part(UploadsHarness(records=records, store=store), b"abc")
    harness = UploadsHarness(records=FailingRecords(records, Faults(nth=2)), store=store)  # find_all, add
    next(harness.ids)  # the part has it
    with pytest.raises(RecordsUnavailable):
        await create_final(harness, one)
    assert set(store.uploads) == {one}
