"""A process that holds many connections to one server open: idle ones and slow uploads.

``python -m benchmarks.many_connections URL IDLE SLOW`` opens the idle connections and prints a line. When it reads a
line it starts the slow uploads and prints another line. When its standard input ends it prints how many are still open.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import time
from urllib.parse import urlsplit

from benchmarks.machine import raise_open_files_limit
from benchmarks.tus import UnexpectedAnswer

_UPLOAD_BYTES = 1 << 20
_PIECE = bytes(1024)
_TIMEOUT_SECONDS = 30.0


class _Connections:
    """Plain sockets: ten thousand objects of a client library would be the bottleneck."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._path = parts.path
        self._idle: list[socket.socket] = []
        self._slow: list[socket.socket] = []

    def add_idle(self) -> None:
        """Open a connection, send one request and keep the connection alive."""
        connection = self._connect()
        self._request(connection, "OPTIONS", self._path)
        self._idle.append(connection)

    def add_slow(self) -> None:
        """Start an upload and send its first kibibyte."""
        connection = self._connect()
        head = self._request(connection, "POST", self._path, f"Upload-Length: {_UPLOAD_BYTES}", "Content-Length: 0")
        location = next((line[9:].strip() for line in head.split("\r\n") if line.lower().startswith("location:")), "")
        framing = ("Upload-Offset: 0", f"Content-Length: {_UPLOAD_BYTES}")
        self._send(connection, "PATCH", urlsplit(location).path, *framing, body=_PIECE)
        self._slow.append(connection)

    def send_slowly(self) -> None:
        """Send a kibibyte on each upload once a second, evenly spread, until standard input ends."""
        index, due = 0, time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(sys.stdin, selectors.EVENT_READ)
            while not selector.select(max(0.0, due - time.monotonic())):
                # At most 10 ms behind: after a delay the missed sends are not made up for in a burst.
                due = max(due + 1.0 / len(self._slow), time.monotonic() - 0.01) if self._slow else due + 1.0
                if self._slow:
                    self._slow[index % len(self._slow)].sendall(_PIECE)
                index += 1

    def still_open(self) -> dict[str, int]:
        """Count the connections that the server has neither answered nor closed."""
        return {"idle": sum(map(_is_silent, self._idle)), "slow": sum(map(_is_silent, self._slow))}

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._address, _TIMEOUT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _send(self, connection: socket.socket, method: str, path: str, *lines: str, body: bytes = b"") -> None:
        general = ("Host: benchmark", "Tus-Resumable: 1.0.0", "Content-Type: application/offset+octet-stream")
        connection.sendall("\r\n".join([f"{method} {path} HTTP/1.1", *general, *lines, "", ""]).encode() + body)

    def _request(self, connection: socket.socket, method: str, path: str, *lines: str) -> str:
        """Send a request and return the head of the response, which has no body."""
        self._send(connection, method, path, *lines)
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(4096)
            if not piece:
                raise UnexpectedAnswer(f"the connection ended before the response to {method}")
            head += piece
        if not head.startswith(b"HTTP/1.1 20"):
            raise UnexpectedAnswer(f"{method} was answered {head[:80]!r}")
        return head.decode("latin-1")


def _is_silent(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        connection.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def main() -> None:
    raise_open_files_limit()
    # The measuring process runs on the same core and must not wait for this one.
    os.nice(19)
    url, idle, slow = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    connections = _Connections(url)
    for _ in range(idle):
        connections.add_idle()
    print(json.dumps({"idle": idle}), flush=True)
    sys.stdin.readline()
    for _ in range(slow):
        connections.add_slow()
    print(json.dumps({"slow": slow}), flush=True)
    connections.send_slowly()
    print(json.dumps(connections.still_open()), flush=True)


if __name__ == "__main__":
    main()
