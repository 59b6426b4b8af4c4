"""Sends and receives large bodies as fast as the kernel can, so that the load generator is never the bottleneck.

It sends one mebibyte of this process' memory again and again. With ``sendfile`` from a file of 512 MiB no page was in
the processor's caches, and the server had to fetch it: the same server appeared a quarter slower than over a network.
"""

from __future__ import annotations

import os
import re
import selectors
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from benchmarks.tus import Answer, Client, UnexpectedAnswer

_BLOCK = os.urandom(1 << 20)
_TIMEOUT_SECONDS = 30
_DISCARD_BYTES = 4 << 20
_CLOSE_DELAY_SECONDS = 0.1
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def send_body(connection: socket.socket, length: int) -> None:
    """Send ``length`` bytes. Raises ``OSError`` if the server takes nothing for half a minute."""
    _block_in_kernel(connection)
    block = memoryview(_BLOCK)
    while length:
        length -= connection.send(block[:length])


def append(client: Client, path: str, offset: int, length: int) -> None:
    """PATCH ``length`` bytes at ``offset``. Raises ``UnexpectedAnswer`` unless the server accepted all of them."""
    client.start_append(path, offset, length)
    send_body(client.connection.sock, length)
    _check(client.answer(), offset + length)


def append_side_by_side(clients: Sequence[Client], paths: Sequence[str], length: int) -> None:
    """PATCH ``length`` bytes to each of ``paths`` concurrently, each over its own client."""
    block = memoryview(_BLOCK)
    left = dict.fromkeys(range(len(clients)), length)
    with selectors.DefaultSelector() as selector:
        for index, (client, path) in enumerate(zip(clients, paths, strict=True)):
            client.start_append(path, 0, length)
            client.connection.sock.setblocking(False)
            selector.register(client.connection.sock, selectors.EVENT_WRITE, index)
        while left:
            ready = selector.select(_TIMEOUT_SECONDS)
            if not ready:
                raise UnexpectedAnswer(f"the server took nothing for {_TIMEOUT_SECONDS} s")
            for key, _ in ready:
                index = key.data
                left[index] -= clients[index].connection.sock.send(block[: left[index]])
                if not left[index]:
                    selector.unregister(key.fileobj)
                    del left[index]
    for client in clients:
        client.connection.sock.settimeout(_TIMEOUT_SECONDS)
        _check(client.answer(), length)


@contextmanager
def downloaded(url: str, path: str) -> Iterator[int]:
    """GET ``path`` from the server of ``url``, discard the body and yield its length.

    The connection is closed 0.1 s after the block: if it is closed with the last byte, @tus/server 2.4.5 crashes.
    """
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    with socket.create_connection(address, _TIMEOUT_SECONDS) as connection:
        _block_in_kernel(connection)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {address[0]}\r\nTus-Resumable: 1.0.0\r\n\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65_536)
            if not piece:
                raise UnexpectedAnswer("the connection ended within the head of the answer")
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            raise UnexpectedAnswer(f"the GET was answered {head[:200]!r}")
        _discard(connection, int(length[1]) - len(body))
        yield int(length[1])
        time.sleep(_CLOSE_DELAY_SECONDS)


def _discard(connection: socket.socket, length: int) -> None:
    """Receive ``length`` bytes. With MSG_TRUNC the kernel discards them without a copy: tcp(7)."""
    buffer = bytearray(_DISCARD_BYTES)
    while length:
        dropped = connection.recv_into(buffer, min(length, _DISCARD_BYTES), socket.MSG_TRUNC)
        if not dropped:
            raise UnexpectedAnswer(f"the connection ended {length} bytes before the end of the body")
        length -= dropped


def _block_in_kernel(connection: socket.socket) -> None:
    """Make each call wait in the kernel: with a timeout of Python's it would need many calls."""
    connection.settimeout(None)
    limit = struct.pack("ll", _TIMEOUT_SECONDS, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)


def _check(answer: Answer, offset: int) -> None:
    if answer.status != 204 or answer.offset != offset:
        raise UnexpectedAnswer(f"the PATCH was answered {answer.status}, offset {answer.offset}")
