"""Large bodies at the speed of the kernel, in both directions: the load that must never be what a figure measures.

What is sent is one mebibyte, again and again, straight from this process' memory. Sent by ``sendfile`` from a file of
512 MiB, every page came from memory that no cache held, and the server paid for fetching it: that made the same server
a quarter slower than a client over a network would find it.
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
_PARTING_SECONDS = 0.1
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def send_body(connection: socket.socket, length: int) -> None:
    """Send ``length`` bytes. Raises ``OSError`` when the other side takes nothing for half a minute."""
    _block_in_kernel(connection)
    block = memoryview(_BLOCK)
    while length:
        length -= connection.send(block[:length])


def append(client: Client, path: str, offset: int, length: int) -> None:
    """PATCH ``length`` bytes at ``offset``. Raises ``UnexpectedAnswer`` unless all of them were taken."""
    client.start_append(path, offset, length)
    send_body(client.connection.sock, length)
    _check(client.answer(), offset + length)


def append_side_by_side(clients: Sequence[Client], paths: Sequence[str], length: int) -> None:
    """PATCH ``length`` bytes into each of ``paths`` at once, each over its own client, whoever has room first."""
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
                raise UnexpectedAnswer(f"nothing was taken for {_TIMEOUT_SECONDS} s")
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
    """GET the whole of ``path`` from the server of ``url`` and look at no byte of it; within, how many there were.

    The connection is closed a moment after the block: closed with the last byte, it ends @tus/server 2.4.5's process.
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
                raise UnexpectedAnswer("the connection ended before the head of the answer did")
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            raise UnexpectedAnswer(f"the GET was answered {head[:200]!r}")
        _discard(connection, int(length[1]) - len(body))
        yield int(length[1])
        time.sleep(_PARTING_SECONDS)


def _discard(connection: socket.socket, length: int) -> None:
    """With MSG_TRUNC the kernel drops what came without a copy: tcp(7)."""
    room = bytearray(_DISCARD_BYTES)
    while length:
        dropped = connection.recv_into(room, min(length, _DISCARD_BYTES), socket.MSG_TRUNC)
        if not dropped:
            raise UnexpectedAnswer(f"the connection ended {length} bytes before the body did")
        length -= dropped


def _block_in_kernel(connection: socket.socket) -> None:
    """Let each call wait in the kernel until it is done: with a timeout of Python's own it would be many calls."""
    connection.settimeout(None)
    limit = struct.pack("ll", _TIMEOUT_SECONDS, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)


def _check(answer: Answer, offset: int) -> None:
    if answer.status != 204 or answer.offset != offset:
        raise UnexpectedAnswer(f"the PATCH was answered {answer.status}, offset {answer.offset}")
