"""The connection that is lent while a body runs, in or out, on both event loops: who gets it, and what follows it."""

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


def test_a_body_and_what_follows_it(start: Start) -> None:
    """Most of the body is moved, every byte once and in order; requests sent right behind it are answered in turn."""
    server = start()
    data = bytes(content(80, LENGTH))
    asked = head("/poured", f"Content-Length: {LENGTH}") + data
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(asked + head("/next", "Content-Length: 2") + b"ab")
            assert b"/poured" in answer(connection)
            assert b"/next" in answer(connection)
        connection.sendall(head("/last"))
        assert b"/last" in answer(connection)
    seen = server.application.seen
    assert [data, b"ab", data, b"ab", b""] == [one.body for one in seen]
    assert ["whole"] * 5 == [one.ended for one in seen]
    assert seen[0].poured_bytes > 0


@pytest.mark.parametrize("half", [False, True], ids=["FIN", "half-close"])
def test_a_client_that_leaves(start: Start, half: bool) -> None:
    """What was sent before comes whole, then the cut."""
    server = start()
    data = bytes(content(81, LENGTH))
    with server.connect() as connection:
        connection.sendall(head("/poured", f"Content-Length: {2 * LENGTH}") + data)
        if half:
            connection.shutdown(1)
            until(lambda: bool(server.application.seen and server.application.seen[0].ended))
    until(lambda: bool(server.application.seen and server.application.seen[0].ended))
    (seen,) = server.application.seen
    assert (seen.ended, seen.body == data) == ("cut", True)
    until(lambda: server.connections == 0)


def test_who_wraps_receive_sees_the_bytes(start: Start) -> None:
    """A middleware may change or count what passes through it: the body is not lent past it."""
    server = start()
    with server.connect() as connection:
        connection.sendall(head("/wrapped", f"Content-Length: {LENGTH}") + bytes(LENGTH))
        assert b"/wrapped" in answer(connection)
    (seen,) = server.application.seen
    assert (seen.poured_bytes, len(seen.body)) == (0, LENGTH)


def test_a_body_of_unknown_length(start: Start) -> None:
    """Chunks have lines between them: only the parser can tell what is body."""
    server = start()
    with server.connect() as connection:
        connection.sendall(head("/poured", "Transfer-Encoding: chunked"))
        connection.sendall(b"%x\r\n" % LENGTH + bytes(LENGTH) + b"\r\n0\r\n\r\n")
        assert b"/poured" in answer(connection)
    (seen,) = server.application.seen
    assert (seen.poured_bytes, len(seen.body)) == (0, LENGTH)


def test_the_setting(start: Start) -> None:
    """Turned off, nothing is lent."""
    server = start(fast_body=False)
    with server.connect() as connection:
        connection.sendall(head("/poured", f"Content-Length: {LENGTH}") + bytes(LENGTH))
        assert b"/poured" in answer(connection)
    (seen,) = server.application.seen
    assert (seen.poured_bytes, len(seen.body)) == (0, LENGTH)


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


@pytest.mark.parametrize("length", [0, 1, 10_000, 10_001, LENGTH])
def test_an_answer_and_what_follows_it(start: Start, length: int) -> None:
    """Every byte comes once and in order, for several requests sent at once, and the connection goes on."""
    server = start()
    data = bytes(content(length, length))
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(get(f"/given?{length}") * 2 + head("/next", "Content-Length: 2") + b"ab")
            assert answer(connection).partition(b"\r\n\r\n")[2] == data
            assert answer(connection).partition(b"\r\n\r\n")[2] == data
            assert answer(connection).endswith(b"/next")
    poured = [one.poured_bytes for one in server.application.seen if one.path == "/given"]
    # All that the first piece has left.
    assert [length > 10_000] * 4 == [count > 0 for count in poured]


def test_a_client_that_leaves_the_answer(start: Start) -> None:
    """The connection ends, whatever was lent of it."""
    server = start()
    with server.connect() as connection:
        connection.sendall(get(f"/given?{10 * LENGTH}"))
        assert len(connection.recv(100_000)) > 0
    until(lambda: server.connections == 0)
    until(lambda: server.application.seen[0].ended == "whole")


def test_who_wraps_send_sees_the_answer(start: Start) -> None:
    """A middleware may change or count what passes through it: nothing is sent past it."""
    server = start()
    with server.connect() as connection:
        connection.sendall(get(f"/given-wrapped?{LENGTH}"))
        assert answer(connection).partition(b"\r\n\r\n")[2] == content(LENGTH, LENGTH)
    assert [0] == [one.poured_bytes for one in server.application.seen]


def test_the_setting_for_answers(start: Start) -> None:
    """Turned off, nothing is lent for them either."""
    server = start(fast_body=False)
    with server.connect() as connection:
        connection.sendall(get(f"/given?{LENGTH}"))
        assert answer(connection).partition(b"\r\n\r\n")[2] == content(LENGTH, LENGTH)
    assert [0] == [one.poured_bytes for one in server.application.seen]


def test_a_body_that_came_with_its_head(start: Start) -> None:
    """It is had at once and whole, and the connection goes on; one that is still coming, or wrapped, is received."""
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
        (b"def", "whole"),
        (b"ghi", "whole"),
    ]


def test_a_body_whose_client_waits_for_word_is_received(start: Start) -> None:
    """Who expects 100 Continue is told so, even if the body came along: a client may count on the line."""
    server = start()
    said = server.ask(head("/taken", "Content-Length: 3", "Expect: 100-continue", "Connection: close") + b"abc")
    assert said.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    assert [(b"abc", "whole")] == [(one.body, one.ended) for one in server.application.seen]
