"""Downloads over HTTP, poured within the kernel or read: ranges, conditions, what follows, readers that go away."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from tests.support.client import TUS, Connection, create, patch_headers, request
from tests.support.content import MIB, content
from tests.support.server import RunningServer, start_server
from tests.support.stored import counted
from tests.support.waiting import eventually

SETTINGS = {"UPLOADS__PARTIAL_DOWNLOADS": "true", "UPLOADS__BODY_IDLE_SECONDS": "3"}
DATA = bytes(content(3, 300_000))


@pytest.fixture(scope="module", params=["poured", "read"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that pours, as by default, and one that does not."""
    read = {"SERVER__FAST_BODY": "false"} if request.param == "read" else {}
    running = start_server(tmp_path_factory.mktemp(request.param) / "data", settings=SETTINGS | read)
    yield running
    running.kill()


@pytest.fixture
def is_poured(request: pytest.FixtureRequest) -> bool:
    return request.node.callspec.params["server"] == "poured" and sys.platform == "linux"


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
@pytest.mark.anyio
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


@pytest.mark.anyio
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


@pytest.mark.anyio
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


async def half_read(url: str, count: int) -> Connection:
    """A download of which ``count`` bytes have been taken, and no more is for now."""
    connection = await Connection.open(url)
    await connection.send_head("GET", url, TUS)
    await connection._reader.readuntil(b"\r\n\r\n")
    await connection._reader.readexactly(count)
    return connection


@pytest.mark.anyio
async def test_large_ones_take_their_road(server: RunningServer, is_poured: bool) -> None:
    """Whole or in part, every byte is the upload's, and most of them went the way that the setting says."""
    data = bytes(content(6, 24 * MIB))
    url = await uploaded(server, data)
    given, poured = counted(server, "tusd_py_download_bytes"), counted(server, "tusd_py_download_bytes_poured")
    assert (await request("GET", url, {})).body == data
    part = await request("GET", url, {"Range": f"bytes={5 * MIB + 7}-{20 * MIB + 6}"})
    assert (part.status, part.body == data[5 * MIB + 7 : 20 * MIB + 7]) == (206, True)
    await eventually(lambda: counted(server, "tusd_py_download_bytes") == given + 39 * MIB)
    poured = counted(server, "tusd_py_download_bytes_poured") - poured
    assert (poured > 30 * MIB) if is_poured else poured == 0


@pytest.mark.anyio
async def test_the_next_requests_of_the_connection(server: RunningServer) -> None:
    """Sent behind a download or right with it, they are answered in turn, each with its own bytes."""
    data = bytes(content(7, 8 * MIB))
    url, small = await uploaded(server, data), await uploaded(server, DATA)
    connection = await Connection.open(url)
    for _ in range(2):
        for target in (url, small, url):
            await connection.send_head("GET", target, TUS)
        await connection.send_head("GET", url, TUS | {"Range": "bytes=-5"})
        for expected in (data, DATA, data, data[-5:]):
            answer = await connection.answer()
            assert (answer.status, answer.body == expected) in ((200, True), (206, True))
    done = await connection.request("PATCH", await create(server.url, len(data)), patch_headers(0), data)
    assert (done.status, done.offset) == (204, len(data))
    await connection.send_head("GET", url, TUS)
    assert (await connection.answer()).body == data
    connection.close()


@pytest.mark.anyio
async def test_many_readers_that_stand_still_cost_no_thread(server: RunningServer) -> None:
    """More of them than the server has threads and loans: one that goes on is served meanwhile, and they in the end."""
    data = bytes(content(8, 12 * MIB))
    url = await uploaded(server, data)
    async with AsyncExitStack() as stack:
        still = [stack.enter_context(closing(await half_read(url, 1000))) for _ in range(30)]
        assert (await asyncio.wait_for(request("GET", url, {}), 10)).body == data
        again = await create(server.url, len(data))
        assert (await asyncio.wait_for(request("PATCH", again, patch_headers(0), data), 10)).status == 204
        for connection in still:
            assert await asyncio.wait_for(connection._reader.readexactly(len(data) - 1000), 10) == data[1000:]
    await eventually(lambda: readers(server, url.rsplit("/", 1)[1]) == 0)


@pytest.mark.anyio
async def test_a_terminated_upload_is_read_to_its_end(server: RunningServer) -> None:
    """By who had begun; nobody else finds it."""
    data = bytes(content(9, 32 * MIB))
    url = await uploaded(server, data)
    connection = await half_read(url, 1000)
    assert readers(server, url.rsplit("/", 1)[1]) == 1
    assert (await request("DELETE", url)).status == 204
    assert (await request("GET", url, {})).status == 404
    assert await connection._reader.readexactly(len(data) - 1000) == data[1000:]
    connection.close()


@pytest.mark.anyio
async def test_a_file_cut_short_beneath_the_server(server: RunningServer) -> None:
    """The connection is broken: less than was promised never looks whole."""
    data = bytes(content(10, 32 * MIB))
    url = await uploaded(server, data)
    connection = await half_read(url, 1000)
    os.truncate(server.data_dir / "uploads" / url.rsplit("/", 1)[1], 8 * MIB)
    with pytest.raises(asyncio.IncompleteReadError) as broken:
        await asyncio.wait_for(connection._reader.readexactly(len(data)), 10)
    assert len(broken.value.partial) < len(data)
    connection.close()


@pytest.mark.anyio
async def test_a_reader_that_takes_nothing_is_given_up(server: RunningServer) -> None:
    """After the idle time the connection is broken and the file let go of."""
    url = await uploaded(server, content(11, 32 * MIB))
    connection = await half_read(url, 1000)
    assert readers(server, url.rsplit("/", 1)[1]) == 1
    await eventually(lambda: readers(server, url.rsplit("/", 1)[1]) == 0, timeout_seconds=15)
    connection.close()


@pytest.mark.anyio
async def test_a_reader_that_goes_away_stops_the_reading(server: RunningServer) -> None:
    """In the middle of a large download: the file is closed at once, not read to its end for nobody."""
    url = await uploaded(server, content(4, 32 * MIB))
    upload_id = url.rsplit("/", 1)[1]
    connection = await half_read(url, 65536)
    await eventually(lambda: readers(server, upload_id) == 1)
    connection.close()
    await eventually(lambda: readers(server, upload_id) == 0)


@pytest.mark.anyio
async def test_a_slow_reader_holds_nobody_up(server: RunningServer) -> None:
    """It takes nothing for a while; meanwhile the upload can be asked for and ended."""
    url = await uploaded(server, content(5, 32 * MIB))
    connection = await half_read(url, 1000)
    assert (await asyncio.wait_for(request("HEAD", url), 5)).status == 200
    assert (await asyncio.wait_for(request("DELETE", url), 5)).status == 204
    connection.close()
