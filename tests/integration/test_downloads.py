"""Downloads with and without zero-copy: ranges, conditions, pipelined requests, slow and disconnected clients."""

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

SETTINGS = {"UPLOADS__PARTIAL_DOWNLOADS": "true", "SERVER__SEND_TIMEOUT_SECONDS": "3"}
DATA = bytes(content(3, 300_000))


@pytest.fixture(scope="module", params=["zero-copy", "read"])
def way(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of a server with zero-copy, which is the default, and of one without."""
    return {"SERVER__FAST_BODY": "false"} if request.param == "read" else {}


@pytest.fixture(scope="module")
def server(way: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server with zero-copy and one without."""
    running = start_server(tmp_path_factory.mktemp("server") / "data", settings=SETTINGS | way)
    yield running
    running.kill()


@pytest.fixture
def patient_server(way: dict[str, str], tmp_path: Path) -> Iterator[RunningServer]:
    """A server that gives stalled clients as long as a busy machine makes a test need."""
    running = start_server(tmp_path / "data", settings=way)
    yield running
    running.kill()


@pytest.fixture
def has_zero_copy(request: pytest.FixtureRequest) -> bool:
    return request.node.callspec.params["way"] == "zero-copy" and sys.platform == "linux"


async def uploaded(server: RunningServer, data: bytes | memoryview, length: int | None = None) -> str:
    url = await create(server.url, length or len(data))
    assert (await request("PATCH", url, patch_headers(0), data)).status == 204
    return url


@pytest.mark.parametrize(
    ("requested", "status", "first", "last"),
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
async def test_range_206_416_200(server: RunningServer, requested: str, status: int, first: int, last: int) -> None:
    """One range is 206, a range beyond the end 416 with the length, anything else the whole content with 200."""
    url = await uploaded(server, DATA)
    answer = await request("GET", url, {"Range": requested})
    assert answer.status == status
    if status == 416:
        assert answer.headers["content-range"] == "bytes */300000"
        return
    assert answer.body == DATA[first : last + 1]
    assert answer.headers["accept-ranges"] == "bytes"
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {first}-{last}/300000"


@pytest.mark.anyio
async def test_conditional_requests_304_412(server: RunningServer) -> None:
    """If-None-Match is 304, a failed If-Match 412; If-Range continues a download only if the ETag stalled matches."""
    url = await uploaded(server, DATA)
    etag = (await request("GET", url, {})).headers["etag"]
    assert (await request("GET", url, {"If-None-Match": etag})).status == 304
    assert (await request("GET", url, {"If-Match": '"other"'})).status == 412
    resumed = await request("GET", url, {"Range": "bytes=10-19", "If-Range": etag})
    assert (resumed.status, resumed.body) == (206, DATA[10:20])
    changed = await request("GET", url, {"Range": "bytes=10-19", "If-Range": '"other"'})
    assert (changed.status, changed.body) == (200, DATA)


@pytest.mark.anyio
async def test_unfinished_upload_with_partial_downloads_200(server: RunningServer) -> None:
    """With ``partial_downloads`` GET returns what is saved so far; its ETag does not match the complete content."""
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


async def start_download(url: str, count: int) -> Connection:
    """Start a download and read its first ``count`` bytes."""
    connection = await Connection.open(url)
    await connection.send_head("GET", url, TUS)
    await connection._reader.readuntil(b"\r\n\r\n")
    await connection._reader.readexactly(count)
    return connection


@pytest.mark.anyio
async def test_large_download_uses_zero_copy_by_setting(server: RunningServer, has_zero_copy: bool) -> None:
    """Whole and by range, every byte is right, and most of them used zero-copy if it is on, none if it is off."""
    data = bytes(content(6, 24 * MIB))
    url = await uploaded(server, data)
    sent, moved = counted(server, "tusd_py_download_bytes"), counted(server, "tusd_py_zero_copy_sent_bytes")
    assert (await request("GET", url, {})).body == data
    part = await request("GET", url, {"Range": f"bytes={5 * MIB + 7}-{20 * MIB + 6}"})
    assert (part.status, part.body == data[5 * MIB + 7 : 20 * MIB + 7]) == (206, True)
    await eventually(lambda: counted(server, "tusd_py_download_bytes") == sent + 39 * MIB)
    moved = counted(server, "tusd_py_zero_copy_sent_bytes") - moved
    assert (moved > 30 * MIB) if has_zero_copy else moved == 0


@pytest.mark.anyio
async def test_pipelined_requests_are_answered_in_order(server: RunningServer) -> None:
    """Requests that are sent together with a download are answered in order, each with its own content."""
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
async def test_stalled_downloads_block_no_thread(patient_server: RunningServer) -> None:
    """More stalled downloads than the server has threads: other requests are served, and they continue afterwards."""
    server = patient_server
    data = bytes(content(8, 12 * MIB))
    url = await uploaded(server, data)
    async with AsyncExitStack() as stack:
        stalled = [stack.enter_context(closing(await start_download(url, 1000))) for _ in range(30)]
        assert (await asyncio.wait_for(request("GET", url, {}), 10)).body == data
        again = await create(server.url, len(data))
        assert (await asyncio.wait_for(request("PATCH", again, patch_headers(0), data), 10)).status == 204
        for connection in stalled:
            assert await asyncio.wait_for(connection._reader.readexactly(len(data) - 1000), 10) == data[1000:]
    await eventually(lambda: readers(server, url.rsplit("/", 1)[1]) == 0)


@pytest.mark.anyio
async def test_running_download_survives_termination(server: RunningServer) -> None:
    """A download that runs while its upload is terminated is completed; a new one is 404."""
    data = bytes(content(9, 32 * MIB))
    url = await uploaded(server, data)
    connection = await start_download(url, 1000)
    assert readers(server, url.rsplit("/", 1)[1]) == 1
    assert (await request("DELETE", url)).status == 204
    assert (await request("GET", url, {})).status == 404
    assert await connection._reader.readexactly(len(data) - 1000) == data[1000:]
    connection.close()


@pytest.mark.anyio
async def test_truncated_file_breaks_the_download(server: RunningServer) -> None:
    """If the file is truncated, the connection is broken before the announced length."""
    data = bytes(content(10, 32 * MIB))
    url = await uploaded(server, data)
    connection = await start_download(url, 1000)
    os.truncate(server.data_dir / "uploads" / url.rsplit("/", 1)[1], 8 * MIB)
    with pytest.raises(asyncio.IncompleteReadError) as broken:
        await asyncio.wait_for(connection._reader.readexactly(len(data)), 10)
    assert len(broken.value.partial) < len(data)
    connection.close()


@pytest.mark.anyio
async def test_stalled_download_is_aborted(server: RunningServer) -> None:
    """After the send timeout the connection is broken and the file closed."""
    url = await uploaded(server, content(11, 32 * MIB))
    connection = await start_download(url, 1000)
    assert readers(server, url.rsplit("/", 1)[1]) == 1
    await eventually(lambda: readers(server, url.rsplit("/", 1)[1]) == 0, timeout_seconds=15)
    connection.close()


@pytest.mark.anyio
async def test_disconnect_closes_the_file(server: RunningServer) -> None:
    """If the client disconnects during a download, the file is closed at once."""
    url = await uploaded(server, content(4, 32 * MIB))
    upload_id = url.rsplit("/", 1)[1]
    connection = await start_download(url, 65536)
    await eventually(lambda: readers(server, upload_id) == 1)
    connection.close()
    await eventually(lambda: readers(server, upload_id) == 0)


@pytest.mark.anyio
async def test_stalled_download_holds_no_lock(server: RunningServer) -> None:
    """While a download stalls, HEAD and DELETE of the upload are answered."""
    url = await uploaded(server, content(5, 32 * MIB))
    connection = await start_download(url, 1000)
    assert (await asyncio.wait_for(request("HEAD", url), 5)).status == 200
    assert (await asyncio.wait_for(request("DELETE", url), 5)).status == 204
    connection.close()


@pytest.mark.anyio
async def test_moved_file_410(server: RunningServer) -> None:
    """A program that moves the file away after post-finish leaves no URL that promises bytes."""
    url = await uploaded(server, DATA)
    (server.data_dir / "uploads" / url.rpartition("/")[2]).unlink()
    for headers in ({}, {"Range": "bytes=5-9"}):
        assert 410 == (await request("GET", url, headers)).status
    assert 200 == (await request("HEAD", url, TUS)).status
    assert 204 == (await request("DELETE", url, TUS)).status
