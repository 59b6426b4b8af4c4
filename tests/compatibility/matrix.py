"""Runs one client behind one proxy: a whole upload, and the continuation of an interrupted one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

from tests.compatibility.clients import Client
from tests.support.client import BODY, TUS, request
from tests.support.content import MIB, content
from tests.support.proxies import PROXIES, running_proxy
from tests.support.server import RunningServer, start_server

#: The column of a server without a proxy, in its default configuration.
DIRECT = "direct"
COLUMNS = (DIRECT, *PROXIES)
FILE_BYTES = 3 * MIB + 5
_STORED_BYTES = MIB + 1


@contextmanager
def served(column: str, directory: Path) -> Iterator[tuple[RunningServer, str]]:
    """A server behind this proxy, or directly, with the URL of its endpoint as clients see it."""
    directory.mkdir(parents=True, exist_ok=True)
    # The one setting that docs/proxies.md asks for.
    settings = {} if column == DIRECT else {"SERVER__TRUSTED_PROXIES": "127.0.0.1"}
    server = start_server(directory / "data", settings=settings)
    try:
        if column == DIRECT:
            yield server, server.url
        else:
            with running_proxy(column, server.port, directory / "proxy") as proxy:
                yield server, proxy.endpoint
    finally:
        server.stop()


def source(directory: Path) -> Path:
    """A file to upload."""
    file = directory / "source.bin"
    file.write_bytes(content(60, FILE_BYTES))
    return file


def check_upload(client: Client, server: RunningServer, endpoint: str, file: Path) -> None:
    """The client uploads the file. Raises ``AssertionError`` if the server has not all its bytes."""
    url = client.upload(endpoint, file)
    assert server.stored(url) == file.read_bytes(), "the stored bytes differ"


def check_resume(client: Client, server: RunningServer, endpoint: str, file: Path) -> None:
    """The client continues an upload at its URL. Raises ``AssertionError`` if the server has not all its bytes."""
    data = file.read_bytes()
    url = asyncio.run(_begun(endpoint, data))
    client.resume(url, file)
    assert server.stored(url) == data, "the stored bytes differ"


async def _begun(endpoint: str, data: bytes) -> str:
    """Create an upload with the first bytes and return its URL."""
    headers = {**TUS, **BODY, "Upload-Length": str(len(data))}
    created = await request("POST", endpoint, headers, data[:_STORED_BYTES])
    assert (created.status, created.offset) == (201, _STORED_BYTES), created
    return urljoin(endpoint, created.headers["location"])
