"""Objects that no record names go; what a record names, a request may name, or is young stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.fake_s3 import MADE_AT, FakeS3, FakeS3Store
from tests.support.harness import UploadsHarness
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.uploads.abandoned import Abandoned, find_abandoned, remove_abandoned

pytestmark = pytest.mark.anyio

LATER = MADE_AT + timedelta(days=1)


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


@pytest.fixture
def harness(s3: FakeS3) -> UploadsHarness:
    return UploadsHarness(store=FakeS3Store(s3))


async def found(harness: UploadsHarness, *, removes: bool) -> list[Abandoned]:
    store = harness.store
    assert isinstance(store, FakeS3Store)
    return [each async for each in find_abandoned(harness.ports, store, LATER, removes=removes)]


async def lost_attempts(harness: UploadsHarness, s3: FakeS3) -> tuple[dict[str, bytes], set[str]]:
    """Two uploads, and beside what their records name an object, a tail and a multipart upload of each."""
    whole = (await harness.create(250, bytes(250))).upload
    open_one = (await harness.create(250, bytes(130))).upload
    named = dict(s3.objects), set(s3.multiparts)
    for upload in (whole, open_one):
        lost = FakeS3Store(s3).open(replace(upload, offset=0, storage={}))
        await lost.write([bytes(150)])
        await lost.flush()
        await lost.close()
        late = FakeS3Store(s3).open(replace(upload, offset=0, storage={}))
        await late.write([bytes(50)])
        await late.flush(durable=True)
        await late.close()
    return named


async def test_only_what_no_record_names_is_removed(harness: UploadsHarness, s3: FakeS3) -> None:
    """First the dry run, which changes nothing; then all is gone but what the records name."""
    objects, multiparts = await lost_attempts(harness, s3)
    before = dict(s3.objects), set(s3.multiparts)
    listed = await found(harness, removes=False)
    kinds = sorted(str(each.stored.kind) for each in listed)
    assert kinds == ["multipart upload"] * 2 + ["object"] * 2 + ["tail"] * 2
    assert (dict(s3.objects), set(s3.multiparts)) == before
    assert all(each.is_removed for each in await found(harness, removes=True))
    assert (s3.objects, set(s3.multiparts)) == (objects, multiparts)
    assert await found(harness, removes=False) == []


async def test_upload_goes_on_after_the_janitor(harness: UploadsHarness, s3: FakeS3) -> None:
    """Every byte that was acknowledged is still there."""
    made = (await harness.create(250, bytes(range(130)))).upload
    await remove_abandoned(harness.ports, LATER)
    await harness.append(made.id, 130, bytes(range(130, 250)))
    ended = await harness.records.find(made.id)
    assert ended is not None
    content = b"".join([piece async for piece in harness.store.read(ended, 0, 250)])
    assert content == bytes(range(250))


async def test_young_and_locked_objects_stay(harness: UploadsHarness, s3: FakeS3) -> None:
    """A request that runs has a multipart upload that its record does not name yet."""
    await lost_attempts(harness, s3)
    before = dict(s3.objects), set(s3.multiparts)
    assert await remove_abandoned(harness.ports, MADE_AT) == 0
    ids = {key.split("/")[1].partition(".")[0] for key in s3.objects}
    locks = [await harness.locker.try_acquire(upload_id) for upload_id in ids]
    assert await remove_abandoned(harness.ports, LATER) == 0
    assert (dict(s3.objects), set(s3.multiparts)) == before
    for lock in locks:
        assert lock is not None
        await lock.release()
    assert await remove_abandoned(harness.ports, LATER) == 6


async def test_objects_of_others_stay(harness: UploadsHarness, s3: FakeS3) -> None:
    """Another program has them in the same bucket."""
    others = {"uploads/a/b": b"1", "other/x": b"2", "tails/x": b"3", "probe": b""}
    s3.objects |= others
    s3.objects["uploads/without-record.0123456789abcdef"] = b"4"
    assert await remove_abandoned(harness.ports, LATER) == 1
    assert s3.objects == others


async def test_terminated_upload_leaves_nothing(harness: UploadsHarness, s3: FakeS3) -> None:
    """What another server has sent for it meanwhile goes too, at once or with the janitor."""
    made = (await harness.create(250, bytes(130))).upload
    late = FakeS3Store(s3).open(replace(made, offset=0, storage={}))
    await late.write([bytes(150)])
    await harness.terminate(made.id)
    assert (s3.objects, s3.multiparts) == ({}, {})
    with pytest.raises(StoreUnavailable):
        await late.flush(durable=True)
    await late.close()
    await remove_abandoned(harness.ports, LATER)
    assert (s3.objects, s3.multiparts) == ({}, {})


async def test_failure_of_one_object_leaves_the_others_to_go(harness: UploadsHarness, s3: FakeS3) -> None:
    """It is reported as not removed, and the next pass tries again."""
    await lost_attempts(harness, s3)
    s3.failures["delete_object"] = [StoreUnavailable("S3 answered 500 InternalError")]
    assert sorted(each.is_removed for each in await found(harness, removes=True)) == [False] + [True] * 5
    assert await remove_abandoned(harness.ports, LATER) == 1


async def test_pages_of_one_and_a_refused_key(harness: UploadsHarness, s3: FakeS3) -> None:
    """What S3 refuses to remove is reported as left; the rest goes, on whatever page it is."""
    objects, multiparts = await lost_attempts(harness, s3)
    s3.page_size = 1
    refused = next(key for key in s3.objects if key not in objects)
    s3.refused[refused] = StoreUnavailable("S3 answered 403 AccessDenied")
    results = await found(harness, removes=True)
    assert [each.stored.key for each in results if not each.is_removed] == [refused]
    assert len(results) == 6
    assert s3.objects.keys() == objects.keys() | {refused}
    assert set(s3.multiparts) == multiparts
