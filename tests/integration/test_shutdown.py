"""SIGTERM during uploads: each is answered 503 with Retry-After, and every received byte is kept."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.client import TUS, create, patch_headers, request
from tests.support.client import Connection as ClientConnection
from tests.support.content import content
from tests.support.receiver import HANG, receiving
from tests.support.server import start_server
from tests.support.sockets import all_read
from tests.support.waiting import eventually


@pytest.mark.parametrize("flags", [(), ("--processes", "2")], ids=["one", "two"])
@pytest.mark.anyio
async def test_running_uploads_are_saved_503(flags: tuple[str, ...], tmp_path: Path) -> None:
    """Several uploads are saved at once, the exit code is 0, and the next server continues from the last byte."""
    data = content(7, 500_000)
    server = start_server(tmp_path / "data", *flags)
    try:
        running = []
        for sent in (1000, 70_000, 300_000):
            url = await create(server.url, len(data))
            connection = await ClientConnection.open(url)
            await connection.send_head("PATCH", url, patch_headers(0, len(data)))
            await connection.send(data[:sent])
            await all_read(server.port, connection.own_port)
            running.append((url, sent, connection))
        server.process.send_signal(signal.SIGTERM)
        for _, sent, connection in running:
            answer = await asyncio.wait_for(connection.answer(), 15)
            assert (answer.status, answer.offset) == (503, sent)
            assert int(answer.headers["retry-after"]) >= 1
            connection.close()
        assert await asyncio.to_thread(server.process.wait, 20) == 0
    finally:
        server.kill()
    again = start_server(tmp_path / "data", *flags)
    try:
        for url, sent, _ in running:
            here = urljoin(again.url, url.rsplit("/", 1)[1])
            assert (await request("HEAD", here)).offset == sent
            assert (await request("PATCH", here, patch_headers(sent), data[sent:])).status == 204
            assert again.stored(here) == bytes(data)
    finally:
        again.kill()


@pytest.mark.anyio
async def test_cancelled_requests_are_one_line_in_the_log(tmp_path: Path) -> None:
    """Requests that wait for a hook when the grace time ends: one warning says how many, without tracebacks."""
    with receiving() as receiver:
        receiver.answers["pre-create"] = HANG
        settings = {"HOOKS__HTTP_URLS": receiver.url, "SERVER__SHUTDOWN_TIMEOUT_SECONDS": "0.5"}
        server = start_server(tmp_path / "data", settings=settings)
        try:
            waiting = [asyncio.create_task(request("POST", server.url, {**TUS, "Upload-Length": "1"})) for _ in "123"]
            await eventually(lambda: len(receiver.calls) == 3, "each request waits for the hook")
            assert await asyncio.to_thread(server.stop) == 0
            answers = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(answer, OSError | EOFError) for answer in answers)
        finally:
            server.kill()
    log = server.log.read_text()
    assert 1 == log.count("requests cancelled")
    assert "Traceback" not in log
