"""Locking and loading: the recorded offset is checked against the stored bytes."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.harness import FakeBody, UploadsHarness
from tests.support.leases import FakeLeases, Medium
from tests.support.waiting import eventually
from tusd_py.contracts.records import RecordConflict
from tusd_py.locking.lease import LeaseLocker
from tusd_py.protocol.errors import LockLost, OffsetMismatch, UploadInterrupted, UploadNotFound
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


async def test_abandoned_lock_fences_its_earlier_holder() -> None:
    """Taking over a lease that was not released gives the record a new token: the earlier holder saves nothing."""
    medium = Medium()
    harness = UploadsHarness(locker=LeaseLocker(FakeLeases(medium), lease_seconds=15))
    upload = (await harness.create(10, b"0123")).upload
    medium.leases[upload.id] = ("another-process 1", 0.0)
    assert (await harness.inspect(upload.id)).upload.offset == 4
    with pytest.raises(RecordConflict):
        await harness.records.update(upload, upload.advance(7, harness.clock()))
    token = (await harness.inspect(upload.id)).upload.token
    assert token == upload.token + 1, "once for each takeover"
    assert (await harness.append(upload.id, 4, b"456789")).upload.is_complete


async def test_abandoned_lock_of_an_unknown_upload() -> None:
    """An abandoned lease of an upload without a record, or of one that has ended, changes nothing."""
    medium = Medium()
    harness = UploadsHarness(locker=LeaseLocker(FakeLeases(medium), lease_seconds=15))
    upload = (await harness.create(4, b"0123")).upload
    medium.leases |= dict.fromkeys((upload.id, "unknown"), ("another-process 1", 0.0))
    assert (await harness.inspect(upload.id)).upload.token == upload.token
    with pytest.raises(UploadNotFound):
        await harness.inspect("unknown")


async def test_request_whose_lock_is_lost_503() -> None:
    """While the medium of the locks is down, a PATCH and a creation with a body end with a refusal that clients retry.

    What had arrived is kept, since no other request has changed the record. If another request took over, the refusal
    is one that clients do not retry.
    """
    medium = Medium()
    harness = UploadsHarness(locker=LeaseLocker(FakeLeases(medium), lease_seconds=0.3))
    upload = (await harness.create(10, b"01")).upload
    medium.is_down = False
    asyncio.get_running_loop().call_later(0.05, setattr, medium, "is_down", True)
    with pytest.raises(LockLost) as raised:
        await harness.append(upload.id, 2, body=FakeBody(b"23", asyncio.Event(), b"never"))
    assert (raised.value.status, raised.value.upload and raised.value.upload.offset) == (503, 4)
    medium.is_down = False
    asyncio.get_running_loop().call_later(0.05, setattr, medium, "is_down", True)
    with pytest.raises(LockLost):
        await harness.create(10, body=FakeBody(b"0123", asyncio.Event(), b"never"))
    medium.is_down = False
    body = FakeBody(b"45", asyncio.Event())
    appending = asyncio.create_task(harness.append(upload.id, 4, body=body))
    await eventually(lambda: len(body._pieces) == 1, "the bytes are read")
    assert (await harness.inspect(upload.id)).upload.offset == 6
    with pytest.raises(UploadInterrupted) as taken:
        await appending
    assert 400 == taken.value.status
