"""Bytes that disappear while the server runs, deleted by a person or lost by a failing disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.harness import UploadsHarness
from tusd_py.contracts.store import BytesMissing
from tusd_py.storage.disk.store import DiskStore

pytestmark = pytest.mark.anyio


async def test_truncated_file_lowers_offset(tmp_path: Path) -> None:
    """The PATCH that finds bytes missing fails; the next HEAD has the true offset, and the rest can be sent again."""
    store = DiskStore(tmp_path / "uploads")
    harness = UploadsHarness(store=store)
    upload_id = (await harness.create(10, b"hello")).upload.id
    with (tmp_path / "uploads" / upload_id).open("r+b") as file:
        file.truncate(2)
    with pytest.raises(BytesMissing):
        await harness.append(upload_id, 5, b" worl")
    assert (await harness.inspect(upload_id)).upload.offset == 2
    assert (await harness.append(upload_id, 2, b"llo worl")).upload.is_complete
    assert await harness.content(upload_id) == b"hello worl"
    await store.close()
