"""The protocol class against raw sockets, beside the one that uvicorn brings: each test says what that one lacks."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, Literal

import pytest

from tests.support.connections import Seen, Served, answer, rest, served, until
from tests.support.sockets import server_side
from tusd_py.serving.http.uvicorn_compat import protocol_class
from tusd_py.settings import ServerSettings

HEADER_TIMEOUT_SECONDS = 0.4
Start = Callable[..., Served]


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def start(loop: Literal["asyncio", "uvloop"]) -> Iterator[Start]:
    """Serves with our class, or with uvicorn's (``stock=True``)."""
    with ExitStack() as stack:

        def run(*, stock: bool = False, header_timeout_seconds: float = 30, keep_alive_seconds: int = 30) -> Served:
            ours = protocol_class(ServerSettings(header_timeout_seconds=header_timeout_seconds))
            assert ours is not None
            http: type[asyncio.Protocol] | str = "httptools" if stock else ours
            return stack.enter_context(served(http, loop, keep_alive_seconds))

        yield run


def head(method: str = "POST", path: str = "/echo", *lines: str, host: str = "Host: x") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", *([host] if host else []), *lines, "", ""]).encode("latin-1")


def is_open(connection: socket.socket, seconds: float) -> bool:
    try:
        rest(connection, seconds)
    except TimeoutError:
        return True
    return False


def only_connection(server: Served) -> Any:
    (protocol,) = server.server.server_state.connections
    return protocol


def seen_after_the_end(server: Served, *pieces: bytes, reset: bool = False, awaits_loss: bool = True) -> Seen:
    """What an application saw that was busy until the client had sent ``pieces`` and left."""
    server.application.may_read.clear()
    connection = server.connect()
    for piece in pieces:
        connection.sendall(piece)
    until(lambda: bool(server.application.seen))
    if reset:
        # A reset takes with it what still waits in the kernel.
        until(lambda: unread_bytes(server, connection) == 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    if awaits_loss:
        until(lambda: server.connections == 0)
    server.application.may_read.set()
    (seen,) = server.application.seen
    until(lambda: seen.ended != "")
    return seen


def unread_bytes(server: Served, connection: socket.socket) -> int:
    side = server_side(server.port, connection.getsockname()[1])
    return side.unread_bytes if side is not None else 0


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_bytes_before_a_disconnect_reach_the_application(start: Start, reset: bool) -> None:
    """An application that was busy when the client left reads every byte, then the disconnect."""
    request = head("POST", "/echo", "Content-Length: 1000000")
    for sent in (1, 300, 200_000):
        seen = seen_after_the_end(start(), request + b"x" * sent, reset=reset)
        assert ("aborted", sent) == (seen.ended, len(seen.body))
    seen = seen_after_the_end(start(stock=True), request + b"x" * 300, reset=reset)
    assert ("aborted", 0) == (seen.ended, len(seen.body))


def test_bytes_in_the_kernel_reach_the_application(start: Start) -> None:
    """Megabytes that wait in the kernel when the client closes are all read."""
    request = head("POST", "/echo", "Content-Length: 100000000")
    seen = seen_after_the_end(start(), request, b"x" * 2_000_000, awaits_loss=False)
    assert ("aborted", 2_000_000) == (seen.ended, len(seen.body))


def test_complete_body_of_a_client_that_left(start: Start) -> None:
    """A client that sends everything and leaves: the application reads a complete body."""
    for stock in (False, True):
        seen = seen_after_the_end(start(stock=stock), head("POST", "/echo", "Content-Length: 5") + b"hello")
        assert (("aborted", b"") if stock else ("complete", b"hello")) == (seen.ended, seen.body)


BODIES = {
    "length": (["Content-Length: 5"], b"hello"),
    "chunks": (["Transfer-Encoding: chunked"], b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("framing", BODIES)
@pytest.mark.parametrize("in_pieces", [False, True], ids=["at once", "in pieces"])
def test_upgrade_to_h2c_is_ignored(start: Start, framing: str, in_pieces: bool) -> None:
    """A request that offers h2c beside its body is served without it, and so is the next one on the connection."""
    lines, body = BODIES[framing]
    request = head(
        "POST", "/echo", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA", *lines
    )
    server = start()
    with server.connect() as connection:
        if in_pieces:
            for byte in request + body:
                connection.sendall(bytes([byte]))
            assert b"/echo" in answer(connection)
            connection.sendall(head("GET", "/next"))
        else:
            connection.sendall(request + body + head("GET", "/next"))
            assert b"/echo" in answer(connection)
        assert b"/next" in answer(connection)
    assert [b"hello", b""] == [seen.body for seen in server.application.seen]
    assert [("complete", "/echo"), ("complete", "/next")] == [
        (seen.ended, seen.path) for seen in server.application.seen
    ]
    stock = start(stock=True)
    with stock.connect() as connection:
        connection.sendall(request + body)
        assert b"/echo" in answer(connection)
    assert b"" == stock.application.seen[0].body


def test_upgrade_without_a_body_is_ignored(start: Start) -> None:
    """A GET that offers h2c is answered over HTTP/1.1."""
    server = start()
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(head("GET", "/echo", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"))
            assert b"200 OK" in answer(connection)


REFUSED = {
    "no host": head(host=""),
    "two hosts": head("POST", "/echo", "Host: y"),
    "host with a path": head(host="Host: x/y"),
    "host with userinfo": head(host="Host: a@x"),
    "host with a space": head(host="Host: a b"),
    "coded": head("POST", "/echo", "Transfer-Encoding: gzip, chunked"),
    "two encodings": head("POST", "/echo", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "old and chunked": b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "length and encoding": head("POST", "/echo", "Content-Length: 5", "Transfer-Encoding: chunked"),
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "no path": head("GET", "http://"),
    "connect": head("CONNECT", "x:80"),
}
#: What the stock class hands to the application.
LET_THROUGH = {"no host", "two hosts", "host with a path", "host with userinfo", "host with a space", "coded"}


@pytest.mark.parametrize("what", REFUSED)
def test_ambiguous_head_400(start: Start, what: str) -> None:
    """The connection is closed; the application never sees the request."""
    server = start()
    got = server.exchange(REFUSED[what])
    assert (b"HTTP/1.1 400 ", True) == (got[:13], b"connection: close\r\n" in got)
    assert [] == server.application.seen
    if what in LET_THROUGH:
        stock = start(stock=True)
        with stock.connect() as connection:
            connection.sendall(REFUSED[what])
            until(lambda: bool(stock.application.seen))


@pytest.mark.parametrize("host", ["Host: [::1]:8080", "Host: a-b.example:", "Host:", "Host: x%20y"])
def test_unusual_valid_hosts_200(start: Start, host: str) -> None:
    """Unusual but valid hosts are served, and HTTP/1.0 needs none."""
    server = start()
    assert b"200 OK" in server.exchange(head("GET", "/echo", "Connection: close", host=host))
    assert b"200 OK" in server.exchange(b"GET /echo HTTP/1.0\r\n\r\n")


LARGE = {
    "one header": [head("GET", "/echo", "A: " + "a" * 70_000)],
    "many headers": [head("GET", "/echo", *["A: b"] * 2000)],
    "many bytes": [head("GET", "/echo", *["A: " + "a" * 1000] * 100)],
    "a long path": [head("GET", "/" + "a" * 70_000)],
    "without an end": [b"GET /echo HTTP/1.1\r\nA: ", *[b"a" * 10_000] * 7],
}


@pytest.mark.parametrize("what", LARGE)
def test_large_head_431(start: Start, what: str) -> None:
    """The connection is closed, also for a header that never ends."""
    server = start()
    assert b"HTTP/1.1 431 Request Header Fields Too Large\r\n" in server.exchange(*LARGE[what])
    assert [] == server.application.seen
    # A head within the bounds is served, after a body of any size in the same breath too.
    small = head("GET", "/echo", "Connection: close", *["A: " + "a" * 500] * 100)
    assert b"200 OK" in server.exchange(small)
    big = head("POST", "/echo", "Content-Length: 200000") + b"x" * 200_000
    assert 2 == server.exchange(big + small[:20_000], small[20_000:]).count(b"200 OK")


def test_slow_head_408(start: Start) -> None:
    """After the header timeout, however steadily the bytes arrive; on a used connection as well."""
    server = start(header_timeout_seconds=HEADER_TIMEOUT_SECONDS)
    for before in (b"", head("GET", "/first")):
        with server.connect() as connection:
            connection.sendall(before)
            if before:
                assert b"/first" in answer(connection)
            began = time.monotonic()
            got = b""
            connection.settimeout(0.05)
            for byte in (head()[:-2] + b"A: " + b"a" * 200)[:200]:
                try:
                    connection.sendall(bytes([byte]))
                    got += connection.recv(65536)
                except TimeoutError:
                    continue
                break
            assert b"HTTP/1.1 408 Request Timeout\r\n" in got + rest(connection)
            assert HEADER_TIMEOUT_SECONDS * 0.9 <= time.monotonic() - began < 5


def test_silent_connection_is_closed(start: Start) -> None:
    """Without a response, after the header timeout; uvicorn's own class keeps it for ever."""
    with start(header_timeout_seconds=HEADER_TIMEOUT_SECONDS).connect() as connection:
        assert b"" == rest(connection)
    with start(stock=True).connect() as connection:
        assert is_open(connection, HEADER_TIMEOUT_SECONDS * 2)


def test_empty_line_does_not_keep_the_connection(start: Start) -> None:
    """It is no request and does not prolong an idle connection; with uvicorn's own class it stays open for ever."""
    for stock in (False, True):
        server = start(stock=stock, keep_alive_seconds=1)
        with server.connect() as connection:
            connection.sendall(head("GET", "/first"))
            assert b"/first" in answer(connection)
            connection.sendall(b"\r\n")
            assert stock == is_open(connection, 1.5 if stock else 10)


def test_idle_time_counts_from_the_last_response(start: Start) -> None:
    """One timer serves all idle times of a connection: each begins anew with a response, and ends the connection."""
    with start(keep_alive_seconds=1).connect() as connection:
        for _ in range(3):
            connection.sendall(head("GET", "/first"))
            assert b"/first" in answer(connection)
            time.sleep(0.6)
        began = time.monotonic()
        assert b"" == rest(connection)
        assert 0.2 < time.monotonic() - began < 5


def test_header_timeout_is_for_heads_only(start: Start) -> None:
    """A body and an application may take longer, and a used connection may be idle longer."""
    server = start(header_timeout_seconds=HEADER_TIMEOUT_SECONDS)
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(head("POST", "/echo", "Content-Length: 2") + b"x")
            time.sleep(HEADER_TIMEOUT_SECONDS * 1.5)
            connection.sendall(b"y")
            assert b"/echo" in answer(connection)
        time.sleep(HEADER_TIMEOUT_SECONDS * 1.5)
        connection.sendall(head("GET", "/last"))
        assert b"/last" in answer(connection)


def test_trailers_are_not_headers(start: Start) -> None:
    """Declared trailers come by the extension, others are dropped, and none is among the headers."""
    request = head("POST", "/echo", "Transfer-Encoding: chunked", "Trailer: Checksum, Other", "Connection: close")
    body = b"5\r\nhello\r\n0\r\nChecksum: a\r\nHost: evil\r\nTus-Resumable: 2\r\nChecksum:  b\r\n\r\n"
    for stock in (False, True):
        server = start(stock=stock)
        assert b"200 OK" in server.exchange(request, body)
        (seen,) = server.application.seen
        assert (b"hello", "complete") == (seen.body, seen.ended)
        assert ([] if stock else [(b"checksum", b"a"), (b"checksum", b"b")]) == seen.trailers
        assert (1 + stock) == [name for name, _ in seen.headers].count(b"host")


ENDLESS = {"trailer": b"0\r\nA: ", "extension": b"5;", "size": b"", "trailer after a trailer": b"0\r\nB: b\r\nA: "}


@pytest.mark.parametrize("what", ENDLESS)
@pytest.mark.parametrize("path", ["/echo", "/unread"])
def test_endless_chunk_framing_431(start: Start, what: str, path: str) -> None:
    """It is bounded like a head; with an application that does not read, there is no second response."""
    server = start()
    began = time.monotonic()
    with server.connect() as connection:
        connection.sendall(head("POST", path, "Transfer-Encoding: chunked") + b"5\r\nhello\r\n" + ENDLESS[what])
        with suppress(OSError):
            for _ in range(400):
                connection.sendall((b"0" if what == "size" else b"a") * 10_000)
        got = b""
        with suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                got += piece
    assert (b" 431 " in got, b" 200 " in got) == ((True, False) if path == "/echo" else (False, True))
    until(lambda: server.connections == 0)
    assert time.monotonic() - began < 8
    (seen,) = server.application.seen
    if path == "/echo":
        until(lambda: bool(seen.ended))
        assert (b"hello", "aborted") == (seen.body, seen.ended)


def test_slow_trailer_408(start: Start) -> None:
    """It may take as long as a head; a body between its pieces may take longer."""
    server = start(header_timeout_seconds=HEADER_TIMEOUT_SECONDS)
    with server.connect() as connection:
        connection.sendall(head("POST", "/echo", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
        time.sleep(HEADER_TIMEOUT_SECONDS * 1.5)
        connection.sendall(b"5\r\nhello\r\n0\r\nA: b\r\nB: ")
        began = time.monotonic()
        assert b" 408 " in rest(connection)
        assert HEADER_TIMEOUT_SECONDS * 0.9 <= time.monotonic() - began < 5


def test_requests_ahead_are_not_parsed(start: Start) -> None:
    """While a request is answered, what the client sends ahead waits in the kernel; then all of it is answered."""
    server = start()
    server.application.may_read.clear()
    count = 5000
    with server.connect() as connection:
        sender = threading.Thread(target=connection.sendall, args=(head("GET", "/x") * count,))
        sender.start()
        until(lambda: bool(server.application.seen))
        protocol = only_connection(server)
        until(lambda: protocol.flow.read_paused)
        assert (0, 1) == (len(protocol.pipeline), len(server.application.seen))
        server.application.may_read.set()
        for _ in range(count):
            assert answer(connection).startswith(b"HTTP/1.1 200 OK")
        sender.join()
    assert count == len(server.application.seen)


@pytest.mark.parametrize("last_bytes", range(0, 13, 2))
def test_requests_behind_a_chunked_body(start: Start, last_bytes: int) -> None:
    """However the bytes are cut, each request behind a chunked body is answered, and few are parsed ahead."""
    chunked = head("POST", "/first", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n"
    server = start()
    server.application.may_read.clear()
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(chunked[: len(chunked) - last_bytes])
        until(lambda: bool(server.application.seen) and unread_bytes(server, connection) == 0)
        connection.sendall(chunked[len(chunked) - last_bytes :] + head("GET", "/x") * 400)
        protocol = only_connection(server)
        until(lambda: protocol.flow.read_paused)
        assert len(protocol.pipeline) < 50
        server.application.may_read.set()
        for path in [b"/first", *[b"/x"] * 400]:
            assert answer(connection).endswith(path)
    assert b"hello" == server.application.seen[0].body


def test_chunked_body_of_empty_lines(start: Start) -> None:
    """Empty lines within chunks end no message."""
    data = b"\r\n\r\n0\r\n\r\n" * 20_000
    server = start()
    with server.connect() as connection:
        connection.sendall(head("POST", "/echo", "Transfer-Encoding: chunked"))
        connection.sendall(b"%x\r\n" % len(data) + data + b"\r\n0\r\n\r\n" + head("GET", "/next"))
        assert answer(connection).endswith(b"/echo")
        assert answer(connection).endswith(b"/next")
    assert data == server.application.seen[0].body


@pytest.mark.parametrize("ending", ["FIN", "RST"])
def test_nothing_is_left_of_a_connection(start: Start, ending: str) -> None:
    """However the connection ended: no timer keeps it in memory."""
    server = start(keep_alive_seconds=600)
    connection = server.connect()
    connection.sendall(head("POST", "/echo", "Content-Length: 5") + b"hello")
    assert answer(connection).endswith(b"/echo")
    is_alive = weakref.ref(only_connection(server))
    if ending == "RST":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()

    until(lambda: is_alive() is None)


def test_too_many_trailers_431(start: Start) -> None:
    """They end the request: the application gets the body and a disconnect."""
    server = start()
    request = head("POST", "/echo", "Transfer-Encoding: chunked", "Trailer: A") + b"5\r\nhello\r\n0\r\n"
    assert b" 431 " in server.exchange(request, *[b"A: " + b"a" * 1000 + b"\r\n"] * 70)
    until(lambda: bool(server.application.seen and server.application.seen[0].ended))
    (seen,) = server.application.seen
    assert (b"hello", "aborted") == (seen.body, seen.ended)


def test_interim_responses(start: Start) -> None:
    """They are sent before the response, beside 100 Continue; after it has begun, and to HTTP/1.0, none is."""
    server = start()
    with server.connect() as connection:
        connection.sendall(head("POST", "/interim", "Content-Length: 5", "Expect: 100-continue"))
        for offset in (b"0", b"5"):
            assert b"HTTP/1.1 104 Upload Resumption Supported\r\nupload-offset: %s\r\n\r\n" % offset == answer(
                connection
            )
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == answer(connection)
        connection.sendall(b"hello")
        assert b"HTTP/1.1 200 OK" in answer(connection)
    assert [True, True, False] == server.application.sent_interim
    assert server.exchange(b"GET /interim HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 OK")
    assert [False, False, False] == server.application.sent_interim[3:]


def test_pipelined_requests_are_answered_in_order(start: Start) -> None:
    """Ten requests in one write, with bodies; a malformed one behind them is refused in its turn."""
    server = start()
    server.application.may_read.clear()
    request = [head("POST", f"/{turn}", "Content-Length: 1") + b"x" for turn in range(10)]
    with server.connect() as connection:
        connection.sendall(b"".join(request) + REFUSED["two hosts"])
        until(lambda: bool(server.application.seen))
        server.application.may_read.set()
        for turn in range(10):
            got = answer(connection)
            assert got.startswith(b"HTTP/1.1 200 OK\r\n")
            assert got.endswith(b"/%d" % turn)
        assert rest(connection).startswith(b"HTTP/1.1 400 ")
    assert [f"/{turn}" for turn in range(10)] == [seen.path for seen in server.application.seen]
    assert {(b"x", "complete")} == {(seen.body, seen.ended) for seen in server.application.seen}


def test_malformed_chunk_400(start: Start) -> None:
    """The application gets the bytes before it and a disconnect."""
    server = start()
    got = server.exchange(head("POST", "/echo", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n", b"nonsense\r\n")
    assert got.startswith(b"HTTP/1.1 400 ")
    until(lambda: bool(server.application.seen and server.application.seen[0].ended))
    (seen,) = server.application.seen
    assert (b"hello", "aborted") == (seen.body, seen.ended)


def test_unread_body_is_bounded(start: Start) -> None:
    """Of a body that the application does not read, one or two mebibytes are read; the client can read the response."""
    request = head("POST", "/unread", f"Content-Length: {1 << 30}")
    for stock in (False, True):
        server = start(stock=stock)
        with server.connect() as connection:
            connection.sendall(request)
            assert b"/unread" in answer(connection)
            taken = 0
            try:
                while taken < 64 << 20:
                    taken += connection.send(b"x" * (1 << 20))
            except ConnectionError:
                pass
        assert (taken == 64 << 20) == stock
        assert stock or taken <= 16 << 20


def test_small_unread_body_keeps_the_connection(start: Start) -> None:
    """The rest is read, and the next request is answered; if it never arrives, the connection is closed."""
    server = start()
    with server.connect() as connection:
        connection.sendall(head("POST", "/unread", "Content-Length: 200000"))
        assert b"/unread" in answer(connection)
        connection.sendall(b"x" * 200_000 + head("GET", "/next"))
        assert b"/next" in answer(connection)
        connection.sendall(head("POST", "/unread", "Content-Length: 200000"))
        assert b"/unread" in answer(connection)
        assert b"" == rest(connection)
