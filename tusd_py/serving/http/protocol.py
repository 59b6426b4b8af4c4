"""uvicorn's HTTP/1.1 connection, made fit to face clients: bounded in time and size, strict, and losing no byte.

What becomes of the bytes is for ``cycle``, what a head may say for ``heads``. Internals of uvicorn are relied on;
``choosing`` knows which, and does without this class where they are not as expected.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import httptools
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tusd_py.serving.http import request_head
from tusd_py.serving.http.closing import Parting
from tusd_py.serving.http.cycle import BUFFERED_BYTES_MAX, Cycle
from tusd_py.serving.http.extension import Beyond
from tusd_py.serving.http.scope import scope_of
from tusd_py.serving.http.sendfile import Outlets
from tusd_py.serving.http.splice import Pipes

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application


class UploadProtocol(HttpToolsProtocol):
    """One connection. Requests are answered in order; each body goes to its own ``Cycle``."""

    bounds: ClassVar[request_head.Bounds] = request_head.Bounds()
    #: Through which bodies that are lent flow; ``None`` lends none.
    pipes: ClassVar[Pipes | None] = None
    #: How many may be sending files at once; ``None`` is none.
    outlets: ClassVar[Outlets | None] = None
    cycle: Cycle

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.url = b""
        self.answering: Cycle | None = None
        self._is_in_head = False
        self._head_bytes = 0  # that came before what is being parsed
        self._is_large = False
        self._trailer_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        # An upgrade that is not made: see _go_on_without_upgrade.
        self._is_ignoring_upgrade = self._is_replaying = False
        self._refusal: request_head.Refused | None = None
        self._parting: Parting
        self._beyond = Beyond(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._parting = Parting(transport, self.loop)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        for cycle in (self.answering, *(queued for queued, _ in self.pipeline)):
            if isinstance(cycle, Cycle):
                cycle.cut()
        super().connection_lost(exc)
        self._beyond.close()

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            self._parting.drop(len(data))
            return
        began_before = self._is_in_head or self.cycle is None
        self._is_large = began_before or len(data) > self.bounds.header_bytes_max
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._is_ignoring_upgrade:
                self._go_on_without_upgrade(data[upgrade.args[0] :])
            else:
                self._stop_timers()
                self.handle_websocket_upgrade()
            return
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, request_head.Refused) else request_head.MALFORMED)
            return
        if self._is_in_head:
            self._head_goes_on(len(data) if began_before else 0)

    def _head_goes_on(self, count: int) -> None:
        """A head has begun and not ended. Of a field without an end the parser tells nothing, so bytes are counted."""
        self._head_bytes += count
        if self._head_bytes > self.bounds.header_bytes_max:
            self._refuse(request_head.TOO_LARGE)
        elif self._head_timer is None:
            self._await_head()

    # The parser calls these.

    def on_message_begin(self) -> None:
        if self._is_replaying:
            return
        if self.timeout_keep_alive_task is not None:
            # Not before: an empty line is no request, and gains an idle connection no time.
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        self.url = b""
        self.headers = []
        self._is_in_head = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        if not self._is_replaying:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_in_head:
            self._on_trailer(name.lower(), value)
            return
        self.headers.append((name.lower(), value))
        if len(self.headers) > request_head.HEADERS_MAX:
            raise request_head.TOO_LARGE

    def _on_trailer(self, name: bytes, value: bytes) -> None:
        if self._is_replaying:
            return
        # Trailers are not headers: what was decided before the body is not to be changed behind it.
        self._trailer_bytes += len(name) + len(value) + request_head.FIELD_BYTES
        if self._trailer_bytes > self.bounds.header_bytes_max:
            raise request_head.TOO_LARGE
        if name in self.cycle.declared:
            self.cycle.trailers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._is_replaying:
            self._is_replaying = False
            return
        self._is_in_head = False
        self._trailer_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if self._is_large and request_head.size_of_head(self.url, self.headers) > self.bounds.header_bytes_max:
            raise request_head.TOO_LARGE
        parser = self.parser
        http_version = parser.get_http_version()
        framing = request_head.examine(self.headers, http_version)
        self.scope = scope_of(self, http_version, self._beyond.extensions)
        if parser.should_upgrade():
            if self._should_upgrade():
                return
            self._is_ignoring_upgrade = True
        earlier = self.cycle
        self.cycle = cycle = Cycle(
            self.pipeline,
            framing.trailers,
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=framing.expects_continue,
            keep_alive=http_version == "1.1" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if earlier is None or earlier.response_complete:
            self.answering = cycle
            self._start_asgi_task(cycle, self._application())
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self._application()))

    def _application(self) -> ASGI3Application:
        limit = self.limit_concurrency
        if limit is None or (len(self.connections) < limit and len(self.tasks) < limit):
            app: ASGI3Application = self.app
            return app
        self.logger.warning("Exceeded concurrency limit.")
        return service_unavailable

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.response_complete:
            self._parting.drop(len(body))
            return
        cycle.take(body)
        if cycle.buffered_bytes > BUFFERED_BYTES_MAX:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        # Of an upgrade that is ignored, only the head has come.
        if self._is_ignoring_upgrade or (self.parser.should_upgrade() and self._should_upgrade()):
            return
        cycle = self.cycle
        cycle.end()
        if cycle.response_complete and self._parting.is_near:
            # The unwanted rest is over: the connection is as good as any other.
            self._parting.put_off()
            self._keep_alive()

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read on as if no upgrade had been asked for (RFC 9110, 7.8: "A server MAY ignore a received Upgrade").

        The parser takes what follows the head for another protocol, so that a new one is told how the body is framed.
        """
        framing = (b"content-length", b"transfer-encoding")
        lines = [name + b": " + value + b"\r\n" for name, value in self.headers if name in framing]
        self._is_ignoring_upgrade = False
        self._parse_anew(b"".join(lines), rest)

    def go_on_behind(self, rest: int) -> None:
        """The body was taken from the socket but for ``rest`` bytes, of which the parser knows nothing."""
        if self.parser is not None and not self.transport.is_closing():
            self._parse_anew(b"content-length: %d\r\n" % rest)
            self.flow.resume_reading()

    def _parse_anew(self, framing: bytes, rest: bytes = b"") -> None:
        """With a parser that expects a body of this framing, the one that is coming."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._is_replaying = True
        self.data_received(b"POST / HTTP/1.1\r\n" + framing + b"\r\n" + rest)

    # Answers.

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.answering is not None and self.answering.is_unbuffered:
            self.transport.set_write_buffer_limits()
        self.flow.resume_reading()
        if self.pipeline:
            queued, application = self.pipeline.pop()
            assert isinstance(queued, Cycle), "it was made here"
            self.answering = queued
            self._start_asgi_task(queued, application)
        elif self._refusal is not None:
            self._part(self._refusal)
        elif not self.cycle.is_whole:
            # The application did not want the rest; a little of it is read, so that the connection stays usable.
            self._parting.begin()
        else:
            self._keep_alive()

    def _refuse(self, refusal: request_head.Refused) -> None:
        """Read no further, and say why when it is this request's turn."""
        self.logger.debug("Request refused: %d %s", refusal.status, refusal.sentence)
        self._refusal = refusal
        self._stop_timers()
        cycle = self.cycle
        if not self._is_in_head and cycle is not None and not cycle.is_whole and not cycle.response_complete:
            # It broke off in its body: what came before is the application's, the answer is not.
            if self.pipeline and self.pipeline[0][0] is cycle:
                self.pipeline.popleft()
            elif cycle.response_started:
                self.transport.close()
                return
            cycle.cut()
        if self.answering is None or self.answering.response_complete or self.answering.disconnected:
            self._part(refusal)

    def _part(self, refusal: request_head.Refused) -> None:
        self._parting.say(refusal, self.server_state.default_headers)
        self.flow.resume_reading()

    def _keep_alive(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    # Time.

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.bounds.header_timeout_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._is_in_head:
            self._refuse(request_head.TOO_SLOW)
        else:
            # Not a byte has come: nobody waits for an answer.
            self.transport.close()

    def _stop_timers(self) -> None:
        self._parting.put_off()
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
