"""CORS for the JSON API: pages of the origins that ``cors.allow_origins`` names may log in and use it.

``"*"`` names no origin here. While access control is off there is no CORS: the API may be protected by the network
alone, and a page of any other origin could read everything through the browser of an operator.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tusd_py.protocol.headers import Headers

ALLOW_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
ALLOW_HEADERS = "Authorization, Content-Type, X-CSRF-Token"
EXPOSE_HEADERS = "Retry-After, WWW-Authenticate, Location, Link"
_PREFIX = "/api/"


class ApiCors:
    """Answers preflights of named origins, and adds the headers to all responses to them."""

    def __init__(self, app: ASGIApp, allow_origins: Sequence[str], *, allow_credentials: bool, max_age: int) -> None:
        self._app = app
        self._origins = {origin for origin in allow_origins if origin != "*"}
        self._allow_credentials = allow_credentials
        self._max_age = max_age

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or not path.startswith(_PREFIX):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope["headers"])
        origin = headers.get(b"origin")
        is_named = origin is not None and origin in self._origins

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(raw=message.setdefault("headers", []))
                added.add_vary_header("Origin")
                if is_named and origin is not None:
                    added["access-control-allow-origin"] = origin
                    added["access-control-expose-headers"] = EXPOSE_HEADERS
                    if self._allow_credentials:
                        added["access-control-allow-credentials"] = "true"
            await send(message)

        if is_named and scope["method"] == "OPTIONS" and headers.get(b"access-control-request-method"):
            await send_with_headers({"type": "http.response.start", "status": 204, "headers": self._preflight()})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send_with_headers)

    def _preflight(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"access-control-allow-methods", ALLOW_METHODS.encode()),
            (b"access-control-allow-headers", ALLOW_HEADERS.encode()),
            (b"access-control-max-age", str(self._max_age).encode()),
        ]
