"""Builds the ASGI scope of a request from its head."""

from __future__ import annotations

import urllib.parse
from functools import lru_cache
from typing import Any, Protocol

import httptools

#: The target of a request: its decoded path, the path as received and the query.
Target = tuple[str, bytes, bytes]


class ReceivedHead(Protocol):
    """The head of a request."""

    method: str
    target: Target
    http_version: str

    @property
    def headers(self) -> list[tuple[bytes, bytes]]: ...


def build_scope(connection: Any, head: ReceivedHead) -> Any:
    """Return the scope of a request with this head, which ``connection`` has read."""
    path, raw_path, query = head.target
    return {
        "type": "http",
        "asgi": {"version": connection.asgi_version, "spec_version": "2.3"},
        "http_version": head.http_version,
        "server": connection.server,
        "client": connection.client,
        "scheme": connection.scheme,
        "method": head.method,
        "root_path": connection.root_path,
        "path": connection.root_path + path,
        "raw_path": connection.root_path.encode("ascii") + raw_path,
        "query_string": query,
        "headers": head.headers,
        "state": connection.app_state.copy(),
        "extensions": connection.extensions,
    }


def split_target(target: bytes) -> Target:
    """Raises ``httptools.HttpParserError``, or ``UnicodeError`` if it is not ASCII."""
    return _split_often_used(target) if len(target) <= _OFTEN_USED_BYTES else _split(target)


def _split(url: bytes) -> Target:
    target = httptools.parse_url(url)
    raw_path = target.path or b"/"
    path = raw_path.decode("ascii")
    return urllib.parse.unquote(path) if "%" in path else path, raw_path, target.query or b""


#: Creations have the same target; an upload's is that of several requests, one after the other.
_OFTEN_USED_BYTES = 128
_split_often_used = lru_cache(maxsize=1024)(_split)
