"""One hostile client against a server process: what it costs the server in memory, and other clients in waiting."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.client import TUS, patch_headers
from tests.support.content import MIB, content
from tests.support.server import RunningServer
from tests.support.stacks import every_stack

pytestmark = [pytest.mark.timeout(120), every_stack]

Start = Callable[..., RunningServer]
#: How much more memory the server may use during an attack and after it.
GROWTH_BYTES_MAX = 60 * MIB
#: How long another client may wait for a response.
WAIT_SECONDS_MAX = 1.0
#: How long one attack goes on at most.
ATTACK_SECONDS = 6.0
SEND_TIMEOUT_SECONDS = "2"
CHUNKED = b"Host: x\r\nTransfer-Encoding: chunked\r\n"


def resident_bytes(server: RunningServer) -> int:
    fields = Path(f"/proc/{server.process.pid}/statm").read_text().split()
    return int(fields[1]) * 4096


def descriptors(server: RunningServer) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def connect(server: RunningServer, receive_buffer: int = 0) -> socket.socket:
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(1.0)
    connection.connect(("127.0.0.1", server.port))
    return connection


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def send_until_refused(connection: socket.socket, piece: bytes, bytes_max: int) -> int:
    """Send ``piece`` again and again until the server takes no more, closes, or has taken ``bytes_max``."""
    sent = 0
    deadline = time.monotonic() + ATTACK_SECONDS
    while sent < bytes_max and time.monotonic() < deadline:
        try:
            sent += connection.send(piece)
        except OSError:
            break  # a time-out as well
    return sent


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed the connection. Reads nothing from it."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 1  # TCP_ESTABLISHED


@contextmanager
def bounded(server: RunningServer, growth_bytes_max: int = GROWTH_BYTES_MAX) -> Iterator[None]:
    """Fail if the server's memory grows too much inside, or if another client has to wait."""
    waits: list[float] = []
    peak = 0
    is_over = threading.Event()

    def probe() -> None:
        nonlocal peak
        while not is_over.is_set():
            began = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            connection.close()
            waits.append(time.monotonic() - began)
            peak = max(peak, resident_bytes(server))
            is_over.wait(0.05)

    for _ in range(200):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        connection.close()
    # The client of S3 is loaded once, beside the first requests, and takes some 30 MiB.
    is_loaded = server.is_on_disk or eventually(lambda: b"object store examined" in server.log.read_bytes(), 60)
    assert is_loaded, "the server has not examined S3"
    before = resident_bytes(server)
    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    assert peak - before < growth_bytes_max
    assert eventually(lambda: resident_bytes(server) - before < growth_bytes_max, 5)
    assert max(waits) < WAIT_SECONDS_MAX


def test_pipelined_requests_unread(start: Start) -> None:
    """Requests that the client sends ahead without reading the responses wait in the kernel, not in memory."""
    server = start()
    # Of a length that fits into every read without a rest.
    asked = b"HEAD /files/x HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nX: yy\r\n\r\n"
    assert len(asked) == 64
    with bounded(server), connect(server) as connection:
        connection.settimeout(ATTACK_SECONDS)
        send_until_refused(connection, asked * 1024, 40 * MIB)


def test_pipelined_small_requests_are_answered(start: Start) -> None:
    """The head of a request is not charged with the requests before it."""
    server = start()
    count = 8000
    asked = b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with bounded(server), connect(server) as connection:
        connection.settimeout(10)
        sender = threading.Thread(target=connection.sendall, args=(asked * count,))
        sender.start()
        got, answers = b"", 0
        while answers < count and (piece := connection.recv(65536)):
            got += piece
            *complete, got = got.split(b"\r\n\r\n")
            assert all(head.startswith(b"HTTP/1.1 200 ") for head in complete)
            answers += len(complete)
        sender.join()
    assert answers == count


def answered(
    server: RunningServer, method: str, target: str, headers: Mapping[str, str], body: bytes | memoryview = b""
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(method, target, body, dict(headers))
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def created(server: RunningServer, length: int) -> str:
    """The path of a new upload."""
    answer = answered(server, "POST", "/files/", {**TUS, "Upload-Length": str(length)})
    assert 201 == answer.status
    return urlsplit(answer.headers["Location"]).path


def refused_patch(server: RunningServer) -> bytes:
    head = b"PATCH %s HTTP/1.1\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 7\r\n" % created(server, 1000).encode()
    return head + b"Content-Type: application/offset+octet-stream\r\n"


TARGETS: dict[str, Callable[[RunningServer], bytes]] = {
    "without a body": lambda _: b"GET /healthz HTTP/1.1\r\n",
    "creation": lambda _: (
        b"POST /files/ HTTP/1.1\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 100\r\n"
        b"Content-Type: application/offset+octet-stream\r\n"
    ),
    "refused": refused_patch,
}
ENDLESS = {
    "trailer": b"5\r\nhello\r\n0\r\nX: ",
    "extension": b"5\r\nhello\r\n5;",
    "size": b"5\r\nhello\r\n",
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("what", ENDLESS)
def test_endless_chunk_framing(start: Start, target: str, what: str) -> None:
    """The bytes between the pieces of a body are bounded like a head, also where the body is not read."""
    server = start()
    piece = (b"0" if what == "size" else b"a") * 65536
    with bounded(server), connect(server) as connection:
        connection.sendall(TARGETS[target](server) + CHUNKED + b"\r\n" + ENDLESS[what])
        began = time.monotonic()
        sent = send_until_refused(connection, piece, 64 * MIB)
        assert sent < 16 * MIB
        assert eventually(lambda: is_closed(connection), 5)
        assert time.monotonic() - began < ATTACK_SECONDS + 2


@pytest.fixture
def large(start: Start) -> tuple[RunningServer, str]:
    """A server with a short send timeout, and the path of a large upload."""
    server = start(SERVER__SEND_TIMEOUT_SECONDS=SEND_TIMEOUT_SECONDS)
    return server, upload(server)


def upload(server: RunningServer) -> str:
    """The path of a complete upload of 16 MiB."""
    data = content(1, 16 * MIB)
    path = created(server, len(data))
    assert 204 == answered(server, "PATCH", path, patch_headers(0, len(data)), data).status
    return path


def test_unread_responses_are_cut(large: tuple[RunningServer, str]) -> None:
    """Downloads, and pages asked for in a row, that the client does not read: the connections are aborted in time."""
    server, path = large
    download = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode()
    # A connection keeps the piece that it cannot send. All keep about 20 MiB, or 35 without zero-copy; the responses
    # have about 650.
    with bounded(server), ExitStack() as stack:
        before = descriptors(server)
        connections = [stack.enter_context(connect(server, 4096)) for _ in range(70)]
        for turn, connection in enumerate(connections):
            connection.sendall(download if turn < 40 else b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 30)
        assert eventually(lambda: all(map(is_closed, connections)), 15)
        assert eventually(lambda: descriptors(server) <= before + 5, 5)
    assert "Traceback" not in server.log.read_text()


def test_slow_reader_is_not_cut(large: tuple[RunningServer, str]) -> None:
    """A client that reads slowly but steadily is served for many times the send timeout."""
    server, path = large
    with connect(server, 65536) as connection:
        connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
        deadline = time.monotonic() + 4 * float(SEND_TIMEOUT_SECONDS)
        got = b""
        while time.monotonic() < deadline:
            got += connection.recv(8192)
            time.sleep(0.05)
        assert not is_closed(connection)
        connection.settimeout(10)
        while piece := connection.recv(MIB):
            got += piece
            if len(got) > 16 * MIB:
                break
    assert got.partition(b"\r\n\r\n")[2] == content(1, 16 * MIB)


def test_unread_responses_do_not_delay_a_stop(start: Start) -> None:
    """A stop does not wait its whole grace time for clients that read nothing."""
    server = start(SERVER__SHUTDOWN_TIMEOUT_SECONDS="20")
    path = upload(server)
    with ExitStack() as stack:
        for turn in range(10):
            connection = stack.enter_context(connect(server, 4096))
            target = path if turn < 5 else "/"
            connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target.encode() * 30)
        time.sleep(1)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10
    assert "Traceback" not in server.log.read_text()


def test_connections_reset_after_the_response(start: Start) -> None:
    """They leave no memory behind, though an idle connection would be kept for long."""
    server = start(SERVER__KEEP_ALIVE_SECONDS="600")
    with bounded(server, 16 * MIB):
        for _ in range(4000):
            connection = connect(server)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            reset(connection)
