"""Our HTTP/1.1 connection on top of uvicorn's: bounded in time and size, strict, and losing no received byte.

The parser is given one message at a time. What the client sends ahead of a response waits unparsed, and nothing more is
read meanwhile: a request that waits costs its bytes in the kernel, not a parsed request in memory.
``cycle`` passes the bytes to the application, ``request_head`` checks heads. The class relies on internals of uvicorn;
``uvicorn_compat`` lists them, and uvicorn's own class is used where they differ.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import httptools

from tusd_py.serving.http import request_head
from tusd_py.serving.http.closing import LingeringClose
from tusd_py.serving.http.cycle import BUFFERED_BYTES_MAX, Cycle
from tusd_py.serving.http.extension import AsgiExtension
from tusd_py.serving.http.reading import ReadFlow
from tusd_py.serving.http.scope import split_target
from tusd_py.serving.http.sendfile import SendSlots
from tusd_py.serving.http.splice import PipePool
from tusd_py.serving.http.starting import StartingProtocol

_HEAD_END = b"\r\n\r\n"
#: A chunked body is parsed in slices that end at an empty line, which may be the end of the message. They are not
#: shorter than this, so that a body of empty lines is not cut into pieces of a few bytes.
_CHUNKED_SLICE_MIN = 1024
#: What may stand between two pieces of a chunked body without limit in time: a line end, a size and another line end.
_CHUNK_FRAMING_BYTES = 64


class UploadProtocol(StartingProtocol):
    """One connection. Requests are answered in order; each body goes to its own ``Cycle``."""

    #: The pipes for zero-copy request bodies; ``None`` turns them off.
    pipes: ClassVar[PipePool | None] = None
    #: The slots for zero-copy responses; ``None`` turns them off.
    send_slots: ClassVar[SendSlots | None] = None
    cycle: Cycle
    flow: ReadFlow

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.url = b""
        self.answering: Cycle | None = None
        self._idle_since = -1.0  # while no request has begun
        self._is_in_head = False
        self._head_bytes = 0
        self._is_large = False
        self._body_left = 0  # of a body whose length is known
        self._is_chunked = False  # and the message has not ended
        self._trailer_bytes = 0
        self._quiet_bytes = 0  # of a chunked body, since the parser last reported something
        #: What the client sent ahead, from ``_held_from`` on. It is parsed when the requests before it are answered.
        self._held = b""
        self._held_from = 0
        self._head_timer: asyncio.TimerHandle | None = None
        # See _continue_without_upgrade.
        self._is_ignoring_upgrade = self._is_replaying = False
        self._refusal: request_head.BadRequest | None = None
        self._closing: LingeringClose
        self._extension = AsgiExtension(self.pipes, self.send_slots, self.resume_after)
        self.extensions = self._extension.extensions

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self.flow = ReadFlow(transport)
        self._closing = LingeringClose(transport, self.loop)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        # Before the end of the connection is reported to it: the bytes that have arrived count.
        self._start_now()
        self._stop_timers()
        # Whatever ended the connection: uvicorn's own class leaves the timer of a connection that was reset.
        self._unset_keepalive_if_required()
        for cycle in (self.answering, *(queued for queued, _ in self.pipeline)):
            if isinstance(cycle, Cycle):
                cycle.abort()
        self._held = b""
        self.pipeline.clear()
        super().connection_lost(exc)
        self._extension.close()
        # Its requests refer to it: nothing else refers to them any more, and none waits for the garbage collector.
        self.cycle = self.answering = None  # type: ignore[assignment]
        del self._extension

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            self._closing.discard(len(data))
        elif self._held:
            # Reading is paused, but TLS still delivers what it has decrypted.
            self._held = self._held[self._held_from :] + data
            self._held_from = 0
        else:
            # All requests before are answered, and nothing is parsed of one that begins with ``data``. The first one of
            # a connection is not remembered, as it is often the only one.
            begins = self._idle_since >= 0
            if begins and self._known is not None and (cycle := self._recognise(data)) is not None:
                self._idle_since = -1.0
                self.cycle = self.answering = self._extension.cycle = cycle
                self._begin_known(cycle)
                return
            self._parse(data, 0)
            if self._unstarted is not None:
                self._start(self._body_left, data if begins else b"")

    def _parse(self, data: bytes, position: int) -> None:
        """Parse ``data`` from ``position`` on, one message at a time, or hold it until its request is in turn."""
        end = len(data)
        while position < end:
            cycle = self.cycle
            if cycle is not None and cycle.is_complete and not cycle.response_complete:
                self._hold(data, position)
                return
            slice_end = self._slice_end(data, position)
            piece = data if slice_end - position == end else memoryview(data)[position:slice_end]
            parsed = self._feed_chunked(piece) if self._is_chunked else self._feed(piece)
            if parsed < 0:
                return
            position += parsed

    def _hold(self, data: bytes, position: int) -> None:
        self._held, self._held_from = data, position
        self.flow.hold()
        self._stop_head_timer()

    def _slice_end(self, data: bytes, position: int) -> int:
        """Return where the message that is being received ends at the earliest."""
        if self._body_left:
            return min(len(data), position + self._body_left)
        at_least = position + _CHUNKED_SLICE_MIN if self._is_chunked else position
        found = data.find(_HEAD_END, at_least)
        return len(data) if found < 0 else found + len(_HEAD_END)

    def _feed(self, piece: bytes | memoryview, *, is_counted: bool = True) -> int:
        """Give ``piece`` to the parser. Return how many bytes it took, -1 if the connection takes no more requests.

        ``is_counted`` says that ``piece`` has bytes of one head only, or of none.
        """
        size = len(piece)
        is_discarded = self._closing.is_pending
        if is_discarded:
            self._closing.discard(size)
        self._is_large = self._is_in_head or size > self.limits.header_bytes_max
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            if self._is_ignoring_upgrade:
                self._continue_without_upgrade()
                taken: int = upgrade.args[0]
                return taken
            self._stop_timers()
            self.handle_websocket_upgrade()
            return -1
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, request_head.BadRequest) else request_head.MALFORMED)
            return -1
        if self._is_in_head and not self._continue_head(size if is_counted else 0):
            return -1
        if is_discarded and self._closing.is_pending and self.cycle.is_complete:
            return -1
        return size

    def _continue_head(self, count: int) -> bool:
        """Count the bytes of an unfinished head: of a field that never ends the parser reports nothing."""
        self._head_bytes += count
        if self._head_bytes > self.limits.header_bytes_max:
            self._refuse(request_head.TOO_LARGE)
            return False
        if self._head_timer is None:
            self._await_head()
        return True

    def _feed_chunked(self, piece: bytes | memoryview) -> int:
        """Like ``_feed``, for a chunked body. All but pieces of the body is bounded like a head, in size and time."""
        cycle = self.cycle
        before = cycle.received_bytes + self._trailer_bytes
        # Only the first bytes can be of the body: the rest may be of several heads.
        parsed = self._feed(piece, is_counted=False)
        if parsed < 0 or not self._is_chunked or cycle is not self.cycle:
            return parsed
        is_quiet = cycle.received_bytes + self._trailer_bytes == before
        self._quiet_bytes = self._quiet_bytes + parsed if is_quiet else 0
        if self._quiet_bytes > self.limits.header_bytes_max:
            self._refuse(request_head.TOO_LARGE)
            return -1
        is_bounded = self._quiet_bytes > _CHUNK_FRAMING_BYTES or self._trailer_bytes > 0
        if is_bounded and self._head_timer is None:
            self._await_head()
        elif not is_bounded:
            self._stop_head_timer()
        return parsed

    # Called by the parser.

    def on_message_begin(self) -> None:
        if self._is_replaying:
            return
        # Not earlier: an empty line is no request, and must not prolong an idle connection.
        self._idle_since = -1.0
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
        # Trailers are not headers: they must not change what was decided before the body.
        self._trailer_bytes += len(name) + len(value) + request_head.FIELD_BYTES
        if self._trailer_bytes > self.limits.header_bytes_max:
            raise request_head.TOO_LARGE
        if name in self.cycle.declared:
            self.cycle.trailers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._is_replaying:
            self._is_replaying = False
            return
        self._is_in_head = False
        self._stop_head_timer()
        if self._is_large and request_head.size_of_head(self.url, self.headers) > self.limits.header_bytes_max:
            raise request_head.TOO_LARGE
        parser = self.parser
        http_version = parser.get_http_version()
        framing = request_head.check(self.headers, http_version)
        self._body_left, self._is_chunked = framing.length, framing.is_chunked
        self._trailer_bytes = self._quiet_bytes = 0
        earlier = self.cycle
        keep_alive = http_version == "1.1" and parser.should_keep_alive()
        method = parser.get_method().decode("ascii")
        target = split_target(self.url)
        cycle = Cycle(self, method, target, self.headers, http_version, keep_alive=keep_alive)
        if parser.should_upgrade():
            if self._should_upgrade():
                self.scope = cycle.scope
                return
            self._is_ignoring_upgrade = True
        if framing is not request_head.NO_BODY:
            cycle.declared = framing.trailers
            cycle.waiting_for_100_continue = framing.expects_continue
        self.cycle = cycle
        if earlier is None or earlier.response_complete:
            self.answering = self._extension.cycle = self._unstarted = cycle
        else:
            # The end of a chunked body and what follows it can be in one slice.
            self.flow.hold()
            self.pipeline.appendleft((cycle, self._application()))

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if self._body_left:
            self._body_left -= len(body)
        if cycle.response_complete:
            cycle.received_bytes += len(body)
            return
        cycle.feed(body)
        if cycle.buffered_bytes > BUFFERED_BYTES_MAX:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        # With an upgrade that is ignored, only the head has arrived.
        if self._is_ignoring_upgrade or (self.parser.should_upgrade() and self._should_upgrade()):
            return
        if self._is_chunked:
            self._is_chunked = False
            self._stop_head_timer()
        cycle = self.cycle
        cycle.end()
        if cycle.response_complete and self._closing.is_pending and not self._closing.is_exceeded:
            # The rest of the body was read: the connection stays usable.
            self._closing.cancel()
            self._keep_alive()

    def _continue_without_upgrade(self) -> None:
        """Read on without the requested upgrade (RFC 9110, 7.8: "A server MAY ignore a received Upgrade").

        The parser takes what follows the head for another protocol. A new parser is given the framing of the body.
        """
        framing = (b"content-length", b"transfer-encoding")
        lines = [name + b": " + value + b"\r\n" for name, value in self.headers if name in framing]
        self._is_ignoring_upgrade = False
        self._restart_parser(b"".join(lines))

    def resume_after(self, bytes_left: int) -> None:
        """Read the last ``bytes_left`` bytes of a body: a ``SpliceReader`` took those before, past the parser."""
        if self.parser is not None and not self.transport.is_closing():
            self._body_left = bytes_left
            self._restart_parser(b"content-length: %d\r\n" % bytes_left)
            self.flow.resume_reading()

    def _restart_parser(self, framing: bytes) -> None:
        """Parse on with a new parser, in the middle of a request whose body has this framing."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._is_replaying = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")

    # Responses.

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.answering is not None and self.answering.is_unbuffered:
            self.transport.set_write_buffer_limits()
        if self.pipeline:
            queued, application = self.pipeline.pop()
            assert isinstance(queued, Cycle), "only on_headers_complete queues"
            self.answering = self._extension.cycle = queued
            self._start_asgi_task(queued, application)
            if not self.pipeline and not self._held:
                self.flow.release()
        elif self._refusal is not None:
            self._send_refusal(self._refusal)
        elif not self.cycle.is_complete:
            # The application did not read the rest. If the rest is small, reading it keeps the connection usable.
            self._closing.begin()
            self.flow.release()
        else:
            self._keep_alive()
            if self._held or self.flow.is_held or self.flow.read_paused:
                self._parse_held()

    def _parse_held(self) -> None:
        """Go on with what the client sent ahead."""
        held, self._held = self._held, b""
        self.flow.is_held = False
        if held:
            self._parse(held, self._held_from)
            if self._unstarted is not None:
                self._start(self._body_left, b"")
        if not self.flow.is_held and self._refusal is None:
            self.flow.resume_reading()

    def _refuse(self, refusal: request_head.BadRequest) -> None:
        """Accept nothing more, and send ``refusal`` when the responses before it are sent."""
        self.logger.debug("Request refused: %d %s", refusal.status, refusal.sentence)
        self._refusal = refusal
        if self._closing.is_pending:
            # The request was answered: its connection is closed soon, without a second response.
            self._stop_head_timer()
            return
        self._stop_timers()
        cycle = self.cycle
        if not self._is_in_head and cycle is not None and not cycle.is_complete and not cycle.response_complete:
            # Refused in its body: the application gets what arrived before, but does not respond.
            if self.pipeline and self.pipeline[0][0] is cycle:
                self.pipeline.popleft()
            elif cycle.response_started:
                self.transport.close()
                return
            cycle.abort()
        if self.answering is None or self.answering.response_complete or self.answering.disconnected:
            self._send_refusal(refusal)

    def _send_refusal(self, refusal: request_head.BadRequest) -> None:
        self._closing.send(refusal, self.server_state.default_headers)
        self.flow.release()

    def _keep_alive(self) -> None:
        # One timer for all idle times of a connection: to set and cancel one for each request takes 2 microseconds.
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self._on_idle)

    def _on_idle(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since < 0:
            return  # set again when the request is answered
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        # The clock of the event loop has milliseconds.
        if left > 0.002:
            self.timeout_keep_alive_task = self.loop.call_later(left, self._on_idle)
        else:
            self.timeout_keep_alive_handler()

    # Timers.

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.header_timeout_seconds, self._on_head_timeout)

    def _on_head_timeout(self) -> None:
        self._head_timer = None
        if self._is_in_head:
            self._refuse(request_head.TOO_SLOW)
        elif self._is_chunked and self.flow.read_paused:
            # The application is slow, not the client.
            self._await_head()
        elif self._is_chunked:
            self._refuse(request_head.TOO_SLOW)
        else:
            # No byte has arrived: the client expects no response.
            self.transport.close()

    def _stop_timers(self) -> None:
        self._closing.cancel()
        self._stop_head_timer()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
