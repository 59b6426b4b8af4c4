"""A trivial ASGI application on the server that tusd-py uses: uvicorn with uvloop and httptools.

It answers small tus requests with the headers that tusd-py sends, and does nothing else: it parses no header, keeps no
record and stores no byte. So it is the least that a Python server of this kind spends on a request. It takes the data
directory as its argument, like the peers, and does not use it.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

_TUS = (b"tus-resumable", b"1.0.0")
_REQUEST_ID = (b"x-request-id", b"0123456789abcdef")
_EXPIRES = (b"upload-expires", b"Sun, 06 Nov 1994 08:49:37 GMT")
_LOCATION = b"/files/0123456789abcdef0123456789abcdef"
_METADATA = (b"upload-metadata", b"filename YmVuY2guYmlu,filetype YXBwbGljYXRpb24vb2N0ZXQtc3RyZWFt")
_NO_STORE = (b"cache-control", b"no-store")
_ANSWERS: dict[str, tuple[int, list[tuple[bytes, bytes]]]] = {
    "POST": (201, [_TUS, (b"location", _LOCATION), (b"content-length", b"0"), _EXPIRES, _REQUEST_ID]),
    "HEAD": (
        200,
        [_TUS, _NO_STORE, (b"upload-offset", b"4096"), (b"upload-length", b"8192"), _METADATA, _EXPIRES, _REQUEST_ID],
    ),
    "PATCH": (204, [_TUS, (b"upload-offset", b"4096"), _EXPIRES, _REQUEST_ID]),
    "DELETE": (204, [_TUS, _REQUEST_ID]),
}
_WITH_UPLOAD = (201, [*_ANSWERS["POST"][1], (b"upload-offset", b"4096")])


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Read the body to its end, then answer."""
    length = 0
    while True:
        message = await receive()
        length += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    method = scope["method"]
    status, headers = _WITH_UPLOAD if method == "POST" and length else _ANSWERS[method]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def main() -> None:
    """Serve on a free port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", access_log=False, log_level="warning", lifespan="off", server_header=False
    )
    print(f"tus endpoint  http://127.0.0.1:{listener.getsockname()[1]}/files/", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
