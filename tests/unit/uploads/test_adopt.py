"""Uploads of another server: their bytes are stored, then their record."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.faults.failing import FailingStore, Faults
from tests.support.harness import EPOCH, UploadsHarness
from tusd_py.contracts.store import StoreError
from tusd_py.model.upload import Status, Upload
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.adopt import AlreadyRecorded, ContentChanged, adopt
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio

FOREIGN = Upload(id="a" * 32, length=10, offset=4, owner="alice", created_at=EPOCH, updated_at=EPOCH)


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece


async def test_adopted_upload_goes_on_where_it_stood() -> None:
    """The next PATCH continues at its offset; it expires as if it had changed now."""
    harness = UploadsHarness(policy=UploadPolicy(unfinished_seconds=100))
    harness.clock.move(1000)
    adopted = await adopt(harness.ports, FOREIGN, pieces(b"01", b"23"))
    assert adopted.expires_at is not None
    assert 100 == (adopted.expires_at - harness.clock()).total_seconds()
    assert adopted == await harness.record(FOREIGN.id)
    appended = await harness.append(FOREIGN.id, 4, b"456789")
    assert 10 == appended.upload.offset
    assert isinstance(harness.store, MemoryStore)
    assert [b"0123456789"] == [bytes(found) for found in harness.store.uploads.values()]


async def test_adopted_twice_is_refused_and_changes_nothing() -> None:
    """A repeated import leaves an upload alone that went on meanwhile."""
    harness = UploadsHarness()
    await adopt(harness.ports, FOREIGN, pieces(b"0123"))
    after = (await harness.append(FOREIGN.id, 4, b"45")).upload
    with pytest.raises(AlreadyRecorded):
        await adopt(harness.ports, FOREIGN, pieces(b"0123"))
    assert after == await harness.record(FOREIGN.id)


@pytest.mark.parametrize("content", [b"012", b"01234"])
async def test_content_of_another_size_is_not_recorded(content: bytes) -> None:
    """The file changed after its size was read."""
    harness = UploadsHarness()
    with pytest.raises(ContentChanged):
        await adopt(harness.ports, FOREIGN, pieces(content))
    assert await harness.record(FOREIGN.id) is None


async def test_failure_of_the_store_leaves_no_record_and_can_be_repeated() -> None:
    """Bytes without a record do not count, and are overwritten."""
    faults = Faults()
    harness = UploadsHarness(store=FailingStore(MemoryStore(bytes_max=100), faults))
    for number in range(1, 20):
        faults.nth, faults.seen = number, 0
        try:
            await adopt(harness.ports, FOREIGN, pieces(b"01", b"23"))
        except StoreError:
            assert await harness.record(FOREIGN.id) is None
        else:
            break
    assert number > 2
    faults.nth = 0
    assert b"0123" == b"".join([piece async for piece in harness.store.read(FOREIGN, 0, 4)])


async def test_complete_upload_is_ready_and_announced_to_no_one() -> None:
    """No hook runs, no event is written: the other server has done that."""
    harness = UploadsHarness()
    ready = FOREIGN.advance(10, EPOCH).complete(EPOCH).hand_to_workers((), EPOCH)
    adopted = await adopt(harness.ports, ready, pieces(b"0123456789"))
    assert (adopted.status, adopted.is_complete) == (Status.READY, True)
