"""The client against servers that accept a connection and then do nothing."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from tests.support.s3_faults import S3Faults, S3Mode
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.storage.s3 import client as module
from tusd_py.storage.s3.client import BucketConfig, Refused, S3Client

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


_BOUNDS = {"_ATTEMPTS": 2, "_CONNECT_SECONDS": 0.5, "_DELAY_SECONDS_MAX": 0.5, "_BYTES_PER_SECOND_MIN": 2**28}


def client_of(url: str) -> S3Client:
    bucket_config = BucketConfig(
        bucket="b", endpoint_url=url, region="us-east-1", access_key="key", secret_key="secret", timeout_seconds=0.2
    )
    return S3Client(bucket_config)


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


async def test_body_that_drips() -> None:
    """A range is given up that comes too slowly, though something comes again and again."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1000000\r\n\r\n")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    tasks: list[asyncio.Task[None]] = []
    server = await asyncio.start_server(
        lambda *streams: tasks.append(asyncio.create_task(drip(*streams))), "127.0.0.1", 0
    )
    client = client_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    with pytest.raises(StoreUnavailable, match="too slowly"):
        await client.read_range("k", 0, 1_000_000)
    await client.close()
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await _connections_closed()


async def test_credentials_that_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service of a machine that has them may hang: requests and signatures wait for a bounded time."""
    monkeypatch.setattr(module, "_OPEN_SECONDS", 0.2)
    client = client_of("http://127.0.0.1:1")

    async def hang() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(client, "_open", hang)
    with pytest.raises(StoreUnavailable, match="TimeoutError"):
        await client.call("head_object", Key="k")
    with pytest.raises(StoreUnavailable, match="TimeoutError"):
        await client.presigned_url("get_object", 60, Key="k")


class Pages(S3Client):
    """Answers a listing with ``pages``, and then with the last one again and again."""

    def __init__(self, *pages: dict[str, Any]) -> None:
        super().__init__(BucketConfig(bucket="b"))
        self._pages = list(pages)
        self.asked: list[dict[str, Any]] = []

    async def call(self, operation: str, **arguments: Any) -> Any:
        self.asked.append(arguments)
        return self._pages.pop(0) if len(self._pages) > 1 else self._pages[0]


@pytest.mark.parametrize(
    ("operation", "marker"),
    [
        ("list_objects_v2", {"NextContinuationToken": "t"}),
        ("list_parts", {"NextPartNumberMarker": 1}),
        ("list_multipart_uploads", {"NextKeyMarker": "k", "NextUploadIdMarker": "u"}),
        ("list_objects_v2", {}),
        ("list_parts", {}),
        ("list_multipart_uploads", {}),
    ],
)
async def test_listing_that_never_ends(operation: str, marker: dict[str, Any]) -> None:
    """A page that does not say what follows, or is the same again, ends it with a failure."""
    client = Pages({"IsTruncated": True, **marker})
    with pytest.raises(StoreUnavailable, match=f"the same page of {operation}"):
        [page async for page in client.pages(operation, Prefix="p")]
    assert len(client.asked) == (2 if marker else 1)


async def test_page_is_asked_for_before_the_one_before_it_is_used() -> None:
    """What a page has may be removed then, and its last entry is the marker."""
    client = Pages({"IsTruncated": True, "NextContinuationToken": "a"}, {"IsTruncated": False})
    asked = [len(client.asked) async for _ in client.pages("list_objects_v2", Prefix="p")]
    assert asked == [2, 2]


async def test_service_without_markers_of_multipart_uploads() -> None:
    """The next page begins behind the key, and the others of that key are asked for."""

    class Versitygw(Pages):
        async def call(self, operation: str, **arguments: Any) -> Any:
            if "UploadIdMarker" in arguments:
                raise Refused("S3 answered 400 InvalidArgument")
            if arguments.get("KeyMarker") == "a":
                return {"Uploads": [{"Key": "b", "UploadId": "3"}]}
            uploads = [{"Key": "a", "UploadId": "1"}, {"Key": "a", "UploadId": "2"}, {"Key": "ab", "UploadId": "4"}]
            if arguments["Prefix"] == "a":
                return {"Uploads": uploads}
            return {"Uploads": uploads[:1], "IsTruncated": True, "NextKeyMarker": "a", "NextUploadIdMarker": "1"}

    pages = [page["Uploads"] async for page in Versitygw().pages("list_multipart_uploads", Prefix="")]
    assert [[each["UploadId"] for each in page] for page in pages] == [["1"], ["2", "3"]]


async def test_listing_in_pages() -> None:
    """Each page is asked for by the marker in the one before, which may be the key alone."""
    client = Pages(
        {"IsTruncated": True, "NextKeyMarker": "a", "NextUploadIdMarker": "1"},
        {"IsTruncated": True, "NextKeyMarker": "b"},
        {"IsTruncated": False},
    )
    assert len([page async for page in client.pages("list_multipart_uploads", Prefix="p")]) == 3
    markers = [(each.get("KeyMarker"), each.get("UploadIdMarker")) for each in client.asked]
    assert markers == [(None, None), ("a", "1"), ("b", None)]


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
