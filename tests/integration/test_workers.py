"""Two server processes on one data directory: uploads continue at either, and each reports the metrics of both."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.client import TUS, create, patch_headers, request
from tests.support.content import content
from tests.support.server import RunningServer, start_server
from tests.support.sockets import accepted_by, all_read, alone, owner, server_processes, server_side
from tests.support.waiting import eventually

KIB = 1024


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("pair") / "data", "--processes", "2")
    yield running
    running.kill()


async def processes(pair: RunningServer) -> tuple[int, int]:
    # The processes have the listening socket before they accept connections.
    await eventually(lambda: len(re.findall("server process . ready", pair.log.read_text())) == 2)
    await eventually(lambda: len(server_processes(pair)) == 2)
    first, second = server_processes(pair)
    return first, second


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.anyio
async def test_takeover_between_processes(pair: RunningServer, direction: int) -> None:
    """HEAD at one process stops a stalled PATCH at the other and returns the offset, from which a PATCH continues."""
    first, second = (await processes(pair))[::direction]
    data = content(6, 300 * KIB)
    url = await create(pair.url, len(data))
    stalled = await accepted_by(first, pair)
    await stalled.send_head("PATCH", url, patch_headers(0, len(data)))
    await stalled.send(data[: 100 * KIB])
    await all_read(pair.port, stalled.own_port)
    other = await accepted_by(second, pair)
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    head = await other.request("HEAD", url, TUS)
    assert loop.time() - started_at < 2
    assert (head.status, head.offset) == (200, 100 * KIB)
    answer = await other.request("PATCH", url, patch_headers(100 * KIB), data[100 * KIB :])
    assert (answer.status, answer.offset) == (204, len(data))
    stopped = await asyncio.wait_for(stalled.answer(), 10)
    assert stopped.status == 400
    assert pair.stored(url) == bytes(data)
    stalled.close()
    other.close()


@pytest.mark.anyio
async def test_metrics_are_summed_over_processes(pair: RunningServer) -> None:
    """Each process reports the sum of both."""

    async def created(process: int) -> float:
        connection = await accepted_by(process, pair)
        text = (await connection.request("GET", f"{pair.root}/metrics", {})).body.decode()
        connection.close()
        found = re.search(r"^tusd_uploads_created (\S+)$", text, re.M)
        return float(found[1]) if found else 0.0

    first, second = await processes(pair)
    before = await created(first)
    for process in (first, second, second):
        connection = await accepted_by(process, pair)
        answer = await connection.request("POST", pair.url, {**TUS, "Upload-Length": "5"}, b"")
        assert answer.status == 201
        connection.close()
    assert await created(first) == await created(second) == before + 3


@pytest.mark.anyio
async def test_parts_at_different_processes(pair: RunningServer) -> None:
    """Each process receives one part; the final upload is complete after the last byte."""
    first, second = await processes(pair)
    parts = [await create(pair.url, 4, {**TUS, "Upload-Concat": "partial"}) for _ in range(2)]
    final = await create_final(pair, parts)
    for process, url, data in zip((first, second), parts, (b"0123", b"4567"), strict=True):
        connection = await accepted_by(process, pair)
        assert (await connection.request("PATCH", url, patch_headers(0), data)).status == 204
        connection.close()

    deadline = asyncio.get_running_loop().time() + 10
    while (answer := await request("GET", final, {})).status != 200:
        assert asyncio.get_running_loop().time() < deadline, answer
    assert answer.body == b"01234567"
    assert Path(pair.data_dir / "uploads" / final.rsplit("/", 1)[1]).exists()


async def create_final(pair: RunningServer, parts: list[str]) -> str:
    paths = " ".join(f"/files/{url.rsplit('/', 1)[1]}" for url in parts)
    answer = await request("POST", pair.url, {**TUS, "Upload-Concat": f"final;{paths}"}, b"")
    assert answer.status == 201, answer
    return urljoin(pair.url, answer.headers["location"])


def counts(pair: RunningServer, clients: list[socket.socket]) -> list[int]:
    """How many of these connections each process has accepted."""
    running = server_processes(pair)
    sides = [server_side(pair.port, client.getsockname()[1]) for client in clients]
    owners = [owner(side.inode, running) for side in sides if side is not None and side.inode]
    return sorted(owners.count(process) for process in running)


def is_accepted(pair: RunningServer, client: socket.socket) -> bool:
    side = server_side(pair.port, client.getsockname()[1])
    return side is not None and side.inode != 0


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one by one"])
@pytest.mark.anyio
async def test_connections_are_distributed(pair: RunningServer, at_once: bool) -> None:
    """Of 40 open connections each process has about half."""
    await processes(pair)
    clients: list[socket.socket] = []
    try:
        for _ in range(40):
            clients.append(socket.create_connection(("127.0.0.1", pair.port)))
            if not at_once:
                await eventually(partial(is_accepted, pair, clients[-1]))
        for client in clients:
            await eventually(partial(is_accepted, pair, client))
        assert min(counts(pair, clients)) >= 12
    finally:
        for client in clients:
            client.close()


@pytest.mark.anyio
async def test_connections_do_not_wait_for_a_process_that_hangs(pair: RunningServer) -> None:
    """A process that hangs has fewer connections than the other, which accepts all of them anyway."""
    first, _ = await processes(pair)
    with alone(first, pair):
        for _ in range(20):
            answer = await asyncio.wait_for(request("OPTIONS", pair.url), 5)
            assert answer.status == 204
        clients = [socket.create_connection(("127.0.0.1", pair.port)) for _ in range(40)]
        await eventually(lambda: max(counts(pair, clients)) == 40)
        for client in clients:
            client.close()
