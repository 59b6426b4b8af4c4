"""Sends as many small requests as a server can answer: an epoll loop over connections that send prepared bytes.

It only finds the end of each answer and counts it, so that one core can send several times the requests that any of
the servers answers. If ``wrk`` is installed, it is used instead for the requests that it supports.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, cycle, islice

_RECEIVE_BYTES = 65_536
_STALL_SECONDS = 10.0


class LoadFailed(Exception):
    """The requests could not be sent, or the server answered with another status than 2xx."""


@dataclass(frozen=True)
class Target:
    """The address and the content of the requests; each connection cycles through ``paths``, if there are any.

    With ``is_once`` each path is requested once, and the load ends after the last one. With ``appends`` each connection
    has a path of its own, and each of its requests has the Upload-Offset at which the one before ended. ``variants``
    are headers of which each request has others than the one before, to one path.
    """

    host: str
    port: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    paths: Sequence[str] = ()
    is_once: bool = False
    appends: bool = False
    variants: Sequence[dict[str, str]] = ()

    def requests_of(self, connection: int, connections: int) -> Iterator[bytes]:
        """The requests that one of ``connections`` sends."""
        if self.appends:
            return self._appends(self.paths[connection])
        if self.variants:
            return self._variants(connection * len(self.variants) // connections)
        encoded = self.encoded()
        if self.is_once:
            return iter(encoded[connection::connections])
        return islice(cycle(encoded), connection % len(encoded), None)

    def _appends(self, path: str) -> Iterator[bytes]:
        headers = {**self.headers, "Upload-Offset": "%d"}
        (template,) = replace(self, paths=[path], headers=headers, body=b"").encoded()
        template = template.replace(b"Content-Length: 0", b"Content-Length: %d" % len(self.body))
        for offset in count(0, len(self.body)):
            yield template % offset + self.body

    def _variants(self, first: int) -> Iterator[bytes]:
        heads = [replace(self, headers={**self.headers, **each}, variants=()).encoded()[0] for each in self.variants]
        return islice(cycle(heads), first, None)

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
    requests: Iterator[bytes]
    received: bytes = b""

    def send_next(self) -> bool:
        """Send the next request; return whether there is one."""
        request = next(self.requests, None)
        if request is None:
            return False
        self.socket.sendall(request)
        return True


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
    done = 0
    with selectors.DefaultSelector() as selector:
        opened = [_open(target, selector, target.requests_of(index, connections)) for index in range(connections)]
        try:
            started = time.perf_counter()
            sending = sum(connection.send_next() for connection in opened)
            while (elapsed := time.perf_counter() - started) < seconds and sending:
                ready = selector.select(_STALL_SECONDS)
                if not ready:
                    raise LoadFailed(f"no answer within {_STALL_SECONDS:.0f} s")
                for key, _ in ready:
                    if _is_answered(key.data, target.method):
                        done += 1
                        sending -= not key.data.send_next()
            return Load(done, elapsed)
        finally:
            for connection in opened:
                connection.socket.close()


def _open(target: Target, selector: selectors.BaseSelector, requests: Iterator[bytes]) -> _Connection:
    opened = socket.create_connection((target.host, target.port), _STALL_SECONDS)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = _Connection(opened, requests)
    selector.register(opened, selectors.EVENT_READ, connection)
    return connection


def _is_answered(connection: _Connection, method: str) -> bool:
    """Receive bytes; return whether the answer is whole now."""
    piece = connection.socket.recv(_RECEIVE_BYTES)
    if not piece:
        raise LoadFailed("the server closed a keep-alive connection")
    connection.received += piece
    if not complete_answer(connection.received, method):
        return False
    if connection.received[9:10] != b"2":
        raise LoadFailed(f"answered {connection.received[:200]!r}")
    connection.received = b""
    return True
