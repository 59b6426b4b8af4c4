"""SIGTERM during uploads: running requests get 503, their bytes are kept, and the clients continue."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

import pytest

from tests.support.client import Connection, PatientUpload, create, patch_headers, request
from tests.support.content import MIB, content
from tests.support.server import RunningServer
from tests.support.sockets import all_read
from tests.support.stacks import every_stack, quick_on_every_stack
from tests.support.stored import assert_stored

pytestmark = [pytest.mark.timeout(120), every_stack]

Start = Callable[..., RunningServer]


@pytest.mark.parametrize("processes", [pytest.param(1, marks=quick_on_every_stack), 2])
@pytest.mark.anyio
async def test_shutdown_with_stalled_requests_503(start: Start, processes: int) -> None:
    """Each running PATCH gets Retry-After; HEAD reports exactly the bytes that it sent."""
    flags = [] if processes == 1 else ["--processes", str(processes)]
    data = [content(number, 2 * MIB) for number in range(6)]
    sent = [number * 123_457 + 1 for number in range(6)]

    async def resume(urls: list[str], port: int) -> RunningServer:
        server = await asyncio.to_thread(start, *flags, port=port)
        for url, piece, bytes_sent in zip(urls, data, sent, strict=True):
            answer = await request("HEAD", url)
            assert (answer.status, answer.offset) == (200, bytes_sent)
            answer = await request("PATCH", url, patch_headers(bytes_sent), piece[bytes_sent:])
            assert (answer.status, answer.offset) == (204, len(piece))
        return server

    server = start(*flags)
    urls = [await create(server.url, len(piece)) for piece in data]
    connections = []
    for url, piece, bytes_sent in zip(urls, data, sent, strict=True):
        connection = await Connection.open(url)
        await connection.send_head("PATCH", url, patch_headers(0, len(piece)))
        await connection.send(piece[:bytes_sent])
        connections.append(connection)
    for connection in connections:
        await all_read(server.port, connection.own_port)
    server.process.send_signal(signal.SIGTERM)
    answers = await asyncio.wait_for(asyncio.gather(*(one.answer() for one in connections)), 10)
    for connection in connections:
        connection.close()
    await asyncio.to_thread(server.process.wait, 15)
    server, urls, answers, exit_code = server, urls, answers, server.stop()
    assert [answer.status for answer in answers] == [503] * len(data)
    assert all(int(answer.headers["retry-after"]) >= 0 for answer in answers)
    assert exit_code == 0
    for url, piece, bytes_sent in zip(urls, data, sent, strict=True):
        assert not server.is_on_disk or server.stored(url)[:bytes_sent] == piece[:bytes_sent]
    server = await resume(urls, server.port)
    for url, piece in zip(urls, data, strict=True):
        assert_stored(server, url, piece)


@pytest.mark.anyio
async def test_shutdown_with_sending_requests_503(start: Start) -> None:
    """They keep what was received and complete after the restart."""
    data = [content(number, 8 * MIB) for number in range(6)]

    server = start()
    uploads = [PatientUpload(server.url, piece, rate=3 * MIB) for piece in data]
    async with asyncio.TaskGroup() as group:
        for upload in uploads:
            group.create_task(upload.run())
        while min(upload.position for upload in uploads) < 2 * MIB:  # noqa: ASYNC110 - a counter reports no change
            await asyncio.sleep(0.05)
        stopped_at = time.monotonic()
        # A fifth of a second is what a busy machine may take to read what was sent.
        received = [upload.position_at(stopped_at - 0.2) for upload in uploads]
        exit_code = await asyncio.to_thread(server.stop)
        assert exit_code == 0
        server = await asyncio.to_thread(start, port=server.port)
    for upload, bytes_received in zip(uploads, received, strict=True):
        report = upload.first_reported_after(stopped_at)
        assert report is not None
        assert MIB < bytes_received <= report.offset
    assert all(503 in upload.statuses for upload in uploads)
    for upload in uploads:
        assert upload.url is not None
        assert_stored(server, upload.url, upload.content)
