"""A connection beyond the limit of its address is answered before it costs anything."""

from __future__ import annotations

import socket
from typing import Literal

import pytest

from tests.support.connections import rest, served, until
from tusd_py.serving.connection_limit import ConnectionLimit
from tusd_py.serving.http.uvicorn_compat import protocol_class
from tusd_py.settings import ServerSettings
from tusd_py.web.client_address import ClientAddresses

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_connections_beyond_the_limit_503(loop: Literal["asyncio", "uvloop"]) -> None:
    """They are closed with 503, those before them work, and each that ends makes room for another one."""
    limit = ConnectionLimit(3, ClientAddresses())
    http = protocol_class(ServerSettings(), limit)
    assert http is not None
    with served(http, loop, 30) as server:
        connected: list[socket.socket] = []
        for number in range(3):
            connected.append(server.connect())
            until(lambda number=number: sum(limit._counts.values()) == number + 1)  # type: ignore[misc]
        for _ in range(20):
            with server.connect() as refused:
                assert rest(refused).startswith(b"HTTP/1.1 503 ")
        assert sum(limit._counts.values()) == 3
        connected.pop().close()
        until(lambda: sum(limit._counts.values()) == 2)
        with server.connect() as admitted:
            admitted.sendall(REQUEST)
            admitted.settimeout(10)
            assert admitted.recv(12) == b"HTTP/1.1 200"
        for connection in connected:
            connection.sendall(REQUEST)
            connection.settimeout(10)
            assert connection.recv(12) == b"HTTP/1.1 200"
            connection.close()
        until(lambda: not limit._counts)
