"""One request and its response on a connection, as the application sees them. What comes in is for ``protocol``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent

#: Bytes that wait for the application before reading pauses: a little more than one read of the event loop brings, so
#: that it does not stop and go between every two.
BUFFERED_BYTES_MAX = 256 * 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
#: Registered, but younger than the standard library's list.
_YOUNG_STATUS_LINES = {104: b"HTTP/1.1 104 Upload Resumption Supported\r\n"}


class Cycle(RequestResponseCycle):
    """Gives out every byte that was received before it tells of a disconnect, each as it came, without a copy."""

    def __init__(self, pipeline: deque[Any], declared: frozenset[bytes], **facts: Any) -> None:
        super().__init__(**facts)
        self.pieces: deque[bytes] = deque()
        self.buffered_bytes = 0
        self.received_bytes = 0
        #: The socket is somebody else's for a moment, who takes of the body: it is not read.
        self.is_lent = False
        #: Somebody has sent of the answer's body past this object, and asked for a transport that buffers nothing.
        self.is_unbuffered = False
        #: The whole body has come. ``more_body`` is what the application was told.
        self.is_whole = False
        #: The names of trailers that may come, and those that did.
        self.declared = declared
        self.trailers: list[tuple[bytes, bytes]] = []
        self._pipeline = pipeline

    def take(self, piece: bytes) -> None:
        """Some of the body has come."""
        self.pieces.append(piece)
        self.buffered_bytes += len(piece)
        self.received_bytes += len(piece)
        self.message_event.set()

    def end(self) -> None:
        """The body has come to its end."""
        self.is_whole = True
        self.message_event.set()

    def bytes_to_come(self) -> int:
        """How much of the body is still to come from the client; 0 where that is not known, or nothing will."""
        if self.is_whole or self.disconnected or self.response_started or self.waiting_for_100_continue:
            return 0
        length = next((int(value) for name, value in self.scope["headers"] if name == b"content-length"), 0)
        return max(0, length - self.received_bytes)

    def bytes_to_give(self) -> int:
        """How much of the answer's body is still to be sent; 0 where that is not known, or nobody takes it."""
        if not self.response_started or self.response_complete or self.disconnected or self.chunked_encoding:
            return 0
        return 0 if self.scope["method"] == "HEAD" else self.expected_content_length

    def take_out(self) -> list[bytes]:
        """What waits for ``receive``, which will not give it out."""
        pieces = list(self.pieces)
        self.pieces.clear()
        self.buffered_bytes = 0
        return pieces

    def cut(self) -> None:
        """No more will come, and nobody reads what is sent."""
        if not self.response_complete:
            self.disconnected = True
        self.message_event.set()

    async def receive(self) -> ASGIReceiveEvent:
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.waiting_for_100_continue = False
            self.transport.write(_CONTINUE)
        while not (self._has_news() or self.disconnected or self.response_complete):
            # Requests that were sent ahead wait in the kernel, not here.
            if not (self._pipeline or self.is_lent):
                self.flow.resume_reading()
            self.message_event.clear()
            await self.message_event.wait()
        if self.response_complete or not self._has_news():
            return {"type": "http.disconnect"}
        piece = self.pieces.popleft() if self.pieces else b""
        self.buffered_bytes -= len(piece)
        self.more_body = not self.is_whole or bool(self.pieces)
        if self.buffered_bytes <= BUFFERED_BYTES_MAX and not (self._pipeline or self.disconnected):
            self.flow.resume_reading()
        return {"type": "http.request", "body": piece, "more_body": self.more_body}

    def _has_news(self) -> bool:
        return bool(self.pieces) or (self.is_whole and self.more_body)

    def inform(self, status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> bool:
        """Send an interim response, with a status from 102 to 199, and tell whether it was sent.

        They are advice: to a client too old or too slow for them, or after the answer has begun, none is sent.
        """
        assert 102 <= status <= 199, "101 changes the protocol, 100 is sent by receive()"
        lines = [_YOUNG_STATUS_LINES.get(status) or STATUS_LINE[status]]
        for name, value in headers:
            assert b"\n" not in name + value and b"\r" not in name + value, "a header is one line"
            lines += [name, b": ", value, b"\r\n"]
        transport = self.transport
        if self.response_started or self.disconnected or self.scope["http_version"] != "1.1":
            return False
        # A client that reads nothing must not fill the memory with them.
        if transport.is_closing() or transport.get_write_buffer_size():
            return False
        transport.write(b"".join([*lines, b"\r\n"]))
        return True
