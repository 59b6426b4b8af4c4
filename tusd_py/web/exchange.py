"""One request and its answer, whole: counted, logged, readable from other origins, whatever becomes of it."""

from __future__ import annotations

import logging
import re
import secrets
from contextlib import aclosing
from time import perf_counter

from starlette.types import Receive, Scope, Send

from tusd_py import logs
from tusd_py.model.caller import HeaderList
from tusd_py.protocol.errors import TusError
from tusd_py.protocol.headers import Headers
from tusd_py.protocol.outcomes import Content
from tusd_py.protocol.responses import Response, ResponseContext
from tusd_py.web import early_response
from tusd_py.web.cors import Cors
from tusd_py.web.metrics import Metrics
from tusd_py.web.negotiation import SendInterim
from tusd_py.web.request_body import AsgiBody
from tusd_py.web.response_body import BodySender

log = logging.getLogger("tusd_py.requests")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,36}\Z")


class Exchange:
    """What is known of one request before its meaning is, and how its answer goes out."""

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
        "_send",
        "_sender",
        "_started",
        "body",
        "headers",
        "method",
        "origin",
        "real_method",
        "request_id",
        "requests_method",
        "send_interim",
    )

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, metrics: Metrics, idle_seconds: float, rate_min: float
    ) -> None:
        self._started = perf_counter()
        self._receive, self._send, self._metrics = receive, send, metrics
        self._idle_seconds = idle_seconds
        self.real_method: str = scope["method"]
        self.method = self.real_method  # until an override is known
        headers = self.headers = Headers(scope["headers"])
        # From HTTP/2 on a connection carries many requests: the server ends this one's stream, and nothing is closed.
        self._has_streams = not scope.get("http_version", "1.1").startswith("1")
        self.origin = headers.get_bytes(b"origin")
        self.requests_method = b"access-control-request-method" in headers  # a browser's preflight
        self._buffered_bytes = 0
        self._sender: BodySender | None = None
        length = headers.get_bytes(b"content-length") or b""
        self._content_length = int(length) if length.isdigit() and len(length) < 20 else 0
        self._is_chunked = b"transfer-encoding" in headers
        self._expects_continue = (headers.get_bytes(b"expect") or b"").lower() == b"100-continue"
        request_id = headers.get_bytes(b"x-request-id")
        if request_id is None or not _REQUEST_ID.match(request_id):
            request_id = secrets.token_hex(8).encode()
        self.request_id = request_id
        # Every line that is logged from here on, by whomever, bears it: each request has a task of its own.
        logs.request_id.set(self.request_id.decode())
        # What our own HTTP server can do beyond ASGI; others have no trailers to give, lend no body, and send no answer
        # before the answer.
        served = scope.get("extensions", {}).get("tusd_py", {})
        self.send_interim: SendInterim | None = served.get("informational")
        self.body = AsgiBody(
            receive,
            idle_seconds,
            rate_min,
            served.get("trailers", tuple),
            served.get("lend"),
            served.get("take_whole"),
        )
        self._acquire_send_socket = served.get("lend_out")

    @property
    def response_context(self) -> ResponseContext:
        return ResponseContext(self.method, self.real_method)

    async def answer(self, response: Response, cors: Cors) -> None:
        """Send the reply; what is left of the request's body is read within bounds, or the connection closed."""
        is_preflight = self.requests_method and self.real_method == "OPTIONS"
        headers = [*response.headers, *cors.headers(self.origin, is_preflight), (b"x-request-id", self.request_id)]
        if not isinstance(response.body, bytes):
            await self._send_content(response.status, headers, response.body)
        elif self.body.is_ended or self._has_streams or not (self._content_length or self._is_chunked):
            await self._send_buffered(response.status, headers, response.body)
        elif not self.body.is_gone:
            self.body.close()
            unread = None if self._is_chunked else self._content_length - self.body.bytes_received
            may_read = self.body.was_read or not self._expects_continue
            await early_response.send(
                self._send, self._receive, response.status, headers, response.body, unread, may_read
            )

    async def _send_buffered(self, status: int, headers: HeaderList, body: bytes) -> None:
        self._buffered_bytes = len(body)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def _send_content(self, status: int, headers: HeaderList, content: Content) -> None:
        sender = self._sender = BodySender(self._receive, self._send, self._idle_seconds, self._acquire_send_socket)
        async with aclosing(content):
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            await sender.run(content)

    def finish(self, path: str, status: int, error: TusError | None) -> None:
        """Count and log the request. Paths hold ids but never what a query or a header says: those may be secrets."""
        seconds = perf_counter() - self._started
        if self.body.bytes_received:
            self._metrics.bytes_received.inc(self.body.bytes_received)
        if self.body.bytes_poured:
            self._metrics.bytes_poured.inc(self.body.bytes_poured)
        sender = self._sender
        if sender is not None:
            self._metrics.bytes_sent.inc(sender.bytes_sent)
            self._metrics.bytes_sent_poured.inc(sender.poured_bytes)
        self._metrics.request(self.method, seconds, error)
        level = _level(error)
        if log.isEnabledFor(level):
            facts = {
                "method": self.method,
                "path": path,
                "status": status,
                "code": error.code if error else None,
                "bytes_received": self.body.bytes_received,
                "bytes_sent": self._buffered_bytes if sender is None else sender.bytes_sent,
                "seconds": round(seconds, 6),
                "request_id": self.request_id.decode(),
            }
            log.log(level, "request", extra={name: fact for name, fact in facts.items() if fact is not None})


def _level(error: TusError | None) -> int:
    """Only a fault of the server is an error; what it cannot do now, or a client wants of it, alarms nobody."""
    if error is None:
        return logging.DEBUG
    if error.status == 500:
        return logging.ERROR
    return logging.INFO if error.status < 500 else logging.WARNING
