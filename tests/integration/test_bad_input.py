"""Every malformed request of the table is refused as documented by a running server, which keeps running."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.server import RunningServer, start_server
from tests.unit.protocol.bad_input import BadInput, bad_inputs, good_inputs

_ANSWER_SECONDS = 20.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("bad-input") / "data")
    try:
        yield running
    finally:
        running.stop()


def send(server: RunningServer, raw: bytes) -> Answer:
    """Send ``raw`` on a connection of its own and return the head of the response."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), _ANSWER_SECONDS) as connection:
        connection.sendall(raw)
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            assert piece, f"the connection was closed after {received!r}"
            received += piece
    status_line, *lines = received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(status_line.split(" ")[1]), headers)


def create(server: RunningServer) -> str:
    """Create an upload of 10 bytes and return its id."""
    fields = b"Host: tus.test\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 10\r\nContent-Length: 0\r\n"
    answer = send(server, b"POST /files/ HTTP/1.1\r\n" + fields + b"\r\n")
    assert answer.status == 201
    return answer.headers["location"].rsplit("/", 1)[1]


def state(server: RunningServer, upload_id: str) -> tuple[int, str | None, str | None]:
    """Status, offset and length by HEAD."""
    answer = send(
        server, f"HEAD /files/{upload_id} HTTP/1.1\r\nHost: tus.test\r\nTus-Resumable: 1.0.0\r\n\r\n".encode()
    )
    return answer.status, answer.headers.get("upload-offset"), answer.headers.get("upload-length")


def stored(server: RunningServer) -> list[str]:
    """The names of the files in the directory of uploads."""
    directory = server.data_dir / "uploads"
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


@pytest.mark.parametrize("area", sorted({case.name.split(":")[0] for case in bad_inputs()}))
def test_malformed_request_is_refused(server: RunningServer, area: str) -> None:
    """Each request gets a documented status and no Location; nothing is stored and the upload is unchanged."""
    upload_id = create(server)
    before = stored(server)
    for case in bad_inputs():
        if case.name.split(":")[0] != area:
            continue
        answer = send(server, case.raw(upload_id))
        assert answer.status in case.statuses, (case.name, answer)
        assert not {"location", "x-injected"} & set(answer.headers), (case.name, answer)
        assert state(server, upload_id) == (200, "0", "10"), case.name
    assert stored(server) == before


def test_bytes_before_a_malformed_chunk_are_kept_400(server: RunningServer) -> None:
    """A complete chunk before a malformed one is kept, as before any other cut; the response is 400."""
    upload_id = create(server)
    fields = "Host: tus.test\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nTransfer-Encoding: chunked\r\n"
    head = f"PATCH /files/{upload_id} HTTP/1.1\r\n{fields}Content-Type: application/offset+octet-stream\r\n\r\n"
    assert send(server, head.encode() + b"5\r\nhelloXX0\r\n\r\n").status == 400
    assert state(server, upload_id) == (200, "5", "10")


@pytest.mark.parametrize("case", good_inputs(), ids=lambda case: case.name)
def test_corrected_request_is_accepted_2xx(server: RunningServer, case: BadInput) -> None:
    """The same requests without their fault are accepted by the same server afterwards."""
    assert send(server, case.raw(create(server))).status in (201, 204)
