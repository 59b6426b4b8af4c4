"""HEAD: the state of an upload, and the completion of one that is open at its length."""

from __future__ import annotations

import pytest

from tests.faults.failing import FailingStore, Faults
from tests.support.harness import UploadsHarness
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio


async def recorded(harness: UploadsHarness, upload_id: str) -> Upload:
    upload = await harness.record(upload_id)
    assert upload is not None
    return upload


async def test_inspect_open_at_length_completes() -> None:
    """For a tus 1.0 client the upload is done at its length: HEAD completes it, once."""
    harness = UploadsHarness(functions={Hook.POST_FINISH: lambda event: None})
    upload_id = (await harness.create(3, b"abc", is_last=False)).upload.id
    assert not (await harness.inspect(upload_id)).upload.is_complete
    for _ in range(2):
        assert (await harness.inspect(upload_id, length_completes=True)).upload.is_complete
    await harness.drain()
    assert (await recorded(harness, upload_id)).status is Status.READY
    assert len(harness.completed) == 1
    assert harness.hooked.count((Hook.POST_FINISH, False)) == 1


async def test_inspect_open_at_length_store_fails() -> None:
    """If the store cannot make the bytes safe, HEAD fails and the next one completes the upload."""
    faults = Faults()
    harness = UploadsHarness()
    upload_id = (await harness.create(3, b"abc", is_last=False)).upload.id
    harness.store = FailingStore(harness.store, faults)
    harness.restart()
    faults.nth = 1
    with pytest.raises(StoreUnavailable):
        await harness.inspect(upload_id, length_completes=True)
    assert not (await recorded(harness, upload_id)).is_complete
    assert (await harness.inspect(upload_id, length_completes=True)).upload.is_complete


async def test_inspect_empty_final_not_completed() -> None:
    """A final upload of no bytes is at its length before its assembly; HEAD does not complete it."""
    harness = UploadsHarness(policy=UploadPolicy(concatenate_at_once_bytes_max=-1))
    part = (await harness.create(0, kind=Kind.PARTIAL)).upload.id
    final = (await harness.create(None, kind=Kind.FINAL, parts=[part])).upload
    assert not final.is_complete
    await harness.inspect(final.id, length_completes=True)
    await harness.drain()
    assert (await recorded(harness, final.id)).is_complete
    assert len(harness.completed) == 2
