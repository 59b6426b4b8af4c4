"""Concatenation over HTTP: while the client waits, in the background, and after a kill."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urljoin, urlsplit

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


async def concatenate(endpoint: str, *parts: str) -> Answer:
    return await request("POST", endpoint, {**TUS, "Upload-Concat": "final;" + " ".join(parts)}, b"")


async def concatenated(url: str) -> bytes:
    """The content of the final upload, as soon as GET answers 200."""
    deadline = asyncio.get_running_loop().time() + 15
    while (answer := await request("GET", url, {})).status != 200:
        assert asyncio.get_running_loop().time() < deadline, answer
    return answer.body


@pytest.mark.anyio
async def test_small_parts_are_concatenated_at_once_201(server: RunningServer) -> None:
    """Parts are named by absolute URLs or by paths; HEAD has the length and the offset at once."""
    one, two = await part(server.url, b"hello "), await part(server.url, b"world")
    final = await concatenate(server.url, one, "/files/" + two.rsplit("/", 1)[1])
    assert final.status == 201, final
    url = urljoin(server.url, final.headers["location"])
    head = await request("HEAD", url)
    assert (head.headers["upload-length"], head.offset) == ("11", 11)
    assert head.headers["upload-concat"].startswith("final;")
    assert server.stored(url) == b"hello world"


@pytest.mark.anyio
async def test_final_beyond_every_limit_413(server: RunningServer) -> None:
    """A part named 250 times, and two unfinished parts of 2^63-1 bytes: refused, while other clients go on."""
    one = await part(server.url, b"x" * 10_000)
    refused = await concatenate(server.url, *[one] * 250)
    assert (refused.status, refused.body.split(b":")[0]) == (413, b"ERR_PART_USED_TOO_OFTEN")
    huge = await create(server.url, 2**63 - 1, PARTIAL)
    refused, _ = await asyncio.gather(
        concatenate(server.url, huge, huge), asyncio.gather(*(create(server.url, 1) for _ in range(20)))
    )
    assert (refused.status, refused.body.split(b":")[0]) == (413, b"ERR_MAX_SIZE_EXCEEDED")


@pytest.mark.anyio
async def test_large_parts_are_concatenated_in_the_background_201(server: RunningServer) -> None:
    """The creation is answered first; later GET returns the bytes of all parts in their order."""
    data = [content(seed, 3 * MIB) for seed in (11, 12, 13)]
    parts = await asyncio.gather(*(part(server.url, piece) for piece in data))
    final = await concatenate(server.url, *parts)
    assert final.status == 201
    assert await concatenated(urljoin(server.url, final.headers["location"])) == b"".join(data)


@pytest.mark.anyio
async def test_concatenation_continues_after_a_kill(tmp_path: Path) -> None:
    """If the server is killed right after the 201, the next server concatenates the parts on its own."""
    data = [content(seed, 8 * MIB) for seed in (14, 15)]
    server = start_server(tmp_path / "data", settings=SETTINGS)
    try:
        parts = [await part(server.url, piece) for piece in data]
        final = await concatenate(server.url, *parts)
        assert final.status == 201
    finally:
        server.kill()
    again = start_server(tmp_path / "data", settings=SETTINGS)
    try:
        assert await concatenated(urljoin(again.url, urlsplit(final.headers["location"]).path)) == b"".join(data)
    finally:
        again.kill()
