"""Final uploads joined by a worker: the job is made in time and once, and whatever fails is done later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.failing import FailingRecords, FailingStore, Faults
from tests.support.heart import Heart
from tests.support.processing import a_heart, job, states, with_ports
from tusd_py.contracts.records import RecordConflict, RecordsUnavailable
from tusd_py.contracts.store import OnProgress, StoreFull
from tusd_py.hooks.blocking.callables import CallableHooks
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import JobState
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.errors import UploadGone
from tusd_py.uploads.processing.assemble import AlreadyJoining, assemble

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def heart(tmp_path: Path) -> AsyncIterator[Heart]:
    async with a_heart(tmp_path, joins_by_job=True) as heart:
        with_ports(heart, pace=replace(heart.pace, concatenate_at_once_bytes_max=3, progress_interval_seconds=0.0))
        yield heart


async def parts(heart: Heart, *contents: bytes, last: int = 0) -> list[str]:
    """Partial uploads; the last one lacks ``last`` bytes."""
    made = [(await heart.create(len(content), content, kind=Kind.PARTIAL)).upload.id for content in contents[:-1]]
    content = contents[-1]
    begun = await heart.create(len(content), content[: len(content) - last], kind=Kind.PARTIAL)
    return [*made, begun.upload.id]


async def final_of(heart: Heart, *ids: str) -> Upload:
    made = await heart.create(None, kind=Kind.FINAL, parts=ids)
    await heart.settle()
    return made.upload


async def joined(heart: Heart, final: Upload) -> Upload:
    await assemble(heart.ports, await job(heart, final.id, "assembly"))
    found = await heart.record(final.id)
    assert found is not None
    return found


async def test_a_large_final_is_joined_by_a_job(heart: Heart) -> None:
    """Not before a worker comes; then it is ready, and how far it came stands in its history."""
    final = await final_of(heart, *await parts(heart, b"one, ", b"two"))
    assert {"assembly": JobState.WAITING} == await states(heart, final.id)
    after = await joined(heart, final)
    assert (Status.READY, b"one, two") == (after.status, await heart.content(final.id))
    (step,) = [step for step in after.history if step.name == "assembly"]
    assert {"done_bytes": "8", "length": "8"} == step.details


async def test_a_final_of_unfinished_parts_has_its_job_once_they_are_complete(heart: Heart) -> None:
    """One made earlier would be done with nothing, and never be made again."""
    ids = await parts(heart, b"one, ", b"two", last=2)
    final = await final_of(heart, *ids)
    await heart.inspect(final.id)
    await heart.settle()
    assert {} == await states(heart, final.id)
    await heart.append(ids[1], 1, b"wo")
    await heart.settle()
    assert {"assembly": JobState.WAITING} == await states(heart, final.id)
    assert Status.READY is (await joined(heart, final)).status


async def test_a_full_disk_is_tried_again(heart: Heart) -> None:
    """Nothing is kept of the try, and the parts are as they were."""
    final = await final_of(heart, *await parts(heart, b"one, ", b"two"))
    sound = heart.ports
    with_ports(heart, store=FailingStore(heart.store, Faults(nth=1, full=True)))
    with pytest.raises(StoreFull):
        await joined(heart, final)
    heart.ports = sound
    assert Status.READY is (await joined(heart, final)).status


@pytest.mark.parametrize("nth", range(1, 12))
async def test_a_database_that_fails_at_any_step_is_tried_again(heart: Heart, nth: int) -> None:
    """The parts are deleted only after that, and the upload is ready once."""
    with_ports(heart, deletes_joined_parts=True)
    ids = await parts(heart, b"one, ", b"two")
    final = await final_of(heart, *ids)
    sound = heart.ports
    with_ports(heart, records=FailingRecords(heart.records, Faults(nth=nth)))
    try:
        await joined(heart, final)
    except RecordsUnavailable:
        heart.ports = sound
        await joined(heart, final)
    assert b"one, two" == await heart.content(final.id)
    for part_id in ids:
        part = await heart.record(part_id)
        assert part is not None and part.has_ended and 0 == await heart.store.size(part)


async def test_a_part_that_is_gone_fails_the_final(heart: Heart) -> None:
    """Its HEAD says so, and it is not tried for ever."""
    ids = await parts(heart, b"one, ", b"two")
    final = await final_of(heart, *ids)
    part = await heart.record(ids[0])
    assert part is not None
    await heart.store.delete(part)
    after = await joined(heart, final)
    assert (Status.FAILED, "the bytes of a partial upload are gone") == (after.status, after.history[-1].reason)
    with pytest.raises(UploadGone):
        await heart.inspect(final.id)


async def test_a_final_that_is_terminated_meanwhile_stays_so(heart: Heart) -> None:
    """What was joined goes with it."""
    final = await final_of(heart, *await parts(heart, b"one, ", b"two"))

    class Terminating(FailingStore):
        async def concatenate(
            self, upload: Upload, parts: Sequence[Upload], tell: OnProgress | None = None
        ) -> Mapping[str, object]:
            await heart.terminate(final.id)
            return await super().concatenate(upload, parts, tell)

    sound = heart.ports
    with_ports(heart, store=Terminating(heart.store, Faults()))
    with pytest.raises(RecordConflict):
        await joined(heart, final)
    heart.ports = sound
    assert Status.TERMINATED is (await joined(heart, final)).status


async def test_a_hook_that_fails_is_asked_again_by_the_next_try(heart: Heart) -> None:
    """The bytes are joined once; what is left is the hook."""
    asked: list[int] = []

    def pre_finish(event: object) -> None:
        asked.append(1)
        if len(asked) == 1:
            raise ValueError("not yet")

    gate = CallableHooks({Hook.PRE_FINISH: pre_finish}, 5.0, lambda hook, failed: None)
    with_ports(heart, gate=gate)
    final = await final_of(heart, *await parts(heart, b"one, ", b"two"))
    with pytest.raises(Exception, match="pre-finish"):
        await joined(heart, final)
    assert Status.READY is (await joined(heart, final)).status
    assert 2 == len(asked)


async def test_two_workers_do_not_join_the_same_upload(heart: Heart) -> None:
    """The one that comes while the other is at it looks again later."""
    final = await final_of(heart, *await parts(heart, b"one, ", b"two"))
    lock = await heart.locker.try_acquire(f"{final.id}.join")
    assert lock is not None
    with pytest.raises(AlreadyJoining):
        await joined(heart, final)
    await lock.release()
    assert Status.READY is (await joined(heart, final)).status


async def test_a_part_that_another_final_waits_for_is_kept(heart: Heart) -> None:
    """It goes with the last of them; small finals, joined at once, do the same."""
    with_ports(heart, deletes_joined_parts=True)
    shared, open_part = await parts(heart, b"one, ", b"two", last=1)
    waits = await final_of(heart, shared, open_part)
    await joined(heart, await final_of(heart, shared))
    kept = await heart.record(shared)
    assert kept is not None and not kept.has_ended
    await heart.append(open_part, 2, b"o")
    await heart.settle()
    await joined(heart, waits)
    small = await parts(heart, b"x")
    await final_of(heart, *small)
    for part_id in (shared, open_part, *small):
        gone = await heart.record(part_id)
        assert gone is not None and gone.has_ended
