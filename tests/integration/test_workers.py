"""Two worker processes over one folder: an upload begun at one goes on at the other, and any counts for both."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.client import TUS, create, patch_headers, request
from tests.support.content import content
from tests.support.loops import eventually, on_loop
from tests.support.server import RunningServer, start_server
from tests.support.sockets import accepted_by, all_read, alone, owner, server_side, workers

KIB = 1024


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("pair") / "data", "--workers", "2")
    yield running
    running.kill()


async def both(pair: RunningServer) -> tuple[int, int]:
    # They have the listening socket before they serve.
    await eventually(lambda: pair.log.read_text().count("worker serves") == 2)
    await eventually(lambda: len(workers(pair)) == 2)
    first, second = workers(pair)
    return first, second


@pytest.mark.parametrize("direction", [1, -1])
@on_loop
async def test_takeover_from_one_process_to_the_other(pair: RunningServer, direction: int) -> None:
    """A PATCH has gone quiet at one worker; HEAD at the other stops it, tells what came, and goes on from there."""
    first, second = (await both(pair))[::direction]
    data = content(6, 300 * KIB)
    url = await create(pair.url, len(data))
    quiet = await accepted_by(first, pair)
    await quiet.send_head("PATCH", url, patch_headers(0, len(data)))
    await quiet.send(data[: 100 * KIB])
    await all_read(pair.port, quiet.own_port)
    other = await accepted_by(second, pair)
    loop = asyncio.get_running_loop()
    began = loop.time()
    head = await other.request("HEAD", url, TUS)
    assert loop.time() - began < 2
    assert (head.status, head.offset) == (200, 100 * KIB)
    answer = await other.request("PATCH", url, patch_headers(100 * KIB), data[100 * KIB :])
    assert (answer.status, answer.offset) == (204, len(data))
    told = await asyncio.wait_for(quiet.answer(), 10)
    assert told.status == 400
    assert pair.stored(url) == bytes(data)
    quiet.close()
    other.close()


@on_loop
async def test_any_worker_counts_for_both(pair: RunningServer) -> None:
    """Whichever process Prometheus happens to ask, it is told the sum."""

    async def created(worker: int) -> float:
        connection = await accepted_by(worker, pair)
        text = (await connection.request("GET", f"{pair.root}/metrics", {})).body.decode()
        connection.close()
        found = re.search(r"^tusd_uploads_created (\S+)$", text, re.M)
        return float(found[1]) if found else 0.0

    first, second = await both(pair)
    before = await created(first)
    for worker in (first, second, second):
        connection = await accepted_by(worker, pair)
        answer = await connection.request("POST", pair.url, {**TUS, "Upload-Length": "5"}, b"")
        assert answer.status == 201
        connection.close()
    assert await created(first) == await created(second) == before + 3


@on_loop
async def test_parts_at_both_joined_by_either(pair: RunningServer) -> None:
    """Each worker takes one part of an upload that the last byte of them makes whole."""
    first, second = await both(pair)
    parts = [await create(pair.url, 4, {**TUS, "Upload-Concat": "partial"}) for _ in range(2)]
    final = await create_final(pair, parts)
    for worker, url, data in zip((first, second), parts, (b"0123", b"4567"), strict=True):
        connection = await accepted_by(worker, pair)
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
    return pair.root + answer.headers["location"]


def shares(pair: RunningServer, visitors: list[socket.socket]) -> list[int]:
    """How many of these connections each worker has taken in."""
    held = workers(pair)
    sides = [server_side(pair.port, visitor.getsockname()[1]) for visitor in visitors]
    owners = [owner(side.inode, held) for side in sides if side is not None and side.inode]
    return sorted(owners.count(worker) for worker in held)


def is_taken_in(pair: RunningServer, visitor: socket.socket) -> bool:
    side = server_side(pair.port, visitor.getsockname()[1])
    return side is not None and side.inode != 0


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one by one"])
@on_loop
async def test_connections_are_shared_out(pair: RunningServer, at_once: bool) -> None:
    """Of forty that come, and stay, each worker has about half."""
    await both(pair)
    visitors: list[socket.socket] = []
    try:
        for _ in range(40):
            visitors.append(socket.create_connection(("127.0.0.1", pair.port)))
            if not at_once:
                await eventually(partial(is_taken_in, pair, visitors[-1]))
        for visitor in visitors:
            await eventually(partial(is_taken_in, pair, visitor))
        assert min(shares(pair, visitors)) >= 12
    finally:
        for visitor in visitors:
            visitor.close()


@on_loop
async def test_nobody_waits_for_a_worker_that_hangs(pair: RunningServer) -> None:
    """Though it has less connections than the other, which takes in everyone."""
    first, _ = await both(pair)
    with alone(first, pair):
        for _ in range(20):
            answer = await asyncio.wait_for(request("OPTIONS", pair.url), 5)
            assert answer.status == 204
        visitors = [socket.create_connection(("127.0.0.1", pair.port)) for _ in range(40)]
        await eventually(lambda: max(shares(pair, visitors)) == 40)
        for visitor in visitors:
            visitor.close()
