"""The client against servers that accept a connection and then do nothing."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests.support.s3_faults import S3Faults, S3Mode
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.storage.s3 import client as module
from tusd_py.storage.s3.client import S3Account, S3Client

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


_BOUNDS = {"_ATTEMPTS": 2, "_CONNECT_SECONDS": 0.5, "_DELAY_SECONDS_MAX": 0.5, "_BYTES_PER_SECOND_MIN": 2**28}


def client_of(url: str) -> S3Client:
    account = S3Account(
        bucket="b", endpoint_url=url, region="us-east-1", access_key="key", secret_key="secret", timeout_seconds=0.2
    )
    return S3Client(account)


@pytest.fixture(autouse=True)
def _is_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _BOUNDS.items():
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("body", [b"some bytes", None], ids=["with a body", "without"])
async def test_server_that_answers_nothing(body: bytes | None) -> None:
    """A request with a body is given up as one without: the client does not wait for "100 Continue"."""
    operation, arguments = ("head_object", {}) if body is None else ("put_object", {"Body": body})
    async with S3Faults(0) as server:
        server.set(S3Mode.HANG)
        client = client_of(server.url)
        with pytest.raises(StoreUnavailable, match="ReadTimeoutError"):
            await client.call(operation, Key="k", **arguments)
        await client.close()
    await _connections_closed()


async def test_server_that_takes_no_bytes() -> None:
    """A body that the server does not read is given up too."""

    async def stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            writer.transport.abort()

    tasks: list[asyncio.Task[None]] = []
    server = await asyncio.start_server(
        lambda *streams: tasks.append(asyncio.create_task(stay(*streams))), "127.0.0.1", 0, limit=1024
    )
    client = client_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    with pytest.raises(StoreUnavailable, match="TimeoutError"):
        await client.call("put_object", Key="k", Body=bytes(32 * 1024 * 1024))
    await client.close()
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await _connections_closed()


async def _connections_closed() -> None:
    """Let the event loop close what was closed: it does so in its next turns."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_client_that_cannot_be_made_leaves_nothing_open(recwarn: pytest.WarningsRecorder) -> None:
    """Each request tries again to make one: what an attempt has opened would add up."""
    for _ in range(2):
        client = client_of("http://no host/")
        with pytest.raises(StoreUnavailable, match="there is no S3 client for these settings"):
            await client.call("head_object", Key="k")
        assert client._parts is None
    gc.collect()
    assert [] == [each for each in recwarn if issubclass(each.category, ResourceWarning)]
