"""DELETE: first the record, then the bytes, and only if pre-terminate accepts."""

from __future__ import annotations

import pytest

from tests.faults.failing import FailingRecords, FailingStore, Faults
from tests.support.harness import UploadsHarness
from tusd_py.contracts.hooks import HookEvent, HookFailed, HookResponse
from tusd_py.contracts.records import RecordConflict
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol.errors import TerminationRejected, UploadNotFound
from tusd_py.protocol.outcomes import ResponseOverride
from tusd_py.records.memory import MemoryRecords
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.expire import sweep

pytestmark = pytest.mark.anyio


async def test_terminate_leaves_tombstone() -> None:
    """The bytes are deleted, the hook runs, and later requests find no upload, finished or not."""
    calls: list[Status] = []
    harness = UploadsHarness(functions={Hook.POST_TERMINATE: lambda event: calls.append(event.upload.status)})
    for length in (2, 4):
        upload_id = (await harness.create(length, b"01")).upload.id
        ended = (await harness.terminate(upload_id)).upload
        assert (ended.status, await harness.store.size(ended)) == (Status.TERMINATED, 0)
        for request in (harness.inspect(upload_id), harness.append(upload_id, 2), harness.terminate(upload_id)):
            with pytest.raises(UploadNotFound):
                await request
    await harness.drain()
    assert calls == [Status.TERMINATED] * 2
    with pytest.raises(UploadNotFound):
        await harness.terminate("unknown")


async def test_terminate_pre_terminate_response() -> None:
    """Refused or failed, the upload is unchanged; accepted, the hook's override reaches the response."""
    answers: list[HookResponse | None] = [HookResponse(reject=True, override=ResponseOverride(status=403)), None]

    def ask(_: HookEvent) -> HookResponse:
        answer = answers.pop(0) if answers else HookResponse(override=ResponseOverride(status=202))
        if answer is None:
            raise OSError("the receiver is away")
        return answer

    harness = UploadsHarness(functions={Hook.PRE_TERMINATE: ask})
    upload_id = (await harness.create(4, b"01")).upload.id
    with pytest.raises(TerminationRejected) as raised:
        await harness.terminate(upload_id)
    assert raised.value.override == ResponseOverride(status=403)
    with pytest.raises(HookFailed):
        await harness.terminate(upload_id)
    assert (await harness.append(upload_id, 2, b"23")).upload.is_complete
    assert (await harness.terminate(upload_id)).override == ResponseOverride(status=202)


async def test_terminate_store_fails() -> None:
    """The upload is ended and the hook runs all the same; the sweeper deletes the bytes later."""
    calls: list[str] = []
    inner = MemoryStore(bytes_max=10)
    faults = Faults()
    harness = UploadsHarness(
        store=FailingStore(inner, faults),
        functions={Hook.POST_TERMINATE: lambda event: calls.append(event.upload.id)},
    )
    upload_id = (await harness.create(4, b"01")).upload.id
    faults.nth = faults.seen + 1
    with pytest.raises(StoreUnavailable):
        await harness.terminate(upload_id)
    await harness.drain()
    assert calls == [upload_id] == list(inner.uploads)
    harness.clock.move(harness.policy.tombstone_seconds + 1)
    await sweep(harness.ports)
    assert inner.uploads == {}


class Conflicting(FailingRecords):
    """Records that background work changes, without the lock, just before they are replaced."""

    changes = 0
    removes = False

    async def update(self, before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> Upload:
        if self.changes:
            self.changes -= 1
            changed = await super().update(before, before.expiring(None))
            if self.removes:
                await super().delete(changed)
        return await super().update(before, after, effects)


@pytest.mark.parametrize(("changes", "removes"), [(1, False), (2, False), (1, True)])
async def test_terminate_conflict_with_background(changes: int, removes: bool) -> None:
    """If post-finish returns or an assembly ends in between, the upload is terminated all the same."""
    records = Conflicting(MemoryRecords(), Faults())
    harness = UploadsHarness(records=records)
    upload_id = (await harness.create(2, b"01")).upload.id
    records.changes, records.removes = changes, removes
    if (changes, removes) == (1, False):
        assert (await harness.terminate(upload_id)).upload.status is Status.TERMINATED
    else:
        # Gone, or changed again and again: that is no background task of ours.
        with pytest.raises(RecordConflict):
            await harness.terminate(upload_id)
