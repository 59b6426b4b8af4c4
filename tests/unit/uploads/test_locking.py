"""Locking and loading: the recorded offset is checked against the stored bytes."""

from __future__ import annotations

import pytest

from tests.support.harness import UploadsHarness
from tusd_py.protocol.errors import (
    OffsetMismatch,
)
from tusd_py.storage.memory import MemoryStore

pytestmark = pytest.mark.anyio


async def test_load_after_power_loss_lowers_offset() -> None:
    """If the store has fewer bytes than a record from before the start, the offset is lowered; checked once."""
    harness = UploadsHarness()
    store = harness.store
    assert isinstance(store, MemoryStore)
    ids = [(await harness.create(10, b"0123")).upload.id for _ in range(3)]
    for upload_id in ids[:2]:
        del store.uploads[upload_id][2:]
    harness.clock.move(1)
    harness.restart()
    assert (await harness.inspect(ids[0])).upload.offset == 2
    with pytest.raises(OffsetMismatch):
        await harness.append(ids[1], 4, b"x")
    assert (await harness.append(ids[1], 2, b"23456789")).upload.is_complete
    assert (await harness.inspect(ids[2])).upload.offset == 4
    # Counted once: from now on the record is of this process, and trusted.
    del store.uploads[ids[2]][1:]
    assert (await harness.inspect(ids[2])).upload.offset == 4
