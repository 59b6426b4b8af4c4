"""The same requests to two servers: one answers without a task where it can, the other one always by a task."""

from __future__ import annotations

import http.client
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import RunningServer, start_server

REQUESTS = 1000
STREAM = "application/offset+octet-stream"
#: What is not ordinary: each is added to a few requests.
UNUSUAL = [
    ("Connection", "close"),
    ("Content-Encoding", "gzip"),
    ("Content-Range", "bytes 0-1/2"),
    ("Expect", "100-continue"),
    ("Origin", "https://example.com"),
    ("Tus-Resumable", "0.2.2"),
    ("Upload-Checksum", "sha1 AAAA"),
    ("Upload-Concat", "partial"),
    ("Upload-Defer-Length", "1"),
    ("Upload-Draft-Interop-Version", "6"),
    ("Upload-Length", "10"),
    ("Upload-Metadata", "filename YQ==,a"),
    ("Upload-Metadata", "filename YQ=="),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-HTTP-Method-Override", "PATCH"),
    ("X-Request-ID", "mine"),
]
#: Their values differ from request to request.
VARYING = ("date", "etag", "last-modified", "location", "upload-expires", "x-request-id")

#: A status, the headers and the body.
Response = tuple[int, list[tuple[str, str]], bytes]


class Side:
    """One of the servers, with its own ids of the uploads."""

    def __init__(self, server: RunningServer) -> None:
        self._connection = http.client.HTTPConnection(server.root.removeprefix("http://"))
        self.paths: list[str] = []

    def close(self) -> None:
        self._connection.close()

    def send(self, method: str, upload: int | None, headers: list[tuple[str, str]], body: bytes) -> Response:
        path = "/files/" if upload is None else self.paths[upload]
        self._connection.putrequest(method, path)
        for name, value in headers:
            self._connection.putheader(name, value)
        self._connection.putheader("Content-Length", str(len(body)))
        self._connection.endheaders(body)
        response = self._connection.getresponse()
        content = response.read()
        fields = [(name.lower(), value) for name, value in response.getheaders()]
        if response.status == 201 and "location" in dict(fields):
            self.paths.append("/files/" + dict(fields)["location"].rpartition("/")[2])
        return response.status, [(name, "" if name in VARYING else value) for name, value in fields], content


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[list[Side]]:
    """The second server logs each request, which only tasks do."""
    servers = [start_server(tmp_path / level, settings={"LOG__LEVEL": level}) for level in ("info", "debug")]
    made = [Side(server) for server in servers]
    yield made
    for side, server in zip(made, servers, strict=True):
        side.close()
        server.stop()


def arbitrary(rng: random.Random, lengths: list[int], offsets: list[int]) -> tuple[str, int | None, bytes, int]:
    """A method, an upload, a body and an offset or length, mostly such that the request is accepted."""
    method = rng.choices(["POST", "PATCH", "HEAD", "DELETE"], [3, 5, 3, 1])[0]
    if method == "POST" or not lengths:
        length = rng.choice([0, 1, 10, 1000])
        return "POST", None, bytes(rng.choice([0, 0, length, length // 2, length + 1])), length
    upload = rng.randrange(max(0, len(lengths) - 20), len(lengths))
    left = max(0, lengths[upload] - offsets[upload])
    size = rng.choice([left, left, left // 2, 0, left + 1]) if method == "PATCH" else 0
    return method, upload, bytes(size), offsets[upload] + rng.choice([0] * 9 + [1])


@pytest.mark.long
def test_same_responses_with_and_without_a_task(sides: list[Side]) -> None:
    """Status, headers and body of each response are equal, and so are the offsets at the end."""
    rng = random.Random(20261129)
    lengths: list[int] = []
    offsets: list[int] = []
    for _ in range(REQUESTS):
        method, upload, body, number = arbitrary(rng, lengths, offsets)
        headers = [("Tus-Resumable", "1.0.0")]
        if method in ("POST", "PATCH"):
            headers.append(("Upload-Length" if method == "POST" else "Upload-Offset", str(number)))
            if method == "PATCH" or body:
                headers.append(("Content-Type", rng.choices([STREAM, "text/plain"], [19, 1])[0]))
        headers += [each for each in UNUSUAL if rng.random() < 0.01]
        first, second = [side.send(method, upload, headers, body) for side in sides]
        assert first == second, (method, headers, len(body))
        offset = dict(first[1]).get("upload-offset")
        if len(sides[0].paths) > len(lengths):
            lengths.append(number)
            offsets.append(int(offset or 0))
        elif upload is not None and offset is not None:
            offsets[upload] = int(offset)
    head = [("Tus-Resumable", "1.0.0")]
    for upload in range(len(lengths)):
        first, second = [side.send("HEAD", upload, head, b"") for side in sides]
        assert first == second
