"""The content of a download on its way to the client: poured where store and server can, else sent in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Receive, Send

from tusd_py.contracts.zero_copy import SocketWriter, ZeroCopyContent
from tusd_py.protocol.outcomes import Content

#: Gives what it takes to pour past this ``send``, once the client has all that was sent; ``None`` where pieces must do.
AcquireSendSocket = Callable[[Send], Awaitable[SocketWriter | None]]
#: At a time: a client slower than this in the idle time is taken for gone.
SEND_BYTES = 256 * 1024


class BodySender:
    """One content, given until the client has it, is gone, or takes nothing for too long (``TimeoutError``)."""

    def __init__(
        self, receive: Receive, send: Send, idle_seconds: float, acquire_send_socket: AcquireSendSocket | None
    ) -> None:
        self.bytes_sent = 0
        #: Of these, moved from a file within the kernel.
        self.poured_bytes = 0
        self._receive, self._send = receive, send
        self._idle_seconds = idle_seconds
        self._acquire_send_socket = acquire_send_socket

    async def run(self, content: Content) -> None:
        """Give ``content``, to its end if all goes well; closing it is for the caller.

        Servers take what is sent to a client that is gone without a word: only ``receive`` tells.
        """
        disconnected = asyncio.ensure_future(self._wait_for_disconnect())
        # Asked once: to look through the methods of an object takes long.
        poured = content if self._acquire_send_socket is not None and isinstance(content, ZeroCopyContent) else None
        try:
            async for piece in content:
                for start in range(0, len(piece), SEND_BYTES):
                    if disconnected.done():
                        return
                    await self._send_piece(piece[start : start + SEND_BYTES])
                while poured is not None and not disconnected.done() and await self._pour(poured):
                    pass
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            disconnected.cancel()

    async def _send_piece(self, piece: bytes) -> None:
        async with asyncio.timeout(self._idle_seconds):
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        self.bytes_sent += len(piece)

    async def _pour(self, content: ZeroCopyContent) -> bool:
        """Give what comes next straight from the file, for a moment; False where the client took nothing of it.

        It waits for the client behind the next piece, then, and not here: no thread waits for it.
        """
        assert self._acquire_send_socket is not None
        async with asyncio.timeout(self._idle_seconds):
            spout = await self._acquire_send_socket(self._send)
        if spout is None:
            return False
        try:
            await content.pour(spout)
        finally:
            self.bytes_sent += spout.given_bytes
            self.poured_bytes += spout.given_bytes
            spout.close()
        return spout.given_bytes > 0

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
