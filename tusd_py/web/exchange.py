"""One request and its answer, whole: counted, logged, readable from other origins, whatever becomes of it."""

from __future__ import annotations

import logging
import re
import secrets
from contextlib import aclosing
from time import perf_counter

from starlette.types import Receive, Scope, Send

from tusd_py import logs
from tusd_py.protocol.errors import TusError
from tusd_py.protocol.outcomes import Content
from tusd_py.protocol.responses import Response, ResponseContext
from tusd_py.web.cors import Cors, Headers
from tusd_py.web.early_response import send_early
from tusd_py.web.metrics import Metrics
from tusd_py.web.negotiation import Inform
from tusd_py.web.request_body import AsgiBody
from tusd_py.web.response_body import Giving

log = logging.getLogger("tusd_py.requests")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,36}\Z")


class Exchange:
    """What is known of one request before its meaning is, and how its answer goes out."""

    __slots__ = (
        "_acquire_send_socket",
        "_content_length",
        "_expects_continue",
        "_giving",
        "_has_streams",
        "_idle_seconds",
        "_is_chunked",
        "_metrics",
        "_receive",
        "_send",
        "_started",
        "_whole_bytes",
        "headers",
        "inform",
        "method",
        "origin",
        "real_method",
        "request_id",
        "requests_method",
        "source",
    )

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, metrics: Metrics, idle_seconds: float, rate_min: float
    ) -> None:
        self._started = perf_counter()
        self._receive, self._send, self._metrics = receive, send, metrics
        self._idle_seconds = idle_seconds
        self.real_method: str = scope["method"]
        self.method = self.real_method  # until an override is known
        self.headers = scope["headers"]
        # From HTTP/2 on a connection carries many requests: the server ends this one's stream, and nothing is closed.
        self._has_streams = not scope.get("http_version", "1.1").startswith("1")
        self.origin: bytes | None = None
        self.requests_method = False  # a browser's preflight
        self.request_id = b""
        self._whole_bytes = 0
        self._giving: Giving | None = None
        self._content_length = 0
        self._is_chunked = self._expects_continue = False
        for name, value in self.headers:
            if name == b"origin":
                self.origin = value
            elif name == b"access-control-request-method":
                self.requests_method = True
            elif name == b"x-request-id":
                self.request_id = value if _REQUEST_ID.match(value) else b""
            elif name == b"content-length":
                self._content_length = int(value) if value.isdigit() and len(value) < 20 else 0
            elif name == b"transfer-encoding":
                self._is_chunked = True
            elif name == b"expect":
                self._expects_continue = value.lower() == b"100-continue"
        self.request_id = self.request_id or secrets.token_hex(8).encode()
        # Every line that is logged from here on, by whomever, bears it: each request has a task of its own.
        logs.request_id.set(self.request_id.decode())
        # What our own HTTP server can do beyond ASGI; others have no trailers to give, lend no body, and send no answer
        # before the answer.
        served = scope.get("extensions", {}).get("tusd_py", {})
        self.inform: Inform | None = served.get("send_interim")
        self.source = AsgiBody(
            receive,
            idle_seconds,
            rate_min,
            served.get("trailers", tuple),
            served.get("acquire_socket"),
            served.get("take_buffered_body"),
        )
        self._acquire_send_socket = served.get("acquire_send_socket")

    @property
    def asked(self) -> ResponseContext:
        return ResponseContext(self.method, self.real_method)

    async def answer(self, reply: Response, cors: Cors) -> None:
        """Send the reply; what is left of the request's body is read within bounds, or the connection closed."""
        is_preflight = self.requests_method and self.real_method == "OPTIONS"
        headers = [*reply.headers, *cors.headers(self.origin, is_preflight), (b"x-request-id", self.request_id)]
        if not isinstance(reply.body, bytes):
            await self._give(reply.status, headers, reply.body)
        elif self.source.is_ended or self._has_streams or not (self._content_length or self._is_chunked):
            await self._whole(reply.status, headers, reply.body)
        elif not self.source.is_gone:
            self.source.close()
            unread = None if self._is_chunked else self._content_length - self.source.bytes_received
            may_read = self.source.was_read or not self._expects_continue
            await send_early(self._send, self._receive, reply.status, headers, reply.body, unread, may_read)

    async def _whole(self, status: int, headers: Headers, body: bytes) -> None:
        self._whole_bytes = len(body)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def _give(self, status: int, headers: Headers, content: Content) -> None:
        giving = self._giving = Giving(self._receive, self._send, self._idle_seconds, self._acquire_send_socket)
        async with aclosing(content):
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            await giving.run(content)

    def over(self, path: str, status: int, error: TusError | None) -> None:
        """Count and log the request. Paths hold ids but never what a query or a header says: those may be secrets."""
        seconds = perf_counter() - self._started
        if self.source.bytes_received:
            self._metrics.bytes_received.inc(self.source.bytes_received)
        if self.source.bytes_zero_copy:
            self._metrics.bytes_zero_copy.inc(self.source.bytes_zero_copy)
        giving = self._giving
        if giving is not None:
            self._metrics.bytes_sent.inc(giving.bytes_sent)
            self._metrics.bytes_sent_zero_copy.inc(giving.bytes_zero_copy)
        self._metrics.request(self.method, seconds, error)
        level = _level(error)
        if log.isEnabledFor(level):
            facts = {
                "method": self.method,
                "path": path,
                "status": status,
                "code": error.code if error else None,
                "bytes_received": self.source.bytes_received,
                "bytes_sent": self._whole_bytes if giving is None else giving.bytes_sent,
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
