"""Expiration on a running server: Upload-Expires, activity, and the periodic sweep."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.support.client import TUS, Connection, create, patch_headers, request
from tests.support.server import RunningServer, start_server
from tests.support.waiting import eventually

SETTINGS = {
    "EXPIRATION__UNFINISHED_SECONDS": "1.5",
    "EXPIRATION__TOMBSTONE_SECONDS": "1",
    "EXPIRATION__SWEEP_INTERVAL_SECONDS": "0.1",
}


@pytest.mark.anyio
async def test_unfinished_upload_expires_410_then_404(server: RunningServer) -> None:
    """After its time the file is deleted and HEAD is 410; after the tombstone's time HEAD is 404."""
    url = await create(server.url, 10)
    answer = await request("PATCH", url, patch_headers(0), b"0123")
    parsedate_to_datetime(answer.headers["upload-expires"])
    file = server.data_dir / "uploads" / url.rsplit("/", 1)[1]
    assert file.exists()
    await eventually(lambda: not file.exists())
    assert (await request("HEAD", url)).status == 410
    deadline = asyncio.get_running_loop().time() + 10
    while (status := (await request("HEAD", url)).status) != 404:
        assert status == 410
        assert asyncio.get_running_loop().time() < deadline


@pytest.mark.anyio
async def test_append_postpones_expiration(server: RunningServer) -> None:
    """Each append postpones the expiration, so a slow upload completes."""
    url = await create(server.url, 6)
    for offset in range(6):
        assert (await request("PATCH", url, patch_headers(offset), b"x")).status == 204
        await asyncio.sleep(0.4)  # in total longer than the time of an inactive upload
    assert (await request("HEAD", url)).offset == 6
    assert server.stored(url) == b"xxxxxx"


@pytest.mark.anyio
async def test_bytes_of_a_killed_creation_are_removed(tmp_path: Path) -> None:
    """A server killed before the first save of a creation leaves a file that no record names; the next removes it."""
    settings = {
        "UPLOADS__SAVE_INTERVAL_SECONDS": "600",
        "EXPIRATION__LEFTOVER_SECONDS": "1",
        "EXPIRATION__SWEEP_INTERVAL_SECONDS": "0.1",
    }
    uploads = tmp_path / "data/uploads"

    def stored_bytes() -> int:
        return sum(path.stat().st_size for path in uploads.iterdir())

    server = start_server(tmp_path / "data", settings=settings)
    kept = await create(server.url, 10)
    assert (await request("PATCH", kept, patch_headers(0), b"0123")).status == 204
    connection = await Connection.open(server.url)
    head = TUS | {"Upload-Length": "9000000", "Content-Length": "9000000"}
    head["Content-Type"] = "application/offset+octet-stream"
    await connection.send_head("POST", server.url, head)
    await connection.send(bytes(4_000_000))
    await eventually(lambda: stored_bytes() > 1_000_000)
    server.kill()
    connection.close()
    assert 2 == len(list(uploads.glob("[!.]*")))
    server = start_server(tmp_path / "data", settings=settings)
    await eventually(lambda: 1 == len(list(uploads.glob("[!.]*"))))
    assert b"0123" == (uploads / kept.rsplit("/", 1)[1]).read_bytes()
    server.kill()
