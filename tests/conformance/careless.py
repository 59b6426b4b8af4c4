"""Faulty tus servers, which show that each case can fail. In memory, one request per connection.

``Eager`` accepts everything; ``Sullen`` accepts uploads and returns nothing about them; ``Muddled`` has correct
statuses and wrong headers; ``Closed`` refuses everything.
"""

from __future__ import annotations

import itertools
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.conformance.case import EXTENSIONS
from tests.conformance.subject import Subject

Headers = Mapping[str, str]


@dataclass
class Reply:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Eager:
    """Never refuses, appends all bytes, deletes nothing, and trusts every header."""

    uploads: dict[str, bytes] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    continues = True

    def reply(self, method: str, path: str, headers: Headers, body: bytes) -> Reply:
        if method == "POST":
            path = f"/files/{next(self.numbers)}"
            host = headers.get("x-forwarded-host") or headers.get("forwarded") or headers.get("host", "")
            self.uploads[path] = body
            injected = {"X-Injected": "1"} if "filetype" in headers.get("upload-metadata", "") else {}
            return Reply(201, {"Location": f"http://{host}{path}", "Upload-Offset": str(len(body)), **injected})
        if method == "PATCH":
            self.uploads[path] = self.uploads.get(path, b"") + body
            return Reply(204, {"Upload-Offset": str(len(self.uploads[path])), "Content-Length": "0"})
        if method in ("HEAD", "GET"):
            offset = str(len(self.uploads.get(path, b"")))
            extra = {"X-Injected": "1", "Content-Length": "77" if method == "HEAD" else "0"}
            return Reply(200, {"Upload-Offset": offset, "Upload-Expires": "tomorrow", "Upload-Metadata": "x", **extra})
        return Reply(204, {"Upload-Offset": "0"})


@dataclass
class Sullen(Eager):
    """Accepts every upload, and answers every request about one with a bare 500."""

    continues = False

    def reply(self, method: str, path: str, headers: Headers, body: bytes) -> Reply:
        if method == "POST":
            return Reply(201, {"Location": f"/files/{next(self.numbers)}"})
        return Reply(204 if method == "PATCH" else 500)


@dataclass
class Muddled(Eager):
    """Returns correct statuses with wrong headers: for the cases about headers alone."""

    continues = False

    def reply(self, method: str, path: str, headers: Headers, body: bytes) -> Reply:
        wrong = {
            "Tus-Version": "one", "Tus-Extension": "creation,creation,magic", "Tus-Max-Size": "much",
            "Tus-Checksum-Algorithm": "SHA1,", "Access-Control-Allow-Origin": "*", "Upload-Offset": "0",
            "Access-Control-Allow-Credentials": "true", "Upload-Length": "x", "Upload-Expires": "tomorrow",
        }  # fmt: skip
        if method == "POST":
            return Reply(201, {**wrong, "Location": f"/files/{next(self.numbers)}"})
        return Reply(204 if method in ("PATCH", "OPTIONS") else 200, wrong)


@dataclass
class Closed(Eager):
    """Refuses everything: for the cases that only expect a request to be accepted."""

    continues = False

    def reply(self, method: str, path: str, headers: Headers, body: bytes) -> Reply:
        return Reply(400)


@contextmanager
def serving(character: Eager, *, extensions: tuple[str, ...] = EXTENSIONS) -> Iterator[Subject]:
    """Run ``character`` on its own port inside the block and yield it as a subject."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                _serve_one(character, self)
            except (OSError, ValueError, OverflowError):
                pass  # the client went away or sent what cannot be read: a careless server sends nothing

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address, daemon_threads = True, True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield Subject(
                url=f"http://127.0.0.1:{server.server_address[1]}/files/",
                extensions=frozenset(extensions),
                length_max=1 << 16,
                algorithms=("sha1", "md5"),
                expires_seconds=0.1,
                is_impatient=True,
                patience_seconds=1.0,
            )
        finally:
            server.shutdown()
            thread.join()


def _serve_one(character: Eager, connection: socketserver.StreamRequestHandler) -> None:
    first, headers = _head(connection)
    method, path = first[0], first[1]
    if character.continues and "expect" in headers:
        connection.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = _body(connection, headers)
    reply = character.reply(method, path, headers, body)
    lines = [f"HTTP/1.1 {reply.status} As You Like"] + [f"{name}: {value}" for name, value in reply.headers.items()]
    connection.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + reply.body)


def _head(connection: socketserver.StreamRequestHandler) -> tuple[list[str], dict[str, str]]:
    first = connection.rfile.readline().decode("latin-1").split()
    headers: dict[str, str] = {}
    while line := connection.rfile.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    if not first:
        raise ValueError("no request")
    return first, headers


def _body(connection: socketserver.StreamRequestHandler, headers: Headers) -> bytes:
    if "transfer-encoding" not in headers:
        return connection.rfile.read(int(headers.get("content-length", "0") or 0))
    body = b""
    while size := int(connection.rfile.readline().split(b";")[0], 16):
        body += connection.rfile.read(size)
        connection.rfile.readline()
    return body
