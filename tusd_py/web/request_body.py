"""The body of an ASGI request as a ``RequestBody``. It reads ahead, so that no byte received before a cut is lost.

When the client disconnects, ASGI servers discard what the application has not received yet. A task that always waits
in ``receive()`` has received it by then. Our own server needs no such task: it calls the body with each piece, and only
as many bytes as the reader wants wake it up. For a thousand slow clients that is most of the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from starlette.types import Receive

from tusd_py.contracts.body import BodyAborted, BodyTimeout
from tusd_py.contracts.zero_copy import SocketReader
from tusd_py.protocol.errors import ServerShutdown

log = logging.getLogger(__name__)

#: Bytes buffered for one request before the server stops receiving.
READ_AHEAD_BYTES = 1024 * 1024
#: A client is fast if one read returned this much: then acquiring its socket is worth the cost.
_FAST_READ_BYTES = 64 * 1024
#: A client stays fast if a burst read this much.
_FAST_BURST_BYTES = 256 * 1024
#: The rate of a body is averaged over this time: mobile connections pause for seconds and then catch up.
RATE_WINDOW_SECONDS = 20.0
#: A stopped body is read until nothing has arrived for this long: the HTTP server or the kernel may still buffer bytes
#: that the client sent before it disconnected and came back.
QUIET_SECONDS = 0.01
#: A client that keeps sending is cut off after this time, so that the request that waits for it can run.
STOP_SECONDS = 0.05


class BodyFeed(Protocol):
    """The server's side of a body that it passes on piece by piece."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def detach(self) -> None: ...


class AsgiBody:
    """Reads the body of one request. All its times are those of the running event loop.

    Nothing is received before the first ``read``, so the HTTP server sends no ``100 Continue`` before that either.
    ``idle_seconds`` bounds the time without a byte (0: no bound), ``rate_min`` is the least average rate in bytes per
    second (0: none).
    """

    #: How many bytes are buffered before the server stops receiving; at least as many as a reader waits for.
    read_ahead_bytes = READ_AHEAD_BYTES

    def __init__(
        self,
        receive: Receive,
        idle_seconds: float,
        rate_min: float = 0,
        trailers: Callable[[], Sequence[tuple[bytes, bytes]]] = tuple,
        acquire_socket: Callable[[Receive, Callable[[], None]], SocketReader | None] | None = None,
        take_buffered_body: Callable[[Receive], list[bytes] | None] | None = None,
        attach_body: Callable[[Receive, AsgiBody], BodyFeed | None] | None = None,
    ) -> None:
        #: How many of ``bytes_received`` were read by a ``SocketReader``.
        self.bytes_zero_copy = 0
        self.was_read = False
        self._receive = receive
        self._acquire_socket = acquire_socket
        self._take_buffered_body = take_buffered_body
        self._attach_body = attach_body
        self._feed: BodyFeed | None = None  # until the end
        self._is_paused = False  # by this object
        self._socket_reader: SocketReader | None = None
        self._is_fast = False
        self._bytes_counted = 0  # without those of the socket reader
        self._idle_seconds = idle_seconds
        self._rate_min = rate_min
        self._was_full = False
        #: See ``RequestBody.trailers``.
        self.trailers = trailers
        self._pieces: list[bytes] = []
        self._buffered_bytes = 0
        self._is_ended = False  # cleanly
        self._error: Exception | None = None
        self._stop_reason: Exception | None = None
        self._task: asyncio.Task[None] | None = None
        self._read_waiter: asyncio.Future[None] | None = None
        self._bytes_min = 1  # wake the reader up
        self._resume_waiter: asyncio.Future[None] | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._rate_timer: asyncio.TimerHandle | None = None
        self._received_at = 0.0

    @property
    def bytes_received(self) -> int:
        """Bytes of the body received so far."""
        return self._bytes_counted + (0 if self._socket_reader is None else self._socket_reader.bytes_read)

    @property
    def is_ended(self) -> bool:
        """Whether the body was received completely, so that the connection can carry another request."""
        return self._is_ended

    @property
    def is_gone(self) -> bool:
        """Whether the client disconnected, so that a response is useless."""
        return isinstance(self._error, BodyAborted)

    async def read(self, wait_seconds: float | None = None, bytes_min: int = 1) -> Sequence[bytes] | None:
        """See ``RequestBody.read``."""
        if not self.was_read:
            self._start()
        if self._buffered_bytes < bytes_min and not self._is_ended and self._error is None:
            self._bytes_min = bytes_min
            await self._wait(wait_seconds)
        if self._pieces:
            self._is_fast = self._buffered_bytes >= _FAST_READ_BYTES
            return self._take_pieces()
        if self._is_ended:
            return ()
        if self._error is not None:
            raise self._error
        return None

    def acquire_socket(self) -> SocketReader | None:
        """See ``ZeroCopyBody.acquire_socket``."""
        if not self._is_fast or self._is_ended or self._error is not None or self._stop_reason is not None:
            return None
        reader = None if self._acquire_socket is None else self._acquire_socket(self._receive, self._on_reader_closed)
        if reader is None:
            self._is_fast = False
            return None
        self._socket_reader = reader
        # During the burst the client waits for the file; and a client whose socket is acquired is not slow.
        self._was_full = True
        self._bytes_counted += sum(map(len, reader.pieces))
        # The server reads on when the socket is given back.
        self._is_paused = False
        reader.pieces = [*self._take_pieces(), *reader.pieces]
        return reader

    def _on_reader_closed(self) -> None:
        reader, self._socket_reader = self._socket_reader, None
        assert reader is not None
        if reader.bytes_read:
            self._received_at = asyncio.get_running_loop().time()
        self._bytes_counted += reader.bytes_read
        self.bytes_zero_copy += reader.bytes_read
        self._is_fast = reader.bytes_read >= _FAST_BURST_BYTES

    def _take_pieces(self) -> list[bytes]:
        pieces, self._pieces, self._buffered_bytes = self._pieces, [], 0
        if self._resume_waiter is not None and not self._resume_waiter.done():
            self._resume_waiter.set_result(None)
        if self._is_paused and self._feed is not None:
            self._is_paused = False
            # The server was not reading, so this time does not count as the client's silence.
            self._received_at = asyncio.get_running_loop().time()
            self._feed.resume_reading()
        return pieces

    def pause(self) -> None:
        """Receive no more until ``resume``, if the server offers it. The client does not count as silent meanwhile."""
        if self._feed is not None and not self._is_paused:
            self._was_full = self._is_paused = True
            self._feed.pause_reading()

    def resume(self) -> None:
        """Receive again after ``pause``, unless the buffer is full."""
        if self._is_paused and self._feed is not None and self._buffered_bytes < self.read_ahead_bytes:
            self._is_paused = False
            self._received_at = asyncio.get_running_loop().time()
            self._feed.resume_reading()

    def stop(self, reason: Exception) -> None:
        """See ``RequestBody.stop``."""
        if self._is_ended or self._error is not None or self._stop_reason is not None:
            return
        self._stop_reason = reason
        if self.was_read:
            self._begin_stop()

    def _begin_stop(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(QUIET_SECONDS, self._stop_if_quiet, self.bytes_received, loop.time() + STOP_SECONDS)

    def _stop_if_quiet(self, bytes_before: int, deadline: float) -> None:
        if self._is_ended or self._error is not None:
            return
        loop = asyncio.get_running_loop()
        if self.bytes_received > bytes_before and loop.time() < deadline:
            loop.call_later(QUIET_SECONDS, self._stop_if_quiet, self.bytes_received, deadline)
            return
        self._abort(self._stop_reason)

    def _abort(self, reason: Exception | None) -> None:
        self._error = reason
        self.close()
        self._wake()

    def close(self) -> None:
        """Stop reading. The rest of the body stays with the HTTP server."""
        self._stop_timers()
        if self._task is not None and not self._task.done():
            self._task.cancel()
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.detach()

    # Called by the server while the body is attached to it: see ``BodyListener``.

    def on_piece(self, piece: bytes) -> None:
        self._received_at = asyncio.get_running_loop().time()
        self._add(piece)
        if self._buffered_bytes >= self._bytes_min:
            self._wake()
        if self._buffered_bytes >= self.read_ahead_bytes and self._feed is not None:
            self._was_full = self._is_paused = True
            self._feed.pause_reading()

    def on_end(self) -> None:
        self._is_ended = True
        self._on_over()

    def on_disconnect(self) -> None:
        self._error = self._error or BodyAborted()
        self._on_over()

    def _on_over(self) -> None:
        self._feed = None
        self._stop_timers()
        self._wake()

    def _add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._buffered_bytes += len(piece)
        self._bytes_counted += len(piece)

    def _start(self) -> None:
        self.was_read = True
        buffered = None if self._take_buffered_body is None else self._take_buffered_body(self._receive)
        if buffered is not None:
            # The whole body arrived together with the head: no reading task is needed.
            self._pieces = buffered
            self._buffered_bytes = self._bytes_counted = sum(map(len, buffered))
            self._is_ended = True
            return
        loop = asyncio.get_running_loop()
        self._received_at = loop.time()
        if self._idle_seconds:
            self._idle_timer = loop.call_later(self._idle_seconds, self._check_idle)
        if self._rate_min:
            self._rate_timer = loop.call_later(RATE_WINDOW_SECONDS, self._check_rate, 0)
        self._feed = None if self._attach_body is None else self._attach_body(self._receive, self)
        if self._is_ended or self._error is not None:
            self._feed = None
            return
        if self._feed is None:
            self._task = loop.create_task(self._read_ahead())
        if self._stop_reason is not None:
            self._begin_stop()

    async def _wait(self, seconds: float | None) -> None:
        """Wait until there are as many bytes as wanted, the end or an error, but not longer than ``seconds``."""
        loop = asyncio.get_running_loop()
        self._read_waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self._wake)
        try:
            await self._read_waiter
        finally:
            self._read_waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._read_waiter is not None and not self._read_waiter.done():
            self._read_waiter.set_result(None)

    async def _read_ahead(self) -> None:
        loop = asyncio.get_running_loop()
        while self._error is None:
            try:
                message = await self._receive()
            except Exception:
                # The outermost handler of this task: HTTP servers and middleware may raise anything. The bytes received
                # before must still be saved.
                log.warning("receiving the body failed", exc_info=True)
                message = {"type": "http.disconnect"}
            self._received_at = loop.time()
            if message["type"] == "http.disconnect":
                self._error = self._error or BodyAborted()
                break
            if body := message.get("body", b""):
                self._add(body)
            if not message.get("more_body", False):
                self._is_ended = True
                break
            if self._buffered_bytes >= self._bytes_min:
                self._wake()
            if self._buffered_bytes >= self.read_ahead_bytes:
                self._was_full = True
                self._resume_waiter = loop.create_future()
                await self._resume_waiter
                # The server was not receiving, so this time does not count as the client's silence.
                self._received_at = loop.time()
        self._stop_timers()
        self._wake()

    def _stop_timers(self) -> None:
        for timer in (self._idle_timer, self._rate_timer):
            if timer is not None:
                timer.cancel()
        self._idle_timer = self._rate_timer = None

    def _check_rate(self, bytes_before: int) -> None:
        is_slow = self.bytes_received - bytes_before < self._rate_min * RATE_WINDOW_SECONDS
        # While the buffer was full the server set the rate, not the client.
        if is_slow and not self._was_full:
            self._abort(BodyTimeout())
            return
        self._was_full = self._is_paused or self._buffered_bytes >= self.read_ahead_bytes
        loop = asyncio.get_running_loop()
        self._rate_timer = loop.call_later(RATE_WINDOW_SECONDS, self._check_rate, self.bytes_received)

    def _check_idle(self) -> None:
        loop = asyncio.get_running_loop()
        is_paused = self._is_paused or self._buffered_bytes >= self.read_ahead_bytes or self._socket_reader is not None
        quiet = 0.0 if is_paused else loop.time() - self._received_at
        if quiet >= self._idle_seconds:
            self._abort(BodyTimeout())
        else:
            self._idle_timer = loop.call_later(self._idle_seconds - quiet, self._check_idle)


class EmptyBody:
    """The body of a request that has none. One for all: it has no state, while ``AsgiBody`` has twenty fields."""

    bytes_received = bytes_zero_copy = 0
    was_read = is_gone = False
    is_ended = True

    async def read(self, wait_seconds: float | None = None, bytes_min: int = 1) -> Sequence[bytes]:
        """The clean end."""
        return ()

    def trailers(self) -> Sequence[tuple[bytes, bytes]]:
        return ()

    def stop(self, reason: Exception) -> None:
        """It has ended."""

    def close(self) -> None:
        """Nothing is being read."""


EMPTY_BODY = EmptyBody()


class StoppableBody(Protocol):
    """A body that a shutdown can stop."""

    def stop(self, reason: Exception) -> None: ...


class ActiveBodies:
    """The request bodies being received, so that a shutdown can stop them. Only for use on the event loop."""

    def __init__(self) -> None:
        self.is_draining = False
        self._bodies: set[StoppableBody] = set()

    def drain(self) -> None:
        """Stop every body, and every body that is added later, with ``ServerShutdown``."""
        self.is_draining = True
        for body in list(self._bodies):
            body.stop(ServerShutdown())

    def reopen(self) -> None:
        """Let new bodies run again after a shutdown."""
        self.is_draining = False

    def add(self, body: StoppableBody) -> None:
        """Register a body to be stopped at shutdown."""
        self._bodies.add(body)
        if self.is_draining:
            body.stop(ServerShutdown())

    def discard(self, body: StoppableBody) -> None:
        """Remove a body that has ended."""
        self._bodies.discard(body)
