"""Bodies that arrive as fast as possible, by zero-copy transfers or read in pieces: both behave the same."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urljoin

import pytest

from tests.support.client import TUS, Connection, create, patch_headers, request
from tests.support.content import MIB, content
from tests.support.server import RunningServer
from tests.support.sockets import all_read
from tests.support.stacks import every_stack
from tests.support.stored import assert_stored, assert_zero_copy, upload_id

pytestmark = [
    pytest.mark.timeout(120),
    every_stack,
    pytest.mark.parametrize("start", ["zero-copy", "read"], indirect=True),
]

Start = Callable[..., RunningServer]
LENGTH = 24 * MIB
STALLED_AT = 8 * MIB + 12_345
#: In the buffers of the kernel at both ends, at most: some systems let those of a receiver grow to 32 MiB.
IN_TRANSIT_BYTES = 40 * MIB
#: A poll, a lease or a retry of a client would take longer. Bytes that are on their way to S3 are waited for.
TAKEOVER_SECONDS = 2.0
STOP_SECONDS = 15.0


@dataclass
class EndlessPatch:
    """A PATCH of an upload of unknown length that sends the same bytes again and again as fast as it can."""

    url: str
    connection: Connection
    data: bytes
    sent: int = 0
    sending: asyncio.Task[None] | None = None

    @classmethod
    async def begun(cls, server: RunningServer, data: bytes) -> EndlessPatch:
        answer = await request("POST", server.url, {**TUS, "Upload-Defer-Length": "1"}, b"")
        url = urljoin(server.url, answer.headers["location"])
        self = cls(url, await Connection.open(url), data)
        await self.connection.send_head("PATCH", url, patch_headers(0, 100 * len(data)))
        self.sending = asyncio.create_task(self._send())
        return self

    async def _send(self) -> None:
        for _ in range(100):
            for start in range(0, len(self.data), MIB):
                await self.connection.send(self.data[start : start + MIB])
                self.sent += MIB

    async def has_sent(self, count: int) -> None:
        """Wait until this many bytes are sent."""
        assert self.sending is not None
        while self.sent < count:
            assert not self.sending.done()
            await asyncio.sleep(0.002)

    async def end(self) -> None:
        assert self.sending is not None
        self.sending.cancel()
        await asyncio.gather(self.sending, return_exceptions=True)
        self.connection.close()


async def assert_ends_at(server: RunningServer, url: str, offset: int, data: bytes) -> None:
    """Complete the upload where it is; it has the bytes of ``data``, repeated."""
    answer = await request("PATCH", url, {**patch_headers(offset), "Upload-Length": str(offset)}, b"")
    assert (answer.status, answer.offset) == (204, offset), answer
    turns, rest = divmod(offset, len(data))
    assert_stored(server, url, data * turns + data[:rest])


async def stalled(server: RunningServer, data: bytes) -> tuple[str, Connection]:
    """A PATCH whose client has sent ``STALLED_AT`` bytes, all of which the server has read, and sends no more."""
    url = await create(server.url, len(data))
    connection = await Connection.open(url)
    await connection.send_head("PATCH", url, patch_headers(0, len(data)))
    await connection.send(data[:STALLED_AT])
    await all_read(server.port, connection.own_port)
    return url, connection


@pytest.mark.anyio
async def test_next_requests_of_the_connection(start: Start, is_zero_copy: bool) -> None:
    """A request sent right after a body, or later, is answered, and none of its bytes is stored."""
    server = start()
    data = bytes(content(70, LENGTH))

    url = await create(server.url, 2 * LENGTH)
    path = "/files/" + upload_id(url)
    head = f"OPTIONS {path} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\n\r\n".encode()
    connection = await Connection.open(url)
    await connection.send_head("PATCH", url, patch_headers(0, LENGTH))
    await connection.send(data + head)
    answer = await connection.answer()
    assert (answer.status, answer.offset) == (204, LENGTH)
    following = await connection.answer()
    assert following.status == 204
    done = await connection.request("PATCH", url, patch_headers(LENGTH), data)
    assert (done.status, done.offset) == (204, 2 * LENGTH)
    connection.close()
    assert_stored(server, url, data + data)
    assert_zero_copy(server, is_zero_copy)


@pytest.mark.anyio
async def test_takeover_of_a_silent_client(start: Start, is_zero_copy: bool) -> None:
    """The new request gets an offset with every byte that was sent; later bytes are not stored."""
    server = start()
    data = bytes(content(71, LENGTH))

    url, holder = await stalled(server, data)
    started = time.perf_counter()
    answer = await request("HEAD", url)
    assert time.perf_counter() - started < 0.5
    assert (answer.status, answer.offset) == (200, STALLED_AT)
    assert 400 <= (await holder.answer()).status < 500
    holder.close()
    done = await request("PATCH", url, patch_headers(STALLED_AT), data[STALLED_AT:])
    assert (done.status, done.offset) == (204, LENGTH)
    assert_stored(server, url, data)
    assert_zero_copy(server, is_zero_copy)


@pytest.mark.anyio
async def test_takeover_of_a_sending_client(start: Start, is_zero_copy: bool) -> None:
    """A client that never stops sending is interrupted as fast as a silent one, and the offset is correct."""
    server = start()
    data = bytes(content(72, 64 * MIB))

    endless = await EndlessPatch.begun(server, data)
    await endless.has_sent(len(data) + IN_TRANSIT_BYTES)
    url = endless.url
    started = time.perf_counter()
    answer = await request("HEAD", url)
    seconds = time.perf_counter() - started
    print(f"took over in {seconds * 1000:.1f} ms")
    assert seconds < TAKEOVER_SECONDS
    assert answer.status == 200
    assert answer.offset is not None
    await endless.end()
    assert answer.offset > len(data)
    await assert_ends_at(server, url, answer.offset, data)
    assert_zero_copy(server, is_zero_copy)


@pytest.mark.anyio
async def test_silent_client_times_out(start: Start, is_zero_copy: bool) -> None:
    """After the idle time the request ends, with every byte kept."""
    server = start(UPLOADS__BODY_IDLE_SECONDS="1")
    data = bytes(content(73, LENGTH))

    url, holder = await stalled(server, data)
    answer = await asyncio.wait_for(holder.answer(), 10)
    holder.close()
    assert (answer.status, b"ERR_READ_TIMEOUT" in answer.body) == (503, True)
    answer = await request("HEAD", url)
    assert (answer.status, answer.offset) == (200, STALLED_AT)
    assert_zero_copy(server, is_zero_copy)


@pytest.mark.anyio
async def test_shutdown_of_a_sending_client(start: Start) -> None:
    """At SIGTERM a running body is saved, and the server exits in time."""
    server = start()
    data = bytes(content(74, 64 * MIB))

    endless = await EndlessPatch.begun(server, data)
    await endless.has_sent(2 * len(data) + IN_TRANSIT_BYTES)
    assert await asyncio.to_thread(server.stop, STOP_SECONDS) == 0
    await endless.end()
    again = start()

    url = again.url + upload_id(endless.url)
    offset = (await request("HEAD", url)).offset
    assert offset is not None
    # The shutdown saves the bytes after the last save at an interval too.
    assert offset > 2 * len(data)
    assert not server.is_on_disk or offset == (server.data_dir / "uploads" / upload_id(url)).stat().st_size
    await assert_ends_at(again, url, offset, data)


@pytest.mark.anyio
async def test_more_bodies_than_pipes(start: Start, is_zero_copy: bool) -> None:
    """More large bodies than there are pipes and threads all arrive completely."""
    server = start()
    data = [bytes(content(number, 8 * MIB + number)) for number in range(24)]

    async def one(piece: bytes) -> str:
        url = await create(server.url, len(piece))
        answer = await request("PATCH", url, patch_headers(0), piece)
        assert (answer.status, answer.offset) == (204, len(piece))
        return url

    for url, piece in zip(await asyncio.gather(*map(one, data)), data, strict=True):
        assert_stored(server, url, piece)
    assert_zero_copy(server, is_zero_copy)


@pytest.mark.anyio
async def test_creation_with_upload(start: Start, is_zero_copy: bool) -> None:
    """A large body of a creation is received the same way."""
    server = start()
    data = bytes(content(75, LENGTH))

    headers = {**patch_headers(0), "Upload-Length": str(LENGTH)}
    answer = await request("POST", server.url, headers, data)
    assert (answer.status, answer.offset) == (201, LENGTH)
    assert_stored(server, urljoin(server.url, answer.headers["location"]), data)
    assert_zero_copy(server, is_zero_copy)


@pytest.mark.anyio
async def test_chunked_body_is_read(start: Start) -> None:
    """A body of unknown length is read in pieces, whatever the setting."""
    server = start()
    data = bytes(content(76, LENGTH))

    url = await create(server.url, LENGTH)
    connection = await Connection.open(url)
    chunked = {**TUS, **patch_headers(0), "Transfer-Encoding": "chunked"}
    await connection.send_head("PATCH", url, chunked)
    await connection.send(b"%x\r\n" % LENGTH + data + b"\r\n0\r\n\r\n")
    answer = await connection.answer()
    assert (answer.status, answer.offset) == (204, LENGTH)
    connection.close()
    assert_stored(server, url, data)
    assert_zero_copy(server, False)


@pytest.mark.anyio
async def test_checksum_at_full_speed(start: Start, is_zero_copy: bool) -> None:
    """After a mismatch nothing is kept; sent again correctly, the upload completes."""
    server = start()
    data = bytes(content(78, LENGTH))
    right = base64.b64encode(hashlib.sha256(data).digest()).decode()

    url = await create(server.url, LENGTH)
    headers = {**patch_headers(0), "Upload-Checksum": f"sha256 {right}"}
    assert (await request("PATCH", url, headers, data[:-1] + b"!")).status == 460
    assert (await request("HEAD", url)).offset == 0
    answer = await request("PATCH", url, headers, data)
    assert (answer.status, answer.offset) == (204, LENGTH)
    assert_stored(server, url, data)
    assert_zero_copy(server, is_zero_copy)


@pytest.mark.parametrize("grace_seconds", [20, 1], ids=["in time", "too late"])
@pytest.mark.anyio
async def test_shutdown_during_downloads(start: Start, grace_seconds: int) -> None:
    """At SIGTERM a running download gets every byte; one whose client takes nothing is closed in the end."""
    server = start(SERVER__SHUTDOWN_TIMEOUT_SECONDS=str(grace_seconds))
    data = bytes(content(77, 48 * MIB))

    url = await create(server.url, len(data))
    assert (await request("PATCH", url, patch_headers(0), data)).status == 204
    reader = await Connection.open(url)
    await reader.send_head("GET", url, TUS)
    await reader._reader.readexactly(1000)
    server.process.terminate()
    if grace_seconds == 1:
        assert await asyncio.to_thread(server.process.wait, 8) == 0
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader._reader.readexactly(len(data))
    else:
        assert (await reader._reader.read()).endswith(data[1000:])
        assert await asyncio.to_thread(server.process.wait, 8) == 0
    reader.close()
    server.stop()
