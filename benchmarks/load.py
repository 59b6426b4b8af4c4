"""Sends as many small requests as a server can answer: an epoll loop over connections that send prepared bytes.

It only finds the end of each answer and counts it, so that one core can send several times the requests that any of
the servers answers. If ``wrk`` is installed, it is used instead for the requests that it supports.
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
    """The requests could not be sent, or the server answered with another status than 2xx."""


@dataclass(frozen=True)
class Target:
    """The address and the content of the requests; each connection cycles through ``paths``, if there are any."""

    host: str
    port: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    paths: Sequence[str] = ()

    def encoded(self) -> list[bytes]:
        """The bytes of the requests, one for each of ``paths`` (or for ``path``)."""
        headers = {"Host": f"{self.host}:{self.port}", **self.headers}
        if self.method != "HEAD":
            headers["Content-Length"] = str(len(self.body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return [
            f"{self.method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + self.body for path in self.paths or [self.path]
        ]


@dataclass(frozen=True)
class Load:
    """How many requests were answered in how many seconds."""

    requests: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


@dataclass
class _Connection:
    socket: socket.socket
    next_request: int
    received: bytes = b""


def complete_answer(received: bytes, method: str) -> bool:
    """Whether ``received`` is one whole answer: its head, and the body that the head announces."""
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
        raise LoadFailed("an answer has neither Content-Length nor chunks, so its end is unknown")
    length = int(head[position + 17 :].split(b"\r\n", 1)[0])
    return len(received) >= head_end + 4 + length


def make_load(target: Target, seconds: float, connections: int) -> Load:
    """Keep ``connections`` requests in progress at ``target`` for ``seconds``.

    Raises ``LoadFailed`` for any answer that is not 2xx, a closed connection, or no answer within 10 seconds.
    """
    requests = target.encoded()
    done = 0
    with selectors.DefaultSelector() as selector:
        opened = [_open(target, selector, index) for index in range(connections)]
        try:
            started = time.perf_counter()
            for connection in opened:
                connection.socket.send(requests[connection.next_request % len(requests)])
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
    """Receive bytes; after a whole answer send the next request. Returns how many answers this completed: 0 or 1."""
    piece = connection.socket.recv(_RECEIVE_BYTES)
    if not piece:
        raise LoadFailed("the server closed a keep-alive connection")
    connection.received += piece
    if not complete_answer(connection.received, method):
        return 0
    if connection.received[9:10] != b"2":
        raise LoadFailed(f"answered {connection.received[:200]!r}")
    connection.received = b""
    connection.next_request += 1
    connection.socket.sendall(requests[connection.next_request % len(requests)])
    return 1
