"""Zero-copy transfers on a connection, both directions, both event loops: when they happen, and what follows them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Literal

import pytest

from tests.support.connections import Served, answer, served, until
from tests.support.content import MIB, content
from tusd_py.serving.http.uvicorn_compat import protocol_class
from tusd_py.settings import ServerSettings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="splice(2) is Linux's")
Start = Callable[..., Served]
LENGTH = 5 * MIB


@pytest.fixture(params=["asyncio", "uvloop"])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    loop: Literal["asyncio", "uvloop"] = request.param
    with ExitStack() as stack:

        def run(**settings: bool) -> Served:
            http = protocol_class(ServerSettings.model_validate(settings))
            assert http is not None
            return stack.enter_context(served(http, loop, 30))

        yield run


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def test_request_body_and_following_requests(start: Start) -> None:
    """The body is transferred, every byte once and in order; requests sent right behind it are answered in turn."""
    server = start()
    data = bytes(content(80, LENGTH))
    request = head("/transferred", f"Content-Length: {LENGTH}") + data
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(request + head("/next", "Content-Length: 2") + b"ab")
            assert b"/transferred" in answer(connection)
            assert b"/next" in answer(connection)
        connection.sendall(head("/last"))
        assert b"/last" in answer(connection)
    seen = server.application.seen
    assert [data, b"ab", data, b"ab", b""] == [one.body for one in seen]
    assert ["complete"] * 5 == [one.ended for one in seen]
    assert seen[0].bytes_zero_copy > 0


@pytest.mark.parametrize("half", [False, True], ids=["FIN", "half-close"])
def test_request_body_aborted_by_client(start: Start, half: bool) -> None:
    """The application gets every byte that was sent, then the disconnect."""
    server = start()
    data = bytes(content(81, LENGTH))
    with server.connect() as connection:
        connection.sendall(head("/transferred", f"Content-Length: {2 * LENGTH}") + data)
        if half:
            connection.shutdown(1)
            until(lambda: bool(server.application.seen and server.application.seen[0].ended))
    until(lambda: bool(server.application.seen and server.application.seen[0].ended))
    (seen,) = server.application.seen
    assert (seen.ended, seen.body == data) == ("aborted", True)
    until(lambda: server.connections == 0)


def test_wrapped_receive_is_not_bypassed(start: Start) -> None:
    """A middleware that wraps ``receive`` may change or count the bytes: the socket is not acquired past it."""
    server = start()
    with server.connect() as connection:
        connection.sendall(head("/wrapped", f"Content-Length: {LENGTH}") + bytes(LENGTH))
        assert b"/wrapped" in answer(connection)
    (seen,) = server.application.seen
    assert (seen.bytes_zero_copy, len(seen.body)) == (0, LENGTH)


def test_chunked_body_is_not_transferred(start: Start) -> None:
    """Chunks have lines between them: only the parser knows which bytes are the body."""
    server = start()
    with server.connect() as connection:
        connection.sendall(head("/transferred", "Transfer-Encoding: chunked"))
        connection.sendall(b"%x\r\n" % LENGTH + bytes(LENGTH) + b"\r\n0\r\n\r\n")
        assert b"/transferred" in answer(connection)
    (seen,) = server.application.seen
    assert (seen.bytes_zero_copy, len(seen.body)) == (0, LENGTH)


def test_request_body_with_fast_body_off(start: Start) -> None:
    """With ``server.fast_body`` off the socket is not acquired."""
    server = start(fast_body=False)
    with server.connect() as connection:
        connection.sendall(head("/transferred", f"Content-Length: {LENGTH}") + bytes(LENGTH))
        assert b"/transferred" in answer(connection)
    (seen,) = server.application.seen
    assert (seen.bytes_zero_copy, len(seen.body)) == (0, LENGTH)


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


@pytest.mark.parametrize("length", [0, 1, 10_000, 10_001, LENGTH])
def test_response_body_and_following_requests(start: Start, length: int) -> None:
    """Every byte arrives once and in order, for several requests sent at once, and the connection stays usable."""
    server = start()
    data = bytes(content(length, length))
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(get(f"/sent?{length}") * 2 + head("/next", "Content-Length: 2") + b"ab")
            assert answer(connection).partition(b"\r\n\r\n")[2] == data
            assert answer(connection).partition(b"\r\n\r\n")[2] == data
            assert answer(connection).endswith(b"/next")
    transferred = [one.bytes_zero_copy for one in server.application.seen if one.path == "/sent"]
    # Everything behind the first piece.
    assert [length > 10_000] * 4 == [count > 0 for count in transferred]


def test_response_body_aborted_by_client(start: Start) -> None:
    """The connection ends although its socket was acquired."""
    server = start()
    with server.connect() as connection:
        connection.sendall(get(f"/sent?{10 * LENGTH}"))
        assert len(connection.recv(100_000)) > 0
    until(lambda: server.connections == 0)
    until(lambda: server.application.seen[0].ended == "complete")


def test_wrapped_send_is_not_bypassed(start: Start) -> None:
    """A middleware that wraps ``send`` may change or count the bytes: nothing is sent past it."""
    server = start()
    with server.connect() as connection:
        connection.sendall(get(f"/sent-wrapped?{LENGTH}"))
        assert answer(connection).partition(b"\r\n\r\n")[2] == content(LENGTH, LENGTH)
    assert [0] == [one.bytes_zero_copy for one in server.application.seen]


def test_response_body_with_fast_body_off(start: Start) -> None:
    """With ``server.fast_body`` off the socket is not acquired."""
    server = start(fast_body=False)
    with server.connect() as connection:
        connection.sendall(get(f"/sent?{LENGTH}"))
        assert answer(connection).partition(b"\r\n\r\n")[2] == content(LENGTH, LENGTH)
    assert [0] == [one.bytes_zero_copy for one in server.application.seen]


def test_buffered_body_is_taken_at_once(start: Start) -> None:
    """A body that arrived with its head is taken at once; one that is still arriving, or wrapped, is received."""
    server = start()
    with server.connect() as connection:
        connection.sendall(head("/taken", "Content-Length: 3") + b"abc")
        assert b"/taken" in answer(connection)
        server.application.may_read.clear()
        connection.sendall(head("/taken", "Content-Length: 3") + b"d")
        until(lambda: len(server.application.seen) == 2)
        server.application.may_read.set()
        until(lambda: server.application.seen[1].body == b"d")
        connection.sendall(b"ef")
        assert b"/taken" in answer(connection)
        connection.sendall(head("/taken-wrapped", "Content-Length: 3") + b"ghi")
        assert b"/taken-wrapped" in answer(connection)
    assert [(one.body, one.ended) for one in server.application.seen] == [
        (b"abc", "taken"),
        (b"def", "complete"),
        (b"ghi", "complete"),
    ]


def test_buffered_body_with_expect_continue_is_received(start: Start) -> None:
    """A client that expects 100 Continue gets it even if the body arrived with the head: it may count on it."""
    server = start()
    response = server.exchange(
        head("/taken", "Content-Length: 3", "Expect: 100-continue", "Connection: close") + b"abc"
    )
    assert response.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    assert [(b"abc", "complete")] == [(one.body, one.ended) for one in server.application.seen]
