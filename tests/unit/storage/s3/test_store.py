"""The S3 store with S3 in memory: several processes with one upload, and requests whose answers are lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.contracts.store import an_upload, append, read
from tests.support.content import content
from tests.support.fake_s3 import MADE_AT, FakeS3, FakeS3Store
from tests.support.s3_recorder import recording_s3
from tusd_py.contracts.store import BytesMissing, StoreUnavailable
from tusd_py.storage.s3.client import MultipartMissing, ObjectMissing, S3Client

pytestmark = pytest.mark.anyio


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


@pytest.mark.parametrize("size", [50, 250])
async def test_late_process_overwrites_nothing(s3: FakeS3, size: int) -> None:
    """A process that ends an upload after another one has ended and recorded it leaves that object alone."""
    late, other = FakeS3Store(s3), FakeS3Store(s3)
    body, wrong = bytes(content(1, size)), bytes(content(2, size))
    sink = late.open(an_upload())
    await sink.write([wrong])
    recorded = await append(other, an_upload(), [body])
    assert await sink.flush(durable=True) == size
    await sink.close()
    assert await read(other, recorded) == body
    assert len([key for key in s3.objects if key.startswith("uploads/")]) == 2


async def test_two_processes_reopen_one_object(s3: FakeS3) -> None:
    """Both continue an object that its record does not name as complete; each makes one of its own."""
    store = FakeS3Store(s3)
    body = bytes(content(3, 250))
    cut = await append(store, an_upload(), [body[:210]], durable=False)
    ended = await append(store, cut, [body[210:]])
    late = store.open(cut)
    await late.write([bytes(40)])
    again = await append(store, cut, [body[210:]])
    await late.flush(durable=True)
    await late.close()
    assert await read(store, again) == body
    assert again.storage != ended.storage


async def test_completion_whose_answer_is_lost(s3: FakeS3) -> None:
    """The object exists, and the client gets an error: its next request continues, and the bytes are right."""
    store = FakeS3Store(s3)
    body = bytes(content(4, 350))
    recorded = await append(store, an_upload(), [body[:320]], durable=False)
    s3.failures["complete_multipart_upload"] = [StoreUnavailable("S3 cannot be reached")]
    s3.is_done_first = True
    sink = store.open(recorded)
    await sink.write([body[320:]])
    with pytest.raises(StoreUnavailable):
        await sink.flush(durable=True)
    assert sink.persisted_offset >= 320
    await sink.close()
    again = await append(store, recorded, [body[320:]])
    assert await read(store, again) == body
    await store.delete(again)
    assert (s3.objects, s3.multiparts) == ({}, {})


async def test_completion_that_was_done_before(s3: FakeS3) -> None:
    """S3 has forgotten the multipart upload, but its object is there: the completion has succeeded."""
    store = FakeS3Store(s3)
    body = bytes(content(5, 250))
    s3.failures["complete_multipart_upload"] = [MultipartMissing("the multipart upload has ended")]
    s3.is_done_first = True
    assert await read(store, await append(store, an_upload(), [body])) == body


async def test_multipart_without_object(s3: FakeS3) -> None:
    """S3 has forgotten the multipart upload, and there is no object: the completion fails."""
    store = FakeS3Store(s3)
    s3.failures["complete_multipart_upload"] = [MultipartMissing("the multipart upload has ended")]
    sink = store.open(an_upload())
    await sink.write([bytes(250)])
    with pytest.raises(MultipartMissing):
        await sink.flush(durable=True)
    await sink.close()


async def test_multipart_without_parts_is_forgotten(s3: FakeS3) -> None:
    """A record that was cut to its tails goes on without the multipart upload that S3 has no more."""
    store = FakeS3Store(s3)
    body = bytes(content(6, 120))
    recorded = await append(store, an_upload(), [body], durable=False)
    cut = replace(recorded, offset=0)
    s3.multiparts.clear()
    assert await read(store, await append(store, cut, [body])) == body


async def test_flush_of_what_is_whole(s3: FakeS3) -> None:
    """The object of a complete upload is not made once more."""
    store = FakeS3Store(s3)
    recorded = await append(store, an_upload(), [bytes(250)])
    before = dict(s3.objects)
    assert await append(store, recorded, []) == recorded
    assert s3.objects == before


async def test_changed_part_is_sent_again(s3: FakeS3) -> None:
    """A part that another process has replaced is not completed: the offset goes back to it."""
    store = FakeS3Store(s3)
    body = bytes(content(7, 350))
    recorded = await append(store, an_upload(), [body[:320]], durable=False)
    (_, parts), *_ = s3.multiparts.values()
    parts[2] = bytes(100)
    sink = store.open(recorded)
    await sink.write([body[320:]])
    with pytest.raises(BytesMissing):
        await sink.flush(durable=True)
    assert sink.persisted_offset == 100
    cut = replace(recorded, offset=100)
    await sink.close()
    assert await read(store, await append(store, cut, [body[100:]])) == body


async def test_saves_of_a_fast_body_send_nothing_twice(s3: FakeS3) -> None:
    """While parts follow each other, a save counts those that were sent. Where no part began, the rest is a tail."""
    store = FakeS3Store(s3)
    body = bytes(content(9, 480))
    sink = store.open(an_upload())
    for stop in (150, 260, 370, 480):
        await sink.write([body[stop - 110 if stop > 150 else 0 : stop]])
        assert await sink.flush(more_follows=True) <= stop // 100 * 100
        await sink.committed()
    assert "put_object" not in s3.calls
    assert await sink.flush(more_follows=True) == len(body)
    assert s3.calls.count("put_object") == 1
    await sink.close()


async def test_end_of_a_fast_body_persists_everything(s3: FakeS3) -> None:
    """A body that is cut counts to its last byte."""
    sink = FakeS3Store(s3).open(an_upload())
    await sink.write([bytes(150)])
    assert await sink.flush() == 150
    await sink.close()


async def test_files_of_other_programs_stay(s3: FakeS3) -> None:
    """Whatever removes the bytes of an upload leaves what only looks like them, also next to a chosen id."""
    foreign = ["uploads/report", "uploads/report.pdf", "uploads/report/1", "tails/report/1.txt", "publishing/report"]
    store = FakeS3Store(s3)
    upload = await append(store, an_upload("report"), [bytes(150)])
    s3.objects |= dict.fromkeys(foreign, b"x")
    later = MADE_AT + timedelta(days=1)
    assert {found.key async for batch in store.list_objects(later) for found in batch}.isdisjoint(foreign)
    await store.delete(upload)
    await store.purge("report")
    assert sorted(s3.objects) == sorted(foreign)
    assert [ids async for ids in store.find_old(later)] == []


async def test_completed_multipart_upload_without_a_code_of_its_own() -> None:
    """Ceph answers NoSuchKey to a request for a multipart upload that is complete: it has ended, as NoSuchUpload says.

    No other request is meant by it: an object that is missing is missing.
    """
    with recording_s3() as recorder:
        recorder.refuse = lambda _: (404, "NoSuchKey")
        client = S3Client(recorder.account())
        with pytest.raises(MultipartMissing):
            await client.call("list_parts", Key="k", UploadId="u")
        with pytest.raises(ObjectMissing):
            await client.call("upload_part_copy", Key="k", UploadId="u", PartNumber=1, CopySource="b/k")
        await client.close()
