"""Parallel parts over HTTP, joined while the client waits, in the background, and after a kill."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.client import TUS, Answer, create, patch_headers, request
from tests.support.content import MIB, content
from tests.support.server import RunningServer, start_server

SETTINGS = {"UPLOADS__JOIN_AT_ONCE_BYTES_MAX": "1MiB"}
PARTIAL = {**TUS, "Upload-Concat": "partial"}


async def part(endpoint: str, data: bytes | memoryview) -> str:
    url = await create(endpoint, len(data), PARTIAL)
    assert (await request("PATCH", url, patch_headers(0), data)).status == 204
    return url


async def join(endpoint: str, *parts: str) -> Answer:
    return await request("POST", endpoint, {**TUS, "Upload-Concat": "final;" + " ".join(parts)}, b"")


async def joined(url: str) -> bytes:
    """What GET gives as soon as it gives something."""
    deadline = asyncio.get_running_loop().time() + 15
    while (answer := await request("GET", url, {})).status != 200:
        assert asyncio.get_running_loop().time() < deadline, answer
    return answer.body


@pytest.mark.anyio
async def test_small_parts_are_joined_while_the_client_waits(server: RunningServer) -> None:
    """By absolute URLs and by paths; HEAD has length and offset at once."""
    one, two = await part(server.url, b"hello "), await part(server.url, b"world")
    made = await join(server.url, one, "/files/" + two.rsplit("/", 1)[1])
    assert made.status == 201, made
    url = urljoin(server.url, made.headers["location"])
    head = await request("HEAD", url)
    assert (head.headers["upload-length"], head.offset) == ("11", 11)
    assert head.headers["upload-concat"].startswith("final;")
    assert server.stored(url) == b"hello world"


@pytest.mark.anyio
async def test_large_parts_are_joined_in_the_background(server: RunningServer) -> None:
    """The creation is answered before; no offset until it is done; no byte is lost or mixed up."""
    data = [content(seed, 3 * MIB) for seed in (11, 12, 13)]
    parts = await asyncio.gather(*(part(server.url, piece) for piece in data))
    made = await join(server.url, *parts)
    assert made.status == 201
    assert await joined(urljoin(server.url, made.headers["location"])) == b"".join(data)


@pytest.mark.anyio
async def test_a_kill_in_the_middle_of_a_join(tmp_path: Path) -> None:
    """The server dies right after the creation was answered: the next one joins, without being asked."""
    data = [content(seed, 8 * MIB) for seed in (14, 15)]
    server = start_server(tmp_path / "data", settings=SETTINGS)
    try:
        parts = [await part(server.url, piece) for piece in data]
        made = await join(server.url, *parts)
        assert made.status == 201
    finally:
        server.kill()
    again = start_server(tmp_path / "data", settings=SETTINGS)
    try:
        assert await joined(urljoin(again.url, made.headers["location"])) == b"".join(data)
    finally:
        again.kill()
