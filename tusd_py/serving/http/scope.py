"""Builds the ASGI scope of a request from its head."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def build_scope(connection: HttpToolsProtocol, http_version: str, extensions: Mapping[str, object]) -> Any:
    """Return the scope of the request whose head ``connection`` has just read."""
    target = httptools.parse_url(connection.url)
    raw_path = target.path or b"/"
    path = raw_path.decode("ascii")
    return {
        "type": "http",
        "asgi": {"version": connection.asgi_version, "spec_version": "2.3"},
        "http_version": http_version,
        "server": connection.server,
        "client": connection.client,
        "scheme": connection.scheme,
        "method": connection.parser.get_method().decode("ascii"),
        "root_path": connection.root_path,
        "path": connection.root_path + (urllib.parse.unquote(path) if "%" in path else path),
        "raw_path": connection.root_path.encode("ascii") + raw_path,
        "query_string": target.query or b"",
        "headers": connection.headers,
        "state": connection.app_state.copy(),
        "extensions": extensions,
    }
