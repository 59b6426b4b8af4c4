"""One request and its response on a connection, as the application sees them. ``protocol`` feeds it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from tusd_py.serving.http.known_head import KnownHead
from tusd_py.serving.http.response_date import ResponseDate
from tusd_py.serving.http.scope import Target, build_scope

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent
    from uvicorn.server import ServerState

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


class Connection(Protocol):
    """What a request needs of its connection, which is the same for all of them."""

    transport: asyncio.Transport
    flow: Any
    logger: logging.Logger
    access_logger: logging.Logger
    access_log: bool
    root_path: str
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    scheme: Any
    #: See ``Cycle.address``.
    address: Mapping[str, Any] | None
    #: Has the headers of every response.
    server_state: ServerState

    def on_response_complete(self) -> None:
        """Called when a response is complete."""
        ...


class Cycle(RequestResponseCycle):
    """Passes every received byte to the application, without a copy, before it reports a disconnect.

    The application receives the pieces, or attaches a listener. What a small request does not need is made on first
    use; with uvicorn's own constructor, which sets sixteen attributes, and with the scope a request takes 5 µs more.
    """

    # The initial state, which most requests leave in many points.
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding: bool | None = None
    expected_content_length = 0
    waiting_for_100_continue = False
    buffered_bytes = 0
    received_bytes = 0
    #: A ``SpliceReader`` reads the body from the socket; the connection does not.
    socket_borrowed = False
    #: The transport buffers nothing, because a ``SendfileWriter`` sends past it.
    is_unbuffered = False
    #: The whole body has arrived. ``more_body`` is what the application knows.
    is_complete = False
    #: The names of trailers that may come.
    declared: frozenset[bytes] = frozenset()
    #: The earlier head that the head is like, and the values in which it differs.
    known: tuple[KnownHead, Sequence[str]] | None = None
    _listener: BodyListener | None = None
    _message_event: asyncio.Event | None = None
    _scope: Any = None
    _pieces: deque[bytes] | None = None
    _trailers: list[tuple[bytes, bytes]] | None = None

    def __init__(
        self,
        connection: Connection,
        method: str,
        target: Target,
        headers: list[tuple[bytes, bytes]] | None,
        http_version: str,
        *,
        keep_alive: bool,
    ) -> None:
        """``headers`` are ``None`` for a request whose head is ``known``."""
        self.connection = connection
        self.transport = connection.transport
        self.flow = connection.flow
        self.default_headers = connection.server_state.default_headers
        self.on_response = connection.on_response_complete
        self.method = method
        self.target = target
        self._headers = headers
        self.http_version = http_version
        self.keep_alive = keep_alive

    # Not ``cached_property``: in Python 3.11 that takes a lock.

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as received, with names in lower case."""
        if self._headers is None:
            assert self.known is not None
            head, values = self.known
            self._headers = head.headers_with(values)
        return self._headers

    @property
    def scope(self) -> Any:  # type: ignore[override]  # uvicorn's constructor sets it
        if self._scope is None:
            self._scope = build_scope(self.connection, self)
        return self._scope

    @property
    def pieces(self) -> deque[bytes]:
        """The pieces of the body that wait for ``receive``."""
        if self._pieces is None:
            self._pieces = deque()
        return self._pieces

    @property
    def trailers(self) -> list[tuple[bytes, bytes]]:
        if self._trailers is None:
            self._trailers = []
        return self._trailers

    @property
    def message_event(self) -> asyncio.Event:  # type: ignore[override]  # uvicorn's constructor sets it
        """Set when something has changed for ``receive``."""
        if self._message_event is None:
            self._message_event = asyncio.Event()
        return self._message_event

    def _notify(self) -> None:
        if self._message_event is not None:
            self._message_event.set()

    @property
    def logger(self) -> logging.Logger:  # type: ignore[override]
        return self.connection.logger

    @property
    def access_logger(self) -> logging.Logger:  # type: ignore[override]
        return self.connection.access_logger

    @property
    def access_log(self) -> bool:  # type: ignore[override]
        return self.connection.access_log

    @property
    def path(self) -> str:
        """The decoded path, as in the scope."""
        return self.connection.root_path + self.target[0]

    @property
    def is_below_root(self) -> bool:
        """Whether the server is mounted under a path."""
        return bool(self.connection.root_path)

    @property
    def address(self) -> Mapping[str, Any]:
        """What the scope of each request of the connection that has HTTP/1.1 says of its ends."""
        connection = self.connection
        if connection.address is None:
            connection.address = {
                "http_version": "1.1",
                "server": connection.server,
                "client": connection.client,
                "scheme": connection.scheme,
            }
        return connection.address

    @property
    def client_host(self) -> str | None:
        """The address of the peer; ``None`` on a unix socket."""
        client = self.connection.client
        return client[0] if client else None

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
        return list(self.pieces) if self.buffered_bytes else []

    def respond_directly(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """As ``respond``, without a body. Then the body of the request is not wanted any more."""
        if not self.respond(status, headers, b""):
            return False
        if self.buffered_bytes:
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
        self._notify()

    def end(self) -> None:
        """Mark the end of the body."""
        self.is_complete = True
        self._notify()
        listener, self._listener = self._listener, None
        if listener is not None:
            self.more_body = False
            listener.on_end()

    def body_bytes_left(self) -> int:
        """How many bytes of the body are still to come from the client; 0 if that is unknown, or none will be read."""
        if self.is_complete or self.disconnected or self.response_started or self.waiting_for_100_continue:
            return 0
        length = next((int(value) for name, value in self.headers if name == b"content-length"), 0)
        return max(0, length - self.received_bytes)

    def response_bytes_left(self) -> int:
        """How many bytes of the response's body are still to be sent; 0 if that is unknown, or none can be sent."""
        if not self.response_started or self.response_complete or self.disconnected or self.chunked_encoding:
            return 0
        return 0 if self.method == "HEAD" else self.expected_content_length

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
        self._notify()
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
        has_body = status not in (204, 304) and self.method != "HEAD"
        length = headers[names.index(b"content-length")][1] if b"content-length" in names else None
        if self.access_log or (has_body and length != b"%d" % len(body)) or (body and not has_body):
            return False
        lines = b"\r\n".join([*map(_join_field, headers), b""])
        return self._send_whole(status, lines, len(names), body)

    def respond_lines(self, status: int, lines: bytes, count: int) -> bool:
        """As ``respond_directly``, with ``count`` headers as lines with their ends, which ``respond`` would accept."""
        if self.response_started or self.disconnected or self.flow.write_paused or not self.keep_alive:
            return False
        if self.access_log or not self._send_whole(status, lines, count, b""):
            return False
        if self.buffered_bytes:
            self.pieces.clear()
        return True

    def _send_whole(self, status: int, lines: bytes, count: int, body: bytes) -> bool:
        """Send a response with ``count`` headers, unless their values have line ends or other control characters."""
        defaults = self.default_headers
        always = defaults.lines if type(defaults) is ResponseDate else _render(tuple(defaults))
        head = b"".join((STATUS_LINE[status], always, lines, b"\r\n"))
        # All values at once. A line end within a value would begin another header.
        if len(head) - len(head.translate(None, _CONTROLS)) != 2 * (count + len(defaults) + 2):
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(head + body if body else head)
        self._notify()
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
        if self.response_started or self.disconnected or self.http_version != "1.1":
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
