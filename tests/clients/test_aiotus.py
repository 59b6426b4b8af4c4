"""aiotus, the asynchronous Python client, which cannot resolve a ``Location`` that is a path."""

from __future__ import annotations

import io
from pathlib import Path

import aiohttp
import aiotus
import pytest
import yarl
from aiotus import core, creation

from tests.support.content import MIB, content
from tests.support.server import RunningServer, start_server
from tests.support.stored import assert_stored, head

pytestmark = [
    pytest.mark.timeout(60),
    # The client sends its chunks as bytes, against which aiohttp warns.
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]

ONCE = aiotus.RetryConfiguration(retry_attempts=1)


@pytest.mark.anyio
async def test_upload_with_metadata(server: RunningServer) -> None:
    """With the default configuration of the server an upload in chunks is stored completely."""
    data = bytes(content(50, 5 * MIB + 3))
    metadata = {"filename": "Größe.bin".encode()}
    url = await aiotus.upload(server.url, io.BytesIO(data), metadata, config=ONCE, chunksize=2 * MIB)
    assert url is not None
    assert_stored(server, str(url), data)
    assert "R3LDtsOfZS5iaW4=" in head(server, str(url))[1]["upload-metadata"]


@pytest.mark.anyio
async def test_resume_after_a_part(server: RunningServer) -> None:
    """A second run asks for the offset and sends the rest."""
    data = bytes(content(51, 3 * MIB))
    async with aiohttp.ClientSession() as session:
        url = await creation.create(session, yarl.URL(server.url), io.BytesIO(data), {})
        headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        async with session.patch(url, data=data[:MIB], headers=headers) as answer:
            assert answer.status == 204
        assert await core.offset(session, url) == MIB
        await core.upload_buffer(session, url, io.BytesIO(data), chunksize=MIB)
    assert_stored(server, str(url), data)


@pytest.mark.anyio
async def test_several_files_become_one(server: RunningServer) -> None:
    """``upload_multiple`` sends partial uploads and concatenates them by their URLs."""
    parts = [bytes(content(seed, MIB)) for seed in (52, 53, 54)]
    url = await aiotus.upload_multiple(server.url, [io.BytesIO(part) for part in parts], config=ONCE)
    assert url is not None
    assert_stored(server, str(url), b"".join(parts))


@pytest.mark.anyio
async def test_a_path_fails(tmp_path: Path) -> None:
    """With ``server.location = "path"`` the client fails: it is why the default is an absolute URL."""
    running = start_server(tmp_path / "data", settings={"SERVER__LOCATION": "path"})
    try:
        assert await aiotus.upload(running.url, io.BytesIO(b"abc"), config=ONCE) is None
    finally:
        running.stop()
