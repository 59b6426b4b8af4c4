"""``Cycle.respond``: a whole response with one write, and what it leaves to ``send``."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tusd_py.serving.http.cycle import Cycle


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


class Flow:
    write_paused = False


class State:
    def __init__(self, default_headers: list[tuple[bytes, bytes]]) -> None:
        self.default_headers = default_headers


class Connection:
    """What a request needs of its connection."""

    logger = access_logger = logging.getLogger()
    access_log = False
    root_path = ""
    client: tuple[str, int] | None = ("192.0.2.7", 4711)
    server: tuple[str, int | None] | None = ("127.0.0.1", 8080)
    scheme: Any = "http"
    address: Any = None

    def __init__(self, transport: Transport) -> None:
        self.transport: Any = transport
        self.flow = Flow()
        self.server_state: Any = State([(b"date", b"today")])
        self.responses = 0

    def on_response_complete(self) -> None:
        self.responses += 1


def make(transport: Transport, method: str = "POST", *, keep_alive: bool = True, paused: bool = False) -> Cycle:
    connection = Connection(transport)
    connection.flow.write_paused = paused
    return Cycle(connection, method, ("/", b"/", b""), [], "1.1", keep_alive=keep_alive)


@pytest.mark.anyio
async def test_whole_response_is_one_write() -> None:
    """Head and body leave together, with the server's own headers first."""
    transport = Transport()
    cycle = make(transport)
    assert cycle.respond(400, [(b"content-length", b"2"), (b"x-a", b"b\tc")], b"no")
    assert transport.written == [b"HTTP/1.1 400 Bad Request\r\ndate: today\r\ncontent-length: 2\r\nx-a: b\tc\r\n\r\nno"]
    assert cycle.response_complete
    assert not cycle.respond(204, [], b"")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, [(b"content-length", b"0"), (b"x-a", b"b\r\nset-cookie: c")], b""),
        (200, [(b"content-length", b"0"), (b"x-a", b"b\x00")], b""),
        (200, [(b"content-length", b"0"), (b"x a", b"b")], b""),
        (200, [(b"content-length", b"0"), (b"X-A", b"b")], b""),
        (200, [(b"content-length", b"0"), (b"connection", b"close")], b""),
        (200, [(b"transfer-encoding", b"chunked")], b"a"),
        (200, [(b"content-length", b"3")], b"ab"),
        (200, [], b""),
        (204, [], b"a"),
    ],
)
async def test_other_responses_are_left_to_send(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """A header that is invalid or changes the framing, and a wrong or unknown length: nothing is written."""
    transport = Transport()
    cycle = make(transport)
    assert not cycle.respond(status, headers, body)
    assert not transport.written
    assert not cycle.response_started


@pytest.mark.anyio
async def test_connection_that_ends_or_waits_is_left_to_send() -> None:
    """``send`` adds ``connection: close``, and waits for a client that does not read."""
    transport = Transport()
    assert not make(transport, keep_alive=False).respond(204, [], b"")
    assert not make(transport, paused=True).respond(204, [], b"")
    assert not transport.written
    assert make(transport, "HEAD").respond(200, [], b"")
