"""A hook says that it has moved the bytes of an upload."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.harness import UploadsHarness
from tusd_py.model.upload import Status
from tusd_py.storage.disk.store import DiskStore
from tusd_py.uploads.processing.move import record_move

pytestmark = pytest.mark.anyio


async def test_move_of_a_ready_upload(tmp_path: Path) -> None:
    """It is recorded once, with its path; the path that the hook was told is no move."""
    harness = UploadsHarness(store=DiskStore(tmp_path))
    upload = (await harness.create(2, b"01")).upload
    await record_move(harness.ports, upload.id, str(tmp_path / upload.id))
    assert await harness.record(upload.id) == upload
    for path in ("/archive/a", "/archive/b"):
        await record_move(harness.ports, upload.id, path)
    record = await harness.record(upload.id)
    assert record is not None
    assert (record.status, dict(record.history[-1].details)) == (Status.MOVED, {"moved_to": "/archive/a"})
    await harness.store.close()


async def test_move_of_other_uploads_is_ignored(tmp_path: Path) -> None:
    """One that is unknown, incomplete or terminated does not change."""
    harness = UploadsHarness(store=DiskStore(tmp_path))
    incomplete, ended = (await harness.create(2)).upload, (await harness.create(2, b"01")).upload
    await harness.terminate(ended.id)
    for upload_id in ("unknown", incomplete.id, ended.id):
        before = await harness.record(upload_id)
        await record_move(harness.ports, upload_id, "/archive/a")
        assert await harness.record(upload_id) == before
    await harness.store.close()
