"""Bytes that vanish beneath a running server, by a hand or a failing disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.heart import Heart
from tests.support.loops import on_loop
from tusd_py.contracts.store import BytesMissing
from tusd_py.storage.disk.store import DiskStore


@on_loop
async def test_a_shortened_file_lowers_the_offset_and_the_upload_goes_on(tmp_path: Path) -> None:
    """The PATCH that finds bytes missing fails; the next HEAD tells the truth, and the rest can be sent again."""
    store = DiskStore(tmp_path / "uploads")
    heart = Heart(store=store)
    upload_id = (await heart.create(10, b"hello")).upload.id
    with (tmp_path / "uploads" / upload_id).open("r+b") as file:
        file.truncate(2)
    with pytest.raises(BytesMissing):
        await heart.append(upload_id, 5, b" worl")
    assert (await heart.inspect(upload_id)).upload.offset == 2
    assert (await heart.append(upload_id, 2, b"llo worl")).upload.is_complete
    assert await heart.content(upload_id) == b"hello worl"
    await store.close()
