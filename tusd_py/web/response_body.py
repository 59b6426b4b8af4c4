"""Sends the content of a download: by zero-copy transfers where store and server can, else in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Receive, Send

from tusd_py.contracts.zero_copy import SocketWriter, ZeroCopyContent
from tusd_py.protocol.outcomes import Content

#: Returns the socket for one burst, once the client has taken all that was sent; ``None`` if pieces must be sent.
AcquireSendSocket = Callable[[Send], Awaitable[SocketWriter | None]]
#: At a time: a client slower than this in the idle time is taken for gone.
SEND_BYTES = 256 * 1024


class Giving:
    """One content, given until the client has it, is gone, or takes nothing for too long (``TimeoutError``)."""

    def __init__(
        self, receive: Receive, send: Send, idle_seconds: float, acquire_send_socket: AcquireSendSocket | None
    ) -> None:
        self.bytes_sent = 0
        #: Of these, moved from a file within the kernel.
        self.bytes_zero_copy = 0
        self._receive, self._send = receive, send
        self._idle_seconds = idle_seconds
        self._acquire_send_socket = acquire_send_socket

    async def run(self, content: Content) -> None:
        """Give ``content``, to its end if all goes well; closing it is for the caller.

        Servers take what is sent to a client that is gone without a word: only ``receive`` tells.
        """
        gone = asyncio.ensure_future(self._until_gone())
        # Asked once: to look through the methods of an object takes long.
        zero_copy = content if self._acquire_send_socket is not None and isinstance(content, ZeroCopyContent) else None
        try:
            async for piece in content:
                for start in range(0, len(piece), SEND_BYTES):
                    if gone.done():
                        return
                    await self._piece(piece[start : start + SEND_BYTES])
                while zero_copy is not None and not gone.done() and await self._transfer(zero_copy):
                    pass
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()

    async def _piece(self, piece: bytes) -> None:
        async with asyncio.timeout(self._idle_seconds):
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        self.bytes_sent += len(piece)

    async def _transfer(self, content: ZeroCopyContent) -> bool:
        """Send one burst straight from the file. False if the client took nothing of it.

        It waits for the client behind the next piece, then, and not here: no thread waits for it.
        """
        assert self._acquire_send_socket is not None
        async with asyncio.timeout(self._idle_seconds):
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

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
