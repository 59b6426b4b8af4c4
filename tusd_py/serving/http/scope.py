"""Builds the ASGI scope of a request from its head."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def build_scope(connection: HttpToolsProtocol, http_version: str, extensions: Mapping[str, object]) -> Any:
    """Return the scope of the request whose head ``connection`` has just read."""
    url = connection.url
    path, raw_path, query = _split_often_used(url) if len(url) <= _OFTEN_USED_BYTES else _split(url)
    return {
        "type": "http",
        "asgi": {"version": connection.asgi_version, "spec_version": "2.3"},
        "http_version": http_version,
        "server": connection.server,
        "client": connection.client,
        "scheme": connection.scheme,
        "method": connection.parser.get_method().decode("ascii"),
        "root_path": connection.root_path,
        "path": connection.root_path + path,
        "raw_path": connection.root_path.encode("ascii") + raw_path,
        "query_string": query,
        "headers": connection.headers,
        "state": connection.app_state.copy(),
        "extensions": extensions,
    }


def _split(url: bytes) -> tuple[str, bytes, bytes]:
    """The decoded path, the path as received and the query of a request's target."""
    target = httptools.parse_url(url)
    raw_path = target.path or b"/"
    path = raw_path.decode("ascii")
    return urllib.parse.unquote(path) if "%" in path else path, raw_path, target.query or b""


#: Creations have the same target; an upload's is that of several requests, one after the other.
_OFTEN_USED_BYTES = 128
_split_often_used = lru_cache(maxsize=1024)(_split)
