"""Early final response with a lingering close (RFC 9112, section 9.6).

A connection that is closed with unread bytes is reset, and the reset can reach the client before the response. A server
that keeps it open must read the rest of the body, without limit. So the server reads a bounded amount for a bounded
time and then closes.
"""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Send

from tusd_py.model.caller import HeaderList

#: If at most this much of the body is left, it is read before the response, and the connection stays usable.
KEEP_BYTES_MAX = 256 * 1024
_KEEP_SECONDS = 1.0
#: How long a body is read before the response where the caller allows to read more than that.
_READ_SECONDS = 60.0
#: The bounds of a lingering close, here and in ``serving.http.closing``, which closes connections below ASGI.
LINGER_BYTES_MAX = 1024 * 1024
LINGER_SECONDS = 2.0
#: Beyond ``LINGER_BYTES_MAX`` the server waits this long between pieces. A client that reads only when it cannot write
#: (Node) then finds the response; if the connection were closed instead, it would only see an error.
_PIECE_SECONDS = 0.1


async def send(
    send: Send,
    receive: Receive,
    status: int,
    headers: HeaderList,
    body: bytes,
    unread_bytes: int | None,
    may_read: bool,
    read_bytes_max: int = 0,
) -> None:
    """Send a response before the request's body has been read to its end.

    ``unread_bytes`` is how much of it is left, ``None`` if unknown. ``may_read`` is False while the client waits for
    ``100 Continue``: reading would tell it to send the body. ``read_bytes_max`` is how much may be read before the
    response, for a proxy that does not pass on a response that comes earlier.
    """
    bytes_max = read_bytes_max if unread_bytes is None else max(KEEP_BYTES_MAX, read_bytes_max)
    seconds = _READ_SECONDS if read_bytes_max else _KEEP_SECONDS
    if may_read and (unread_bytes or 0) <= bytes_max and await _drain(receive, bytes_max, seconds):
        await _send(send, status, headers, body, more=False)
        return
    headers = [*headers, (b"connection", b"close")]
    if not may_read:
        await _send(send, status, headers, body, more=False)
        return
    # The response is sent now. Its end, after which the HTTP server closes the connection, follows later.
    await _send(send, status, headers, body, more=True)
    await _linger(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send(send: Send, status: int, headers: HeaderList, body: bytes, more: bool) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _linger(receive: Receive) -> None:
    """Read and discard until the client disconnects, the body ends or ``LINGER_SECONDS`` have passed."""
    left = LINGER_BYTES_MAX
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while (message := await receive())["type"] != "http.disconnect" and message.get("more_body", False):
                left -= len(message.get("body", b""))
                if left <= 0:
                    await asyncio.sleep(_PIECE_SECONDS)
    except TimeoutError:
        return


async def _drain(receive: Receive, bytes_max: int, seconds: float) -> bool:
    """Read and discard up to ``bytes_max`` for ``seconds``. Return whether the body ended."""
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
