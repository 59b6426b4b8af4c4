"""``PartBuffer``: bytes from a socket and from pieces, their CRC, and when the memory may be used again."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from tests.support.content import content
from tests.support.readers import BytesReader
from tusd_py.storage.s3 import checksums
from tusd_py.storage.s3.part_buffer import PartBuffer


@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
def test_keeps_bytes_and_crc(piece_bytes: int) -> None:
    """Pieces and reads follow each other; no read takes more than it is asked for."""
    body = bytes(content(1, 300))
    buffer = PartBuffer(300)
    reader = BytesReader(body[10:], piece_bytes=piece_bytes)
    buffer.add(body[:10])
    buffer.fill(reader, 200, None)
    assert (buffer.filled, reader.left) == (210, 90)
    buffer.fill(reader, 90, None)
    assert bytes(buffer.content()) == body
    assert buffer.crc == checksums.crc_of(body)


def test_burst_that_ends_early() -> None:
    """What has arrived is there, and the next burst goes on behind it."""
    buffer, reader = PartBuffer(100), BytesReader(b"abcdef", burst_bytes=4)
    buffer.fill(reader, 100, None)
    assert bytes(buffer.content()) == b"abcd"
    reader.begin_burst()
    buffer.fill(reader, 96, None)
    assert bytes(buffer.content()) == b"abcdef"


def test_observer_sees_every_byte_in_order() -> None:
    """Each read once, and the last before the end."""
    seen: list[bytes] = []

    def observe(piece: memoryview) -> Future[None]:
        seen.append(bytes(piece))
        future: Future[None] = Future()
        future.set_result(None)
        return future

    buffer = PartBuffer(10)
    buffer.fill(BytesReader(b"abcdefgh", piece_bytes=3), 10, observe)
    assert b"".join(seen) == b"abcdefgh"


def test_memory_in_use_is_not_released() -> None:
    """A connection that still sends keeps the bytes as they are."""
    buffer = PartBuffer(10)
    buffer.add(b"0123456789")
    sent = memoryview(buffer.content())[3:]
    assert not buffer.release()
    assert bytes(sent) == b"3456789"
    sent.release()
    assert buffer.release()
    buffer.clear()
    buffer.add(b"ab")
    assert (bytes(buffer.content()), buffer.crc) == (b"ab", checksums.crc_of(b"ab"))
