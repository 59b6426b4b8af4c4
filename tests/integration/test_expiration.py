"""Expiration on a running server: told in the answers, kept while it is used, swept without being asked."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime

import pytest

from tests.support.client import create, patch_headers, request
from tests.support.server import RunningServer
from tests.support.waiting import eventually

SETTINGS = {
    "EXPIRATION__UNFINISHED_SECONDS": "1.5",
    "EXPIRATION__TOMBSTONE_SECONDS": "1",
    "EXPIRATION__SWEEP_INTERVAL_SECONDS": "0.1",
}


@pytest.mark.anyio
async def test_unfinished_uploads_are_swept(server: RunningServer) -> None:
    """410 when its time has come, its bytes go by themselves, and in the end nothing is known of it."""
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
async def test_an_upload_that_goes_on_is_kept(server: RunningServer) -> None:
    """Each request with bytes moves the time: slower than its length, and complete in the end."""
    url = await create(server.url, 6)
    for offset in range(6):
        assert (await request("PATCH", url, patch_headers(offset), b"x")).status == 204
        await asyncio.sleep(0.4)  # longer in all than the time of an upload that stands still
    assert (await request("HEAD", url)).offset == 6
    assert server.stored(url) == b"xxxxxx"
