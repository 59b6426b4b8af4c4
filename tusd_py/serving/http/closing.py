"""Lingering close: a connection is closed a while after its final response, so that the client can read it.

RFC 9112, section 9.6: "If a server performs an immediate close of a TCP connection, there is a significant risk that
the client will not be able to read the last HTTP response." Unread bytes cause a reset, which can overtake the
response. But the bytes must not be read without a limit either, or one client could keep the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from tusd_py.serving.http.request_head import BadRequest
from tusd_py.web.early_response import LINGER_BYTES_MAX, LINGER_SECONDS


class LingeringClose:
    """Closes one connection after its final response, or after the rest of a body that its application did not read."""

    __slots__ = ("_bytes_left", "_loop", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._bytes_left = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_pending(self) -> bool:
        return self._timer is not None

    @property
    def is_exceeded(self) -> bool:
        """Whether too many bytes arrived, so that reading is paused until the close."""
        return self._bytes_left < 0

    def send(self, refusal: BadRequest, default_headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send ``refusal`` as the final response, and begin."""
        text = refusal.sentence.encode("ascii") + b"\n"
        lines = [STATUS_LINE[refusal.status]]
        for name, value in default_headers:
            lines += [name, b": ", value, b"\r\n"]
        lines.append(b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(text))
        self._transport.write(b"".join([*lines, b"connection: close\r\n\r\n", text]))
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.begin()

    def begin(self) -> None:
        """Close the connection after a while."""
        self.cancel()
        self._bytes_left = LINGER_BYTES_MAX
        self._timer = self._loop.call_later(LINGER_SECONDS, self._transport.close)

    def discard(self, count: int) -> None:
        """Count bytes that arrived and are dropped. After too many, reading pauses.

        A client that looks for the response only when it cannot write finds it then; if the connection were closed
        while it writes, it would see an error and no response.
        """
        self._bytes_left -= count
        if self._bytes_left < 0:
            self._transport.pause_reading()

    def cancel(self) -> None:
        """Keep the connection open. Does nothing if no close is pending."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
