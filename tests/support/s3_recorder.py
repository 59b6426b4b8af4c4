"""A service that accepts every S3 request and notes it: what is asked for, where the real server ignores it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tusd_py.storage.s3.client import BucketConfig

_CREATED = "<InitiateMultipartUploadResult><UploadId>mp</UploadId></InitiateMultipartUploadResult>"
_COPIED = "<CopyPartResult><ETag>&quot;e&quot;</ETag></CopyPartResult>"


@dataclass(frozen=True)
class Asked:
    """One request. Header names are in lower case."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    def amz(self) -> dict[str, str]:
        """The headers of S3, without what belongs to the signature."""
        names = ("x-amz-date", "x-amz-content-sha256", "x-amz-sdk-checksum-algorithm")
        return {
            name.removeprefix("x-amz-"): value
            for name, value in self.headers.items()
            if name.startswith("x-amz-") and name not in names and "checksum" not in name
        }


@dataclass
class Recorder:
    """The requests in order. ``refuse`` answers those that it has an answer for: a status and the code of an error."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    refuse: Any = lambda _asked: None

    def account(self, bucket: str = "mine") -> BucketConfig:
        return BucketConfig(bucket=bucket, endpoint_url=self.url, region="us-east-1", access_key="k", secret_key="s")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        recorder: Recorder = self.server.recorder  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, parts.path, parse_qs(parts.query, keep_blank_values=True), headers)
        recorder.asked.append(asked)
        refusal = recorder.refuse(asked)
        status, body = (200, "")
        if refusal is not None:
            status, body = refusal[0], f"<Error><Code>{refusal[1]}</Code>{''.join(refusal[2:])}</Error>"
        elif "uploads" in asked.query:
            body = _CREATED
        elif "x-amz-copy-source" in headers:
            body = _COPIED
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"e"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    do_PUT = do_POST = do_GET = do_HEAD = do_DELETE = _answer

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is printed."""


@contextmanager
def recording_s3() -> Iterator[Recorder]:
    """Start a service that accepts everything."""
    recorder = Recorder()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        server.recorder = recorder  # type: ignore[attr-defined]
        recorder.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield recorder
        finally:
            server.shutdown()
            thread.join()
