"""Requests that our HTTP server offers to the application before it starts a task for them, over raw sockets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import pytest

from tests.support.connections import Seen, Served, answer, rest, served, until
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


LIKE = ("Upload-Length: 5", "User-Agent: a", "Upload-Metadata: name YQ==", "Content-Length: 0")


def sent_after(server: Served, *before: bytes, request: bytes) -> tuple[bytes, list[Seen]]:
    """The response to ``request`` after the others on the same connection, and what the application saw of it."""
    server.application.seen.clear()
    with server.connect() as connection:
        for each in before:
            connection.sendall(each)
            answer(connection)
        seen_before = len(server.application.seen)
        connection.sendall(request)
        try:
            response = answer(connection)
        except AssertionError:
            response = b"closed"
    until(lambda: all(each.ended for each in server.application.seen))
    seen = server.application.seen[seen_before:]
    return re.sub(rb"date: [^\r]*", b"", response), [Seen(each.path, each.headers, each.body) for each in seen]


def test_head_that_is_like_an_earlier_one_is_not_parsed(server: Served) -> None:
    """From the third request of a connection on; the application sees the headers as if it were parsed.

    One that is then left to a task is the same request, and so is one that is answered later than it came.
    """
    like = [head("POST", "/direct-known", f"upload-LENGTH: {n}", f"Upload-Metadata:a {n} b") for n in range(2, 8)]
    with server.connect() as connection:
        for each in like:
            connection.sendall(each)
            assert b" 201 " == answer(connection)[8:13]
        connection.sendall(like[4] + like[5])
        assert [b" 201 "] * 2 == [answer(connection)[8:13] for _ in range(2)]
    ends = [each.ended for each in server.application.seen]
    assert ["direct", "direct", "known", "known", "known", "known", "direct", "direct"] == ends
    expected = [
        [(b"host", b"x"), (b"upload-length", b"%d" % n), (b"upload-metadata", b"a %d b" % n)]
        for n in (*range(2, 8), 6, 7)
    ]
    assert expected == [each.headers for each in server.application.seen]


def test_like_head_that_is_left_to_a_task(server: Served) -> None:
    """Where it cannot begin like the earlier one, the application gets the same request by a task."""
    known = head("POST", "/direct-known", *LIKE)
    request = known.replace(b"Upload-Length: 5", b"Upload-Length: 1")
    response, (seen,) = sent_after(server, known, known, request=request)
    assert response.startswith(b"HTTP/1.1 200 ")
    assert [(b"upload-length", b"1")] == [each for each in seen.headers if each[0] == b"upload-length"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Upload-Length: 5", b"Upload-Length: 5 "),
        (b"Upload-Length: 5", b"Upload-Length:  5"),
        (b"Upload-Length: 5", b"Upload-Length:5"),
        (b"Upload-Length: 5", b"Upload-Length: "),
        (b"Upload-Length: 5", b"upload-length: 5"),
        (b"Upload-Length: 5", b"Upload-Length : 5"),
        (b"Upload-Length: 5", b"Upload-Length: 5\x00"),
        (b"Upload-Length: 5", b"Upload-Length: 5\x80"),
        (b"Upload-Length: 5", b"Upload-Length: 5\r"),
        (b"Upload-Length: 5", b"Upload-Length: 5\nX: y"),
        (b"Upload-Length: 5", b"Upload-Length: 5\r\nUpload-Length: 6"),
        (b"Upload-Length: 5", b"Upload-Length: 5\r\n folded"),
        (b"Upload-Length: 5\r\n", b""),
        (b"Content-Length: 0", b"Content-Length: 1"),
        (b"Content-Length: 0", b"Transfer-Encoding: chunked"),
        (b"Content-Length: 0", b"Connection: close"),
        (b"User-Agent: a", b"User-Agent: b"),
        (b"User-Agent: a", b"Expect: 100-continue"),
        (b"User-Agent: a", b"User-Agent\x7f: a"),
        (b"Host: x", b"Host: y"),
        (b"Host: x", b"Host: x y"),
        (b"POST", b"PUT"),
        (b"POST", b"post"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"/direct-known", b"/direct-known?a"),
        (b"/direct-known", b"/direct"),
        (b"POST", b"\r\nPOST"),
    ],
)
def test_head_that_is_only_nearly_like_an_earlier_one(server: Served, before: bytes, after: bytes) -> None:
    """It is treated as on a new connection: refused, or seen by the application with the same headers and body."""
    known = head("POST", "/direct-known", *LIKE)
    assert before in known
    request = known.replace(before, after, 1)
    if b"Content-Length: 1" in request:
        request += b"x"
    elif b"chunked" in request:
        request += b"1\r\nx\r\n0\r\n\r\n"
    alone = sent_after(server, request=request)
    assert alone == sent_after(server, known, known, request=request)


def test_like_head_that_is_too_large_is_answered_431() -> None:
    """The limit of heads holds for it too, also one that is smaller than the heads that are remembered."""
    ours = protocol_class(ServerSettings(header_bytes_max=500))
    assert ours is not None
    known = head("POST", "/direct-known", *LIKE)
    with served(ours, "asyncio", 30) as server:
        response, seen = sent_after(server, known, known, request=known.replace(b"YQ==", b"YQ==" * 120))
    assert response.startswith(b"HTTP/1.1 431 ")
    assert not seen


def test_heads_that_are_never_alike_are_not_remembered_for_long(server: Served) -> None:
    """After some in vain the connection remembers no more, whatever follows; a new one does."""
    unlike = [head("POST", "/direct-known", *LIKE, f"X-Number: {n}") for n in range(starting.LEARNINGS_MAX + 2)]
    with server.connect() as connection:
        for each in [*unlike, unlike[-1]]:
            connection.sendall(each)
            answer(connection)
    assert {"direct"} == {each.ended for each in server.application.seen}
    with server.connect() as connection:
        for each in [unlike[0], *unlike[:4], unlike[3], *unlike[:4], unlike[3]]:
            connection.sendall(each)
            answer(connection)
    assert "known" == server.application.seen[-1].ended
