"""One request and its response on a connection, as the application sees them. ``protocol`` feeds it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent

#: Reading pauses when more than this waits for the application. It is a little more than one read of the event loop, so
#: that reading does not pause and resume after every one.
BUFFERED_BYTES_MAX = 256 * 1024
# RFC 9110, 5.1 and 5.5: names are tokens; values have no control characters but tabs.
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROLS = bytes([*range(9), *range(10, 32), 127])
_join_field = b": ".join
#: Headers that change how a response is sent.
_SPECIAL = frozenset({b"connection", b"transfer-encoding"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
#: Registered, but newer than the standard library's list.
_NEW_STATUS_LINES = {104: b"HTTP/1.1 104 Upload Resumption Supported\r\n"}


class BodyListener(Protocol):
    """Gets a body as it arrives, in the callbacks of the connection: no task wakes up for a piece."""

    def on_piece(self, piece: bytes) -> None: ...

    def on_end(self) -> None: ...

    def on_disconnect(self) -> None: ...


class Cycle(RequestResponseCycle):
    """Passes every received byte to the application, without a copy, before it reports a disconnect.

    The application receives the pieces, or attaches a listener. ``declared`` are the names of trailers that may come.
    """

    def __init__(self, declared: frozenset[bytes], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.pieces: deque[bytes] = deque()
        self.buffered_bytes = 0
        self.received_bytes = 0
        #: A ``SpliceReader`` reads the body from the socket; the connection does not.
        self.socket_borrowed = False
        #: The transport buffers nothing, because a ``SendfileWriter`` sends past it.
        self.is_unbuffered = False
        #: The whole body has arrived. ``more_body`` is what the application knows.
        self.is_complete = False
        self.declared = declared
        self.trailers: list[tuple[bytes, bytes]] = []
        self._listener: BodyListener | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all of the request has arrived, and a response can be sent at once (``respond``)."""
        return (
            self.is_complete
            and self.keep_alive
            and not (self.disconnected or self.waiting_for_100_continue or self.response_started)
            and self.buffered_bytes == self.received_bytes
            and not self.declared
        )

    def peek_body(self) -> list[bytes]:
        """The pieces that wait for ``receive``."""
        return list(self.pieces)

    def respond_directly(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """As ``respond``, without a body. Then the body of the request is not wanted any more."""
        if not self.respond(status, headers, b""):
            return False
        self.pieces.clear()
        return True

    def attach(self, listener: BodyListener) -> None:
        """Pass the body to ``listener``, what has arrived and what arrives, instead of to ``receive``.

        The listener pauses reading when it has enough: nothing else does.
        """
        self._continue()
        self._listener = listener
        for piece in self.take_pieces():
            listener.on_piece(piece)
        if self.is_complete:
            self.end()
        elif self.disconnected:
            self.abort()
        else:
            self.flow.resume_reading()

    def detach(self) -> None:
        """Pass the rest of the body to ``receive``."""
        self._listener = None

    def pause_reading(self) -> None:
        self.flow.pause_reading()

    def resume_reading(self) -> None:
        """Read on, unless a ``SpliceReader`` reads."""
        if not self.socket_borrowed:
            self.flow.resume_reading()

    def feed(self, piece: bytes) -> None:
        """Add a piece of the body."""
        self.received_bytes += len(piece)
        if self._listener is not None:
            self._listener.on_piece(piece)
            return
        self.pieces.append(piece)
        self.buffered_bytes += len(piece)
        self.message_event.set()

    def end(self) -> None:
        """Mark the end of the body."""
        self.is_complete = True
        self.message_event.set()
        listener, self._listener = self._listener, None
        if listener is not None:
            self.more_body = False
            listener.on_end()

    def body_bytes_left(self) -> int:
        """How many bytes of the body are still to come from the client; 0 if that is unknown, or none will be read."""
        if self.is_complete or self.disconnected or self.response_started or self.waiting_for_100_continue:
            return 0
        length = next((int(value) for name, value in self.scope["headers"] if name == b"content-length"), 0)
        return max(0, length - self.received_bytes)

    def response_bytes_left(self) -> int:
        """How many bytes of the response's body are still to be sent; 0 if that is unknown, or none can be sent."""
        if not self.response_started or self.response_complete or self.disconnected or self.chunked_encoding:
            return 0
        return 0 if self.scope["method"] == "HEAD" else self.expected_content_length

    def take_pieces(self) -> list[bytes]:
        """Return the pieces that wait for ``receive``, and remove them."""
        pieces = list(self.pieces)
        self.pieces.clear()
        self.buffered_bytes = 0
        return pieces

    def abort(self) -> None:
        """End the exchange: no more bytes arrive, and the client does not read the response."""
        if not self.response_complete:
            self.disconnected = True
        self.message_event.set()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_disconnect()

    def _continue(self) -> None:
        """Ask a client that waits for it to send the body."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.waiting_for_100_continue = False
            self.transport.write(_CONTINUE)

    async def receive(self) -> ASGIReceiveEvent:
        self._continue()
        while not (self._has_message() or self.disconnected or self.response_complete):
            if not self.socket_borrowed:
                self.flow.resume_reading()
            self.message_event.clear()
            await self.message_event.wait()
        if self.response_complete or not self._has_message():
            return {"type": "http.disconnect"}
        piece = self.pieces.popleft() if self.pieces else b""
        self.buffered_bytes -= len(piece)
        self.more_body = not self.is_complete or bool(self.pieces)
        if self.buffered_bytes <= BUFFERED_BYTES_MAX and not self.disconnected:
            self.flow.resume_reading()
        return {"type": "http.request", "body": piece, "more_body": self.more_body}

    def _has_message(self) -> bool:
        return bool(self.pieces) or (self.is_complete and self.more_body)

    def respond(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send a whole response with one write and no check that is made twice. Return whether it was sent.

        ``send`` does the same with two messages and twice the time, and handles every other case.
        """
        if self.response_started or self.disconnected or self.flow.write_paused or not self.keep_alive:
            return False
        names = tuple([name for name, _ in headers])
        if not _are_plain(names):
            return False
        has_body = status not in (204, 304) and self.scope["method"] != "HEAD"
        length = headers[names.index(b"content-length")][1] if b"content-length" in names else None
        if self.access_log or (has_body and length != b"%d" % len(body)) or (body and not has_body):
            return False
        defaults = self.default_headers
        lines = b"\r\n".join([*map(_join_field, headers), b"\r\n"])
        head = STATUS_LINE[status] + _render(tuple(defaults)) + lines
        # All values at once. A line end within a value would begin another header.
        if len(head) - len(head.translate(None, _CONTROLS)) != 2 * (len(names) + len(defaults) + 2):
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(head + body if body else head)
        self.message_event.set()
        self.on_response()
        return True

    def send_interim(self, status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> bool:
        """Send an interim response with a status from 102 to 199. Return whether it was sent.

        Interim responses are optional: none is sent to a client that is too old or too slow for them, or after the
        final response has begun.
        """
        assert 102 <= status <= 199, "101 changes the protocol, 100 is sent by receive()"
        lines = [_NEW_STATUS_LINES.get(status) or STATUS_LINE[status]]
        for name, value in headers:
            assert b"\n" not in name + value and b"\r" not in name + value, "a header is one line"
            lines += [name, b": ", value, b"\r\n"]
        transport = self.transport
        if self.response_started or self.disconnected or self.scope["http_version"] != "1.1":
            return False
        # A client that reads nothing must not make them pile up in memory.
        if transport.is_closing() or transport.get_write_buffer_size():
            return False
        transport.write(b"".join([*lines, b"\r\n"]))
        return True


@lru_cache(maxsize=256)
def _are_plain(names: tuple[bytes, ...]) -> bool:
    """Whether these are valid names of headers, in lower case, none of which changes how the response is sent.

    Responses have few combinations of names.
    """
    return _SPECIAL.isdisjoint(names) and all(
        _TOKEN.fullmatch(name) is not None and name == name.lower() for name in names
    )


@lru_cache(maxsize=2)
def _render(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The lines of the headers that all responses have; they change once a second."""
    return b"".join(_join_field(header) + b"\r\n" for header in headers)
