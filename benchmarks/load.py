"""As many small requests as a server takes: one epoll loop over keep-alive connections that send prepared bytes.

Answers are only delimited and counted, which is what lets one Python core make several times the requests that
any of the servers can answer. ``wrk`` is used instead where it is installed and the request allows it.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

_RECEIVE_BYTES = 65_536
_STALL_SECONDS = 10.0


class LoadFailed(Exception):
    """The load could not be put on a server, or it answered with anything but success."""


@dataclass(frozen=True)
class Target:
    """Where requests go, and what they are; ``requests`` are sent in turn by each connection."""

    host: str
    port: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    paths: Sequence[str] = ()

    def encoded(self) -> list[bytes]:
        """The requests as they go over the wire, one for each of ``paths`` (or for ``path``)."""
        headers = {"Host": f"{self.host}:{self.port}", **self.headers}
        if self.method != "HEAD":
            headers["Content-Length"] = str(len(self.body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return [
            f"{self.method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + self.body for path in self.paths or [self.path]
        ]


@dataclass(frozen=True)
class Load:
    """What a spell of load came to."""

    requests: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


@dataclass
class _Connection:
    socket: socket.socket
    turn: int
    received: bytes = b""


def complete_answer(received: bytes, method: str) -> bool:
    """Whether ``received`` holds one whole answer: its head, and the body that its head announces."""
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return False
    if method == "HEAD" or received[9:12] == b"204":
        return True
    head = received[:head_end].lower()
    if b"\r\ntransfer-encoding: chunked" in head:
        return received.endswith(b"0\r\n\r\n")
    position = head.find(b"\r\ncontent-length:")
    if position < 0:
        raise LoadFailed("an answer has neither Content-Length nor chunks; its end is not known")
    length = int(head[position + 17 :].split(b"\r\n", 1)[0])
    return len(received) >= head_end + 4 + length


def make_load(target: Target, seconds: float, connections: int) -> Load:
    """Keep ``connections`` requests on their way to ``target`` for ``seconds``; any answer but a 2xx fails."""
    requests = target.encoded()
    done = 0
    with selectors.DefaultSelector() as selector:
        opened = [_open(target, selector, index) for index in range(connections)]
        try:
            started = time.perf_counter()
            for connection in opened:
                connection.socket.send(requests[connection.turn % len(requests)])
            while (elapsed := time.perf_counter() - started) < seconds:
                ready = selector.select(_STALL_SECONDS)
                if not ready:
                    raise LoadFailed(f"no answer within {_STALL_SECONDS:.0f} s")
                for key, _ in ready:
                    done += _advance(key.data, requests, target.method)
            return Load(done, elapsed)
        finally:
            for connection in opened:
                connection.socket.close()


def _open(target: Target, selector: selectors.BaseSelector, index: int) -> _Connection:
    opened = socket.create_connection((target.host, target.port), _STALL_SECONDS)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = _Connection(opened, index)
    selector.register(opened, selectors.EVENT_READ, connection)
    return connection


def _advance(connection: _Connection, requests: Sequence[bytes], method: str) -> int:
    """Take in what came; once it is a whole answer, send the next request. Returns the answers completed."""
    piece = connection.socket.recv(_RECEIVE_BYTES)
    if not piece:
        raise LoadFailed("the server closed a keep-alive connection")
    connection.received += piece
    if not complete_answer(connection.received, method):
        return 0
    if connection.received[9:10] != b"2":
        raise LoadFailed(f"answered {connection.received[:200]!r}")
    connection.received = b""
    connection.turn += 1
    connection.socket.sendall(requests[connection.turn % len(requests)])
    return 1
