"""A process that holds many connections to one server open: idle ones, and slow uploads.

``python -m benchmarks.crowd URL IDLE SLOW`` prints a line when the idle connections stand, opens the slow uploads when
it reads a line, prints a line when they all run, and one with what it saw once its standard input ends.
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
_DROP = bytes(1024)
_TIMEOUT_SECONDS = 30.0


class _Crowd:
    """Plain sockets: ten thousand of anything larger would be the bottleneck."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._path = parts.path
        self._idle: list[socket.socket] = []
        self._slow: list[socket.socket] = []

    def add_idle(self) -> None:
        """A connection that has asked once and is kept alive."""
        connection = self._connect()
        self._ask(connection, "OPTIONS", self._path)
        self._idle.append(connection)

    def add_slow(self) -> None:
        """An upload of which a kibibyte has come."""
        connection = self._connect()
        head = self._ask(connection, "POST", self._path, f"Upload-Length: {_UPLOAD_BYTES}", "Content-Length: 0")
        location = next((line[9:].strip() for line in head.split("\r\n") if line.lower().startswith("location:")), "")
        framing = ("Upload-Offset: 0", f"Content-Length: {_UPLOAD_BYTES}")
        self._send(connection, "PATCH", urlsplit(location).path, *framing, body=_DROP)
        self._slow.append(connection)

    def drip_until_told(self) -> None:
        """Send a kibibyte on each upload once a second, evenly spread, until standard input ends."""
        turn, due = 0, time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(sys.stdin, selectors.EVENT_READ)
            while not selector.select(max(0.0, due - time.monotonic())):
                # Hardly in arrears: who was held up does not make up for it in a burst.
                due = max(due + 1.0 / len(self._slow), time.monotonic() - 0.01) if self._slow else due + 1.0
                if self._slow:
                    self._slow[turn % len(self._slow)].sendall(_DROP)
                turn += 1

    def still_open(self) -> dict[str, int]:
        """How many the server has neither answered nor closed."""
        return {"idle": sum(map(_is_silent, self._idle)), "slow": sum(map(_is_silent, self._slow))}

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._address, _TIMEOUT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _send(self, connection: socket.socket, method: str, path: str, *lines: str, body: bytes = b"") -> None:
        general = ("Host: crowd", "Tus-Resumable: 1.0.0", "Content-Type: application/offset+octet-stream")
        connection.sendall("\r\n".join([f"{method} {path} HTTP/1.1", *general, *lines, "", ""]).encode() + body)

    def _ask(self, connection: socket.socket, method: str, path: str, *lines: str) -> str:
        """The head of the answer, which has no body."""
        self._send(connection, method, path, *lines)
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(4096)
            if not piece:
                raise UnexpectedAnswer(f"{method} was answered by the end of the connection")
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
    # On the same core as whoever measures: that one is not to wait for us.
    os.nice(19)
    url, idle, slow = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    crowd = _Crowd(url)
    for _ in range(idle):
        crowd.add_idle()
    print(json.dumps({"idle": idle}), flush=True)
    sys.stdin.readline()
    for _ in range(slow):
        crowd.add_slow()
    print(json.dumps({"slow": slow}), flush=True)
    crowd.drip_until_told()
    print(json.dumps(crowd.still_open()), flush=True)


if __name__ == "__main__":
    main()
