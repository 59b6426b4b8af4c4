"""How a connection ends so that the client can read the last answer: said, then read a little longer, then closed.

Closed with bytes unread, a connection is reset, and the reset can overtake the answer on its way to the client; read
without bounds, it is a client's to keep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from tusd_py.serving.http.request_head import Refused

_BYTES_MAX = 1024 * 1024
_SECONDS = 2.0


class Parting:
    """The end of one connection, or of a body that its application did not want."""

    __slots__ = ("_bytes_left", "_loop", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._bytes_left = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_near(self) -> bool:
        return self._timer is not None

    def say(self, refusal: Refused, default_headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send ``refusal`` as the last answer."""
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
        """Close in a while."""
        self.put_off()
        self._bytes_left = _BYTES_MAX
        self._timer = self._loop.call_later(_SECONDS, self._transport.close)

    def drop(self, count: int) -> None:
        """So many bytes came that nobody wants.

        After too many, no more are read: a client that looks up only when it cannot write finds the answer then, where
        a connection closed under its hands would be an error without one.
        """
        self._bytes_left -= count
        if self._bytes_left < 0:
            self._transport.pause_reading()

    def put_off(self) -> None:
        """The connection goes on, or has ended by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
