"""A tus client over one blocking connection, for the requests that are not part of the load."""

from __future__ import annotations

import http.client
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

VERSION = {"Tus-Resumable": "1.0.0"}
BODY_TYPE = {"Content-Type": "application/offset+octet-stream"}
_TIMEOUT_SECONDS = 60.0
_BYTES = b64encode(b"application/octet-stream").decode()


def named(file_name: str) -> dict[str, str]:
    """The metadata of a file."""
    # tuspyserver refuses HEAD of an upload without these two keys, so every server gets them.
    return {"Upload-Metadata": f"filename {b64encode(file_name.encode()).decode()},filetype {_BYTES}"}


METADATA = named("bench.bin")


class UnexpectedAnswer(Exception):
    """A server answered something that cannot be measured."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]

    @property
    def offset(self) -> int | None:
        value = self.headers.get("upload-offset")
        return int(value) if value is not None else None


class Client:
    """One keep-alive connection to a server whose tus endpoint is ``url``."""

    def __init__(self, url: str, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        parts = urlsplit(url)
        self.base_path = parts.path
        self.connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=timeout_seconds)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        self.connection.request(method, path, body=body, headers={**VERSION, **headers})
        return self.answer()

    def create(self, length: int, body: bytes | None = None, *, is_part: bool = False) -> str:
        """Create an upload, with its first bytes if ``body`` is given, and return the path of its URL."""
        headers = {"Upload-Length": str(length), **METADATA}
        if is_part:
            headers["Upload-Concat"] = "partial"
        if body is not None:
            headers |= BODY_TYPE
        answer = self.request("POST", self.base_path, headers, body if body is not None else b"")
        location = answer.headers.get("location")
        if answer.status != 201 or location is None:
            raise UnexpectedAnswer(f"POST was answered {answer.status}, Location {location!r}")
        if body is not None and answer.offset != len(body):
            raise UnexpectedAnswer(f"POST with {len(body)} bytes was answered Upload-Offset {answer.offset}")
        return urlsplit(location).path

    def concatenate(self, paths: Sequence[str]) -> str:
        """Create a final upload and return the path of its URL. It may not be concatenated yet."""
        answer = self.request("POST", self.base_path, {"Upload-Concat": f"final;{' '.join(paths)}", **METADATA}, b"")
        location = answer.headers.get("location")
        if answer.status != 201 or location is None:
            raise UnexpectedAnswer(f"the concatenation was answered {answer.status}, Location {location!r}")
        return urlsplit(location).path

    def head(self, path: str) -> Answer:
        return self.request("HEAD", path, {})

    def append(self, path: str, offset: int, body: bytes) -> Answer:
        return self.request("PATCH", path, {"Upload-Offset": str(offset), **BODY_TYPE}, body)

    def start_append(self, path: str, offset: int, length: int) -> None:
        """Send the head of a PATCH. The caller sends the body."""
        self.connection.putrequest("PATCH", path)
        headers = {**VERSION, **BODY_TYPE, "Upload-Offset": str(offset), "Content-Length": str(length)}
        for name, value in headers.items():
            self.connection.putheader(name, value)
        self.connection.endheaders()

    def delete(self, path: str) -> None:
        answer = self.request("DELETE", path, {})
        if answer.status != 204:
            raise UnexpectedAnswer(f"DELETE was answered {answer.status}")

    def answer(self) -> Answer:
        """Return the answer to the last request, for example to one that ``start_append`` started."""
        response = self.connection.getresponse()
        response.read()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()})
