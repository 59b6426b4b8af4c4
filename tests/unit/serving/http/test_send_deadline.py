"""``SendDeadline``: which connections are aborted, over plain sockets, TLS and unix sockets, on both event loops."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import uvloop

from tests.support.certificates import make_certificate
from tests.support.waiting import eventually
from tusd_py.serving.http.send_deadline import SendDeadline

pytestmark = pytest.mark.anyio
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
MANY_BYTES = 16 * 1024 * 1024


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return "asyncio", {"loop_factory": LOOPS[request.param]}


@pytest.fixture(params=["tcp", "tls", "unix"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Connection(asyncio.Protocol):
    """Writes ``count`` bytes to its client."""

    transport: asyncio.Transport

    def __init__(self, count: int) -> None:
        self._count = count
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(bytes(self._count))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True


@asynccontextmanager
async def connected(kind: str, directory: Path, count: int) -> AsyncIterator[tuple[Connection, asyncio.StreamReader]]:
    """A connection over which the server writes ``count`` bytes, and the client's end of it."""
    loop = asyncio.get_running_loop()
    connection = Connection(count)
    server_tls = client_tls = None
    if kind == "tls":
        certificate, key = make_certificate(directory)
        server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server_tls.load_cert_chain(certificate, key)
        client_tls = ssl.create_default_context(cafile=certificate)
    if kind == "unix":
        path = str(directory / "socket")
        server = await loop.create_unix_server(lambda: connection, path)
        reader, writer = await asyncio.open_unix_connection(path, limit=1024)
    else:
        server = await loop.create_server(lambda: connection, "127.0.0.1", 0, ssl=server_tls)
        endpoint = socket.create_connection(server.sockets[0].getsockname())
        endpoint.setblocking(False)
        reader, writer = await asyncio.open_connection(
            sock=endpoint, ssl=client_tls, server_hostname="localhost" if client_tls else None, limit=1024
        )
    try:
        await eventually(lambda: hasattr(connection, "transport"))
        yield connection, reader
    finally:
        writer.transport.abort()
        connection.transport.abort()
        server.close()


async def test_silent_client_is_aborted(kind: str, tmp_path: Path) -> None:
    """After the deadline, also if the server has closed the connection and only waits for its bytes to leave."""
    async with connected(kind, tmp_path, MANY_BYTES) as (connection, _):
        connection.transport.close()
        task = asyncio.ensure_future(SendDeadline({connection}, 0.4).run())
        await eventually(lambda: connection.is_lost)
        task.cancel()


async def test_slow_client_is_not_aborted(kind: str, tmp_path: Path) -> None:
    """As long as it reads now and then."""
    async with connected(kind, tmp_path, MANY_BYTES) as (connection, reader):
        task = asyncio.ensure_future(SendDeadline({connection}, 1.0).run())
        for _ in range(60):
            assert await reader.readexactly(MANY_BYTES // 80)
            await asyncio.sleep(0.05)
        assert not connection.is_lost
        task.cancel()


async def test_idle_client_is_not_aborted(kind: str, tmp_path: Path) -> None:
    """A connection that has nothing to send has no deadline."""
    async with connected(kind, tmp_path, 1000) as (connection, reader):
        await reader.readexactly(1000)
        task = asyncio.ensure_future(SendDeadline({connection}, 0.1).run())
        await asyncio.sleep(0.5)
        assert not connection.is_lost
        task.cancel()


async def test_deadline_can_be_shortened(tmp_path: Path) -> None:
    """A look with a shorter deadline counts the silence that earlier looks saw."""
    async with connected("tcp", tmp_path, MANY_BYTES) as (connection, _):
        deadline = SendDeadline({connection}, 3600)
        await asyncio.sleep(0.3)
        for _ in range(2):
            await deadline.look(3600)
            await asyncio.sleep(0.2)
        assert not connection.is_lost
        await deadline.look(0.1)
        await eventually(lambda: connection.is_lost)


async def test_transports_without_a_socket() -> None:
    """Only what the transport reports is known of them."""
    aborted: list[bool] = []
    transport = SimpleNamespace(
        get_write_buffer_size=lambda: 10, get_extra_info=lambda _: None, abort=lambda: aborted.append(True)
    )
    connection = Connection(0)
    connection.transport = cast("asyncio.Transport", transport)
    deadline = SendDeadline([connection], 0.05)
    for _ in range(2):
        await deadline.look(0.05)
        await asyncio.sleep(0.1)
    assert aborted == [True]
