"""The step ``assembly``: by a job of a worker or in the background of the server, and its failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.faults.failing import FailingRecords, FailingStore, Faults
from tests.support.concatenation import LATER, create_final, found, part
from tests.support.harness import UploadsHarness
from tests.support.processing import a_harness, job, states, with_ports
from tests.support.waiting import eventually
from tusd_py.contracts.records import RecordConflict, RecordsUnavailable
from tusd_py.contracts.store import OnProgress, StoreFull
from tusd_py.hooks.blocking.callables import CallableHooks
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import NO_EFFECTS, Effects, JobState
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.errors import (
    UploadGone,
)
from tusd_py.records.memory import MemoryRecords
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.background import TaskKind, task_key
from tusd_py.uploads.expire import recover
from tusd_py.uploads.policy import UploadPolicy
from tusd_py.uploads.processing.assemble import AlreadyAssembling, assemble

pytestmark = pytest.mark.anyio

OPERATIONS_ON_RECORDS = 11


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[UploadsHarness]:
    async with a_harness(tmp_path, assemble_in_worker=True) as harness:
        with_ports(harness, concatenate_at_once_bytes_max=3, progress_interval_seconds=0.0)
        yield harness


async def parts(harness: UploadsHarness, *contents: bytes, last: int = 0) -> list[str]:
    """Partial uploads with these contents; the last one lacks ``last`` bytes."""
    made = [(await harness.create(len(content), content, kind=Kind.PARTIAL)).upload.id for content in contents[:-1]]
    content = contents[-1]
    begun = await harness.create(len(content), content[: len(content) - last], kind=Kind.PARTIAL)
    return [*made, begun.upload.id]


async def final_of(harness: UploadsHarness, *ids: str) -> Upload:
    made = await harness.create(None, kind=Kind.FINAL, parts=ids)
    await harness.drain()
    return made.upload


async def assembled(harness: UploadsHarness, final: Upload) -> Upload:
    await assemble(harness.ports, await job(harness, final.id, "assembly"))
    found = await harness.record(final.id)
    assert found is not None
    return found


async def test_assemble_job_ready(harness: UploadsHarness) -> None:
    """A large final upload waits for a worker; then it is ready, with its progress in the history."""
    final = await final_of(harness, *await parts(harness, b"one, ", b"two"))
    assert {"assembly": JobState.WAITING} == await states(harness, final.id)
    after = await assembled(harness, final)
    assert (Status.READY, b"one, two") == (after.status, await harness.content(final.id))
    (step,) = [step for step in after.history if step.name == "assembly"]
    assert {"done_bytes": "8", "length": "8"} == step.details


async def test_assemble_job_added_with_last_part(harness: UploadsHarness) -> None:
    """The job is added when the parts are complete: an earlier job would end without effect and never come again."""
    ids = await parts(harness, b"one, ", b"two", last=2)
    final = await final_of(harness, *ids)
    await harness.inspect(final.id)
    await harness.drain()
    assert {} == await states(harness, final.id)
    await harness.append(ids[1], 1, b"wo")
    await harness.drain()
    assert {"assembly": JobState.WAITING} == await states(harness, final.id)
    assert Status.READY is (await assembled(harness, final)).status


async def test_assemble_full_disk_retried(harness: UploadsHarness) -> None:
    """The failed attempt leaves nothing behind, and the parts are unchanged."""
    final = await final_of(harness, *await parts(harness, b"one, ", b"two"))
    sound = harness.ports
    with_ports(harness, store=FailingStore(harness.store, Faults(nth=1, full=True)))
    with pytest.raises(StoreFull):
        await assembled(harness, final)
    harness.ports = sound
    assert Status.READY is (await assembled(harness, final)).status


# Every operation of one assembly on records: the last case would not fail if there were fewer.
@pytest.mark.parametrize("nth", range(1, OPERATIONS_ON_RECORDS + 1))
async def test_assemble_records_fail_retried(harness: UploadsHarness, nth: int) -> None:
    """Whichever operation on records fails, a repetition makes the upload ready and deletes its parts after that."""
    with_ports(harness, delete_concatenated_parts=True)
    ids = await parts(harness, b"one, ", b"two")
    final = await final_of(harness, *ids)
    sound = harness.ports
    faults = Faults(nth=nth)
    with_ports(harness, records=FailingRecords(harness.records, faults))
    with pytest.raises(RecordsUnavailable):
        await assembled(harness, final)
    assert faults.struck
    harness.ports = sound
    await assembled(harness, final)
    assert b"one, two" == await harness.content(final.id)
    for part_id in ids:
        part = await harness.record(part_id)
        assert part is not None and part.has_ended and 0 == await harness.store.size(part)


async def test_assemble_missing_bytes_410(harness: UploadsHarness) -> None:
    """The final upload fails, HEAD is answered 410, and the job is not retried."""
    ids = await parts(harness, b"one, ", b"two")
    final = await final_of(harness, *ids)
    part = await harness.record(ids[0])
    assert part is not None
    await harness.store.delete(part)
    after = await assembled(harness, final)
    assert (Status.FAILED, "the bytes of a partial upload are gone") == (after.status, after.history[-1].reason)
    with pytest.raises(UploadGone):
        await harness.inspect(final.id)


async def test_assemble_job_terminated_meanwhile(harness: UploadsHarness) -> None:
    """The upload stays terminated, and its concatenated bytes are deleted."""
    final = await final_of(harness, *await parts(harness, b"one, ", b"two"))

    class Terminating(FailingStore):
        async def concatenate(
            self, upload: Upload, parts: Sequence[Upload], on_progress: OnProgress | None = None
        ) -> Mapping[str, object]:
            await harness.terminate(final.id)
            return await super().concatenate(upload, parts, on_progress)

    sound = harness.ports
    with_ports(harness, store=Terminating(harness.store, Faults()))
    with pytest.raises(RecordConflict):
        await assembled(harness, final)
    harness.ports = sound
    assert Status.TERMINATED is (await assembled(harness, final)).status


async def test_assemble_pre_finish_failed_retried(harness: UploadsHarness) -> None:
    """The bytes are concatenated once; the repetition only invokes the hook again."""
    invoked: list[int] = []

    def pre_finish(event: object) -> None:
        invoked.append(1)
        if len(invoked) == 1:
            raise ValueError("not yet")

    handler = CallableHooks({Hook.PRE_FINISH: pre_finish}, 5.0, lambda hook, failed: None)
    with_ports(harness, hooks=handler)
    final = await final_of(harness, *await parts(harness, b"one, ", b"two"))
    with pytest.raises(Exception, match="pre-finish"):
        await assembled(harness, final)
    assert Status.READY is (await assembled(harness, final)).status
    assert 2 == len(invoked)


async def test_assemble_locked_by_other_worker(harness: UploadsHarness) -> None:
    """A worker that finds the assembly running raises ``AlreadyAssembling`` and retries later."""
    final = await final_of(harness, *await parts(harness, b"one, ", b"two"))
    lock = await harness.locker.try_acquire(task_key(TaskKind.ASSEMBLE, final.id))
    assert lock is not None
    with pytest.raises(AlreadyAssembling):
        await assembled(harness, final)
    await lock.release()
    assert Status.READY is (await assembled(harness, final)).status


async def test_delete_parts_keeps_shared_part(harness: UploadsHarness) -> None:
    """A part is deleted with the last final upload that needs it, also if that is concatenated at once."""
    with_ports(harness, delete_concatenated_parts=True)
    shared, open_part = await parts(harness, b"one, ", b"two", last=1)
    waits = await final_of(harness, shared, open_part)
    await assembled(harness, await final_of(harness, shared))
    kept = await harness.record(shared)
    assert kept is not None and not kept.has_ended
    await harness.append(open_part, 2, b"o")
    await harness.drain()
    await assembled(harness, waits)
    small = await parts(harness, b"x")
    await final_of(harness, *small)
    for part_id in (shared, open_part, *small):
        gone = await harness.record(part_id)
        assert gone is not None and gone.has_ended


class LateSave(MemoryRecords):
    """Records on which an earlier save, given up as failed, arrives just before the next one: once."""

    came = False

    async def update(self, before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> Upload:
        if before.kind is Kind.FINAL and not self.came:
            self.came = True
            await super().update(before, after, effects)
            raise RecordConflict
        return await super().update(before, after, effects)


async def test_assemble_record_changed_tried_again() -> None:
    """The assembly continues with the new record, without waiting for a request or the sweeper."""
    harness = UploadsHarness(records=LateSave(), policy=UploadPolicy(concatenate_at_once_bytes_max=0))
    part = (await harness.create(4, b"abcd", kind=Kind.PARTIAL)).upload.id
    await harness.drain()  # or the completion of the part would schedule the assembly once more
    final = (await harness.create(None, kind=Kind.FINAL, parts=[part, part])).upload.id
    await harness.drain()
    assert await harness.content(final) == b"abcdabcd"


class LateRecords(FailingRecords):
    """Answers ``find_all`` with the records at the time of the call, but only after ``go`` is set."""

    def __init__(self, inner: MemoryRecords) -> None:
        super().__init__(inner, Faults())
        self.go = asyncio.Event()
        self.go.set()
        self.invoked = 0

    async def find_all(self, upload_ids: Sequence[str], *, with_parts: bool = True) -> list[Upload | None]:
        found = await super().find_all(upload_ids)
        self.invoked += 1
        await self.go.wait()
        return found


async def test_schedule_assembly_part_completes_meanwhile() -> None:
    """A part that completes after it was read as incomplete causes one more attempt."""
    records = LateRecords(MemoryRecords())
    harness = UploadsHarness(records=records)
    one = await part(harness, b"ab", 3)
    final = await create_final(harness, one)
    await harness.drain()
    records.go.clear()
    await recover(harness.ports)
    invoked = records.invoked
    await eventually(lambda: records.invoked == invoked + 1)
    await harness.append(one, 2, b"c")
    await harness.ports.background.after(task_key(TaskKind.WAKE_FINALS, one))
    records.go.set()
    await harness.drain()
    assert (await found(harness, final)).is_complete


@pytest.mark.parametrize("where", ["record", "bytes", "ended"])
async def test_assemble_part_deleted_failed(where: str) -> None:
    """A final upload whose part was deleted or has expired fails."""
    harness = UploadsHarness(policy=LATER)
    one = await part(harness, b"abc")
    upload = await found(harness, one)
    final = await create_final(harness, one)
    match where:
        case "record":
            await harness.records.delete(upload)
        case "ended":
            await harness.records.update(upload, upload.with_status(Status.EXPIRED, harness.clock()))
        case _:
            await harness.store.delete(upload)
    await harness.drain()
    assert (await found(harness, final)).status is Status.FAILED
    await harness.terminate(final)


async def test_assemble_full_store_retried_by_head() -> None:
    """The final upload stays ``processing``, and the next HEAD tries again."""
    records, store = MemoryRecords(), MemoryStore(bytes_max=100)
    faults = Faults(full=True)
    harness = UploadsHarness(records=records, store=FailingStore(store, faults), policy=LATER)
    one = await part(harness, b"abc")
    await harness.drain()
    faults.nth = faults.seen + 3  # ensure_space, create, concatenate
    final = await create_final(harness, one)
    await harness.drain()
    assert faults.struck
    assert (await found(harness, final)).status is Status.PROCESSING
    await harness.inspect(final)
    await harness.drain()
    assert await harness.content(final) == b"abc"


async def test_recover_restarts_assembly() -> None:
    """Bytes of an assembly that a crash interrupted are overwritten."""
    harness = UploadsHarness(policy=LATER)
    one = await part(harness, b"abc")
    final = await create_final(harness, one, one)
    upload = await found(harness, final)
    await harness.ports.background.drain(0)
    processing = upload.declare_length(6) if upload.length is None else upload
    await harness.records.update(upload, processing.with_status(Status.PROCESSING, harness.clock()))
    assert isinstance(harness.store, MemoryStore)
    harness.store.uploads[final] = bytearray(b"abcX")
    harness.restart()
    await recover(harness.ports)
    await harness.drain()
    assert await harness.content(final) == b"abcabc"


async def test_assemble_locked_by_other_process() -> None:
    """A process that finds the assembly running elsewhere does nothing."""
    harness = UploadsHarness(policy=LATER)
    lock = await harness.locker.try_acquire(task_key(TaskKind.ASSEMBLE, "u2"))
    assert lock is not None
    final = await create_final(harness, await part(harness, b"abc"))
    await harness.drain()
    assert not (await found(harness, final)).is_complete
    await lock.release()
    await harness.inspect(final)
    await harness.drain()
    assert (await found(harness, final)).is_complete


async def test_assemble_terminated_meanwhile() -> None:
    """HEAD does not wait for the assembly, and an upload terminated during it stays terminated."""

    class Slow(FailingStore):
        go = asyncio.Event()
        concatenations = 0

        async def concatenate(
            self, upload: Upload, parts: Sequence[Upload], on_progress: OnProgress | None = None
        ) -> dict[str, object]:
            Slow.concatenations += 1
            await self.go.wait()
            return dict(await super().concatenate(upload, parts, on_progress))

    harness = UploadsHarness(store=Slow(MemoryStore(bytes_max=100), Faults()), policy=LATER)
    final = await create_final(harness, await part(harness, b"abc"))
    await eventually(lambda: Slow.concatenations == 1)
    # HEAD is answered meanwhile, and does not wait.
    assert not (await harness.inspect(final)).upload.is_complete
    await harness.terminate(final)
    Slow.go.set()
    await harness.drain()
    assert (await found(harness, final)).status is Status.TERMINATED
