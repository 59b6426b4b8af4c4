"""Expiration on a running server: Upload-Expires, activity, and the periodic sweep."""

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
