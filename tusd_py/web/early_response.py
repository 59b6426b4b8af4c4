"""Answering while the client still sends: it must be able to read the answer, and must not make us read for ever.

A connection closed with unread bytes is reset, and the reset can overtake the answer on its way to the client; servers
that keep it open read whatever comes, without limit. Between the two lies a close that waits a little.
"""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Send

from tusd_py.model.caller import HeaderList

#: A rest this small is read before answering, and the connection stays usable.
KEEP_BYTES_MAX = 256 * 1024
_LINGER_BYTES_MAX = 1024 * 1024
_KEEP_SECONDS = 1.0
_LINGER_SECONDS = 2.0
#: After that much, the client is made to wait this long between pieces: one that looks up only when it cannot write
#: (Node does) finds the answer, where a connection closed under its hands would be an error without one.
_PIECE_SECONDS = 0.1


async def send(
    send: Send,
    receive: Receive,
    status: int,
    headers: HeaderList,
    body: bytes,
    unread_bytes: int | None,
    may_read: bool,
) -> None:
    """Send an answer though the request's body has not been read to its end.

    ``unread_bytes`` is how much is left where that is known. ``may_read`` is False while the client waits for
    ``100 Continue``: reading would tell it to go on sending.
    """
    is_small = unread_bytes is not None and unread_bytes <= KEEP_BYTES_MAX
    if may_read and is_small and await _drain(receive, KEEP_BYTES_MAX, _KEEP_SECONDS):
        await _write(send, status, headers, body, more=False)
        return
    headers = [*headers, (b"connection", b"close")]
    if not may_read:
        await _write(send, status, headers, body, more=False)
        return
    # The answer goes out now; its end, upon which the server closes, a little later.
    await _write(send, status, headers, body, more=True)
    await _linger(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _write(send: Send, status: int, headers: HeaderList, body: bytes, more: bool) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _linger(receive: Receive) -> None:
    """Read and drop within bounds, until the client has gone or its time is over."""
    left = _LINGER_BYTES_MAX
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            while (message := await receive())["type"] != "http.disconnect" and message.get("more_body", False):
                left -= len(message.get("body", b""))
                if left <= 0:
                    await asyncio.sleep(_PIECE_SECONDS)
    except TimeoutError:
        return


async def _drain(receive: Receive, bytes_max: int, seconds: float) -> bool:
    """Read and drop the rest of the body within bounds; True if that was its clean end."""
    left = bytes_max
    try:
        async with asyncio.timeout(seconds):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return False
                if not message.get("more_body", False):
                    return True
                left -= len(message.get("body", b""))
    except TimeoutError:
        return False
    return False
