"""Compares what was sent with what the server stored: the file on disk, and the content by GET."""

from __future__ import annotations

import hashlib
import http.client
import time
from urllib.parse import urlsplit

from .content import sha256
from .server import RunningServer


def upload_id(upload_url: str) -> str:
    return upload_url.rstrip("/").rsplit("/", 1)[1]


def own_url(server: RunningServer, upload_url: str) -> str:
    """The URL of this upload at the server itself; ``upload_url`` may be that of a proxy."""
    return server.url.rstrip("/") + "/" + upload_id(upload_url)


def request(method: str, url: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """Send a request without a body; return the status, the headers in lower case, and the body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, parts.path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def head(server: RunningServer, upload_url: str) -> tuple[int, dict[str, str]]:
    status, headers, _ = request("HEAD", own_url(server, upload_url), {"Tus-Resumable": "1.0.0"})
    return status, headers


def download_sha256(server: RunningServer, upload_url: str) -> str:
    """The SHA-256 of the content that GET returns."""
    status, _, body = request("GET", own_url(server, upload_url))
    assert status == 200, f"GET answered {status}: {body[:300]!r}"
    return hashlib.sha256(body).hexdigest()


def bytes_zero_copy(server: RunningServer) -> int:
    """How many bytes of bodies this server has moved from socket to file by zero-copy transfers."""
    return counted(server, "tusd_py_zero_copy_received_bytes")


def counted(server: RunningServer, name: str) -> int:
    """The value of a counter of this server; ``name`` is without its ``_total``."""
    _, _, text = request("GET", server.root + "/metrics")
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name}_total ".encode()))
    return int(float(line.split()[1]))


def assert_zero_copy(server: RunningServer, is_zero_copy: bool) -> None:
    """More than a mebibyte was moved by zero-copy transfers, or nothing. Bodies are counted when their requests end.

    A store in S3 reads bodies of fast clients into the memory of whole parts, if there is room.
    """
    if is_zero_copy and not server.is_on_disk:
        return
    deadline = time.monotonic() + 10
    while is_zero_copy and bytes_zero_copy(server) <= 1024 * 1024:
        assert time.monotonic() < deadline, "no zero-copy transfers"
        time.sleep(0.01)
    assert is_zero_copy or bytes_zero_copy(server) == 0


def assert_stored(server: RunningServer, upload_url: str, sent: bytes | memoryview) -> None:
    """Assert that the upload is complete, and that its file on disk and GET have exactly the bytes that were sent."""
    status, headers = head(server, upload_url)
    assert (status, headers.get("upload-offset")) == (200, str(len(sent)))
    expected = sha256(sent)
    assert not server.is_on_disk or sha256(server.stored(upload_url)) == expected
    assert download_sha256(server, upload_url) == expected
