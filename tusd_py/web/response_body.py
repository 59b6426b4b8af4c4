"""Sends the content of a download: by zero-copy where store and HTTP server support it, else in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Receive, Send

from tusd_py.contracts.zero_copy import SocketWriter, ZeroCopyContent
from tusd_py.protocol.outcomes import Content

#: Waits until the client has received everything sent so far, then returns exclusive access to the socket behind this
#: ``send``; ``None`` if zero-copy is not possible now.
AcquireSendSocket = Callable[[Send], Awaitable[SocketWriter | None]]
#: Size of one piece.
SEND_BYTES = 256 * 1024


class BodySender:
    """Sends one content to one client and counts the bytes.

    Our own server aborts connections that take nothing (``server.send_timeout_seconds``). Under another server, which
    has no ``acquire_send_socket``, a client must take each piece within ``idle_seconds``.
    """

    def __init__(
        self, receive: Receive, send: Send, idle_seconds: float, acquire_send_socket: AcquireSendSocket | None
    ) -> None:
        self.bytes_sent = 0
        #: Of these, moved from a file within the kernel.
        self.bytes_zero_copy = 0
        self._receive, self._send = receive, send
        self._idle_seconds = idle_seconds if acquire_send_socket is None else None
        self._acquire_send_socket = acquire_send_socket

    async def run(self, content: Content) -> None:
        """Send ``content`` to its end, or until the client disconnects. The caller closes ``content``.

        Raises ``TimeoutError`` if the client of another server does not take a piece in time. ASGI servers silently
        discard what is sent to a disconnected client; only ``receive`` reports the disconnect.
        """
        disconnected = asyncio.ensure_future(self._wait_for_disconnect())
        # Checked once: isinstance against a runtime-checkable protocol is slow.
        zero_copy = content if self._acquire_send_socket is not None and isinstance(content, ZeroCopyContent) else None
        try:
            async for piece in content:
                for start in range(0, len(piece), SEND_BYTES):
                    if disconnected.done():
                        return
                    await self._send_piece(piece[start : start + SEND_BYTES])
                while zero_copy is not None and not disconnected.done() and await self._transfer(zero_copy):
                    pass
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            disconnected.cancel()

    async def _send_piece(self, piece: bytes) -> None:
        async with asyncio.timeout(self._idle_seconds):
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        self.bytes_sent += len(piece)

    async def _transfer(self, content: ZeroCopyContent) -> bool:
        """Send one burst straight from the file. Return whether the client took any of it.

        If not, the next piece is sent, and the event loop waits for the client instead of a thread.
        """
        assert self._acquire_send_socket is not None
        writer = await self._acquire_send_socket(self._send)
        if writer is None:
            return False
        try:
            await content.transfer(writer)
        finally:
            self.bytes_sent += writer.bytes_sent
            self.bytes_zero_copy += writer.bytes_sent
            writer.close()
        return writer.bytes_sent > 0

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
