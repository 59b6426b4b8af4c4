"""Requests that our HTTP server offers to the application before it starts a task for them, over raw sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest

from tests.support.connections import Served, answer, rest, served, until
from tusd_py.serving.http import starting
from tusd_py.serving.http.uvicorn_compat import protocol_class
from tusd_py.settings import ServerSettings


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest) -> Iterator[Served]:
    loop: Literal["asyncio", "uvloop"] = request.param
    ours = protocol_class(ServerSettings())
    assert ours is not None
    with served(ours, loop, 30) as running:
        yield running


def head(method: str = "POST", path: str = "/echo", *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode("latin-1")


def test_whole_requests_are_offered_before_a_task_starts(server: Served) -> None:
    """Requests with and without a body, one after the other and ahead of their responses, are answered in order."""
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(head("POST", "/direct", "Content-Length: 3") + b"abc" + head("GET", "/direct"))
            connection.sendall(head("POST", "/echo", "Content-Length: 1") + b"x" + head("POST", "/direct-later"))
            assert [b" 201 ", b" 201 ", b" 200 ", b" 200 "] == [answer(connection)[8:13] for _ in range(4)]
    ends = [(each.path, each.body, each.ended) for each in server.application.seen]
    one_round = [
        ("/direct", b"abc", "direct"),
        ("/direct", b"", "direct"),
        ("/echo", b"x", "complete"),
        ("/direct-later", b"", "complete"),
    ]
    assert one_round * 2 == ends


def test_small_body_that_follows_the_head_is_waited_for(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients send head and body in two parts: the request is whole shortly afterwards."""
    monkeypatch.setattr(starting, "WHOLE_SECONDS", 60.0)
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(head("POST", "/direct", "Content-Length: 3"))
            connection.sendall(b"a")
            connection.sendall(b"bc")
            assert b" 201 " in answer(connection)
    assert [(b"abc", "direct")] * 2 == [(each.body, each.ended) for each in server.application.seen]


def test_large_body_is_not_waited_for(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts at once, to be received while it arrives."""
    monkeypatch.setattr(starting, "WHOLE_SECONDS", 60.0)
    with server.connect() as connection:
        connection.sendall(head("POST", "/direct", f"Content-Length: {starting.SMALL_BODY_BYTES + 1}"))
        until(lambda: len(server.application.seen) == 1)
        connection.sendall(bytes(starting.SMALL_BODY_BYTES + 1))
        assert b"/direct" in answer(connection)


def test_body_of_a_connection_that_ends_is_passed_on(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has arrived of a body that was waited for reaches the application, then the disconnect."""
    monkeypatch.setattr(starting, "WHOLE_SECONDS", 60.0)
    with server.connect() as connection:
        connection.sendall(head("POST", "/direct", "Content-Length: 3") + b"a")
    until(lambda: [(b"a", "aborted")] == [(each.body, each.ended) for each in server.application.seen])


def test_other_requests_are_not_offered(server: Served) -> None:
    """A body that does not arrive soon, one that waits for a 100, and a connection that ends after the response."""
    with server.connect() as connection:
        connection.sendall(head("POST", "/direct", "Content-Length: 3") + b"a")
        until(lambda: len(server.application.seen) == 1)
        connection.sendall(b"bc")
        assert b"/direct" in answer(connection)
        connection.sendall(head("POST", "/direct", "Content-Length: 1", "Expect: 100-continue"))
        assert b" 100 " in answer(connection)
        connection.sendall(b"a")
        assert b"/direct" in answer(connection)
        connection.sendall(head("POST", "/direct", "Connection: close"))
        assert b"/direct" in rest(connection)
    assert ["complete"] * 3 == [each.ended for each in server.application.seen]


def test_direct_response_to_a_lost_connection(server: Served) -> None:
    """The client is gone before the response: the server goes on."""
    connection = server.connect()
    connection.sendall(head("POST", "/direct"))
    connection.close()
    until(lambda: len(server.application.seen) == 1 and not server.connections)
    assert b" 201 " in server.exchange(head("POST", "/direct"), head("GET", "/last", "Connection: close"))
