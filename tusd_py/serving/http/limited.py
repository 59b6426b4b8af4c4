"""Connections that are refused if their address has too many."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from tusd_py.serving.connection_limit import ConnectionLimit
from tusd_py.serving.http.protocol import UploadProtocol

REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 43\r\nconnection: close\r\n\r\ntoo many connections from one address; wait\n"
)


class LimitedProtocol(UploadProtocol):
    """A connection that is refused, before a byte of it is read, if its address has too many."""

    connection_limit: ClassVar[ConnectionLimit | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._address_key: str | None = None  # not counted yet

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        limit = self.connection_limit
        if limit is not None:
            key = limit.key(transport.get_extra_info("peername"))
            if not limit.allows(key):
                _refuse(transport)
                return
            limit.add(key)
            self._address_key = key
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        limit, key = self.connection_limit, self._address_key
        if limit is not None:
            if key is None:
                return
            self._address_key = None
            limit.remove(key)
        super().connection_lost(exc)


def _refuse(transport: asyncio.Transport) -> None:
    if transport.get_extra_info("sslcontext") is not None:
        # A TLS connection that is closed in order would still deliver what it has received.
        transport.abort()
        return
    transport.write(REFUSAL)
    transport.close()
