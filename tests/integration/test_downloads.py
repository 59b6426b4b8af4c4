"""Downloads over HTTP: ranges, conditions, unfinished uploads by setting, and readers that go away."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.support.client import TUS, Connection, create, patch_headers, request
from tests.support.content import MIB, content
from tests.support.loops import eventually, on_loop
from tests.support.server import RunningServer

SETTINGS = {"UPLOADS__PARTIAL_DOWNLOADS": "true", "UPLOADS__BODY_IDLE_SECONDS": "5"}
DATA = bytes(content(3, 300_000))


async def uploaded(server: RunningServer, data: bytes | memoryview, length: int | None = None) -> str:
    url = await create(server.url, length or len(data))
    assert (await request("PATCH", url, patch_headers(0), data)).status == 204
    return url


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        ("bytes=0-0", 206, 0, 0),
        ("bytes=100-199", 206, 100, 199),
        ("bytes=299999-", 206, 299_999, 299_999),
        ("bytes=-5", 206, 299_995, 299_999),
        ("bytes=0-999999999", 206, 0, 299_999),
        ("bytes=300000-", 416, 0, 0),
        ("bytes=5-1", 200, 0, 299_999),
        ("bytes=0-1,5-6", 200, 0, 299_999),
        ("lines=1-2", 200, 0, 299_999),
    ],
)
@on_loop
async def test_ranges(server: RunningServer, asked: str, status: int, first: int, last: int) -> None:
    """One range is granted, one beyond the end refused with the length, anything else is the whole."""
    url = await uploaded(server, DATA)
    answer = await request("GET", url, {"Range": asked})
    assert answer.status == status
    if status == 416:
        assert answer.headers["content-range"] == "bytes */300000"
        return
    assert answer.body == DATA[first : last + 1]
    assert answer.headers["accept-ranges"] == "bytes"
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {first}-{last}/300000"


@on_loop
async def test_conditions(server: RunningServer) -> None:
    """An ETag names these bytes: a client that has them is told so, a resumed download goes on only if it holds."""
    url = await uploaded(server, DATA)
    etag = (await request("GET", url, {})).headers["etag"]
    assert (await request("GET", url, {"If-None-Match": etag})).status == 304
    assert (await request("GET", url, {"If-Match": '"other"'})).status == 412
    held = await request("GET", url, {"Range": "bytes=10-19", "If-Range": etag})
    assert (held.status, held.body) == (206, DATA[10:20])
    changed = await request("GET", url, {"Range": "bytes=10-19", "If-Range": '"other"'})
    assert (changed.status, changed.body) == (200, DATA)


@on_loop
async def test_unfinished_uploads_by_setting(server: RunningServer) -> None:
    """What is saved so far, and no ETag may hold it for the whole."""
    url = await uploaded(server, DATA[:1000], len(DATA))
    answer = await request("GET", url, {})
    assert (answer.status, answer.body) == (200, DATA[:1000])
    assert (await request("PATCH", url, patch_headers(1000), DATA[1000:])).status == 204
    whole = await request("GET", url, {"If-None-Match": answer.headers.get("etag", '"none"')})
    assert (whole.status, whole.body) == (200, DATA)


def readers(server: RunningServer, upload_id: str) -> int:
    """How many descriptors of the upload's file the server has open."""
    count = 0
    for descriptor in Path(f"/proc/{server.process.pid}/fd").iterdir():
        try:
            count += os.readlink(descriptor).endswith(f"/uploads/{upload_id}")
        except OSError:
            continue  # closed meanwhile
    return count


@on_loop
async def test_a_reader_that_goes_away_stops_the_reading(server: RunningServer) -> None:
    """In the middle of a large download: the file is closed at once, not read to its end for nobody."""
    url = await uploaded(server, content(4, 32 * MIB))
    upload_id = url.rsplit("/", 1)[1]
    connection = await Connection.open(url)
    await connection.send_head("GET", url, TUS)
    await connection._reader.readexactly(65536)
    await eventually(lambda: readers(server, upload_id) == 1)
    connection.close()
    await eventually(lambda: readers(server, upload_id) == 0)


@on_loop
async def test_a_slow_reader_holds_nobody_up(server: RunningServer) -> None:
    """It takes nothing for a while; meanwhile the upload can be asked for and ended."""
    url = await uploaded(server, content(5, 32 * MIB))
    connection = await Connection.open(url)
    await connection.send_head("GET", url, TUS)
    await connection._reader.readexactly(1000)
    assert (await asyncio.wait_for(request("HEAD", url), 5)).status == 200
    assert (await asyncio.wait_for(request("DELETE", url), 5)).status == 204
    connection.close()
