"""``S3Sink`` while it reads from a socket: parts, tails, memory and failures, with S3 in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.contracts.store import an_upload, append, read
from tests.support.content import content
from tests.support.fake_s3 import FakeS3, FakeS3Store
from tests.support.readers import BytesReader
from tests.support.waiting import eventually
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.contracts.zero_copy import ZeroCopySink
from tusd_py.storage.s3.writer import S3Sink

pytestmark = pytest.mark.anyio


class SlowS3(FakeS3):
    """Parts wait until ``may_end`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = asyncio.Event()
        self.under_way = self.most_under_way = 0

    async def send_part(
        self, key: str, multipart_id: str, number: int, pieces: Sequence[bytes | memoryview], checksum: Any
    ) -> str:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await self.may_end.wait()
        self.under_way -= 1
        return await super().send_part(key, multipart_id, number, pieces, checksum)


async def pump(sink: S3Sink, reader: BytesReader) -> None:
    """Move what the reader has as a request does: bursts while the sink takes them, else pieces."""
    while reader.left:
        if sink.can_transfer:
            reader.begin_burst()
            await sink.transfer(reader)
        else:
            piece = bytearray(min(reader.left, 64))
            reader.begin_burst()
            reader.read_into(memoryview(piece))
            await sink.write([bytes(piece)])


@pytest.mark.parametrize("burst_bytes", [30, 100, 1000])
@pytest.mark.parametrize("before", [0, 1, 99, 100, 101])
@pytest.mark.parametrize("length", [250, 300, 1001])
async def test_bursts_of_any_size(before: int, length: int, burst_bytes: int) -> None:
    """Behind any number of stored bytes, bursts become one object, and no memory is left."""
    s3 = FakeS3()
    store = FakeS3Store(s3)
    body = bytes(content(1, length))
    recorded = await append(store, an_upload(), [body[:before]], durable=False) if before else an_upload()
    sink = store.open(recorded)
    assert isinstance(sink, ZeroCopySink)
    await sink.write([body[before : before + 10]])
    await pump(sink, BytesReader(body[before + 10 :], piece_bytes=17, burst_bytes=burst_bytes))
    assert await sink.flush(durable=True) == length
    await sink.committed()
    await sink.close()
    assert await read(store, replace(recorded, offset=length, storage=sink.state)) == body
    assert (store.budget.used, len(s3.objects), s3.multiparts) == (0, 1, {})
    await store.close()


async def test_cut_keeps_every_byte() -> None:
    """A flush in the middle makes whole parts and a tail; the next request goes on behind it."""
    s3 = FakeS3()
    store = FakeS3Store(s3)
    body = bytes(content(2, 460))
    sink = store.open(an_upload())
    await pump(sink, BytesReader(body[:250]))
    assert await sink.flush() == 250
    state = sink.state
    await sink.close()
    assert store.budget.used == 0
    recorded = replace(an_upload(), offset=250, storage=state)
    assert await read(store, await append(store, recorded, [body[250:]])) == body
    await store.close()


async def test_slots_are_full_while_the_next_part_is_gathered() -> None:
    """As many parts as allowed are under way, one more is gathered, and the socket is not held for the next."""
    s3 = SlowS3()
    store = FakeS3Store(s3, parallel_parts=2)
    sink = store.open(an_upload())
    reader = BytesReader(bytes(1000))
    while sink.can_transfer:
        await sink.transfer(reader)
    assert reader.bytes_read == 300
    await asyncio.sleep(0)
    assert s3.under_way == 2
    writing = asyncio.ensure_future(sink.write([b"x"]))
    await asyncio.sleep(0)
    assert not writing.done()
    s3.may_end.set()
    await writing
    assert await sink.flush(durable=True) == 301
    assert s3.most_under_way == 2
    await sink.close()
    assert store.budget.used == 0
    await store.close()


async def test_little_memory_is_left_to_pieces() -> None:
    """Without memory for a whole part nothing is transferred, and pieces still arrive at their end."""
    store = FakeS3Store(FakeS3(), memory_bytes=150)
    body = bytes(content(3, 800))
    first, second = store.open(an_upload("first")), store.open(an_upload("second"))
    await first.transfer(BytesReader(body[:50]))
    assert not second.can_transfer
    reader = BytesReader(body)
    await second.transfer(reader)
    assert reader.bytes_read == 0
    ends = [asyncio.ensure_future(pump(second, reader)), asyncio.ensure_future(pump(first, BytesReader(body[50:])))]
    await asyncio.gather(*ends)
    assert await first.flush(durable=True) == await second.flush(durable=True) == len(body)
    await first.close()
    await second.close()
    assert store.budget.used == 0
    await store.close()


async def test_part_that_fails_ends_the_request() -> None:
    """The offset is that of the parts before it, and the memory is released."""
    s3 = FakeS3()
    store = FakeS3Store(s3, parallel_parts=1)
    sink = store.open(an_upload())
    await sink.transfer(BytesReader(bytes(100)))
    await eventually(lambda: "upload_part" in s3.calls)
    s3.failures["upload_part"] = [StoreUnavailable("S3 cannot be reached")]
    with pytest.raises(StoreUnavailable):
        await pump(sink, BytesReader(bytes(500)))
    with pytest.raises(StoreUnavailable):
        await sink.flush()
    assert sink.persisted_offset == 100
    await sink.close()
    assert store.budget.used == 0
    await store.close()


@pytest.mark.parametrize("is_read", [True, False])
async def test_upload_of_exactly_one_part_is_one_request(is_read: bool) -> None:
    """Its length says that no other part follows."""
    s3 = FakeS3()
    store = FakeS3Store(s3)
    body = bytes(content(4, 100))
    sink = store.open(replace(an_upload(), length=100))
    await (sink.transfer(BytesReader(body)) if is_read else sink.write([body]))
    assert await sink.flush(durable=True) == 100
    assert s3.calls == ["put_object"]
    await sink.close()
    assert store.budget.used == 0
    await store.close()


async def test_length_that_turns_out_wrong() -> None:
    """What seemed to be the last part is a part like others once more bytes come, or the request ends without them."""
    store = FakeS3Store(FakeS3())
    body = bytes(content(5, 130))
    upload = replace(an_upload(), length=100)
    saved = await append(store, upload, [body[:100]], durable=False)
    assert await read(store, await append(store, saved, [body[100:]])) == body
    assert await read(store, await append(store, replace(upload, id="other"), [body[:100], body[100:]])) == body
    await store.close()
