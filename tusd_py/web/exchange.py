"""One request and its response: the parsed head fields, sending, metrics and the log line."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import aclosing, suppress
from time import perf_counter

from starlette.types import Receive, Scope, Send

from tusd_py import logs
from tusd_py.model.caller import HeaderList
from tusd_py.protocol.errors import TusError
from tusd_py.protocol.headers import Headers
from tusd_py.protocol.outcomes import Content
from tusd_py.protocol.responses import Response, ResponseContext
from tusd_py.web import early_response
from tusd_py.web.cors import CorsPolicy
from tusd_py.web.errors import HookUnavailable
from tusd_py.web.metrics import ServerMetrics
from tusd_py.web.negotiation import SendInterim
from tusd_py.web.paced_body import PacedBody
from tusd_py.web.request_body import EMPTY_BODY, AsgiBody, EmptyBody
from tusd_py.web.request_id import RequestIds
from tusd_py.web.response_body import BodySender

log = logging.getLogger("tusd_py.requests")

#: A request with one of these methods has a body only if a header says so, in every HTTP server.
_METHODS_WITHOUT_BODY = frozenset({"HEAD", "GET", "DELETE", "OPTIONS"})


class Exchange:
    """The transport side of one request: its body, its response, its metrics and its log line."""

    __slots__ = (
        "_acquire_send_socket",
        "_buffered_bytes",
        "_content_length",
        "_expects_continue",
        "_has_streams",
        "_idle_seconds",
        "_is_chunked",
        "_metrics",
        "_receive",
        "_respond",
        "_send",
        "_sender",
        "_started",
        "body",
        "has_requested_method",
        "headers",
        "is_disconnected",
        "method",
        "origin",
        "real_method",
        "request_id",
        "send_interim",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        metrics: ServerMetrics,
        request_ids: RequestIds,
        idle_seconds: float,
        rate_min: float,
    ) -> None:
        self._started = perf_counter()
        self._receive, self._send, self._metrics = receive, send, metrics
        self._idle_seconds = idle_seconds
        self.real_method: str = scope["method"]
        self.method = self.real_method  # replaced by the caller if X-HTTP-Method-Override names another
        headers = self.headers = Headers(scope["headers"])
        # In HTTP/2 and later the HTTP server ends the stream of the request; the connection stays open.
        self._has_streams = not scope.get("http_version", "1.1").startswith("1")
        self.origin = headers.get_bytes(b"origin")
        self.has_requested_method = b"access-control-request-method" in headers  # a browser's preflight
        self._buffered_bytes = 0
        self._sender: BodySender | None = None
        length = headers.get_bytes(b"content-length") or b""
        self._content_length = int(length) if length.isdigit() and len(length) < 20 else 0
        self._is_chunked = b"transfer-encoding" in headers
        self._expects_continue = (headers.get_bytes(b"expect") or b"").lower() == b"100-continue"
        self.request_id = request_ids.of(headers.get_bytes(b"x-request-id"))
        # Each request has a task of its own, so every log line of this task carries the id.
        logs.request_id.set(self.request_id.decode())
        # Our ASGI extension. Other HTTP servers have no trailers, no zero-copy bodies and no interim responses.
        extension = scope.get("extensions", {}).get("tusd_py", {})
        self.send_interim: SendInterim | None = extension.get("send_interim")
        self.body: AsgiBody | PacedBody | EmptyBody = EMPTY_BODY
        has_no_body = length == b"0" or (not length and self.real_method in _METHODS_WITHOUT_BODY)
        if self._is_chunked or self._has_streams or not has_no_body:
            self.body = AsgiBody(
                receive,
                idle_seconds,
                rate_min,
                extension.get("trailers", tuple),
                extension.get("acquire_socket"),
                extension.get("take_buffered_body"),
                extension.get("attach_body"),
            )
        #: Whether the client has closed the connection; ``None`` if the HTTP server cannot say.
        self.is_disconnected: Callable[[], bool] | None = extension.get("is_disconnected")
        self._acquire_send_socket = extension.get("acquire_send_socket")
        self._respond = extension.get("respond")

    @property
    def response_context(self) -> ResponseContext:
        return ResponseContext(self.method, self.real_method)

    async def respond(self, response: Response, cors: CorsPolicy, read_bytes_max: int = 0) -> None:
        """Send the response. The rest of the request's body is read within bounds, or the connection is closed.

        ``read_bytes_max`` is how much of the body may be read before the response.
        """
        is_preflight = self.has_requested_method and self.real_method == "OPTIONS"
        headers = [*response.headers, *cors.headers(self.origin, is_preflight), (b"x-request-id", self.request_id)]
        if not isinstance(response.body, bytes):
            await self._send_content(response.status, headers, response.body)
        elif self.body.is_ended or self._has_streams or not (self._content_length or self._is_chunked):
            await self._send_buffered(response.status, headers, response.body)
        elif self.body.is_gone:
            # The client cannot read it, but Starlette's BaseHTTPMiddleware needs a response.
            with suppress(OSError):
                await self._send_buffered(response.status, headers, response.body)
        else:
            self.body.close()
            self._buffered_bytes = len(response.body)
            unread = None if self._is_chunked else self._content_length - self.body.bytes_received
            may_read = self.body.was_read or not self._expects_continue
            await early_response.send(
                self._send, self._receive, response.status, headers, response.body, unread, may_read, read_bytes_max
            )

    async def _send_buffered(self, status: int, headers: HeaderList, body: bytes) -> None:
        self._buffered_bytes = len(body)
        if self._respond is not None and self._respond(self._send, status, headers, body):
            return
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def _send_content(self, status: int, headers: HeaderList, content: Content) -> None:
        sender = self._sender = BodySender(self._receive, self._send, self._idle_seconds, self._acquire_send_socket)
        async with aclosing(content):
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            await sender.run(content)

    def finish(self, path: str, status: int, error: TusError | None) -> None:
        """Count and log the request: its path, but neither query nor headers, because they may contain secrets."""
        seconds = perf_counter() - self._started
        if self.body.bytes_received:
            self._metrics.bytes_received.inc(self.body.bytes_received)
        if self.body.bytes_zero_copy:
            self._metrics.bytes_zero_copy.inc(self.body.bytes_zero_copy)
        sender = self._sender
        if sender is not None:
            self._metrics.bytes_sent.inc(sender.bytes_sent)
            self._metrics.bytes_sent_zero_copy.inc(sender.bytes_zero_copy)
        self._metrics.request(self.method, seconds, error, status)
        level = _level(error)
        if log.isEnabledFor(level):
            details = {
                "event": "request",
                "method": self.method,
                "path": path,
                "status": status,
                "code": error.code if error else None,
                "bytes_received": self.body.bytes_received,
                "bytes_sent": self._buffered_bytes if sender is None else sender.bytes_sent,
                "seconds": round(seconds, 6),
                "request_id": self.request_id.decode(),
            }
            extra = {name: value for name, value in details.items() if value is not None}
            # Our own lines show the event and the values; handlers of an application may show the message only.
            if error is None:
                log.log(level, "%s %r was answered %d", self.method, path, status, extra=extra)
            else:
                log.log(level, "%s %r was answered %d %s", self.method, path, status, error.code, extra=extra)


def _level(error: TusError | None) -> int:
    """ERROR for a fault of the server, WARNING for a failure that may pass, INFO for a refusal.

    INFO also for the failure of a hook: it fails every request while it lasts, and has a line of its own.
    """
    if error is None:
        return logging.DEBUG
    if error.status == 500:
        return logging.INFO if isinstance(error, HookUnavailable) else logging.ERROR
    return logging.INFO if error.status < 500 else logging.WARNING
