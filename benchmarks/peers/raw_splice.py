"""The upper bound of the machine: socket to file by splice(2), in one loop without a web server.

It skips the head of each request and sends the answer that the client of the benchmarks expects: no checks, no locks,
no records, one connection at a time. The difference to a tus server is the cost of everything else in that server.
Run it with ``python raw_splice.py DIRECTORY``.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import sys

_PIPE_BYTES = 1024 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def main() -> None:
    """Accept connections until the process is stopped."""
    directory = sys.argv[1]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"tus endpoint http://127.0.0.1:{listener.getsockname()[1]}/files/ ", flush=True)
        ends = os.pipe()
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        while True:
            connection, _ = listener.accept()
            with connection:
                _serve(connection, directory, ends)


def _serve(connection: socket.socket, directory: str, ends: tuple[int, int]) -> None:
    received = b""
    while True:
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65_536)
            if not piece:
                return
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        received = b""
        connection.sendall(_answer(connection, head, body, os.path.join(directory, "upload"), ends))


def _answer(connection: socket.socket, head: bytes, body: bytes, path: str, ends: tuple[int, int]) -> bytes:
    method = head.partition(b" ")[0]
    if method == b"POST":
        return b"HTTP/1.1 201 Created\r\nLocation: /files/upload\r\nContent-Length: 0\r\n\r\n"
    if method == b"DELETE":
        os.unlink(path)
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    found = _LENGTH.search(head)
    length = int(found[1]) if found else 0
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        _store(connection, file, body, length, ends)
    finally:
        os.close(file)
    return b"HTTP/1.1 204 No Content\r\nUpload-Offset: %d\r\n\r\n" % length


def _store(connection: socket.socket, file: int, body: bytes, length: int, ends: tuple[int, int]) -> None:
    """Write the bytes that arrived with the head; move the rest from the socket through the pipe to the file."""
    offset = os.write(file, body)
    source = connection.fileno()
    while offset < length:
        arrived = os.splice(source, ends[1], min(_PIPE_BYTES, length - offset), flags=os.SPLICE_F_MOVE)
        if not arrived:
            raise ConnectionError("the client closed the connection")
        while arrived:
            moved = os.splice(ends[0], file, arrived, offset_dst=offset, flags=os.SPLICE_F_MOVE)
            arrived -= moved
            offset += moved


if __name__ == "__main__":
    main()
